//! The target of a request, as the caller names it.

use super::error::Error;
use crate::wire::Host;
use std::borrow::Cow;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

/// The target of a CONNECT, or the peer that a BIND expects.
///
/// Most callers need not name it. [`Client::connect`] and [`Client::bind`] take
///
/// - text of the form `"HOST:PORT"` (`&str`, `&String`, `String`),
/// - a pair of host and port: `("www.example.com", 80)`, `(Ipv4Addr::LOCALHOST, 80)`,
/// - an address: [`SocketAddrV4`], or a [`SocketAddr`] that holds one.
///
/// A dotted quad in a text becomes an address, so that proxies without SOCKS4A understand it.
/// Anything else is a name.
///
/// ```
/// use socku::client::Target;
/// use std::net::Ipv4Addr;
///
/// let name = Target::Name("www.example.com".into(), 80);
/// assert_eq!(Target::from(("www.example.com", 80)), name);
/// assert_eq!(Target::try_from("www.example.com:80").unwrap(), name);
///
/// let local = Target::Address("127.0.0.1:80".parse().unwrap());
/// assert_eq!(Target::from((Ipv4Addr::LOCALHOST, 80)), local);
/// assert_eq!(Target::from(("127.0.0.1", 80)), local);
/// assert_eq!(Target::try_from("127.0.0.1:80").unwrap(), local);
///
/// let error = Target::try_from("www.example.com").unwrap_err();
/// assert!(error.to_string().contains("expected HOST:PORT"));
/// ```
///
/// [`Client::connect`]: super::Client::connect
/// [`Client::bind`]: super::Client::bind
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target<'a> {
    /// An address: a SOCKS4 request. 0.0.0.x with x not 0 cannot be asked for: it is the mark of
    /// SOCKS4A.
    Address(SocketAddrV4),
    /// A name, which the proxy resolves, and a port: a SOCKS4A request. The name must not be
    /// empty, hold a NUL or exceed [`NAME_BYTES_MAX`](super::NAME_BYTES_MAX). The proxy decides
    /// whether it is a host name.
    Name(Cow<'a, str>, u16),
}

impl<'a> Target<'a> {
    pub(super) fn parts(&self) -> (Host<'_>, u16) {
        match self {
            Target::Address(address) => (Host::Address((*address.ip()).into()), address.port()),
            Target::Name(name, port) => (Host::Name(name.as_bytes()), *port),
        }
    }

    fn of(host: Cow<'a, str>, port: u16) -> Target<'a> {
        match host.parse::<Ipv4Addr>() {
            Ok(address) => Target::from((address, port)),
            Err(_) => Target::Name(host, port),
        }
    }
}

/// Host and port of `HOST:PORT`.
fn split(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|_| is_number)?;
    (!host.is_empty() && !host.contains(':')).then_some((host, port))
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

impl<'a> From<(&'a str, u16)> for Target<'a> {
    fn from((host, port): (&'a str, u16)) -> Self {
        Target::of(host.into(), port)
    }
}

impl From<(String, u16)> for Target<'_> {
    fn from((host, port): (String, u16)) -> Self {
        Target::of(host.into(), port)
    }
}

/// Fails with [`Error::Target`] for an IPv6 address.
impl TryFrom<SocketAddr> for Target<'_> {
    type Error = Error;

    fn try_from(address: SocketAddr) -> Result<Self, Error> {
        match address {
            SocketAddr::V4(address) => Ok(address.into()),
            SocketAddr::V6(_) => Err(Error::Target(address.to_string())),
        }
    }
}

/// Fails with [`Error::Target`] unless the text has the form `HOST:PORT`.
impl<'a> TryFrom<&'a str> for Target<'a> {
    type Error = Error;

    fn try_from(text: &'a str) -> Result<Self, Error> {
        let (host, port) = split(text).ok_or_else(|| Error::Target(text.into()))?;
        Ok(Target::from((host, port)))
    }
}

/// Fails with [`Error::Target`] unless the text has the form `HOST:PORT`.
impl<'a> TryFrom<&'a String> for Target<'a> {
    type Error = Error;

    fn try_from(text: &'a String) -> Result<Self, Error> {
        Target::try_from(text.as_str())
    }
}

/// Fails with [`Error::Target`] unless the text has the form `HOST:PORT`.
impl TryFrom<String> for Target<'_> {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        match split(&text).map(|(host, port)| (host.to_owned(), port)) {
            Some((host, port)) => Ok(Target::from((host, port))),
            None => Err(Error::Target(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_host_and_port_is_a_target_and_any_other_text_an_error() {
        for (text, expected) in [
            ("a:1", Target::Name("a".into(), 1)),
            ("WWW.example.com.:65535", Target::Name("WWW.example.com.".into(), 65535)),
            ("1.2.3.4:0", Target::Address(SocketAddrV4::new([1, 2, 3, 4].into(), 0))),
            ("1.2.3:80", Target::Name("1.2.3".into(), 80)),
        ] {
            assert_eq!(Target::try_from(text).unwrap(), expected);
            assert_eq!(Target::try_from(&text.to_string()).unwrap(), expected);
            assert_eq!(Target::try_from(text.to_string()).unwrap(), expected);
        }
        for text in ["", ":", ":80", "a", "a:", "a:65536", "a:+1", "a:-1", "[::1]:80", "::1:80"] {
            for error in [
                Target::try_from(text).unwrap_err(),
                Target::try_from(text.to_string()).unwrap_err(),
            ] {
                assert!(matches!(&error, Error::Target(found) if found == text), "{error:?}");
            }
        }
    }

    #[test]
    fn an_ipv6_address_is_no_target() {
        let address: SocketAddr = "127.0.0.1:80".parse().unwrap();
        assert!(matches!(Target::try_from(address), Ok(Target::Address(_))));
        let error = Target::try_from("[::1]:80".parse::<SocketAddr>().unwrap()).unwrap_err();
        assert!(matches!(error, Error::Target(found) if found == "[::1]:80"));
    }
}
