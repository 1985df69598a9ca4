//! All that the status pages show, as plain values: the pages themselves know no socket and no loop.

use super::refusal::Refusal;
use crate::dns::Counters;
use crate::limit::Limit;
use crate::session::Session;
use crate::stats::Stats;
use crate::time::Millis;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// The state of the proxy at one moment.
pub struct View<'a> {
    /// The time of the loop, by which sessions and refusals are dated.
    pub now: Millis,
    /// How long the proxy has been serving, in milliseconds.
    pub uptime_ms: Millis,
    /// The version of the program.
    pub version: &'a str,
    /// The counters since the start.
    pub stats: &'a Stats,
    /// The open sessions, in no order; to be walked once. Of very many, only some.
    pub sessions: Box<dyn Iterator<Item = SessionView<'a>> + 'a>,
    /// How many there are.
    pub session_count: usize,
    /// The latest refusals, the oldest first.
    pub recent_refusals: &'a VecDeque<Refusal>,
    /// What is in use of what the proxy may use.
    pub usage: Usage,
    /// What the system says about the process.
    pub process: Process,
    /// The proxy accepts no more clients and ends when its sessions have.
    pub draining: bool,
}

/// An open session.
#[derive(Clone, Copy)]
pub struct SessionView<'a> {
    /// The session.
    pub session: &'a Session,
    /// Bytes delivered to the target.
    pub up: u64,
    /// Bytes delivered to the client.
    pub down: u64,
}

/// What is in use, and how much of it there may be.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// Most sessions.
    pub sessions_max: usize,
    /// Most sessions of one client address, if that is limited.
    pub per_source_max: Option<u32>,
    /// Ports that BIND may listen on, if they are limited.
    pub bind_ports_max: Option<usize>,
    /// Attempts to connect beside the first of each session.
    pub attempts: usize,
    /// Most of them.
    pub attempts_max: usize,
    /// Small buffers lent.
    pub small_buffers: usize,
    /// Large buffers lent.
    pub large_buffers: usize,
    /// Bytes of free buffers that are kept.
    pub kept_buffer_bytes: usize,
    /// Bytes of one large buffer.
    pub large_buffer_bytes: usize,
    /// Most bytes lent as large buffers.
    pub buffer_budget_bytes: usize,
    /// Pipes lent.
    pub pipes: usize,
    /// Free pipes that are kept.
    pub kept_pipes: usize,
    /// Most pipes lent.
    pub pipes_max: usize,
    /// Queries to name servers in flight.
    pub dns_queries: usize,
    /// Most of them.
    pub dns_queries_max: usize,
    /// Sessions that wait for a name.
    pub dns_waiters: usize,
    /// Answers in the cache, including expired ones.
    pub dns_cached: usize,
    /// What the resolver has counted.
    pub dns: Counters,
    /// How often accept lacked descriptors or memory.
    pub accept_failures: u64,
    /// Queries sent to identds.
    pub ident_queries: u64,
    /// Rules in force.
    pub rules: usize,
    /// Users who can log in.
    pub users: usize,
    /// The limits that are reached now.
    pub reached: Vec<Reached>,
}

/// A limit that is reached.
#[derive(Clone, Debug)]
pub struct Reached {
    /// Which one.
    pub limit: Limit,
    /// When that counts as over unless it is reached again; `None` while it stays reached.
    pub until: Option<Millis>,
    /// Its value, what happens beyond it, and the flag that sets it.
    pub meaning: String,
}

impl Usage {
    /// Most that there may be of what a limit counts; `None` is no limit.
    pub fn most(&self, limit: Limit) -> Option<usize> {
        match limit {
            Limit::Sessions => Some(self.sessions_max),
            Limit::PerSource => self.per_source_max.map(|most| most as usize),
            Limit::Buffers => Some(self.buffer_budget_bytes / self.large_buffer_bytes.max(1)),
            Limit::Pipes => Some(self.pipes_max),
            Limit::BindPorts => self.bind_ports_max,
            Limit::Attempts => Some(self.attempts_max),
            Limit::Queries => Some(self.dns_queries_max),
        }
    }
}

/// What the system says about the process, where it says it, and what the program around the loop
/// has counted.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// The name of the host, as it came from the system: to be escaped.
    pub host: Vec<u8>,
    /// The addresses that it was started to listen on for clients.
    pub listening: Vec<SocketAddr>,
    /// When the process started, in milliseconds since 1970.
    pub started_unix_ms: u64,
    /// Memory in use, in bytes.
    pub resident_bytes: Option<u64>,
    /// Processor time used, in milliseconds.
    pub cpu_ms: Option<u64>,
    /// Open descriptors.
    pub descriptors: Option<u64>,
    /// Most of them.
    pub descriptors_max: u64,
    /// Bytes of the log that wait for its reader.
    pub log_waiting_bytes: usize,
    /// Lines of the log dropped because the reader was too slow.
    pub log_dropped: u64,
    /// When the last of them was, by the clock of the loop.
    pub log_dropped_at: Option<Millis>,
    /// Files read again.
    pub reloads: Reloads,
    /// The files that are not in force as they are, each with its place and the error.
    pub bad_files: Vec<String>,
}

/// How often a changed file was read again: successfully, and with an error, which changed nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reloads {
    /// The new content is in force.
    pub good: u64,
    /// The old content stays in force.
    pub failed: u64,
}
