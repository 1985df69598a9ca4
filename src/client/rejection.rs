//! The proxy's reason for a rejection.

use crate::wire::{Protocol, Status};
use std::fmt;

/// The proxy's reason for rejecting a request, as far as the protocol has a word for it. SOCKS4
/// knows only [`Failed`](Rejection::Failed), [`NoIdent`](Rejection::NoIdent) and
/// [`OtherUser`](Rejection::OtherUser).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rejection {
    /// Reply 91 of SOCKS4: a rule forbids it, the target could not be reached, or the peer of a
    /// BIND was another one or did not come; the reply does not say which. Reply 1 of SOCKS5: another
    /// failure than those below.
    Failed,
    /// Reply 2 of SOCKS5: the proxy's rules do not allow it.
    NotAllowed,
    /// Reply 3 of SOCKS5: the target's network is unreachable.
    NetworkUnreachable,
    /// Reply 4 of SOCKS5: the target is unreachable; often also that its name is not known.
    HostUnreachable,
    /// Reply 5 of SOCKS5: the target refused the connection.
    Refused,
    /// Reply 6 of SOCKS5 ("TTL expired"): the target, or the peer of a BIND, took too long.
    TimedOut,
    /// Reply 7 of SOCKS5: the proxy does not serve CONNECT or BIND, whichever it was.
    CommandNotSupported,
    /// Reply 8 of SOCKS5: the proxy does not serve names, or addresses of this family.
    AddressTypeNotSupported,
    /// Reply 92 of SOCKS4: the proxy requires an identd on this host and got no answer from it.
    NoIdent,
    /// Reply 93 of SOCKS4: this host's identd gave the proxy another user than the user id.
    OtherUser,
    /// A reply of SOCKS5 to which RFC 1928 gives no meaning.
    Other(u8),
}

impl Rejection {
    /// The meaning of a reply's code; `None` if the request is granted.
    pub(super) fn from_code(code: u8, protocol: Protocol) -> Option<Rejection> {
        Some(match Status::from_code(code, protocol) {
            Some(Status::Granted) => return None,
            Some(Status::Failed) => Rejection::Failed,
            Some(Status::NotAllowed) => Rejection::NotAllowed,
            Some(Status::NetworkUnreachable) => Rejection::NetworkUnreachable,
            Some(Status::HostUnreachable) => Rejection::HostUnreachable,
            Some(Status::Refused) => Rejection::Refused,
            Some(Status::TimedOut) => Rejection::TimedOut,
            Some(Status::CommandNotSupported) => Rejection::CommandNotSupported,
            Some(Status::AddressTypeNotSupported) => Rejection::AddressTypeNotSupported,
            Some(Status::NoIdent) => Rejection::NoIdent,
            Some(Status::OtherUser) => Rejection::OtherUser,
            None => Rejection::Other(code),
        })
    }
}

/// A clause for people.
impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rejection::Failed => "it is not allowed or failed, the proxy does not say why",
            Rejection::NotAllowed => "its rules do not allow it",
            Rejection::NetworkUnreachable => "the target's network is unreachable",
            Rejection::HostUnreachable => "the target is unreachable or its name unknown",
            Rejection::Refused => "the target refused the connection",
            Rejection::TimedOut => "nobody answered in time",
            Rejection::CommandNotSupported => "it does not support this command",
            Rejection::AddressTypeNotSupported => "it does not support this kind of address",
            Rejection::NoIdent => "it got no answer from the identd of this host",
            Rejection::OtherUser => "the identd of this host names another user",
            Rejection::Other(code) => return write!(f, "reply {code}, which has no known meaning"),
        })
    }
}
