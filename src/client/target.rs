//! The target of a request, as the caller names it.

use super::error::Error;
use crate::wire::Host;
use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// The target of a CONNECT, or the peer that a BIND expects.
///
/// Most callers need not name it. [`Client::connect`] and [`Client::bind`] take
///
/// - text of the form `"HOST:PORT"` (`&str`, `&String`, `String`), an IPv6 address in brackets,
/// - a pair of host and port: `("www.example.com", 80)`, `(Ipv4Addr::LOCALHOST, 80)`,
/// - an address: [`SocketAddr`], [`SocketAddrV4`], [`SocketAddrV6`].
///
/// An address in a text becomes an address, so that a proxy that resolves no names understands it.
/// Anything else is a name. IPv6 addresses need SOCKS5, [`Client::socks5`]; one that holds an IPv4
/// address (`::ffff:192.0.2.1`) is sent as that. Flow label and scope are not sent.
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
/// let ipv6 = Target::Address("[2001:db8::1]:80".parse().unwrap());
/// assert_eq!(Target::from(("2001:db8::1", 80)), ipv6);
/// assert_eq!(Target::try_from("[2001:db8::1]:80").unwrap(), ipv6);
///
/// let error = Target::try_from("www.example.com").unwrap_err();
/// assert!(error.to_string().contains("expected HOST:PORT"));
/// ```
///
/// [`Client::connect`]: super::Client::connect
/// [`Client::bind`]: super::Client::bind
/// [`Client::socks5`]: super::Client::socks5
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target<'a> {
    /// An address. SOCKS4 cannot ask for one of IPv6, nor for 0.0.0.x with x not 0, which is the
    /// mark of SOCKS4A: such a request fails before anything is sent.
    Address(SocketAddr),
    /// A name, which the proxy resolves (with SOCKS4A or SOCKS5), and a port. The name must not be
    /// empty, hold a NUL or exceed [`NAME_BYTES_MAX`](super::NAME_BYTES_MAX). The proxy decides
    /// whether it is a host name.
    Name(Cow<'a, str>, u16),
}

impl<'a> Target<'a> {
    pub(super) fn parts(&self) -> (Host<'_>, u16) {
        match self {
            Target::Address(address) => {
                (Host::Address(address.ip().to_canonical()), address.port())
            }
            Target::Name(name, port) => (Host::Name(name.as_bytes()), *port),
        }
    }

    fn of(host: Cow<'a, str>, port: u16) -> Target<'a> {
        match host.parse::<IpAddr>() {
            Ok(address) => Target::from((address, port)),
            Err(_) => Target::Name(host, port),
        }
    }
}

/// Host and port of `HOST:PORT` or `[IPV6]:PORT`; the host without brackets.
fn split(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|_| is_number)?;
    match host.strip_prefix('[') {
        Some(rest) => {
            let address = rest.strip_suffix(']')?;
            address.parse::<Ipv6Addr>().is_ok().then_some((address, port))
        }
        None => (!host.is_empty() && !host.contains(':')).then_some((host, port)),
    }
}

impl From<SocketAddr> for Target<'_> {
    fn from(address: SocketAddr) -> Self {
        Target::Address(address)
    }
}

impl From<SocketAddrV4> for Target<'_> {
    fn from(address: SocketAddrV4) -> Self {
        Target::Address(address.into())
    }
}

impl From<SocketAddrV6> for Target<'_> {
    fn from(address: SocketAddrV6) -> Self {
        Target::Address(address.into())
    }
}

impl From<(IpAddr, u16)> for Target<'_> {
    fn from(address: (IpAddr, u16)) -> Self {
        Target::Address(address.into())
    }
}

impl From<(Ipv4Addr, u16)> for Target<'_> {
    fn from(address: (Ipv4Addr, u16)) -> Self {
        Target::Address(address.into())
    }
}

impl From<(Ipv6Addr, u16)> for Target<'_> {
    fn from(address: (Ipv6Addr, u16)) -> Self {
        Target::Address(address.into())
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
            ("1.2.3.4:0", Target::Address("1.2.3.4:0".parse().unwrap())),
            ("[::1]:80", Target::Address("[::1]:80".parse().unwrap())),
            ("[::ffff:1.2.3.4]:80", Target::Address("[::ffff:1.2.3.4]:80".parse().unwrap())),
            ("1.2.3:80", Target::Name("1.2.3".into(), 80)),
        ] {
            assert_eq!(Target::try_from(text).unwrap(), expected);
            assert_eq!(Target::try_from(&text.to_string()).unwrap(), expected);
            assert_eq!(Target::try_from(text.to_string()).unwrap(), expected);
        }
        let no_port = ["", ":", ":80", "a", "a:", "a:65536", "a:+1", "a:-1", "::1:80", "[::1]"];
        let no_host = ["[]:80", "[a]:80", "[1.2.3.4]:80", "[::1%1]:80", "[::1:80", "::1]:80"];
        for text in no_port.into_iter().chain(no_host) {
            for error in [
                Target::try_from(text).unwrap_err(),
                Target::try_from(text.to_string()).unwrap_err(),
            ] {
                assert!(matches!(&error, Error::Target(found) if found == text), "{error:?}");
            }
        }
    }

    #[test]
    fn an_ipv6_address_in_any_form_is_an_address_and_holds_an_ipv4_address_only_as_ipv4() {
        let address: SocketAddrV6 = "[2001:db8::1]:80".parse().unwrap();
        let ip = *address.ip();
        for target in [
            Target::from(address),
            SocketAddr::from(address).into(),
            (ip, 80).into(),
            (IpAddr::from(ip), 80).into(),
            ("2001:db8::1", 80).into(),
            (String::from("2001:db8::1"), 80).into(),
        ] {
            assert_eq!(target.parts(), (Host::Address(ip.into()), 80));
        }
        let mapped = Target::from(("::ffff:192.0.2.1", 80));
        assert_eq!(mapped.parts(), (Host::Address("192.0.2.1".parse().unwrap()), 80));
    }
}
