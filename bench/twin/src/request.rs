//! The twin's own parser of SOCKS4 requests, so that it builds without socku.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const GRANTED: u8 = 90;
const REJECTED: u8 = 91;

/// Longest request: head, USERID of 512 bytes, name of 255 bytes, two NULs.
pub const REQUEST_BYTES_MAX: usize = 8 + 512 + 1 + 255 + 1;

/// The target host of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Host<'a> {
    Address(IpAddr),
    Name(&'a str),
}

/// A complete CONNECT request.
#[derive(Debug, PartialEq, Eq)]
pub struct Request<'a> {
    pub port: u16,
    pub host: Host<'a>,
}

/// The reading of the bytes so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// A request, and how many bytes it took.
    Done(Request<'a>, usize),
    More,
}

/// Not a CONNECT, or one beyond the limits.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused;

pub fn parse(bytes: &[u8]) -> Result<Parsed<'_>, Refused> {
    let Some((head, rest)) = bytes.split_at_checked(8) else {
        return Ok(Parsed::More);
    };
    if head[..2] != [4, 1] {
        return Err(Refused);
    }
    let port = u16::from_be_bytes([head[2], head[3]]);
    let address = Ipv4Addr::new(head[4], head[5], head[6], head[7]);
    let Some(user) = until_nul(rest) else {
        return more(bytes);
    };
    let mut length = 8 + user.len() + 1;
    let host = match address.octets() {
        [0, 0, 0, last] if last != 0 => {
            let Some(name) = until_nul(&bytes[length..]) else {
                return more(bytes);
            };
            length += name.len() + 1;
            Host::Name(str::from_utf8(name).map_err(|_| Refused)?)
        }
        _ => Host::Address(address.into()),
    };
    Ok(Parsed::Done(Request { port, host }, length))
}

fn more(bytes: &[u8]) -> Result<Parsed<'_>, Refused> {
    if bytes.len() >= REQUEST_BYTES_MAX { Err(Refused) } else { Ok(Parsed::More) }
}

/// The reply: granted with the local address of the connection, or rejected without one. An IPv6
/// address has no place in it.
pub fn reply(granted: Option<SocketAddr>) -> [u8; 8] {
    let (code, port) = granted.map_or((REJECTED, 0), |address| (GRANTED, address.port()));
    let [a, b, c, d] = match granted.map(|address| address.ip()) {
        Some(IpAddr::V4(address)) => address.octets(),
        _ => [0; 4],
    };
    let [high, low] = port.to_be_bytes();
    [0, code, high, low, a, b, c, d]
}

fn until_nul(bytes: &[u8]) -> Option<&[u8]> {
    bytes.iter().position(|&byte| byte == 0).map(|at| &bytes[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_and_early_payload() {
        let bytes = b"\x04\x01\x00\x50\x7f\x00\x00\x01bob\x00GET";
        let request = Request { port: 80, host: Host::Address(Ipv4Addr::LOCALHOST.into()) };
        assert_eq!(parse(bytes), Ok(Parsed::Done(request, 12)));
        for cut in 0..12 {
            assert_eq!(parse(&bytes[..cut]), Ok(Parsed::More));
        }
    }

    #[test]
    fn name() {
        let bytes = b"\x04\x01\x01\xbb\x00\x00\x00\x01\x00localhost\x00";
        let request = Request { port: 443, host: Host::Name("localhost") };
        assert_eq!(parse(bytes), Ok(Parsed::Done(request, bytes.len())));
    }

    #[test]
    fn refused() {
        assert_eq!(parse(b"\x05\x01\x00\x50\x7f\x00\x00\x01\x00"), Err(Refused));
        let mut long = b"\x04\x01\x00\x50\x7f\x00\x00\x01".to_vec();
        long.resize(REQUEST_BYTES_MAX, b'a');
        assert_eq!(parse(&long), Err(Refused));
    }

    #[test]
    fn replies() {
        let reply_to = |address: &str| reply(Some(address.parse().unwrap()));
        assert_eq!(reply_to("127.0.0.9:258"), *b"\0\x5a\x01\x02\x7f\0\0\x09");
        assert_eq!(reply_to("[::1]:258"), *b"\0\x5a\x01\x02\0\0\0\0");
        assert_eq!(reply(None), *b"\0\x5b\0\0\0\0\0\0");
    }
}
