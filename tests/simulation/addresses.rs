//! The addresses of the simulated world, and what its proxy can reach of them. Every network has
//! both families.

use rustix::io::Errno;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address of the proxy's host in each family.
pub const PROXY_V4: IpAddr = v4(0, 0, 1);
pub const PROXY_V6: IpAddr = v6(0, 0, 1);

/// Where clients are, and targets; name servers have a network between them.
pub const CLIENTS: u8 = 1;
pub const TARGETS: u8 = 2;
pub const NAME_SERVERS: u8 = 3;

/// 10.NET.SUB.HOST.
pub const fn v4(net: u8, sub: u8, host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, net, sub, host))
}

/// fd00:NET:SUB::HOST.
pub const fn v6(net: u8, sub: u8, host: u8) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0xfd00, net as u16, sub as u16, 0, 0, 0, 0, host as u16))
}

/// The same in one family or the other.
pub fn address(is_v6: bool, net: u8, sub: u8, host: u8) -> IpAddr {
    if is_v6 { v6(net, sub, host) } else { v4(net, sub, host) }
}

pub fn loopback(is_v6: bool) -> IpAddr {
    if is_v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() }
}

pub fn unspecified(is_v6: bool) -> IpAddr {
    if is_v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }
}

/// The address from which the proxy's host reaches another.
pub fn own_facing(other: IpAddr) -> IpAddr {
    match other {
        _ if other.is_loopback() => loopback(other.is_ipv6()),
        IpAddr::V4(_) => PROXY_V4,
        IpAddr::V6(_) => PROXY_V6,
    }
}

/// Whether packets to an address end at the proxy's host.
pub fn is_local(address: IpAddr) -> bool {
    address.is_loopback() || address == PROXY_V4 || address == PROXY_V6
}

/// Octets that say where an address is: its network, the part of that, and the host.
fn parts(address: IpAddr) -> [u8; 3] {
    match address {
        IpAddr::V4(address) => [1, 2, 3].map(|place| address.octets()[place]),
        IpAddr::V6(address) => [3, 5, 15].map(|place| address.octets()[place]),
    }
}

/// The number of the part of its network: SUB.
pub fn sub_of(address: IpAddr) -> u8 {
    parts(address)[1]
}

/// The number of the host in its network.
pub fn host_of(address: IpAddr) -> u8 {
    parts(address)[2]
}

/// Whether limits per client count both as one: the same IPv4 address, or the same 64 bits of an
/// IPv6 network.
pub fn are_one_source(one: IpAddr, other: IpAddr) -> bool {
    match (one, other) {
        (IpAddr::V6(one), IpAddr::V6(other)) => one.octets()[..8] == other.octets()[..8],
        _ => one == other,
    }
}

/// What the proxy's host lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    Nothing,
    /// A route to targets of one family.
    RouteV4,
    RouteV6,
    /// IPv6 itself.
    V6,
}

impl Lack {
    /// Whether there is a route to this address, and why not.
    pub fn route_to(self, to: IpAddr) -> Result<(), Errno> {
        let is_far = parts(to)[0] >= TARGETS && parts(to)[0] != NAME_SERVERS && !to.is_loopback();
        match self {
            Lack::V6 if to.is_ipv6() => Err(Errno::AFNOSUPPORT),
            Lack::RouteV4 if to.is_ipv4() && is_far => Err(Errno::NETUNREACH),
            Lack::RouteV6 if to.is_ipv6() && is_far => Err(Errno::NETUNREACH),
            _ => Ok(()),
        }
    }
}
