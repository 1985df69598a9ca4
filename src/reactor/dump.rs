//! A dump: counters and open sessions, written to the log in pieces, so that neither the log nor a
//! turn has to hold all of it.

use crate::access::Line;
use crate::connection::Connection;
use crate::context::Context;
use crate::limit::Limit;
use crate::net::Net;
use crate::reason::CloseReason;
use crate::stats::Stats;
use crate::time::Millis;
use crate::users::Users;
use log::info;
use slab::Slab;

/// Slots checked per piece.
const SLOTS_PER_PIECE: usize = 256;

/// The progress of a dump. It lists the sessions that were open at its start, except those that end
/// before they are reached.
pub struct Dump {
    next_slot: usize,
    end_slot: usize,
    last_id: u64,
}

impl Dump {
    /// Writes the counters, and starts with the sessions.
    pub fn start<N: Net>(
        connections: &Slab<Connection<N>>,
        cx: &Context<N>,
        stats: &Stats,
    ) -> Dump {
        let ((small, large), (pipes, _)) = (cx.pool.lent(), cx.pool.pipes());
        info!(
            target: "dump",
            "sessions={} opened={} closed={} up={} down={} accept-failures={} shed={} \
             small-buffers={small} large-buffers={large} pipes={pipes} rules={} \
             users={}",
            connections.len(), stats.opened, stats.closed_total(), stats.up_bytes,
            stats.down_bytes, cx.listeners.failures, stats.shed, cx.rules.rules().len(),
            cx.users.as_ref().map_or(0, Users::count),
        );
        for &reason in CloseReason::ALL.iter().filter(|&&reason| stats.closed(reason) > 0) {
            info!(target: "dump", "reason={reason} count={}", stats.closed(reason));
        }
        for &limit in Limit::ALL.iter().filter(|&&limit| stats.reached(limit) > 0) {
            info!(target: "dump", "limit={limit} reached={}", stats.reached(limit));
        }
        Dump { next_slot: 0, end_slot: connections.capacity(), last_id: stats.opened }
    }

    /// Writes the next sessions, one line each, while `has_room`, at most a piece. Returns whether
    /// the dump is complete.
    pub fn write_next<N: Net>(
        &mut self,
        connections: &Slab<Connection<N>>,
        now: Millis,
        has_room: impl Fn() -> bool,
    ) -> bool {
        let piece_end = self.end_slot.min(self.next_slot + SLOTS_PER_PIECE);
        while self.next_slot < piece_end && has_room() {
            let connection = connections.get(self.next_slot);
            if let Some(connection) = connection.filter(|one| one.session().id <= self.last_id) {
                let (up, down) = connection.delivered();
                let line = Line { session: connection.session(), up, down, now };
                info!(target: "dump", "{line}");
            }
            self.next_slot += 1;
        }
        self.next_slot == self.end_slot
    }
}
