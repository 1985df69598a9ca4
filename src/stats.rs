//! Counters: one per close reason, one per limit, and a few more.

use crate::limit::Limit;
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
    /// How often each limit was reached.
    reached: [u64; Limit::ALL.len()],
}

impl Default for Stats {
    fn default() -> Stats {
        Stats {
            opened: 0,
            closed: [0; CloseReason::ALL.len()],
            up_bytes: 0,
            down_bytes: 0,
            shed: 0,
            reached: [0; Limit::ALL.len()],
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

    /// Counts that a limit was reached so many times.
    pub fn count_reached(&mut self, limit: Limit, times: u64) {
        self.reached[limit as usize] += times;
    }

    /// How often a limit was reached; [`Limit`] says of each what is counted.
    pub fn reached(&self, limit: Limit) -> u64 {
        self.reached[limit as usize]
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
