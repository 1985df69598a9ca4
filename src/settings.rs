//! The settings of the loop, fixed from start to end.

use crate::address::PerFamily;
use crate::proxy_header;
use crate::rules::AddressPattern;
use crate::sizes::{PIPE_BYTES, SMALL_BYTES};
use crate::time::Millis;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// An upper bound of a session without its buffers: its slot and its deadline, twice for a moment
/// while their tables grow, and a long USERID and name.
const SESSION_BYTES: usize = 2 << 10;
/// A session holds buffers for its request and for the query and answer of identd; later, one for
/// each direction.
const SESSION_BUFFERS_MAX: usize = 3;
/// Most bytes of a session, not counting relay buffers.
pub const SESSION_BYTES_MAX: usize = SESSION_BYTES + SESSION_BUFFERS_MAX * SMALL_BYTES;

/// How long a session may stay in each state, and polling intervals.
#[derive(Clone, Debug)]
pub struct Durations {
    /// The whole request must have arrived.
    pub request_ms: Millis,
    /// The client's identd must have answered.
    pub ident_ms: Millis,
    /// The name must have been resolved; the resolver has its own deadline, somewhat earlier.
    pub resolve_ms: Millis,
    /// The target must have been reached, at any of its addresses.
    pub connect_ms: Millis,
    /// The delay after an attempt until the next address is tried in parallel (RFC 8305).
    pub attempt_delay_ms: Millis,
    /// A client that has closed its side while waiting for its reply is taken as only half-closed
    /// for at least this long.
    pub leave_ms: Millis,
    /// The peer of a BIND must have connected.
    pub bind_ms: Millis,
    /// A byte must have been relayed; `None` means no limit.
    pub idle_ms: Option<Millis>,
    /// With one direction closed, a byte must have been relayed.
    pub half_close_ms: Millis,
    /// After this idle time, keepalive is enabled on the connection to the target.
    pub keepalive_ms: Millis,
    /// A refused client must have closed its side.
    pub linger_ms: Millis,
    /// The interval at first for polling whether everything before a reset has arrived.
    pub reset_poll_ms: Millis,
    /// The interval later.
    pub slow_reset_poll_ms: Millis,
}

/// The form of the log's lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `key=value` pairs.
    #[default]
    Text,
    /// A JSON object a line.
    #[cfg(feature = "json")]
    Json,
}

impl LogFormat {
    /// The forms that this build has, each with its word on the command line.
    pub(crate) const ALL: &[(&str, LogFormat)] = &[
        ("text", LogFormat::Text),
        #[cfg(feature = "json")]
        ("json", LogFormat::Json),
    ];

    /// Whether a line is text, and no object.
    pub(crate) fn is_text(self) -> bool {
        self == LogFormat::Text
    }
}

/// The settings of the loop, fixed from start to end.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Source address of outgoing connections.
    pub outbound: PerFamily,
    /// Address advertised to BIND clients instead of the listening address.
    pub bind_address: PerFamily,
    /// Ports that BIND listens on; if `None`, the kernel chooses.
    pub bind_ports: Option<RangeInclusive<u16>>,
    /// Most sessions.
    pub max_sessions: usize,
    /// Most attempts to connect, of all sessions, beside the first of each.
    pub extra_attempts_max: usize,
    /// Most sessions of one client address.
    pub max_per_source: Option<u32>,
    /// The load balancers, whose connections begin with a PROXY header.
    pub balancers: Vec<AddressPattern>,
    /// Bytes of one relay buffer.
    pub buffer_bytes: usize,
    /// Most bytes of all relay buffers.
    pub buffer_budget_bytes: usize,
    /// Most pipes lent to sustained flows at a time; 0: all bytes are copied.
    pub pipes_max: usize,
    /// The times of a session.
    pub durations: Durations,
    /// How long sessions may continue once the loop accepts no more.
    pub drain_timeout_ms: Millis,
    /// The form of the access lines, and of those of a dump about sessions.
    pub log_format: LogFormat,
}

impl Settings {
    /// Whether connections from this address begin with a PROXY header.
    pub fn is_balancer(&self, address: IpAddr) -> bool {
        proxy_header::is_balancer(&self.balancers, address)
    }

    /// The most memory that sessions and their buffers can use, in bytes: of the process, and of
    /// the kernel's pipes. Socket buffers are not included; net.ipv4.tcp_mem limits them.
    pub fn memory_max_bytes(&self) -> (usize, usize) {
        let directions = 2 * self.max_sessions;
        let large_bytes =
            self.buffer_budget_bytes.min(directions.saturating_mul(self.buffer_bytes));
        let process =
            self.max_sessions.saturating_mul(SESSION_BYTES_MAX).saturating_add(large_bytes);
        // Spare pipes are empty.
        (process, self.pipes_max.min(directions) * PIPE_BYTES)
    }
}
