//! The requests of a client to a proxy, and the replies it expects.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// How to reach a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// No handshake: a plain relay, or no proxy at all.
    Plain,
    /// SOCKS4 with an address.
    Socks4,
    /// SOCKS4A with a name: the target's address in dotted form.
    Socks4a,
    /// SOCKS5 without authentication, with an address; the request waits for the answer to the
    /// greeting.
    Socks5,
    /// The same, with greeting and request in one piece.
    Socks5Pipelined,
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Protocol, String> {
        Ok(match text {
            "plain" => Protocol::Plain,
            "socks4" => Protocol::Socks4,
            "socks4a" => Protocol::Socks4a,
            "socks5" => Protocol::Socks5,
            "socks5-pipelined" => Protocol::Socks5Pipelined,
            _ => return Err(format!("{text}: expected {NAMES}")),
        })
    }
}

/// The names of all protocols, in words.
pub const NAMES: &str = "plain, socks4, socks4a, socks5 or socks5-pipelined";

/// A refusal, with the byte that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub u8);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the proxy refused with code {}", self.0)
    }
}

/// The greeting of SOCKS5: "no authentication" is the only method offered (RFC 1928, section 3).
const GREETING: &[u8] = &[5, 1, 0];
/// Length of the answer to a greeting.
const METHOD_BYTES: usize = 2;

impl Protocol {
    /// Number of request and reply pairs.
    pub fn steps(self) -> usize {
        match self {
            Protocol::Plain => 0,
            Protocol::Socks4 | Protocol::Socks4a | Protocol::Socks5Pipelined => 1,
            Protocol::Socks5 => 2,
        }
    }

    /// Whether requests of this protocol can name an IPv6 address.
    pub fn has_ipv6(self) -> bool {
        !matches!(self, Protocol::Socks4 | Protocol::Socks4a)
    }

    /// The bytes that the client sends in a step. A target of SOCKS4 is an IPv4 address.
    pub fn request(self, step: usize, target: SocketAddr) -> Vec<u8> {
        match (self, step) {
            (Protocol::Plain, _) => Vec::new(),
            (Protocol::Socks4, _) => socks4(target),
            (Protocol::Socks4a, _) => {
                let port = target.port().to_be_bytes();
                let name = target.ip().to_string();
                [&[4, 1][..], &port, &[0, 0, 0, 1], b"bench\0", name.as_bytes(), b"\0"].concat()
            }
            (Protocol::Socks5, 0) => GREETING.to_vec(),
            (Protocol::Socks5, _) => socks5(target),
            (Protocol::Socks5Pipelined, _) => [GREETING, &socks5(target)].concat(),
        }
    }

    /// Length of the reply in a step. That of SOCKS5 has an address of the target's family, as it
    /// comes from all proxies here.
    pub fn reply_bytes(self, step: usize, target: SocketAddr) -> usize {
        let socks5 = if target.is_ipv4() { 10 } else { 22 };
        match (self, step) {
            (Protocol::Plain, _) => 0,
            (Protocol::Socks4 | Protocol::Socks4a, _) => 8,
            (Protocol::Socks5, 0) => METHOD_BYTES,
            (Protocol::Socks5, _) => socks5,
            (Protocol::Socks5Pipelined, _) => METHOD_BYTES + socks5,
        }
    }

    /// Whether a complete reply grants the request.
    pub fn check(self, reply: &[u8]) -> Result<(), Refused> {
        match self {
            Protocol::Plain => Ok(()),
            Protocol::Socks4 | Protocol::Socks4a => expect(90, reply[1]),
            Protocol::Socks5 => expect(0, reply[1]),
            Protocol::Socks5Pipelined => {
                expect(0, reply[1])?;
                expect(0, reply[METHOD_BYTES + 1])
            }
        }
    }
}

fn expect(granted: u8, code: u8) -> Result<(), Refused> {
    if code == granted { Ok(()) } else { Err(Refused(code)) }
}

fn socks4(target: SocketAddr) -> Vec<u8> {
    let IpAddr::V4(address) = target.ip() else {
        unreachable!("the command line refuses SOCKS4 to an IPv6 target")
    };
    [&[4, 1][..], &target.port().to_be_bytes(), &address.octets(), b"bench\0"].concat()
}

fn socks5(target: SocketAddr) -> Vec<u8> {
    let port = target.port().to_be_bytes();
    match target.ip() {
        IpAddr::V4(address) => [&[5, 1, 0, 1][..], &address.octets(), &port].concat(),
        IpAddr::V6(address) => [&[5, 1, 0, 4][..], &address.octets(), &port].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        let target = "127.0.0.9:258".parse().unwrap();
        assert_eq!(Protocol::Socks4.request(0, target), b"\x04\x01\x01\x02\x7f\0\0\x09bench\0");
        assert_eq!(
            Protocol::Socks4a.request(0, target),
            b"\x04\x01\x01\x02\0\0\0\x01bench\x00127.0.0.9\0"
        );
        assert_eq!(Protocol::Socks5.request(1, target), b"\x05\x01\0\x01\x7f\0\0\x09\x01\x02");
    }

    #[test]
    fn a_pipelined_request_is_the_greeting_and_the_request_of_the_protocol_that_waits() {
        for target in ["127.0.0.9:258", "[::1]:258"] {
            let target = target.parse().unwrap();
            let steps = |protocol: Protocol| 0..protocol.steps();
            let waits = Protocol::Socks5;
            let both: Vec<u8> = steps(waits).flat_map(|step| waits.request(step, target)).collect();
            assert_eq!(Protocol::Socks5Pipelined.request(0, target), both);
            let bytes: usize = steps(waits).map(|step| waits.reply_bytes(step, target)).sum();
            assert_eq!(Protocol::Socks5Pipelined.reply_bytes(0, target), bytes);
        }
    }

    #[test]
    fn an_ipv6_target_has_sixteen_bytes_in_request_and_reply() {
        let target = "[2001:db8::9]:258".parse().unwrap();
        assert_eq!(
            Protocol::Socks5.request(1, target),
            b"\x05\x01\0\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x09\x01\x02"
        );
        assert_eq!(Protocol::Socks5.reply_bytes(1, target), 22);
    }

    #[test]
    fn refusals() {
        assert_eq!(Protocol::Socks4.check(&[0, 91, 0, 0, 0, 0, 0, 0]), Err(Refused(91)));
        assert_eq!(Protocol::Socks5.check(&[5, 0]), Ok(()));
        let mut reply = [5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        assert_eq!(Protocol::Socks5Pipelined.check(&reply), Ok(()));
        reply[3] = 2;
        assert_eq!(Protocol::Socks5Pipelined.check(&reply), Err(Refused(2)));
        reply[1] = 255;
        assert_eq!(Protocol::Socks5Pipelined.check(&reply), Err(Refused(255)));
    }

    #[test]
    fn every_name_is_a_protocol() {
        for name in NAMES.split([',', ' ']).filter(|word| !["", "or"].contains(word)) {
            assert!(name.parse::<Protocol>().is_ok(), "{name}");
        }
    }
}
