//! IP addresses of both families, as the sessions keep and compare them.

use minicbor::{Decode, Encode};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An address and a port, in 20 bytes: a [`SocketAddr`] takes 32, for a flow label and a scope that
/// no session keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(map)]
pub struct IpPort {
    /// The address; never an IPv4 address written as IPv6.
    #[n(0)]
    pub ip: IpAddr,
    /// The port.
    #[n(1)]
    pub port: u16,
}

impl IpPort {
    /// An address and a port.
    pub fn new(ip: impl Into<IpAddr>, port: u16) -> IpPort {
        IpPort { ip: ip.into().to_canonical(), port }
    }
}

impl From<SocketAddr> for IpPort {
    fn from(address: SocketAddr) -> IpPort {
        IpPort::new(address.ip(), address.port())
    }
}

impl From<IpPort> for SocketAddr {
    fn from(address: IpPort) -> SocketAddr {
        SocketAddr::new(address.ip, address.port)
    }
}

/// `192.0.2.1:80` or `[2001:db8::1]:80`.
impl fmt::Display for IpPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::from(*self).fmt(f)
    }
}

/// An address for each family, or for one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerFamily {
    /// The IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// The IPv6 address.
    pub v6: Option<Ipv6Addr>,
}

impl PerFamily {
    /// The address of the same family as `other`.
    pub fn facing(self, other: IpAddr) -> Option<IpAddr> {
        match other {
            IpAddr::V4(_) => self.v4.map(IpAddr::V4),
            IpAddr::V6(_) => self.v6.map(IpAddr::V6),
        }
    }

    /// Sets the address of its family; `false` if that is set already.
    pub fn set(&mut self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.v4.replace(address).is_none(),
            IpAddr::V6(address) => self.v6.replace(address).is_none(),
        }
    }
}

/// Every address of its family, to listen on.
pub fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// The source that limits per client count by: the address, and of IPv6 its network of 64 bits,
/// for one host may use all addresses of that (RFC 4291 section 2.5.1).
pub fn source_of(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_address_written_as_ipv6_is_ipv4() {
        let mapped: SocketAddr = "[::ffff:192.0.2.1]:80".parse().unwrap();
        assert_eq!(IpPort::from(mapped).to_string(), "192.0.2.1:80");
        let other: SocketAddr = "[2001:db8::1%3]:80".parse().unwrap();
        assert_eq!(IpPort::from(other).to_string(), "[2001:db8::1]:80");
    }

    #[test]
    fn clients_of_one_ipv6_network_are_one_source() {
        let source = |text: &str| source_of(text.parse().unwrap());
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
    }

    #[test]
    fn each_family_has_its_own_address() {
        let (v4, v6): (IpAddr, IpAddr) =
            ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
        let mut both = PerFamily::default();
        assert!(both.set(v4) && both.facing(v6).is_none() && both.set(v6));
        assert_eq!((both.facing(v4), both.facing(v6)), (Some(v4), Some(v6)));
        assert!(!both.set(v4), "one for each family");
    }
}
