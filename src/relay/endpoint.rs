//! One connection of a session and what is known of it.

use crate::net::{Event, Interest, Net};
use crate::token::Token;
use rustix::io::Errno;
use std::io::{self, ErrorKind};

/// A connection and its readiness. A readiness bit is set by an event and cleared only by the
/// kernel saying that it would block.
pub struct Endpoint<S> {
    /// The socket.
    pub stream: S,
    /// Its token, below 2^32 by [`Token`].
    token: u32,
    /// There may be something to read.
    pub readable: bool,
    /// There may be room to write.
    pub writable: bool,
    /// The peer's FIN has been announced. It sticks: a short read does not mean drained then.
    pub read_closed: bool,
    /// An urgent byte has been announced and not been read yet. Until then a short read does not
    /// mean drained: reads stop in front of it.
    pub urgent: bool,
    /// It has been read since the last event and may have more. What comes next may be an urgent
    /// byte that no event has announced yet.
    pub read_on: bool,
    /// The connection has failed. It sticks: the kernel tells an error once, to the first call
    /// that asks, and an end of file afterwards.
    pub reset: bool,
    /// It has failed because its peer has vanished: the kernel gave up on keepalive or on data
    /// that nobody acknowledged.
    pub lost: bool,
    /// The kernel may hold back a small piece while an earlier one is not acknowledged.
    pub may_delay: bool,
    /// An event has told of a failure. It sticks as well.
    failed: bool,
    /// An event will tell of room to write.
    awaits_room: bool,
}

impl<S> Endpoint<S> {
    /// An accepted connection, registered to be read. Its send buffer is empty.
    pub fn accepted(stream: S, token: Token) -> Endpoint<S> {
        Endpoint {
            stream,
            token: token.number() as u32,
            readable: false,
            writable: true,
            read_closed: false,
            urgent: false,
            read_on: false,
            reset: false,
            lost: false,
            may_delay: false,
            failed: false,
            awaits_room: false,
        }
    }

    /// A connection that is being made here: its options are not set yet.
    pub fn connecting(stream: S, token: Token) -> Endpoint<S> {
        let accepted = Endpoint::accepted(stream, token);
        Endpoint { writable: false, may_delay: true, awaits_room: true, ..accepted }
    }

    /// Takes in what an event tells.
    pub fn update_readiness(&mut self, event: &Event) {
        self.readable |= event.readable || event.failed || event.urgent;
        self.writable |= event.writable || event.failed;
        self.read_closed |= event.read_closed;
        self.urgent |= event.urgent;
        // What such an event tells of comes before any byte that arrives after it.
        self.read_on &= !event.readable;
        self.failed |= event.failed;
    }

    /// Whether an event has told of a failure.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Whether nothing more can be exchanged with the peer.
    pub fn is_gone(&self) -> bool {
        self.reset || self.failed
    }

    /// Remembers that the connection has failed. What had arrived before can still be read.
    pub fn set_failed(&mut self, error: &io::Error) {
        self.reset = true;
        self.readable = true;
        self.lost |= !is_reset(error);
    }

    /// Finds out why the connection has failed, once an event has told that it has.
    pub fn take_failure<N: Net<Stream = S>>(&mut self, net: &N) {
        if self.failed && !self.reset {
            let error = net.take_error(&self.stream).ok().flatten();
            self.set_failed(&error.unwrap_or_else(|| ErrorKind::ConnectionReset.into()));
        }
    }

    /// The kernel has no room for what is to be sent: from now on an event tells when it has.
    pub fn wait_for_room<N: Net<Stream = S>>(&mut self, net: &mut N) {
        self.writable = false;
        if !self.awaits_room {
            self.awaits_room = true;
            self.reregister(net, Interest::ReadWrite);
        }
    }

    /// The connection is made, and there is room for what is to be sent. An endpoint that goes on
    /// awaiting room would be woken when the peer acknowledges the FIN, for one.
    pub fn set_connected<N: Net<Stream = S>>(&mut self, net: &mut N) {
        self.awaits_room = false;
        self.reregister(net, Interest::Read);
    }

    fn reregister<N: Net<Stream = S>>(&mut self, net: &mut N, interest: Interest) {
        if let Err(error) = net.reregister(&mut self.stream, self.token as usize, interest) {
            self.set_failed(&error);
        }
    }
}

/// Whether the peer has reset the connection; otherwise the kernel itself has given it up, with
/// a time-out or with what a router last said of the peer.
pub fn is_reset(error: &io::Error) -> bool {
    // A FIN that cannot be sent any more only tells that the connection is gone.
    let resets = [Errno::CONNRESET, Errno::PIPE, Errno::NOTCONN];
    error.raw_os_error().is_none_or(|code| resets.iter().any(|e| e.raw_os_error() == code))
}
