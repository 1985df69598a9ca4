//! Notices that limits are reached: counts it, and logs one warning for each episode.

use crate::context::Context;
use crate::limit::{Episodes, Limit};
use crate::net::Net;
use crate::stats::Stats;
use crate::time::Millis;
use log::warn;
use std::mem::take;

/// The episodes in which limits were reached.
#[derive(Default)]
pub struct LimitWatch(Episodes);

impl LimitWatch {
    /// The episodes, for the status pages and for an upgrade to hand over.
    pub fn episodes(&self) -> &Episodes {
        &self.0
    }

    /// Goes on with the episodes that were handed over.
    pub fn resume(&mut self, episodes: Episodes) {
        self.0 = episodes;
    }

    /// Takes the counts that the shared state has gathered since the last call. Costs next to nothing
    /// while no limit is reached.
    pub fn collect<N: Net>(&mut self, cx: &mut Context<N>, stats: &mut Stats) {
        let counts = [
            (Limit::Buffers, take(&mut cx.pool.buffers_lacking)),
            (Limit::Pipes, take(&mut cx.pool.pipes_lacking)),
            (Limit::BindPorts, take(&mut cx.bind_ports.lacking)),
            (Limit::Attempts, take(&mut cx.extra_attempts.lacking)),
            (Limit::Queries, cx.dns.take_delayed()),
        ];
        for (limit, times) in counts.into_iter().filter(|(_, times)| *times > 0) {
            self.reached(limit, times, cx, stats);
        }
    }

    /// A limit has been reached so many times in this turn.
    pub fn reached<N: Net>(
        &mut self,
        limit: Limit,
        times: u64,
        cx: &Context<N>,
        stats: &mut Stats,
    ) {
        stats.count_reached(limit, times);
        if self.0.note(limit, cx.now) {
            warn!("limit {limit} reached: {}", meaning(limit, cx));
        }
    }

    /// A limit has been reached until now.
    pub fn still_reached(&mut self, limit: Limit, now: Millis) {
        self.0.note(limit, now);
    }
}

/// What a limit is, its value, what happens beyond it, and the flag that sets it.
pub fn meaning<N: Net>(limit: Limit, cx: &Context<N>) -> String {
    let settings = &cx.settings;
    match limit {
        Limit::Sessions => format!(
            "all {} sessions are in use, and further clients wait; set by --max-sessions and the \
             open-file limit",
            settings.max_sessions
        ),
        Limit::PerSource => format!(
            "a client address has {} sessions, and its further ones are rejected; set by \
             --max-per-source",
            settings.max_per_source.unwrap_or_default()
        ),
        Limit::Buffers => format!(
            "{} KiB of relay buffers are lent, and further ones are small; --buffer-size sets their \
             size",
            cx.pool.budget_bytes() / 1024
        ),
        Limit::Pipes => format!(
            "all {} pipes are lent, and further sustained flows are copied; --splice off does \
             without them",
            settings.pipes_max
        ),
        Limit::BindPorts => {
            let (low, high) = settings.bind_ports.clone().unwrap_or(0..=0).into_inner();
            format!("a BIND found no free port from {low} to {high}; set by --bind-ports")
        }
        Limit::Attempts => format!(
            "{} attempts to connect beside the first of each session, or a quarter of them for one \
             client address, are under way, and further ones wait; set by the open-file limit",
            settings.extra_attempts_max
        ),
        Limit::Queries => format!(
            "all {} queries to name servers are in flight, and further names wait; set by the \
             open-file limit",
            cx.dns.queries_max()
        ),
    }
}
