//! Passing a reset on, once everything that came before it has arrived.

use super::{Reactor, Target};
use crate::net::Net;
use crate::reason::CloseReason;
use crate::relay::Side;
use crate::timer::{Deadline, Millis};

/// A peer that has not acknowledged everything after this time is looked at less often.
const OFTEN_FOR_MS: Millis = 1000;

/// A session that ends with a reset. One connection has failed, all that came from it is with
/// the other's kernel, and a reset sent now would throw away what the peer has not acknowledged.
pub(super) struct PendingReset {
    reason: CloseReason,
    started: Millis,
    /// How many bytes were not acknowledged when that last changed, and when it did.
    unacknowledged: usize,
    changed: Millis,
}

impl PendingReset {
    /// Which deadline says when to look again: the kernel does not tell that the last byte was
    /// acknowledged.
    pub(super) fn deadline(&self, now: Millis) -> Deadline {
        if now - self.started < OFTEN_FOR_MS { Deadline::Drain } else { Deadline::SlowDrain }
    }
}

impl<N: Net> Reactor<N> {
    /// Resets the other connection when its peer has acknowledged everything, or nothing more
    /// within the half-close time-out.
    pub(super) fn drain_then_reset(&mut self, slot: usize, reason: CloseReason) {
        let now = self.now;
        let pending =
            PendingReset { reason, started: now, unacknowledged: usize::MAX, changed: now };
        self.entries[slot].reset_pending = Some(Box::new(pending));
        self.check_drained(slot);
    }

    /// Whether the reset that is pending can be sent now.
    pub(super) fn check_drained(&mut self, slot: usize) {
        let patience_ms = self.settings.durations_ms[Deadline::HalfClose as usize];
        let entry = &mut self.entries[slot];
        let Some(pending) = &mut entry.reset_pending else { return };
        let Target::Stream(target) = &entry.target else { return };
        let other = if pending.reason.is_of_client() { target } else { &entry.client };
        let left = unacknowledged(&self.net, other);
        if left < pending.unacknowledged {
            (pending.unacknowledged, pending.changed) = (left, self.now);
        }
        let is_stuck = patience_ms.is_some_and(|ms| self.now - pending.changed >= ms);
        if left == 0 || is_stuck {
            let action = entry.session.close(pending.reason);
            self.perform(slot, action);
        } else {
            self.set_deadline(slot);
        }
    }
}

/// How much is still to arrive at the other end; nothing when that has failed as well.
pub(super) fn unacknowledged<N: Net>(net: &N, side: &Side<N::Stream>) -> usize {
    if side.reset || side.has_failed() {
        return 0;
    }
    net.unacknowledged(&side.stream).unwrap_or(0)
}
