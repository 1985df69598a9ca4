//! SOCKS4 and SOCKS4A requests and replies, for client and server, on byte slices.
//!
//! Sources: Ying-Da Lee, "SOCKS: A protocol for TCP proxy across firewalls" (version 4), and
//! "SOCKS 4A: A Simple Extension to SOCKS 4 Protocol".

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

/// The version byte of every request.
pub const VERSION: u8 = 4;
/// Most bytes in a USERID, not counting its NUL.
pub const USER_BYTES_MAX: usize = 512;
/// Most bytes in a SOCKS4A name, not counting its NUL; its characters are checked after parsing.
pub const NAME_BYTES_MAX: usize = 255;
/// Bytes of the fixed head: VN, CD, DSTPORT, DSTIP.
pub const HEAD_BYTES: usize = 8;
/// Bytes of every reply.
pub const REPLY_BYTES: usize = 8;

/// The command of a request (CD).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// CD 1: connect to the target.
    Connect,
    /// CD 2: listen for one connection from the target.
    Bind,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Command::Connect => "connect",
            Command::Bind => "bind",
        })
    }
}

/// The host that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host<'a> {
    /// SOCKS4: DSTIP. 0.0.0.0 is an address here, never a sign of SOCKS4A.
    Address(Ipv4Addr),
    /// SOCKS4A: the bytes of the name, without the NUL and not yet validated.
    Name(&'a [u8]),
}

/// A complete request, borrowed from the bytes it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// CD.
    pub command: Command,
    /// DSTPORT.
    pub port: u16,
    /// DSTIP, or the name after the USERID.
    pub host: Host<'a>,
    /// USERID, without the NUL.
    pub user: &'a [u8],
}

/// Why bytes are not a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// VN is not 4: the peer speaks another protocol, so no reply is due.
    Version(u8),
    /// CD is neither 1 nor 2.
    Command(u8),
    /// USERID exceeds [`USER_BYTES_MAX`].
    UserTooLong,
    /// The name exceeds [`NAME_BYTES_MAX`].
    NameTooLong,
}

/// The result of a parser that found no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<T> {
    /// A complete message and how many bytes it took.
    Done(T, usize),
    /// Valid so far; more bytes are needed.
    More,
}

/// Parses one request from the start of `bytes`. Errors are reported at the first byte that decides
/// them, so a client need not send the rest.
pub fn parse_request(bytes: &[u8]) -> Result<Parsed<Request<'_>>, RequestError> {
    match bytes.first() {
        Some(&version) if version != VERSION => return Err(RequestError::Version(version)),
        _ => {}
    }
    let command = match bytes.get(1) {
        Some(1) => Command::Connect,
        Some(2) => Command::Bind,
        Some(&other) => return Err(RequestError::Command(other)),
        None => return Ok(Parsed::More),
    };
    let Some((head, rest)) = bytes.split_at_checked(HEAD_BYTES) else {
        return Ok(Parsed::More);
    };
    let port = u16::from_be_bytes([head[2], head[3]]);
    let address = Ipv4Addr::new(head[4], head[5], head[6], head[7]);
    let Some((user, rest)) =
        until_nul(rest, USER_BYTES_MAX).map_err(|_| RequestError::UserTooLong)?
    else {
        return Ok(Parsed::More);
    };
    let mut length = HEAD_BYTES + user.len() + 1;
    let host = if marks_name(address) {
        let Some((name, _)) =
            until_nul(rest, NAME_BYTES_MAX).map_err(|_| RequestError::NameTooLong)?
        else {
            return Ok(Parsed::More);
        };
        length += name.len() + 1;
        Host::Name(name)
    } else {
        Host::Address(address)
    };
    Ok(Parsed::Done(Request { command, port, host, user }, length))
}

/// Whether a DSTIP announces a SOCKS4A name: 0.0.0.x with x not 0.
pub fn marks_name(address: Ipv4Addr) -> bool {
    let octets = address.octets();
    octets[..3] == [0, 0, 0] && octets[3] != 0
}

struct TooLong;

/// A text and the bytes after its NUL.
type Split<'a> = (&'a [u8], &'a [u8]);

