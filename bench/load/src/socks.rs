//! The requests of a client to a proxy, and the replies it expects.

use std::fmt;
use std::net::SocketAddrV4;
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
    /// SOCKS5 without authentication, with an address.
    Socks5,
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Protocol, String> {
        Ok(match text {
            "plain" => Protocol::Plain,
            "socks4" => Protocol::Socks4,
            "socks4a" => Protocol::Socks4a,
            "socks5" => Protocol::Socks5,
            _ => return Err(format!("{text}: expected plain, socks4, socks4a or socks5")),
        })
    }
}

/// A refusal, with the byte that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub u8);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the proxy refused with code {}", self.0)
    }
}

/// Longest reply of any step.
pub const REPLY_BYTES_MAX: usize = 10;

impl Protocol {
    /// Number of request and reply pairs.
    pub fn steps(self) -> usize {
        match self {
            Protocol::Plain => 0,
            Protocol::Socks4 | Protocol::Socks4a => 1,
            Protocol::Socks5 => 2,
        }
    }

    /// The bytes that the client sends in a step.
    pub fn request(self, step: usize, target: SocketAddrV4) -> Vec<u8> {
        let port = target.port().to_be_bytes();
        let address = target.ip().octets();
        match (self, step) {
            (Protocol::Plain, _) => Vec::new(),
            (Protocol::Socks4, _) => [&[4, 1][..], &port, &address, b"bench\0"].concat(),
            (Protocol::Socks4a, _) => {
                let name = target.ip().to_string();
                [&[4, 1][..], &port, &[0, 0, 0, 1], b"bench\0", name.as_bytes(), b"\0"].concat()
            }
            (Protocol::Socks5, 0) => vec![5, 1, 0],
            (Protocol::Socks5, _) => [&[5, 1, 0, 1][..], &address, &port].concat(),
        }
    }

    /// Length of the reply in a step; 10 bytes for SOCKS5 means that the proxy gives an IPv4
    /// address, as all do here.
    pub fn reply_bytes(self, step: usize) -> usize {
        match (self, step) {
            (Protocol::Plain, _) => 0,
            (Protocol::Socks4 | Protocol::Socks4a, _) => 8,
            (Protocol::Socks5, 0) => 2,
            (Protocol::Socks5, _) => REPLY_BYTES_MAX,
        }
    }

    /// Whether a complete reply grants the request.
    pub fn check(self, reply: &[u8]) -> Result<(), Refused> {
        let granted = match self {
            Protocol::Plain => return Ok(()),
            Protocol::Socks4 | Protocol::Socks4a => 90,
            Protocol::Socks5 => 0,
        };
        if reply[1] == granted { Ok(()) } else { Err(Refused(reply[1])) }
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
    fn refusals() {
        assert_eq!(Protocol::Socks4.check(&[0, 91, 0, 0, 0, 0, 0, 0]), Err(Refused(91)));
        assert_eq!(Protocol::Socks5.check(&[5, 0]), Ok(()));
    }
}
