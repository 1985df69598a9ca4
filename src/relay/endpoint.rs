//! One connection of a session and its readiness.

use crate::errno::ErrorCode;
use crate::net::{Event, Net};
use crate::token::Token;
use rustix::io::Errno;
use std::io::{self, ErrorKind};

/// A connection and its readiness. A readiness bit is set by an event and cleared only by the
/// kernel saying that it would block.
pub struct Endpoint<S> {
    /// The socket.
    pub stream: S,
    /// Its token, below 2^32 by [`Token`].
    pub(super) token: u32,
    /// There may be something to read.
    pub readable: bool,
    /// There may be room to write.
    pub writable: bool,
    /// The peer's FIN has been reported. It sticks: a short read no longer means drained.
    pub read_closed: bool,
    /// An urgent byte has been reported but not read. Until then a short read does not mean
    /// drained: reads stop before it.
    pub urgent: bool,
    /// It has been read since the last event and may have more. The next byte may be an urgent one
    /// that no event has reported yet.
    pub read_since_event: bool,
    /// The connection has failed. It sticks: the kernel reports an error once, to the first call
    /// that asks, and an end of file afterwards.
    pub failed: bool,
    /// It has failed because its peer has vanished: keepalive probes or unacknowledged data timed
    /// out.
    pub lost: bool,
    /// The error with which it failed, if the kernel gave one.
    pub error: Option<ErrorCode>,
    /// The kernel may hold back a small piece while an earlier one is not acknowledged.
    pub may_delay: bool,
    /// An event has reported a failure. It sticks.
    pub(super) failure_reported: bool,
    /// An event will report room to write.
    pub(super) awaits_room: bool,
}

impl<S> Endpoint<S> {
    /// An accepted connection, registered to be read. Bytes may have come with it; its send buffer
    /// is empty.
    pub fn accepted(stream: S, token: Token) -> Endpoint<S> {
        Endpoint {
            stream,
            token: token.number() as u32,
            readable: true,
            writable: true,
            read_closed: false,
            urgent: false,
            // It is read before any event.
            read_since_event: true,
            failed: false,
            lost: false,
            error: None,
            may_delay: false,
            failure_reported: false,
            awaits_room: false,
        }
    }

    /// A connection that this side is opening: its options are not set yet.
    pub fn connecting(stream: S, token: Token) -> Endpoint<S> {
        let accepted = Endpoint::accepted(stream, token);
        Endpoint {
            readable: false,
            writable: false,
            read_since_event: false,
            may_delay: true,
            awaits_room: true,
            ..accepted
        }
    }

    /// Updates the readiness from an event.
    pub fn update_readiness(&mut self, event: &Event) {
        self.readable |= event.readable || event.failed || event.urgent;
        self.writable |= event.writable || event.failed;
        self.read_closed |= event.read_closed;
        self.urgent |= event.urgent;
        // What the event reports comes before any byte that arrives after it.
        self.read_since_event &= !event.readable;
        self.failure_reported |= event.failed;
    }

    /// Whether an event has reported a failure.
    pub fn is_failure_reported(&self) -> bool {
        self.failure_reported
    }

    /// Whether nothing more can be exchanged with the peer.
    pub fn is_gone(&self) -> bool {
        self.failed || self.failure_reported
    }

    /// Records that the connection has failed. Bytes that arrived before can still be read.
    pub fn set_failed(&mut self, error: &io::Error) {
        self.failed = true;
        self.readable = true;
        // A call after the first only sees that the connection is gone.
        let says_more = !self.lost && !is_reset(error);
        if self.error.is_none() || says_more {
            self.error = ErrorCode::of(error);
        }
        self.lost |= says_more;
    }

    /// Takes the error of the connection, after an event that reported a failure.
    pub fn take_failure<N: Net<Stream = S>>(&mut self, net: &N) {
        if self.failure_reported && !self.failed {
            let error = net.take_error(&self.stream).ok().flatten();
            self.set_failed(&error.unwrap_or_else(|| ErrorKind::ConnectionReset.into()));
        }
    }

    /// The kernel has no room to send: from now on an event reports when it has.
    pub fn wait_for_room<N: Net<Stream = S>>(&mut self, net: &mut N) {
        self.writable = false;
        if !self.awaits_room {
            self.awaits_room = true;
            if let Err(error) = net.await_room(&mut self.stream, self.token as usize) {
                self.set_failed(&error);
            }
        }
    }
}

/// Whether the peer has reset the connection; otherwise the kernel itself has given it up, after a
/// time-out or an ICMP error.
pub fn is_reset(error: &io::Error) -> bool {
    // A FIN that can no longer be sent only shows that the connection is gone.
    let resets = [Errno::CONNRESET, Errno::PIPE, Errno::NOTCONN];
    error.raw_os_error().is_none_or(|code| resets.iter().any(|e| e.raw_os_error() == code))
}
