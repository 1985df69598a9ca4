//! The relaying part of a connection: its target and its time-outs.

use crate::context::Context;
use crate::net::Net;
use crate::reason::CloseReason;
use crate::relay::{Endpoint, Progress, Relay, Step};
use crate::settings::Durations;
use crate::time::Millis;
use log::debug;

/// A session that still relays after this time is not a short one.
const SHORT_MS: Millis = 1000;
/// A reset that is pending for longer is polled less often.
const POLL_OFTEN_FOR_MS: Millis = 1000;

/// The result of a tunnel's step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelStep {
    /// Nothing to do until an event or the deadline.
    Wait,
    /// The budget of this turn is spent; there is more to do.
    More,
    /// The session ends for this reason.
    Ended(CloseReason),
}

/// The target of a relaying connection, and the times that its deadlines follow from.
pub struct Tunnel<N: Net> {
    pub(super) target: Endpoint<N::Stream>,
    /// When bytes were last delivered, or a direction ended.
    pub(super) active_at: Millis,
    pub(super) has_keepalive: bool,
    /// Set while peers have not acknowledged everything.
    pub(super) waiting: Option<Box<Waiting>>,
}

/// Peers that have not acknowledged everything.
pub(super) enum Waiting {
    /// One connection has failed; the other will be reset.
    Reset(PendingReset),
    /// The time-out came while bytes were in flight to slow readers.
    Readers(InFlightCount),
}

/// A tunnel that ends with a reset. One connection has failed. All bytes from it are in the send
/// queue of the other, and a reset sent now would discard what the peer has not acknowledged. The
/// kernel does not report that the last byte was acknowledged, so the queue is polled.
pub(super) struct PendingReset {
    pub(super) reason: CloseReason,
    pub(super) started: Millis,
    pub(super) polled: Millis,
    /// How many bytes were unacknowledged when that number last changed, and when it did.
    pub(super) unacknowledged: usize,
    pub(super) changed: Millis,
}

/// Bytes in flight to a reader, as counted when they last moved.
pub(super) struct InFlightCount {
    pub(super) unacknowledged: usize,
    pub(super) delivered: u64,
    pub(super) since: Millis,
}

impl<N: Net> Tunnel<N> {
    /// A tunnel to a target that is connected.
    pub fn new(target: Endpoint<N::Stream>, now: Millis) -> Tunnel<N> {
        Tunnel { target, active_at: now, has_keepalive: false, waiting: None }
    }

    /// The target.
    pub fn target(&mut self) -> &mut Endpoint<N::Stream> {
        &mut self.target
    }

    /// The target's socket.
    pub fn stream(&self) -> &N::Stream {
        &self.target.stream
    }

    /// The target's socket, to be closed.
    pub fn into_stream(self) -> N::Stream {
        self.target.stream
    }

    /// Relays what can be relayed within the budget of a turn. `since` is when the relay began.
    pub fn step(
        &mut self,
        since: Millis,
        relay: &mut Relay<N::Pipe>,
        client: &mut Endpoint<N::Stream>,
        cx: &mut Context<N>,
    ) -> TunnelStep {
        if self.is_reset_pending() {
            return self.poll_reset(client, cx);
        }
        if !self.has_keepalive && cx.now - since >= SHORT_MS {
            self.enable_keepalive(cx);
        }
        let before = (relay.delivered(), relay.is_half_closed());
        let progress = relay.run(&mut cx.net, client, &mut self.target, &mut cx.pool);
        if before != (relay.delivered(), relay.is_half_closed()) {
            self.active_at = cx.now;
        }
        match progress {
            Progress::Step(Step::Wait) => TunnelStep::Wait,
            Progress::Step(Step::More) => TunnelStep::More,
            Progress::Done => TunnelStep::Ended(CloseReason::Done),
            Progress::ClientFailed => {
                let reason = CloseReason::of_client_failure(client.lost);
                self.drain_then_reset(reason, client, cx)
            }
            Progress::TargetFailed => {
                let reason = CloseReason::of_target_failure(self.target.lost);
                self.drain_then_reset(reason, client, cx)
            }
        }
    }

    /// When [`Tunnel::handle_deadline`] is to be called; `None` is never.
    pub fn deadline(&self, relay: &Relay<N::Pipe>, durations: &Durations) -> Option<Millis> {
        if let Some(Waiting::Reset(pending)) = self.waiting.as_deref() {
            return Some(pending.next_poll(durations));
        }
        let silence_ms = self.silence_max_ms(relay, durations);
        let keepalive_ms = (!self.has_keepalive).then_some(durations.keepalive_ms);
        let soonest_ms = silence_ms.into_iter().chain(keepalive_ms).min()?;
        Some(self.active_at.saturating_add(soonest_ms))
    }

