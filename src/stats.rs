//! Counters: one per close reason, and a few more.

use crate::reason::CloseReason;

/// The counters since the start.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Sessions opened.
    pub opened: u64,
    /// Sessions closed, by reason.
    closed: [u64; CloseReason::ALL.len()],
    /// Bytes relayed from clients to targets.
    pub up_bytes: u64,
    /// Bytes relayed from targets to clients.
    pub down_bytes: u64,
    /// Connections reset without a session, because their source was at twice its limit.
    pub shed: u64,
}

impl Default for Stats {
    fn default() -> Stats {
        Stats {
            opened: 0,
            closed: [0; CloseReason::ALL.len()],
            up_bytes: 0,
            down_bytes: 0,
            shed: 0,
        }
    }
}

impl Stats {
    /// Counts one closed session.
    pub fn count_closed(&mut self, reason: CloseReason, up_bytes: u64, down_bytes: u64) {
        self.closed[reason as usize] += 1;
        self.up_bytes += up_bytes;
        self.down_bytes += down_bytes;
    }

    /// Sessions closed for `reason`.
    pub fn closed(&self, reason: CloseReason) -> u64 {
        self.closed[reason as usize]
    }

    /// Sessions closed for any reason.
    pub fn closed_total(&self) -> u64 {
        self.closed.iter().sum()
    }
}
