//! Queries to the kernel about routes (`man 7 rtnetlink`) and interfaces.

use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, SocketAddr, UdpSocket};

const AF_NETLINK: i32 = 16;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const NETLINK_ROUTE: i32 = 0;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const NLM_F_REQUEST: u16 = 1;
const RTA_DST: u16 = 1;
/// The type of routes that end at this host.
const RTN_LOCAL: u8 = 2;
/// nlmsghdr, rtmsg and the head of one attribute, after which comes an address.
const REQUEST_HEAD_BYTES: usize = 16 + 12 + ATTRIBUTE_HEAD_BYTES;
const ATTRIBUTE_HEAD_BYTES: usize = 4;
/// The offsets of nlmsg_type and rtm_type in an answer.
const TYPE_AT: usize = 4;
const ROUTE_TYPE_AT: usize = 16 + 7;

/// The number of the network interface with this name.
pub fn interface_number(name: &str) -> Option<u32> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM.cloexec(), None).ok()?;
    rustix::net::netdevice::name_to_index(&socket, name).ok()
}

/// An error unless sockets can be bound to this address, whatever its port, which nobody listens on
/// meanwhile.
pub fn has_address(mut address: SocketAddr) -> io::Result<()> {
    address.set_port(0);
    UdpSocket::bind(address).map(drop)
}

/// Whether packets to `address` end at this host: its own addresses, primary or not, and whole
/// networks that are routed to it.
pub fn is_local(address: IpAddr) -> io::Result<bool> {
    let kind = Type::RAW.nonblocking().cloexec();
    let socket = Socket::new(Domain::from(AF_NETLINK), kind, Some(Protocol::from(NETLINK_ROUTE)))?;
    socket.send(&request(address))?;
    // The kernel answers during the send.
    let mut answer = [0; 1024];
    let length = (&socket).read(&mut answer)?;
    read_answer(&answer[..length]).ok_or_else(|| ErrorKind::InvalidData.into())
}

/// A request for the route to this address.
fn request(address: IpAddr) -> Vec<u8> {
    let (family, octets) = match address {
        IpAddr::V4(address) => (AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (AF_INET6, address.octets().to_vec()),
    };
    let request_bytes = REQUEST_HEAD_BYTES + octets.len();
    let mut bytes = Vec::with_capacity(request_bytes);
    bytes.extend((request_bytes as u32).to_ne_bytes());
    bytes.extend(RTM_GETROUTE.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST.to_ne_bytes());
    // Sequence number and port: a single request on its own socket needs neither.
    bytes.extend([0; 8]);
    // Family, and length of the destination in bits; the rest is unspecified.
    bytes.extend([family, 8 * octets.len() as u8]);
    bytes.extend([0; 10]);
    bytes.extend(((ATTRIBUTE_HEAD_BYTES + octets.len()) as u16).to_ne_bytes());
    bytes.extend(RTA_DST.to_ne_bytes());
    bytes.extend(octets);
    bytes
}

/// Whether the answer is a route that ends here; an error, which means no route, is not. `None`:
/// the answer is truncated.
fn read_answer(answer: &[u8]) -> Option<bool> {
    let kind = u16::from_ne_bytes(answer.get(TYPE_AT..TYPE_AT + 2)?.try_into().ok()?);
    if kind != RTM_NEWROUTE {
        return Some(false);
    }
    answer.get(ROUTE_TYPE_AT).map(|&route| route == RTN_LOCAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_loopback_is_local_and_a_foreign_address_is_not() {
        let is_local = |text: &str| is_local(text.parse().unwrap()).unwrap();
        assert!(is_local("127.0.0.1") && is_local("127.200.3.4"));
        // Not every machine has IPv6; tests/ipv6.rs is for those that have.
        let has_ipv6 = std::net::UdpSocket::bind("[::1]:0").is_ok();
        assert_eq!(is_local("::1"), has_ipv6);
        assert!(!is_local("198.51.100.7") && !is_local("2001:db8::7"));
    }

    #[test]
    fn sockets_can_be_bound_to_addresses_of_this_host_only() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(has_address(taken.local_addr().unwrap()).is_ok());
        let error = has_address("203.0.113.78:80".parse().unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    }

    #[test]
    fn an_interface_has_a_number_and_a_name_of_none_has_not() {
        assert!(interface_number("lo").is_some_and(|number| number > 0));
        assert_eq!(interface_number("no such interface"), None);
    }

    #[test]
    fn a_truncated_answer_is_rejected_and_an_error_means_no_local_route() {
        let mut answer = [0; 28];
        answer[TYPE_AT..TYPE_AT + 2].copy_from_slice(&RTM_NEWROUTE.to_ne_bytes());
        answer[ROUTE_TYPE_AT] = RTN_LOCAL;
        assert_eq!(read_answer(&answer), Some(true));
        assert_eq!(read_answer(&answer[..ROUTE_TYPE_AT]), None);
        assert_eq!(read_answer(&answer[..3]), None);
        answer[TYPE_AT] = 2;
        assert_eq!(read_answer(&answer), Some(false));
    }
}
