//! What the status pages show of the loop.

use super::Reactor;
use crate::net::Net;
use crate::status::view::{Process, SessionView, Usage, View};
use crate::time::Millis;
use crate::users::Users;

/// Most sessions that a view walks over: some milliseconds.
const SESSIONS_SHOWN_MAX: usize = 32_768;

impl<N: Net> Reactor<N> {
    /// The state of the loop now; time and system are the embedder's.
    pub fn view(&self, uptime_ms: Millis, process: Process) -> View<'_> {
        // Those that have ended are freed in the next turn.
        let open = self.connections.iter().filter(|(_, connection)| {
            let state = connection.session().state();
            state.closed().is_none()
        });
        let sessions = open.take(SESSIONS_SHOWN_MAX).map(|(_, connection)| {
            let (up, down) = connection.delivered();
            SessionView { session: connection.session(), up, down }
        });
        View {
            now: self.cx.now,
            uptime_ms,
            version: env!("CARGO_PKG_VERSION"),
            stats: &self.stats,
            sessions: Box::new(sessions),
            session_count: self.connections.len() - self.closed.len(),
            recent_refusals: self.refusals.latest(),
            usage: self.usage(),
            process,
            draining: self.is_draining(),
        }
    }

    /// A number that grows whenever something happens to a session or to what sessions share:
    /// bytes moved, a client came, a state changed, a deadline or an answer came.
    pub fn activity(&self) -> u64 {
        let stats = &self.stats;
        let sessions = stats.opened + stats.closed_total() + stats.shed;
        let arrivals = self.cx.listeners.arrivals;
        sessions
            + arrivals
            + stats.changes
            + stats.deadlines
            + self.cx.pool.moves
            + self.cx.dns.activity()
    }

    /// The embedder has done something after the last turn: it was not in vain.
    pub fn note_progress(&mut self) {
        self.progress.note();
    }

    fn usage(&self) -> Usage {
        let (settings, pool, dns) = (&self.cx.settings, &self.cx.pool, self.cx.dns.state());
        let ((small_buffers, large_buffers), (pipes, kept_pipes)) = (pool.lent(), pool.pipes());
        let (large_buffer_bytes, buffer_budget_bytes) = pool.budget();
        Usage {
            sessions_max: settings.max_sessions,
            per_source_max: settings.max_per_source,
            bind_ports_max: settings.bind_ports.clone().map(Iterator::count),
            attempts: self.cx.extra_attempts.total(),
            attempts_max: settings.extra_attempts_max,
            small_buffers,
            large_buffers,
            kept_buffer_bytes: pool.kept_bytes(),
            large_buffer_bytes,
            buffer_budget_bytes,
            pipes,
            kept_pipes,
            pipes_max: pool.pipes_max(),
            dns_queries: dns.queries(),
            dns_queries_max: dns.queries_max(),
            dns_waiters: dns.waiters(),
            dns_cached: dns.cached(),
            dns: dns.counters(),
            accept_failures: self.cx.listeners.failures,
            ident_queries: self.cx.ident_queries,
            rules: self.cx.rules.rules().len(),
            users: self.cx.users.as_ref().map_or(0, Users::count),
            reached: self.limits.reached_now(&self.cx, self.is_full() && !self.is_draining()),
        }
    }

    /// Records refusals from now on, for [`Reactor::view`].
    pub fn keep_refusals(&mut self) {
        self.refusals.keep();
    }
}
