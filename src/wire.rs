//! Bytes into messages and messages into bytes, on byte slices: SOCKS4, SOCKS4A and SOCKS5, for
//! client and server.
//!
//! `message` has what both protocols say; `socks4` and `socks5` have the bytes of each. The first
//! byte of a connection tells which of them a client speaks.

mod message;
#[cfg(feature = "server")]
mod record;
mod socks4;
mod socks5;

pub use message::{
    Answer, AnswerError, CREDENTIAL_BYTES_MAX, Command, EncodeError, Host, Message, Method,
    Methods, NAME_BYTES_MAX, Parsed, Protocol, Received, Reply, Request, RequestError, ServerReply,
    Stage, Status, USER_BYTES_MAX,
};
pub use socks5::{encode_greeting, encode_password, parse_method, parse_password_status};

use std::ops::Deref;

/// Parses one message from the start of `bytes`. Errors are reported at the first byte that decides
/// them, so a client need not send the rest.
pub fn parse_message(stage: Stage, bytes: &[u8]) -> Result<Parsed<Message<'_>>, RequestError> {
    match stage {
        Stage::First if bytes.first() == Some(&socks5::VERSION) => socks5::parse_greeting(bytes),
        Stage::First => Ok(match socks4::parse_request(bytes)? {
            Parsed::Done(request, length) => Parsed::Done(Message::Request(request), length),
            Parsed::More => Parsed::More,
        }),
        Stage::Password => socks5::parse_password(bytes),
        Stage::Request => socks5::parse_request(bytes),
    }
}

/// The protocol that the first byte of a connection announces, for the reply to a client that is
/// rejected before its message is complete. SOCKS4A is not told from SOCKS4: their replies are the
/// same.
pub fn first_protocol(bytes: &[u8]) -> Option<Protocol> {
    match *bytes.first()? {
        socks4::VERSION => Some(Protocol::Socks4),
        socks5::VERSION => Some(Protocol::Socks5),
        _ => None,
    }
}

impl Status {
    /// Its byte in a reply. SOCKS4 has four of them: 90 granted, 92 and 93 for identd, and 91 for
    /// everything else. SOCKS5 (RFC 1928 section 6) has none for identd; its rules do not allow
    /// such a request then.
    pub fn code(self, protocol: Protocol) -> u8 {
        match protocol {
            Protocol::Socks4 | Protocol::Socks4a => socks4::code(self),
            Protocol::Socks5 => socks5::code(self),
        }
    }

    /// The first status that has this byte, if any has it.
    pub fn from_code(code: u8, protocol: Protocol) -> Option<Status> {
        match protocol {
            Protocol::Socks4 | Protocol::Socks4a => socks4::status(code),
            Protocol::Socks5 => socks5::status(code),
        }
    }
}

impl Answer {
    /// The byte that says what was decided: METHOD, STATUS, or the code of a reply.
    pub fn code(self, protocol: Protocol) -> u8 {
        match self {
            Answer::Method(method) => socks5::method_code(method),
            Answer::Password { accepted } => u8::from(!accepted),
            Answer::Reply(reply) => reply.status.code(protocol),
        }
    }

    /// Its bytes. A reply depends on the protocol; the other answers are of SOCKS5.
    pub fn encode(self, protocol: Protocol) -> Encoded {
        let mut encoded = Encoded::default();
        match (self, protocol) {
            (Answer::Method(method), _) => encoded.extend(socks5::encode_method(method)),
            (Answer::Password { accepted }, _) => {
                encoded.extend(socks5::encode_password_status(accepted));
            }
            (Answer::Reply(reply), Protocol::Socks4 | Protocol::Socks4a) => {
                encoded.extend(socks4::encode_reply(reply));
            }
            (Answer::Reply(reply), Protocol::Socks5) => socks5::encode_reply(reply, &mut encoded),
        }
        encoded
    }
}

/// The bytes of an answer: a slice of [`ANSWER_BYTES_MAX`] at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    bytes: [u8; ANSWER_BYTES_MAX],
    length: usize,
}

/// Bytes of the longest answer.
pub const ANSWER_BYTES_MAX: usize = socks5::REPLY_BYTES_MAX;

impl Extend<u8> for Encoded {
    fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
        for byte in bytes {
            self.bytes[self.length] = byte;
            self.length += 1;
        }
    }
}

impl Deref for Encoded {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Appends a request to `out` (client side). Its protocol decides between SOCKS4 and SOCKS5, its
/// host between SOCKS4 and SOCKS4A; SOCKS5 has no place for its user. On error nothing is appended.
pub fn encode_request(request: &Request<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    match request.protocol {
        Protocol::Socks4 | Protocol::Socks4a => socks4::encode_request(request, out),
        Protocol::Socks5 => socks5::encode_request(request, out),
    }
}

/// Parses a reply (client side). SOCKS4 has no codes but the four; a SOCKS5 reply may have any.
pub fn parse_reply(protocol: Protocol, bytes: &[u8]) -> Result<Received<ServerReply>, AnswerError> {
    match protocol {
        Protocol::Socks4 | Protocol::Socks4a => socks4::parse_reply(bytes),
        Protocol::Socks5 => socks5::parse_reply(bytes),
    }
}

#[cfg(test)]
#[path = "wire_test.rs"]
mod tests;
