//! Relays that are quiet because a reader takes its time.

use super::reset::unacknowledged;
use super::{Entry, Reactor, Target};
use crate::net::Net;
use crate::timer::{Deadline, Millis};

/// Bytes on their way to a reader, as they stood when they last moved.
pub(super) struct Backlog {
    unacknowledged: usize,
    delivered: u64,
    since: Millis,
}

impl<N: Net> Reactor<N> {
    /// Whether a relay goes on though its idle or half-close time-out has come. It does while bytes
    /// are on their way that the peers have not acknowledged: a reader that pauses or reads slowly
    /// is no silent one. Where nothing moves, the idle time-out counts from when that was noticed.
    pub(super) fn waits_for_reader(&mut self, slot: usize) -> bool {
        let idle_ms = self.settings.durations_ms[Deadline::Idle as usize];
        let Entry { client, target, relay, backlog, .. } = &mut self.entries[slot];
        let Target::Stream(target) = target else { return false };
        let unacknowledged = unacknowledged(&self.net, client) + unacknowledged(&self.net, target);
        if unacknowledged == 0 && relay.up.is_empty() && relay.down.is_empty() {
            return false;
        }
        let delivered = relay.delivered();
        match backlog {
            Some(last) if (last.unacknowledged, last.delivered) == (unacknowledged, delivered) => {
                idle_ms.is_none_or(|idle_ms| self.now - last.since < idle_ms)
            }
            _ => {
                let since = self.now;
                *backlog = Some(Box::new(Backlog { unacknowledged, delivered, since }));
                true
            }
        }
    }
}
