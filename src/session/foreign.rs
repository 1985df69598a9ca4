//! The first bytes of a client that does not speak SOCKS, and a guess at what it speaks.

use crate::wire::Stage;
use minicbor::{Decode, Encode};

/// Most of them that are kept: the signature of a PROXY header has 12.
pub const FOREIGN_BYTES_MAX: usize = 16;
/// The methods of HTTP (RFC 9110 section 9, RFC 5789), and the first word of HTTP/2's preface.
const METHODS: [&[u8]; 10] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"CONNECT ",
    b"OPTIONS ",
    b"TRACE ",
    b"PATCH ",
    b"PRI ",
];
/// The start of a PROXY header, version 2 (proxy-protocol.txt section 2.2).
const PROXY_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The start of a message that has a wrong version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Foreign {
    #[cbor(n(0), with = "minicbor::bytes")]
    bytes: [u8; FOREIGN_BYTES_MAX],
    #[n(1)]
    count: u8,
    #[n(2)]
    stage: Stage,
}

impl Foreign {
    /// The bytes that came in place of the message of this stage. Of one that is not the first,
    /// only the first byte is kept: a password may follow.
    pub fn new(stage: Stage, bytes: &[u8]) -> Foreign {
        let most = if stage == Stage::First { FOREIGN_BYTES_MAX } else { 1 };
        let kept = &bytes[..bytes.len().min(most)];
        let mut foreign = Foreign { bytes: [0; FOREIGN_BYTES_MAX], count: kept.len() as u8, stage };
        foreign.bytes[..kept.len()].copy_from_slice(kept);
        foreign
    }

    /// The bytes, at most [`FOREIGN_BYTES_MAX`].
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.count).min(FOREIGN_BYTES_MAX)]
    }

    /// A word for what the client seems to speak. `None` if that is unknown, or if too few bytes
    /// came at once.
    pub fn looks_like(&self) -> Option<&'static str> {
        let bytes = self.bytes();
        if self.stage != Stage::First {
            // The version byte of another message, or of another protocol.
            return match bytes {
                [1] => Some("socks5-password"),
                [4] => Some("socks4"),
                [5] => Some("socks5"),
                _ => None,
            };
        }
        match bytes {
            // In place of the header of a load balancer.
            [4] => Some("socks4"),
            [5] => Some("socks5"),
            // A record of type handshake, of any version of TLS (RFC 8446 section 5.1).
            [0x16, 3, ..] => Some("tls"),
            _ if bytes.starts_with(b"SSH-") => Some("ssh"),
            _ if bytes.starts_with(b"PROXY ") => Some("proxy-v1"),
            _ if bytes.starts_with(PROXY_V2) => Some("proxy-v2"),
            _ if METHODS.iter().any(|method| bytes.starts_with(method)) => Some("http"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the page for operators has this word.
    fn is_documented(word: &str) -> bool {
        include_str!("../../docs/logging.md").contains(&format!("`{word}`"))
    }

    #[test]
    fn what_is_no_socks_is_recognized_by_its_first_bytes() {
        for (bytes, word) in [
            (&b"\x16\x03\x01\x02\0\x01"[..], Some("tls")),
            (b"\x16\x03", Some("tls")),
            (b"\x16", None),
            (b"\x16\x04\0", None),
            (b"GET / HTTP/1.1\r\nHost: x\r\n", Some("http")),
            (b"CONNECT www.example.com:443 HTTP/1.1\r\n", Some("http")),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some("http")),
            (b"GET", None),
            (b"get / HTTP/1.1", None),
            (b"GETTING", None),
            (b"SSH-2.0-OpenSSH_9.2\r\n", Some("ssh")),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", Some("proxy-v1")),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", Some("proxy-v2")),
            (b"\r\n\r\n\0\r\nQUIT", None),
            (b"\r\n\r\n", None),
            (b"\x01\x01a", None),
            (b"\xff", None),
            (b"\x04", Some("socks4")),
            (b"\x05", Some("socks5")),
            (b"", None),
        ] {
            let foreign = Foreign::new(Stage::First, bytes);
            assert_eq!(foreign.looks_like(), word, "{bytes:x?}");
            assert!(word.is_none_or(is_documented), "{word:?}");
            assert_eq!(foreign.bytes(), &bytes[..bytes.len().min(FOREIGN_BYTES_MAX)]);
        }
    }

    #[test]
    fn of_a_later_message_only_the_version_is_kept_since_a_password_may_follow() {
        for (stage, bytes, word) in [
            (Stage::Request, &b"\x01\x05alice\x06secret"[..], Some("socks5-password")),
            (Stage::Request, b"\x04\x01\0\x50", Some("socks4")),
            (Stage::Password, b"\x05\x01\0\x01", Some("socks5")),
            (Stage::Password, b"\x16\x03\x01", None),
        ] {
            let foreign = Foreign::new(stage, bytes);
            assert_eq!((foreign.bytes(), foreign.looks_like()), (&bytes[..1], word));
            assert!(word.is_none_or(is_documented), "{word:?}");
        }
    }
}
