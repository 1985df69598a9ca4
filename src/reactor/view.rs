//! What the status pages show of the loop.

use super::Reactor;
use super::limits::meaning;
use crate::limit::Limit;
use crate::net::Net;
use crate::status::view::{Process, Reached, SessionView, Usage, View};
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
            reached: self.reached(),
        }
    }

    /// The limits that are reached now: all whose episode goes on, and that of sessions while all of
    /// them are in use, however long ago the last one was taken.
    fn reached(&self) -> Vec<Reached> {
        let is_full = self.is_full() && !self.is_draining();
        let reached = Limit::ALL.iter().filter_map(|&limit| {
            let until = self.limits.episodes().until(limit, self.cx.now);
            let stays = is_full && limit == Limit::Sessions;
            (stays || until.is_some()).then(|| {
                let meaning = meaning(limit, &self.cx);
                Reached { limit, until: until.filter(|_| !stays), meaning }
            })
        });
        reached.collect()
    }

    /// Records refusals from now on, for [`Reactor::view`].
    pub fn keep_refusals(&mut self) {
        self.refusals.keep();
    }
}
