//! What the loop goes by from its start to its end.

use crate::sizes::{PIPE_BYTES, SMALL_BYTES};
use crate::time::Millis;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

/// More than a session itself takes: its slot and its deadline, twice for a moment while their
/// tables grow, and a long USERID and name.
const SESSION_BYTES: usize = 2 << 10;
/// A session holds a buffer for its request, and question and answer of identd; later, one for each
/// direction.
const SESSION_BUFFERS_MAX: usize = 3;
/// Most bytes that a session takes, relay buffers not counted.
pub const SESSION_BYTES_MAX: usize = SESSION_BYTES + SESSION_BUFFERS_MAX * SMALL_BYTES;

/// How long a session may stay in each state, and how often it is looked at.
#[derive(Clone, Debug)]
pub struct Durations {
    /// The whole request must have arrived.
    pub request_ms: Millis,
    /// The client's identd must have answered.
    pub ident_ms: Millis,
    /// The name must have been resolved; the resolver has its own deadline, somewhat earlier.
    pub resolve_ms: Millis,
    /// The target must have been reached, by whichever of its addresses.
    pub connect_ms: Millis,
    /// How long after an attempt the next address is tried beside it (RFC 8305).
    pub attempt_delay_ms: Millis,
    /// A client that has closed its side while it waits for its answer has at least this long to
    /// be taken for one that only half-closed.
    pub leave_ms: Millis,
    /// The peer of a BIND must have come.
    pub bind_ms: Millis,
    /// A byte must have been relayed; `None` is never.
    pub idle_ms: Option<Millis>,
    /// With one direction closed, a byte must have been relayed.
    pub half_close_ms: Millis,
    /// A relay that is idle for so long has its target's connection probed from then on.
    pub keepalive_ms: Millis,
    /// A refused client must have closed its side.
    pub linger_ms: Millis,
    /// How often to look whether everything before a reset has arrived, at first.
    pub reset_poll_ms: Millis,
    /// How often to look later.
    pub slow_reset_poll_ms: Millis,
}

/// What the loop goes by from its start to its end.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Source address of outgoing connections.
    pub outbound: Option<Ipv4Addr>,
    /// Address advertised to BIND clients in place of the one listened at.
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
    /// The times of a session.
    pub durations: Durations,
    /// How long sessions may go on once the loop accepts no more.
    pub drain_timeout_ms: Millis,
}

impl Settings {
    /// The most memory that sessions and what they hold can come to, in bytes: of the process, and
    /// of the kernel's pipes. Socket buffers are not included; net.ipv4.tcp_mem bounds them.
    pub fn memory_max_bytes(&self) -> (usize, usize) {
        let directions = 2 * self.max_sessions;
        let large_bytes =
            self.buffer_budget_bytes.min(directions.saturating_mul(self.buffer_bytes));
        let process = self.max_sessions * SESSION_BYTES_MAX + large_bytes;
        // Pipes that are kept for later are empty.
        (process, self.pipes_max.min(directions) * PIPE_BYTES)
    }
}
