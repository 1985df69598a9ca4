//! What the loop is told at the start.

use crate::pool::{PIPE_BYTES, SMALL_BYTES};
#[cfg(doc)]
use crate::timer::Deadline;
use crate::timer::{KINDS, Millis};
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

/// More than a session itself takes: its entry and its deadline, twice for a moment while their
/// tables grow, and a long USERID and name.
const SESSION_BYTES: usize = 2 << 10;
/// A session holds a buffer for its request, and question and answer of identd; later, one for each
/// direction.
const SESSION_BUFFERS_MAX: usize = 3;
/// Most bytes that a session takes, relay buffers not counted.
pub const SESSION_BYTES_MAX: usize = SESSION_BYTES + SESSION_BUFFERS_MAX * SMALL_BYTES;

/// What the loop is told at the start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Source address of outgoing connections.
    pub outbound: Option<Ipv4Addr>,
    /// Address told to BIND clients in place of the one listened at.
    pub bind_address: Option<Ipv4Addr>,
    /// Ports that BIND listens on; the kernel chooses when there are none.
    pub bind_ports: Option<RangeInclusive<u16>>,
    /// Most sessions.
    pub max_sessions: usize,
    /// Most sessions of one client address.
    pub max_per_source: Option<u32>,
    /// Bytes of one relay buffer.
    pub buffer_bytes: usize,
    /// Most bytes of all relay buffers.
    pub buffer_budget_bytes: usize,
    /// Most pipes lent to sustained flows at a time; 0: all bytes are copied.
    pub pipes_max: usize,
    /// Duration of each deadline, indexed by [`Deadline`]; `None` is never.
    pub durations_ms: [Option<Millis>; KINDS],
    /// How long sessions may go on after [`Reactor::drain`](super::Reactor::drain).
    pub drain_timeout_ms: Millis,
}

impl Settings {
    /// The most memory that sessions and what they hold can come to, in bytes: of the process, and
    /// of the kernel's pipes. What the kernel keeps for sockets is its own affair (net.ipv4.tcp_mem).
    pub fn memory_max_bytes(&self) -> (usize, usize) {
        let directions = 2 * self.max_sessions;
        let large_bytes =
            self.buffer_budget_bytes.min(directions.saturating_mul(self.buffer_bytes));
        let process = self.max_sessions * SESSION_BYTES_MAX + large_bytes;
        // Pipes that are kept for later are empty.
        (process, self.pipes_max.min(directions) * PIPE_BYTES)
    }
}
