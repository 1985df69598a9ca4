//! A session and its sockets.

use super::direction::DirectionRecord;
use crate::cbor::is_unset;
use crate::errno::ErrorCode;
use crate::reason::CloseReason;
use crate::session::Session;
use crate::time::Millis;
use minicbor::{Decode, Encode};
use std::num::NonZeroU32;

/// A session, its sockets and the bytes between them.
#[derive(Debug, Encode, Decode)]
#[cbor(map)]
pub struct ConnectionRecord<'b> {
    /// The session.
    #[n(0)]
    pub session: Session,
    /// The client's connection.
    #[n(1)]
    pub client: EndpointRecord,
    /// The target side; `None` when there is nothing, or only what is begun again.
    #[n(2)]
    pub target: Option<TargetRecord>,
    /// From the client to the target.
    #[b(3)]
    pub up: DirectionRecord<'b>,
    /// From the target to the client.
    #[b(4)]
    pub down: DirectionRecord<'b>,
    /// How long after its start a waiting client closed its side, and one more.
    #[n(5)]
    pub left_after_ms: Option<NonZeroU32>,
}

/// A socket and its readiness.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct EndpointRecord {
    /// The index of its descriptor.
    #[n(0)]
    pub descriptor: u32,
    /// There may be something to read.
    #[cbor(n(1), skip_if = "is_unset")]
    pub readable: bool,
    /// There may be room to write.
    #[cbor(n(2), skip_if = "is_unset")]
    pub writable: bool,
    /// The peer's FIN has been reported.
    #[cbor(n(3), skip_if = "is_unset")]
    pub read_closed: bool,
    /// An urgent byte has been reported but not read.
    #[cbor(n(4), skip_if = "is_unset")]
    pub urgent: bool,
    /// It has been read since the last event.
    #[cbor(n(5), skip_if = "is_unset")]
    pub read_since_event: bool,
    /// It has failed; the kernel will not say so again.
    #[cbor(n(6), skip_if = "is_unset")]
    pub failed: bool,
    /// It has failed because its peer has vanished.
    #[cbor(n(7), skip_if = "is_unset")]
    pub lost: bool,
    /// The kernel may hold back a small piece.
    #[cbor(n(8), skip_if = "is_unset")]
    pub may_delay: bool,
    /// An event has reported a failure.
    #[cbor(n(9), skip_if = "is_unset")]
    pub failure_reported: bool,
    /// The error with which it failed.
    #[n(10)]
    pub error: Option<ErrorCode>,
}

/// The target side of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum TargetRecord {
    /// A descriptor was set aside for it; the new program sets one aside itself.
    #[n(0)]
    Reserve,
    /// The addresses being tried, oldest first.
    #[n(1)]
    Attempts(#[n(0)] Vec<AttemptRecord>),
    /// A BIND that is waiting for its peer.
    #[n(2)]
    Listener(#[n(0)] ListenerRecord),
    /// The target is connected.
    #[n(3)]
    Tunnel(#[n(0)] TunnelRecord),
}

/// An attempt to connect.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AttemptRecord {
    /// Its number in the session.
    #[n(0)]
    pub number: u8,
    /// Its socket.
    #[n(1)]
    pub endpoint: EndpointRecord,
}

/// The listener of a BIND.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ListenerRecord {
    /// The index of its descriptor.
    #[n(0)]
    pub descriptor: u32,
    /// The port it listens on.
    #[n(1)]
    pub port: u16,
    /// A peer may have connected.
    #[cbor(n(2), skip_if = "is_unset")]
    pub is_ready: bool,
}

/// The target of a relay.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct TunnelRecord {
    /// Its connection.
    #[n(0)]
    pub endpoint: EndpointRecord,
    /// When bytes were last delivered, or a direction ended.
    #[n(1)]
    pub active_at: Millis,
    /// The kernel probes whether the target is still there.
    #[cbor(n(2), skip_if = "is_unset")]
    pub has_keepalive: bool,
    /// Set while peers have not acknowledged everything.
    #[n(3)]
    pub waiting: Option<WaitingRecord>,
}

/// Peers that have not acknowledged everything.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum WaitingRecord {
    /// One connection has failed; the other will be reset.
    #[n(0)]
    Reset {
        /// Why the session will end.
        #[n(0)]
        reason: CloseReason,
        /// When the connection failed.
        #[n(1)]
        started: Millis,
        /// When the bytes were last counted.
        #[n(2)]
        polled: Millis,
        /// How many bytes were not acknowledged when that number last changed.
        #[n(3)]
        unacknowledged: u64,
        /// When that was.
        #[n(4)]
        changed: Millis,
    },
    /// Bytes are in flight to slow readers.
    #[n(1)]
    Readers {
        /// How many were not acknowledged when they last moved.
        #[n(0)]
        unacknowledged: u64,
        /// How many had been delivered then.
        #[n(1)]
        delivered: u64,
        /// When that was.
        #[n(2)]
        since: Millis,
    },
}

impl ConnectionRecord<'_> {
    /// Calls `name` with each descriptor that it names.
    pub(super) fn name_descriptors(&self, mut name: impl FnMut(u32)) {
        name(self.client.descriptor);
        match &self.target {
            None | Some(TargetRecord::Reserve) => {}
            Some(TargetRecord::Attempts(attempts)) => {
                attempts.iter().for_each(|attempt| name(attempt.endpoint.descriptor));
            }
            Some(TargetRecord::Listener(listener)) => name(listener.descriptor),
            Some(TargetRecord::Tunnel(tunnel)) => name(tunnel.endpoint.descriptor),
        }
        for pipe in [self.up.pipe, self.down.pipe].into_iter().flatten() {
            name(pipe.out);
            name(pipe.into);
        }
    }

    /// Whether none of its times is later than `now`.
    pub(super) fn is_not_after(&self, now: Millis) -> bool {
        let mut times = vec![self.session.started, self.session.since()];
        if let Some(TargetRecord::Tunnel(tunnel)) = &self.target {
            times.push(tunnel.active_at);
            match &tunnel.waiting {
                Some(WaitingRecord::Reset { started, polled, changed, .. }) => {
                    times.extend([*started, *polled, *changed]);
                    // One of them is taken from the other.
                    times.push(if started > polled { Millis::MAX } else { 0 });
                }
                Some(WaitingRecord::Readers { since, .. }) => times.push(*since),
                None => {}
            }
        }
        times.into_iter().all(|time| time <= now)
    }
}