/// The bytes before the first NUL and those after it; `None` until a NUL arrives.
fn until_nul(bytes: &[u8], most: usize) -> Result<Option<Split<'_>>, TooLong> {
    match bytes.iter().take(most + 1).position(|&byte| byte == 0) {
        Some(at) => Ok(Some((&bytes[..at], &bytes[at + 1..]))),
        None if bytes.len() > most => Err(TooLong),
        None => Ok(None),
    }
}

/// The code of a reply (CD).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// 90: granted.
    Granted = 90,
    /// 91: rejected or failed.
    Rejected = 91,
    /// 92: the client's identd is unreachable.
    NoIdent = 92,
    /// 93: the client's identd names another user.
    OtherUser = 93,
}

impl Code {
    /// The code that a byte stands for, if it is one of the four.
    pub fn from_byte(byte: u8) -> Option<Code> {
        Some(match byte {
            90 => Code::Granted,
            91 => Code::Rejected,
            92 => Code::NoIdent,
            93 => Code::OtherUser,
            _ => return None,
        })
    }
}

/// A reply with its address; a rejection carries 0.0.0.0:0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Granted, or why not.
    pub code: Code,
    /// The local address of the outgoing connection, the listening address of a BIND, or its peer.
    pub address: SocketAddrV4,
}

impl Reply {
    /// A granted reply with its address.
    pub fn granted(address: SocketAddrV4) -> Reply {
        Reply { code: Code::Granted, address }
    }

    /// A rejection.
    pub fn rejected(code: Code) -> Reply {
        Reply { code, address: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0) }
    }

    /// The eight bytes on the wire; VN of a reply is 0.
    pub fn encode(self) -> [u8; REPLY_BYTES] {
        let [port_high, port_low] = self.address.port().to_be_bytes();
        let [a, b, c, d] = self.address.ip().octets();
        [0, self.code as u8, port_high, port_low, a, b, c, d]
    }
}

/// Why eight bytes are not a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyError {
    /// The bytes received.
    pub bytes: [u8; REPLY_BYTES],
}

/// Parses a reply (client side).
pub fn parse_reply(bytes: [u8; REPLY_BYTES]) -> Result<Reply, ReplyError> {
    let [version, code, port_high, port_low, a, b, c, d] = bytes;
    match Code::from_byte(code) {
        Some(code) if version == 0 => Ok(Reply {
            code,
            address: SocketAddrV4::new(
                Ipv4Addr::new(a, b, c, d),
                u16::from_be_bytes([port_high, port_low]),
            ),
        }),
        _ => Err(ReplyError { bytes }),
    }
}

/// Why a request cannot be put on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// USERID contains a NUL or exceeds [`USER_BYTES_MAX`].
    User,
    /// The name is empty, contains a NUL or exceeds [`NAME_BYTES_MAX`].
    Name,
    /// The address would announce a SOCKS4A name (0.0.0.x with x not 0).
    Address,
}

/// Appends a request to `out` (client side). On error nothing is appended.
pub fn encode_request(request: &Request<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let valid = |text: &[u8], most| text.len() <= most && !text.contains(&0);
    if !valid(request.user, USER_BYTES_MAX) {
        return Err(EncodeError::User);
    }
    let (address, name) = match request.host {
        Host::Address(address) if marks_name(address) => return Err(EncodeError::Address),
        Host::Address(address) => (address, None),
        Host::Name(name) if name.is_empty() || !valid(name, NAME_BYTES_MAX) => {
            return Err(EncodeError::Name);
        }
        Host::Name(name) => (Ipv4Addr::new(0, 0, 0, 1), Some(name)),
    };
    let command = match request.command {
        Command::Connect => 1,
        Command::Bind => 2,
    };
    out.extend_from_slice(&[VERSION, command]);
    out.extend_from_slice(&request.port.to_be_bytes());
    out.extend_from_slice(&address.octets());
    out.extend_from_slice(request.user);
    out.push(0);
    if let Some(name) = name {
        out.extend_from_slice(name);
        out.push(0);
    }
    Ok(())
}

#[cfg(test)]
#[path = "wire_test.rs"]
mod tests;
