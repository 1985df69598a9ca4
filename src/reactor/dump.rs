//! A dump: counters and open sessions, written to the log a piece at a time, so that neither the
//! log nor a turn has to hold all of it.

use super::Reactor;
use crate::access::Line;
use crate::net::Net;
use crate::reason::CloseReason;
use log::info;

/// Slots looked at in one piece.
const SLOTS_PER_PIECE: usize = 256;

/// How far a dump has come. It has the sessions that were open at its start, unless they end
/// before their turn comes.
pub struct Dump {
    next_slot: usize,
    end_slot: usize,
    last_id: u64,
}

impl<N: Net> Reactor<N> {
    /// Writes the counters to the log and begins a dump of the open sessions.
    pub fn start_dump(&self) -> Dump {
        let stats = &self.stats;
        let ((small, large), (pipes, _)) = (self.pool.lent(), self.pool.pipes());
        info!(
            target: "dump",
            "sessions={} opened={} closed={} up={} down={} accept-failures={} shed={} \
             small-buffers={small} large-buffers={large} pipes={pipes} rules={}",
            self.entries.len(), stats.opened, stats.closed_total(), stats.up_bytes,
            stats.down_bytes, stats.accept_failures, stats.shed, self.rules.rules().len(),
        );
        for &reason in CloseReason::ALL.iter().filter(|&&reason| stats.closed(reason) > 0) {
            info!(target: "dump", "reason={reason} count={}", stats.closed(reason));
        }
        Dump { next_slot: 0, end_slot: self.entries.capacity(), last_id: stats.opened }
    }

    /// Writes the next sessions of a dump, one line each, while `has_room`; not more than a turn
    /// has time for. Whether the dump is complete.
    pub fn continue_dump(&self, dump: &mut Dump, has_room: impl Fn() -> bool) -> bool {
        let piece_end = dump.end_slot.min(dump.next_slot + SLOTS_PER_PIECE);
        while dump.next_slot < piece_end && has_room() {
            if let Some(entry) = self.entries.get(dump.next_slot)
                && entry.session.id <= dump.last_id
            {
                let (up, down) = (entry.relay.up.delivered, entry.relay.down.delivered);
                let line = Line { session: &entry.session, up, down, now: self.now };
                info!(target: "dump", "{line}");
            }
            dump.next_slot += 1;
        }
        dump.next_slot == dump.end_slot
    }
}
