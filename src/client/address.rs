//! The proxy's address, as the caller names it.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, SocketAddrV4, ToSocketAddrs};

/// The address of a proxy, or its name and port. Nothing is looked up before a connection is made.
///
/// Most callers need not name it. [`Client::new`](super::Client::new) takes
///
/// - text of the form `"HOST:PORT"` (`&str`, `&String`, `String`), an IPv6 address in brackets,
/// - a pair of host and port: `("proxy.example", 1080)`,
/// - an address: [`SocketAddr`], [`SocketAddrV4`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyAddress(Place);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Address(SocketAddr),
    /// `HOST:PORT`, or whatever else the caller wrote: only [`ProxyAddress::resolve`] checks it.
    Text(String),
}

impl ProxyAddress {
    /// All addresses, in the order in which the system's resolver gives them.
    pub(super) fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        match &self.0 {
            Place::Address(address) => Ok(vec![*address]),
            Place::Text(text) => {
                let is_digit = |byte: u8| byte.is_ascii_digit();
                let is_port =
                    |port: &str| port.bytes().all(is_digit) && port.parse::<u16>().is_ok();
                let is_host = |host: &str| !host.is_empty() && !host.contains(':');
                let parts = text.rsplit_once(':');
                if !parts.is_some_and(|(host, port)| is_host(host) && is_port(port)) {
                    return Err(io::Error::new(ErrorKind::InvalidInput, "expected HOST:PORT"));
                }
                Ok(text.to_socket_addrs()?.collect())
            }
        }
    }
}

/// As the caller named it.
impl fmt::Display for ProxyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Address(address) => address.fmt(f),
            // An error is one line, whatever the caller wrote.
            Place::Text(text) => text.escape_debug().fmt(f),
        }
    }
}

impl From<SocketAddr> for ProxyAddress {
    fn from(address: SocketAddr) -> ProxyAddress {
        ProxyAddress(Place::Address(address))
    }
}

impl From<SocketAddrV4> for ProxyAddress {
    fn from(address: SocketAddrV4) -> ProxyAddress {
        SocketAddr::V4(address).into()
    }
}

impl From<String> for ProxyAddress {
    fn from(text: String) -> ProxyAddress {
        ProxyAddress(match text.parse() {
            Ok(address) => Place::Address(address),
            Err(_) => Place::Text(text),
        })
    }
}

impl From<&String> for ProxyAddress {
    fn from(text: &String) -> ProxyAddress {
        text.clone().into()
    }
}

impl From<&str> for ProxyAddress {
    fn from(text: &str) -> ProxyAddress {
        text.to_owned().into()
    }
}

impl From<(&str, u16)> for ProxyAddress {
    fn from((host, port): (&str, u16)) -> ProxyAddress {
        match host.parse::<IpAddr>() {
            Ok(ip) => SocketAddr::new(ip, port).into(),
            Err(_) => ProxyAddress(Place::Text(format!("{host}:{port}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_any_form_is_itself_and_needs_no_look_up() {
        let address: SocketAddr = "[::1]:1080".parse().unwrap();
        for place in ["[::1]:1080".into(), ("::1", 1080).into(), String::from("[::1]:1080").into()]
        {
            assert_eq!(ProxyAddress::from(address), place);
            assert_eq!(place.resolve().unwrap(), [address]);
        }
    }

    #[test]
    fn text_without_a_port_is_an_error_that_says_what_was_expected() {
        for text in ["", "proxy.example", "proxy.example:", "proxy.example:socks", "::1"] {
            let error = ProxyAddress::from(text).resolve().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text:?}: {error}");
        }
    }
}
