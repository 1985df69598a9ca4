//! Errors of a request, for programs and for people.

use super::address::ProxyAddress;
use super::rejection::Rejection;
use crate::wire::{CREDENTIAL_BYTES_MAX, EncodeError, NAME_BYTES_MAX, USER_BYTES_MAX};
use std::convert::Infallible;
use std::fmt;
use std::io::{self, ErrorKind};

/// Why there is no connection. The text that `Display` gives is complete and includes the operating
/// system's words, so there is no `source` to repeat them.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The target, given here, is not of the form `HOST:PORT` or `[IPV6]:PORT`. Nothing has been
    /// sent.
    Target(String),
    /// The request cannot be put into bytes: the user, the password or the name is too long, empty
    /// or holds a NUL, or SOCKS4 is to ask for one of the addresses 0.0.0.1 to 0.0.0.255 or
    /// for one of IPv6. Nothing has
    /// been sent.
    Request(EncodeError),
    /// The proxy has read the request and rejected it, or could not do what it asks for.
    Rejected(Rejection),
    /// SOCKS5: the proxy accepts no authentication method that the client offers. Without
    /// [`Client::password`](super::Client::password) that is only "none".
    NoMethod,
    /// SOCKS5: the proxy does not accept this user and password.
    WrongPassword,
    /// The proxy's answer, given here as far as it has been read, is not of the protocol.
    Protocol(Vec<u8>),
    /// The proxy closed the connection in place of its answer, or after these bytes of it.
    Closed(Vec<u8>),
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
    /// SOCKS5: waiting for the proxy to choose a method of authentication, or to check the
    /// password.
    Authenticating,
    /// Sending the request, or what comes before it.
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
                "the target {found:?}: expected HOST:PORT, with a name or an address as HOST \
                 (an IPv6 address in brackets)"
            ),
            Error::Request(error) => request(*error, f),
            Error::Rejected(rejection) => {
                write!(f, "the SOCKS proxy rejected the request: {rejection}")
            }
            Error::NoMethod => {
                f.write_str("the SOCKS proxy requires an authentication that was not offered")
            }
            Error::WrongPassword => {
                f.write_str("the SOCKS proxy does not accept this user and password")
            }
            Error::Protocol(bytes) => {
                f.write_str("this is not how a SOCKS proxy answers:")?;
                hex(bytes, f)
            }
            Error::Closed(bytes) if bytes.is_empty() => {
                f.write_str("the SOCKS proxy closed the connection without an answer")
            }
            Error::Closed(bytes) => {
                f.write_str("the SOCKS proxy closed the connection within its answer:")?;
                hex(bytes, f)
            }
            Error::Io { doing, proxy, error } if error.kind() == ErrorKind::TimedOut => {
                write!(f, "time-out while {doing} the SOCKS proxy at {proxy}")
            }
            Error::Io { doing, proxy, error } => {
                write!(f, "error while {doing} the SOCKS proxy at {proxy}: {error}")
            }
        }
    }
}

fn request(error: EncodeError, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match error {
        EncodeError::User => write!(
            f,
            "the user has more than {USER_BYTES_MAX} bytes or a NUL (SOCKS4), or none or more than \
             {CREDENTIAL_BYTES_MAX} bytes (SOCKS5)"
        ),
        EncodeError::Password => {
            write!(f, "the password is empty or longer than {CREDENTIAL_BYTES_MAX} bytes")
        }
        EncodeError::Name => {
            write!(f, "the name is empty, holds a NUL or exceeds {NAME_BYTES_MAX} bytes")
        }
        EncodeError::Address => {
            f.write_str("SOCKS4 cannot ask for the addresses 0.0.0.1 to 0.0.0.255")
        }
        EncodeError::Ipv6 => f.write_str("SOCKS4 cannot ask for an IPv6 address: use SOCKS5"),
    }
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, " {byte:02x}"))
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Doing::LookingUp => "looking up the name of",
            Doing::Connecting => "connecting to",
            Doing::Authenticating => "authenticating with",
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
