//! Where to, in the client's words.

use crate::wire::Host;
use std::net::{Ipv4Addr, SocketAddrV4};

/// The target of a CONNECT, or the peer that a BIND expects.
///
/// Most callers need not name it: an address, a pair of address and port, and a pair of text and
/// port all become one.
///
/// ```
/// use socku::client::Target;
/// use std::net::Ipv4Addr;
///
/// assert_eq!(Target::from(("www.example.com", 80)), Target::Name("www.example.com", 80));
/// let local = "127.0.0.1:80".parse().unwrap();
/// assert_eq!(Target::from((Ipv4Addr::LOCALHOST, 80)), Target::Address(local));
/// assert_eq!(Target::from(("127.0.0.1", 80)), Target::Address(local));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// An address: a SOCKS4 request. 0.0.0.x with x not 0 cannot be asked for, it is the mark of
    /// SOCKS4A.
    Address(SocketAddrV4),
    /// A name, which the proxy resolves, and a port: a SOCKS4A request. The name must not be
    /// empty, hold a NUL or exceed [`NAME_BYTES_MAX`](crate::wire::NAME_BYTES_MAX); whether it
    /// is a host name is for the proxy to say.
    Name(&'a str, u16),
}

impl<'a> Target<'a> {
    pub(super) fn parts(self) -> (Host<'a>, u16) {
        match self {
            Target::Address(address) => (Host::Address(*address.ip()), address.port()),
            Target::Name(name, port) => (Host::Name(name.as_bytes()), port),
        }
    }
}

impl From<SocketAddrV4> for Target<'_> {
    fn from(address: SocketAddrV4) -> Self {
        Target::Address(address)
    }
}

impl From<(Ipv4Addr, u16)> for Target<'_> {
    fn from((address, port): (Ipv4Addr, u16)) -> Self {
        Target::Address(SocketAddrV4::new(address, port))
    }
}

/// A dotted quad becomes an address, so that proxies without SOCKS4A understand it; anything
/// else is a name.
impl<'a> From<(&'a str, u16)> for Target<'a> {
    fn from((host, port): (&'a str, u16)) -> Self {
        match host.parse::<Ipv4Addr>() {
            Ok(address) => Target::from((address, port)),
            Err(_) => Target::Name(host, port),
        }
    }
}
