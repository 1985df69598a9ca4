//! Errors of a request, for programs and for people.

use super::address::ProxyAddress;
use crate::wire::{CREDENTIAL_BYTES_MAX, EncodeError, NAME_BYTES_MAX, USER_BYTES_MAX};
use std::convert::Infallible;
use std::fmt;
use std::io::{self, ErrorKind};

/// Why there is no connection. The text that `Display` gives is complete and includes the operating
/// system's words, so there is no `source` to repeat them.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The target, given here, is no IPv4 address and not of the form `HOST:PORT`. Nothing has
    /// been sent.
    Target(String),
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
    /// The proxy's answer is no SOCKS4 reply. These are its bytes: eight, or fewer (maybe none) if
    /// the connection ended after them.
    Protocol(Vec<u8>),
    /// A system call failed, or a time-out ([`ErrorKind::TimedOut`]) has passed.
    Io {
        /// The step that failed.
        doing: Doing,
        /// The proxy, as the caller named it.
        proxy: ProxyAddress,
        /// The system's error. For a proxy with several addresses it is that of the last one.
        error: io::Error,
    },
}

/// The step that an [`Error::Io`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Doing {
    /// Looking up the proxy's name.
    LookingUp,
    /// Connecting to the proxy.
    Connecting,
    /// Sending the request.
    Sending,
    /// Waiting for the reply, of a BIND the first one.
    Reply,
    /// Waiting for the second reply of a BIND, which has the peer's address.
    Peer,
}

impl Error {
    /// Blocking sockets report their time-out as "would block".
    pub(super) fn io(doing: Doing, proxy: &ProxyAddress, error: io::Error) -> Error {
        let proxy = proxy.clone();
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
            Error::Target(found) => write!(
                f,
                "the target {found:?}: expected HOST:PORT, with a name or an IPv4 address as HOST"
            ),
            Error::Request(EncodeError::User) => {
                write!(f, "the user id holds a NUL or exceeds {USER_BYTES_MAX} bytes")
            }
            Error::Request(EncodeError::Name) => {
                write!(f, "the name is empty, holds a NUL or exceeds {NAME_BYTES_MAX} bytes")
            }
            Error::Request(EncodeError::Address) => {
                f.write_str("SOCKS4 cannot ask for an address of the form 0.0.0.x")
            }
            Error::Request(EncodeError::Password) => {
                write!(f, "the password is empty or exceeds {CREDENTIAL_BYTES_MAX} bytes")
            }
            Error::Request(EncodeError::Ipv6) => {
                f.write_str("SOCKS4 cannot ask for an IPv6 address: use SOCKS5")
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

/// Bytes of every SOCKS4 reply.
const REPLY_BYTES: usize = 8;

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
            Doing::LookingUp => "looking up the name of",
            Doing::Connecting => "connecting to",
            Doing::Sending => "sending the request to",
            Doing::Reply => "waiting for the reply of",
            Doing::Peer => "waiting for the peer's connection to",
        })
    }
}

impl std::error::Error for Error {}

/// Never called: for the targets that cannot be wrong.
impl From<Infallible> for Error {
    fn from(never: Infallible) -> Error {
        match never {}
    }
}
