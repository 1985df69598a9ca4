//! The far end of a session. The first byte that arrives chooses its kind.

use std::io;
use std::os::fd::OwnedFd;

use crate::net::{self, EventFlags, Outcome};
use crate::pump::Pump;

/// First byte of a session that wants its bytes back.
pub const ECHO: u8 = b'E';
/// The one byte that makes the target send for ever.
pub const SOURCE: u8 = b'D';
/// First byte of a session that only sends.
pub const SINK: u8 = b'U';

/// One accepted connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Nothing has come yet.
    New,
    /// Sends back what comes.
    Echo,
    /// Sends as fast as it can.
    Source,
    /// Discards what comes.
    Sink,
}

/// The engine's next step after an event.
pub enum After {
    /// Nothing.
    Keep,
    /// Watch for something else from now on.
    Watch(EventFlags),
    /// Free the connection.
    Close,
}

impl Target {
    /// The events that a new connection waits for.
    pub const FIRST_INTEREST: EventFlags =
        EventFlags::IN.union(EventFlags::RDHUP).union(EventFlags::ET);

    /// Handles an event.
    pub fn handle(
        &mut self,
        socket: &OwnedFd,
        flags: EventFlags,
        pump: &mut Pump,
    ) -> io::Result<After> {
        match self {
            Target::New | Target::Echo => self.converse(socket, flags, pump),
            Target::Source => {
                if flags.intersects(EventFlags::HUP | EventFlags::ERR) {
                    return Ok(After::Close);
                }
                pump.send(socket)?;
                Ok(After::Keep)
            }
            Target::Sink => match pump.drain(socket)? {
                Outcome::Done(0) => Ok(After::Close),
                _ => Ok(After::Keep),
            },
        }
    }

    fn converse(
        &mut self,
        socket: &OwnedFd,
        flags: EventFlags,
        pump: &mut Pump,
    ) -> io::Result<After> {
        loop {
            let buffer = pump.scratch();
            let received = match net::receive(socket, buffer)? {
                Outcome::Blocked => return Ok(After::Keep),
                Outcome::Done(0) => return Ok(After::Close),
                Outcome::Done(received) => received,
            };
            if *self == Target::New {
                match buffer[0] {
                    SOURCE => {
                        *self = Target::Source;
                        return Ok(After::Watch(EventFlags::OUT));
                    }
                    SINK => {
                        *self = Target::Sink;
                        return Ok(After::Watch(EventFlags::IN));
                    }
                    _ => *self = Target::Echo,
                }
            }
            let Outcome::Done(()) = net::send_message(socket, &buffer[..received])? else {
                return Err(io::Error::other("an echo did not fit"));
            };
            // A short read has emptied the socket; a known end still has to be read.
            if received < buffer.len() && !flags.contains(EventFlags::RDHUP) {
                return Ok(After::Keep);
            }
        }
    }
}
