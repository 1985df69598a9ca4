//! The header of a load balancer, and a second reading of it, plain and without any crate.

use socku::internals::proxy_header::{BINARY_BYTES_MAX, Header, TEXT_BYTES_MAX, parse};
use socku::internals::wire::Parsed;
use std::net::{IpAddr, SocketAddr};

/// A header is decided by its own bytes, however they were cut, within its limit; and a second
/// reading finds the same client.
pub fn header(bytes: &[u8]) {
    let whole = parse(bytes);
    let most = if bytes.first() == Some(&b'P') { TEXT_BYTES_MAX } else { BINARY_BYTES_MAX };
    assert!(whole != Ok(Parsed::More) || bytes.len() < most);
    for cut in 0..bytes.len().min(BINARY_BYTES_MAX + 1) {
        let early = parse(&bytes[..cut]);
        if early != Ok(Parsed::More) {
            assert_eq!(early, whole);
            if let Ok(Parsed::Done(_, length)) = early {
                assert_eq!(length, cut, "complete before its last byte");
            }
            break;
        }
    }
    let Ok(Parsed::Done(header, length)) = whole else { return };
    assert!(length <= most);
    let read = match bytes[0] {
        b'P' => text(&bytes[..length]),
        _ => binary(&bytes[..length]),
    };
    let ends = match header {
        Header::Direct => None,
        Header::Proxied { client, destination } => Some((client.into(), destination.into())),
    };
    assert_eq!(ends, read);
}

type Ends = Option<(SocketAddr, SocketAddr)>;

fn text(line: &[u8]) -> Ends {
    let line = line.strip_suffix(b"\r\n").unwrap();
    let line = str::from_utf8(line).unwrap_or("PROXY UNKNOWN");
    let words: Vec<_> = line.split(' ').collect();
    assert_eq!(words[0], "PROXY");
    let is_v6 = match words[1] {
        "UNKNOWN" => return None,
        family => family.strip_prefix("TCP").unwrap() == "6",
    };
    assert_eq!(words.len(), 6);
    let end = |address: usize, port: usize| {
        let ip: IpAddr = words[address].parse().unwrap();
        assert_eq!(ip.is_ipv6(), is_v6);
        assert!(words[port].bytes().all(|byte| byte.is_ascii_digit()));
        SocketAddr::new(ip.to_canonical(), words[port].parse().unwrap())
    };
    Some((end(2, 4), end(3, 5)))
}

fn binary(header: &[u8]) -> Ends {
    let (start, rest) = header.split_at(16);
    assert_eq!(start[..12], *b"\r\n\r\n\0\r\nQUIT\n");
    assert_eq!(usize::from(start[14]) << 8 | usize::from(start[15]), rest.len());
    let port = |at: usize| u16::from_be_bytes([rest[at], rest[at + 1]]);
    match (start[12], start[13]) {
        (0x21, 0x11) => {
            let ip = |at: usize| IpAddr::from(<[u8; 4]>::try_from(&rest[at..at + 4]).unwrap());
            Some((SocketAddr::new(ip(0), port(8)), SocketAddr::new(ip(4), port(10))))
        }
        (0x21, 0x21) => {
            let ip = |at: usize| {
                IpAddr::from(<[u8; 16]>::try_from(&rest[at..at + 16]).unwrap()).to_canonical()
            };
            Some((SocketAddr::new(ip(0), port(32)), SocketAddr::new(ip(16), port(34))))
        }
        (command, _) => {
            assert!(matches!(command, 0x20 | 0x21));
            None
        }
    }
}