    /// The time after which a relay that delivers no byte ends.
    fn silence_max_ms(&self, relay: &Relay<N::Pipe>, durations: &Durations) -> Option<Millis> {
        if relay.is_half_closed() { Some(durations.half_close_ms) } else { durations.idle_ms }
    }

    /// The deadline has come.
    pub fn handle_deadline(
        &mut self,
        relay: &Relay<N::Pipe>,
        client: &Endpoint<N::Stream>,
        cx: &mut Context<N>,
    ) -> TunnelStep {
        if self.is_reset_pending() {
            return self.poll_reset(client, cx);
        }
        let silence_max_ms = self.silence_max_ms(relay, &cx.settings.durations);
        if silence_max_ms.is_none_or(|ms| self.active_at.saturating_add(ms) > cx.now) {
            self.enable_keepalive(cx);
            return TunnelStep::Wait;
        }
        if self.waits_for_reader(relay, client, cx) {
            self.active_at = cx.now;
            return TunnelStep::Wait;
        }
        TunnelStep::Ended(match relay.is_half_closed() {
            true => CloseReason::HalfCloseTimeout,
            false => CloseReason::IdleTimeout,
        })
    }

    /// Lets the kernel detect that the target has vanished. A short session ends before that
    /// matters, and saves the calls.
    fn enable_keepalive(&mut self, cx: &mut Context<N>) {
        self.has_keepalive = true;
        if let Err(error) = cx.net.enable_keepalive(&self.target.stream) {
            debug!("enabling keepalive towards a target: {error}");
        }
    }

    /// Whether a relay continues though it delivered nothing until its time-out. It does while
    /// bytes are in flight that the peers have not acknowledged: a reader that pauses or reads
    /// slowly is not silent. If nothing moves, the idle time-out counts from when that was noticed.
    fn waits_for_reader(
        &mut self,
        relay: &Relay<N::Pipe>,
        client: &Endpoint<N::Stream>,
        cx: &Context<N>,
    ) -> bool {
        let target = &self.target;
        let unacknowledged = unacknowledged(&cx.net, client) + unacknowledged(&cx.net, target);
        if unacknowledged == 0 && relay.up.is_empty() && relay.down.is_empty() {
            return false;
        }
        let delivered = relay.delivered();
        match self.waiting.as_deref() {
            Some(Waiting::Readers(last))
                if (last.unacknowledged, last.delivered) == (unacknowledged, delivered) =>
            {
                let idle_ms = cx.settings.durations.idle_ms;
                idle_ms.is_none_or(|idle_ms| cx.now - last.since < idle_ms)
            }
            _ => {
                let since = cx.now;
                let in_flight = InFlightCount { unacknowledged, delivered, since };
                self.waiting = Some(Box::new(Waiting::Readers(in_flight)));
                true
            }
        }
    }

    /// Resets the other connection when its peer has acknowledged everything, or has acknowledged
    /// nothing more within the half-close time-out.
    fn drain_then_reset(
        &mut self,
        reason: CloseReason,
        client: &Endpoint<N::Stream>,
        cx: &Context<N>,
    ) -> TunnelStep {
        let pending = PendingReset {
            reason,
            started: cx.now,
            polled: cx.now,
            unacknowledged: usize::MAX,
            changed: cx.now,
        };
        self.waiting = Some(Box::new(Waiting::Reset(pending)));
        self.poll_reset(client, cx)
    }

    fn is_reset_pending(&self) -> bool {
        matches!(self.waiting.as_deref(), Some(Waiting::Reset(_)))
    }

    /// Whether the pending reset can be sent now.
    fn poll_reset(&mut self, client: &Endpoint<N::Stream>, cx: &Context<N>) -> TunnelStep {
        let Some(Waiting::Reset(pending)) = self.waiting.as_deref_mut() else {
            return TunnelStep::Wait;
        };
        let other = if pending.reason.is_client_failure() { &self.target } else { client };
        let left = unacknowledged(&cx.net, other);
        pending.polled = cx.now;
        if left < pending.unacknowledged {
            (pending.unacknowledged, pending.changed) = (left, cx.now);
        }
        let is_stuck = cx.now - pending.changed >= cx.settings.durations.half_close_ms;
        if left == 0 || is_stuck { TunnelStep::Ended(pending.reason) } else { TunnelStep::Wait }
    }
}

impl PendingReset {
    fn next_poll(&self, durations: &Durations) -> Millis {
        let is_fresh = self.polled - self.started < POLL_OFTEN_FOR_MS;
        let after_ms =
            if is_fresh { durations.reset_poll_ms } else { durations.slow_reset_poll_ms };
        self.polled.saturating_add(after_ms)
    }
}

/// How many bytes the peer has not acknowledged; none when that connection has failed as well.
fn unacknowledged<N: Net>(net: &N, endpoint: &Endpoint<N::Stream>) -> usize {
    if endpoint.is_gone() {
        return 0;
    }
    net.unacknowledged(&endpoint.stream).unwrap_or(0)
}
