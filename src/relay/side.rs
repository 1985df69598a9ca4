//! One connection of a session and what is known of it.

use crate::net::Event;
use rustix::io::Errno;
use std::io;

/// A connection and its readiness. A readiness bit is set by an event and cleared only by the
/// kernel saying that it would block.
pub struct Side<S> {
    /// The socket.
    pub stream: S,
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
}

impl<S> Side<S> {
    /// An accepted connection of which no event has told anything.
    pub fn new(stream: S) -> Side<S> {
        Side {
            stream,
            readable: false,
            writable: false,
            read_closed: false,
            urgent: false,
            read_on: false,
            reset: false,
            lost: false,
            may_delay: false,
            failed: false,
        }
    }

    /// A connection that is being made here: its options are not set yet.
    pub fn connecting(stream: S) -> Side<S> {
        Side { may_delay: true, ..Side::new(stream) }
    }

    /// Takes in what an event tells.
    pub fn fold(&mut self, event: &Event) {
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

    /// Remembers that the connection has failed. What had arrived before can still be read.
    pub fn set_failed(&mut self, error: &io::Error) {
        self.reset = true;
        self.readable = true;
        self.lost |= !is_reset(error);
    }
}

/// Whether the peer has reset the connection; otherwise the kernel itself has given it up, with
/// a time-out or with what a router last said of the peer.
pub fn is_reset(error: &io::Error) -> bool {
    // A FIN that cannot be sent any more only tells that the connection is gone.
    let resets = [Errno::CONNRESET, Errno::PIPE, Errno::NOTCONN];
    error.raw_os_error().is_none_or(|code| resets.iter().any(|e| e.raw_os_error() == code))
}
