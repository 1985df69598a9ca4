//! Why there is no connection, for programs and for the person who sees it.

use crate::wire::{EncodeError, NAME_BYTES_MAX, REPLY_BYTES, USER_BYTES_MAX};
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

/// Why there is no connection. The text that `Display` gives is complete, the operating system's
/// words included; so there is no `source` that would say it again.
#[derive(Debug)]
pub enum Error {
    /// The request cannot be put into bytes: the user id or the name is too long or holds a
    /// NUL, the name is empty, or the address is 0.0.0.x. Nothing has been sent.
    Request(EncodeError),
    /// Reply 91: a rule forbids it, the target could not be reached, or the peer of a BIND was
    /// another one or did not come. SOCKS4 does not say which.
    Rejected,
    /// Reply 92: the proxy requires an identd on this host and got no answer from it.
    NoIdent,
    /// Reply 93: this host's identd gave the proxy another user than the user id.
    OtherUser,
    /// What came is no SOCKS4 reply. These are its bytes: eight, or fewer (maybe none) if the
    /// connection ended behind them.
    Protocol(Vec<u8>),
    /// A system call failed, or a time-out ([`ErrorKind::TimedOut`]) has passed.
    Io {
        /// What was being done.
        doing: Doing,
        /// The proxy it was done with.
        proxy: SocketAddr,
        /// What went wrong.
        error: io::Error,
    },
}

/// What was being done when an [`Error::Io`] came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Connecting to the proxy.
    Connecting,
    /// Sending the request.
    Sending,
    /// Waiting for the reply, of a BIND the first one.
    Reply,
    /// Waiting for the second reply of a BIND, which tells the peer.
    Peer,
}

impl Error {
    /// What blocking sockets call "would block" is their time-out.
    pub(super) fn io(doing: Doing, proxy: SocketAddr, error: io::Error) -> Error {
        let error = match error.kind() {
            ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
            _ => error,
        };
        Error::Io { doing, proxy, error }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Request(EncodeError::User) => {
                write!(f, "the user id holds a NUL or exceeds {USER_BYTES_MAX} bytes")
            }
            Error::Request(EncodeError::Name) => {
                write!(f, "the name is empty, holds a NUL or exceeds {NAME_BYTES_MAX} bytes")
            }
            Error::Request(EncodeError::Address) => {
                f.write_str("SOCKS4 cannot ask for an address of the form 0.0.0.x")
            }
            Error::Rejected => {
                f.write_str("the SOCKS proxy refused, or could not make the connection (reply 91)")
            }
            Error::NoIdent => f.write_str(
                "the SOCKS proxy refused: it got no answer from the identd of this host (reply 92)",
            ),
            Error::OtherUser => f.write_str(
                "the SOCKS proxy refused: the identd of this host names another user (reply 93)",
            ),
            Error::Protocol(bytes) => protocol(bytes, f),
            Error::Io { doing, proxy, error } if error.kind() == ErrorKind::TimedOut => {
                write!(f, "time-out while {doing} the SOCKS proxy at {proxy}")
            }
            Error::Io { doing, proxy, error } => {
                write!(f, "error while {doing} the SOCKS proxy at {proxy}: {error}")
            }
        }
    }
}

fn protocol(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if bytes.is_empty() {
        return f.write_str("the SOCKS proxy closed the connection without a reply");
    }
    f.write_str(match bytes.len() {
        ..REPLY_BYTES => "the SOCKS proxy closed the connection within its reply:",
        _ => "this is not how a SOCKS4 proxy replies:",
    })?;
    bytes.iter().try_for_each(|byte| write!(f, " {byte:02x}"))
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Doing::Connecting => "connecting to",
            Doing::Sending => "sending the request to",
            Doing::Reply => "waiting for the reply of",
            Doing::Peer => "waiting for the peer's connection to",
        })
    }
}

impl std::error::Error for Error {}
