//! The twin's SOCKS5 (RFC 1928): CONNECT without authentication.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::request::{Host, Parsed, Refused, Request};

/// The answer to a greeting: no authentication.
pub const NO_AUTHENTICATION: [u8; 2] = [5, 0];
/// The answer to a greeting that does not offer that.
pub const NO_METHOD: [u8; 2] = [5, 255];

const GRANTED: u8 = 0;
/// A general failure.
const REJECTED: u8 = 1;

/// A reply, in which an address has 4 bytes or 16.
pub struct Reply {
    bytes: [u8; 22],
    length: usize,
}

impl Reply {
    /// Granted with the local address of the connection, or rejected without one.
    pub fn new(granted: Option<SocketAddr>) -> Reply {
        let code = if granted.is_some() { GRANTED } else { REJECTED };
        let address = granted.unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into());
        let kind = if address.is_ipv4() { 1 } else { 4 };
        let mut reply = Reply { bytes: [0; 22], length: 0 };
        reply.push(&[5, code, 0, kind]);
        match address.ip() {
            IpAddr::V4(address) => reply.push(&address.octets()),
            IpAddr::V6(address) => reply.push(&address.octets()),
        }
        reply.push(&address.port().to_be_bytes());
        reply
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.length..][..bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    /// The bytes to send.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Length of the greeting at the start of `bytes` once it is complete.
pub fn greeting(bytes: &[u8]) -> Result<Option<usize>, Refused> {
    let Some((&[_, count], rest)) = bytes.split_first_chunk() else { return Ok(None) };
    match rest.get(..count.into()) {
        None => Ok(None),
        Some(methods) if methods.contains(&0) => Ok(Some(2 + methods.len())),
        Some(_) => Err(Refused),
    }
}

/// Reads the request after the greeting.
pub fn parse(bytes: &[u8]) -> Result<Parsed<'_>, Refused> {
    let Some((head, rest)) = bytes.split_first_chunk() else { return Ok(Parsed::More) };
    let (host, rest) = match head {
        [5, 1, 0, 1] => match rest.split_first_chunk::<4>() {
            Some((address, rest)) => (Host::Address(IpAddr::from(*address)), rest),
            None => return Ok(Parsed::More),
        },
        [5, 1, 0, 4] => match rest.split_first_chunk::<16>() {
            Some((address, rest)) => (Host::Address(IpAddr::from(*address)), rest),
            None => return Ok(Parsed::More),
        },
        [5, 1, 0, 3] => {
            let name = rest.split_first();
            let name = name.and_then(|(&length, rest)| rest.split_at_checked(length.into()));
            match name {
                Some((name, rest)) => {
                    (Host::Name(str::from_utf8(name).map_err(|_| Refused)?), rest)
                }
                None => return Ok(Parsed::More),
            }
        }
        _ => return Err(Refused),
    };
    match rest.split_first_chunk() {
        Some((&port, rest)) => {
            let port = u16::from_be_bytes(port);
            Ok(Parsed::Done(Request { port, host }, bytes.len() - rest.len()))
        }
        None => Ok(Parsed::More),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole_and_cut(bytes: &[u8], host: Host<'_>) {
        let length = bytes.len() - b"GET".len();
        assert_eq!(parse(bytes), Ok(Parsed::Done(Request { port: 258, host }, length)));
        for cut in 0..length {
            assert_eq!(parse(&bytes[..cut]), Ok(Parsed::More), "{cut}");
        }
    }

    #[test]
    fn addresses_and_early_payload() {
        whole_and_cut(
            b"\x05\x01\0\x01\x7f\0\0\x01\x01\x02GET",
            Host::Address("127.0.0.1".parse().unwrap()),
        );
        whole_and_cut(
            b"\x05\x01\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x01\x02GET",
            Host::Address("::1".parse().unwrap()),
        );
    }

    #[test]
    fn name() {
        whole_and_cut(b"\x05\x01\0\x03\x09localhost\x01\x02GET", Host::Name("localhost"));
    }

    #[test]
    fn greetings() {
        assert_eq!(greeting(b"\x05\x02\x02\0\x05"), Ok(Some(4)));
        for cut in 0..4 {
            assert_eq!(greeting(&b"\x05\x02\x02\0"[..cut]), Ok(None));
        }
        assert_eq!(greeting(b"\x05\x01\x02"), Err(Refused));
    }

    #[test]
    fn refused() {
        for bytes in [b"\x05\x03\0\x01", b"\x05\x01\0\x02", b"\x04\x01\0\x01"] {
            assert_eq!(parse(bytes), Err(Refused));
        }
    }

    #[test]
    fn a_reply_has_the_family_of_its_address() {
        let reply_to = |address: &str| Reply::new(Some(address.parse().unwrap()));
        assert_eq!(reply_to("127.0.0.9:258").bytes(), b"\x05\0\0\x01\x7f\0\0\x09\x01\x02");
        assert_eq!(
            reply_to("[::1]:258").bytes(),
            b"\x05\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x01\x02"
        );
        assert_eq!(Reply::new(None).bytes(), b"\x05\x01\0\x01\0\0\0\0\0\0");
    }
}
