//! The bytes of SOCKS4 and SOCKS4A, for client and server.
//!
//! Sources: Ying-Da Lee, "SOCKS: A protocol for TCP proxy across firewalls" (version 4), and
//! "SOCKS 4A: A Simple Extension to SOCKS 4 Protocol".

use super::message::{
    AnswerError, Command, EncodeError, Host, NAME_BYTES_MAX, Parsed, Protocol, Received, Reply,
    Request, RequestError, ServerReply, Status, USER_BYTES_MAX,
};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The version byte of every request (VN).
pub const VERSION: u8 = 4;
/// Bytes of the fixed head: VN, CD, DSTPORT, DSTIP.
const HEAD_BYTES: usize = 8;
/// Bytes of every reply.
pub const REPLY_BYTES: usize = 8;

/// Parses one request from the start of `bytes`.
pub fn parse_request(bytes: &[u8]) -> Result<Parsed<Request<'_>>, RequestError> {
    match bytes.first() {
        Some(&version) if version != VERSION => return Err(RequestError::Version(version)),
        _ => {}
    }
    let Some(&command) = bytes.get(1) else { return Ok(Parsed::More) };
    let command = Command::from_byte(command)?;
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
    let (protocol, host) = if marks_name(address) {
        let Some((name, _)) =
            until_nul(rest, NAME_BYTES_MAX).map_err(|_| RequestError::NameTooLong)?
        else {
            return Ok(Parsed::More);
        };
        length += name.len() + 1;
        (Protocol::Socks4a, Host::Name(name))
    } else {
        (Protocol::Socks4, Host::Address(address.into()))
    };
    Ok(Parsed::Done(Request { protocol, command, port, host, user }, length))
}

/// Whether a DSTIP announces a SOCKS4A name: 0.0.0.x with x not 0.
fn marks_name(address: Ipv4Addr) -> bool {
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

/// The code of a status (CD of a reply).
pub fn code(status: Status) -> u8 {
    match status {
        Status::Granted => 90,
        Status::NoIdent => 92,
        Status::OtherUser => 93,
        // Rejected or failed.
        _ => 91,
    }
}

/// The status of a code; 91 does not say why.
pub fn status(code: u8) -> Option<Status> {
    Some(match code {
        90 => Status::Granted,
        91 => Status::Failed,
        92 => Status::NoIdent,
        93 => Status::OtherUser,
        _ => return None,
    })
}

/// A reply's eight bytes; its VN is 0. In place of an IPv6 address there is 0.0.0.0.
pub fn encode_reply(reply: Reply) -> [u8; REPLY_BYTES] {
    let [port_high, port_low] = reply.address.port().to_be_bytes();
    let ip = match reply.address.ip().to_canonical() {
        IpAddr::V4(ip) => ip,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    };
    let [a, b, c, d] = ip.octets();
    [0, code(reply.status), port_high, port_low, a, b, c, d]
}

/// Parses a reply (client side). Its code is one of the four.
pub fn parse_reply(bytes: &[u8]) -> Result<Received<ServerReply>, AnswerError> {
    let &[version, code, port_high, port_low, a, b, c, d] = bytes else {
        return if bytes.len() < REPLY_BYTES {
            Ok(Received::Need(REPLY_BYTES))
        } else {
            Err(AnswerError)
        };
    };
    if version != 0 || status(code).is_none() {
        return Err(AnswerError);
    }
    let port = u16::from_be_bytes([port_high, port_low]);
    let address = SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), port);
    Ok(Received::Done(ServerReply { code, address }))
}

/// Appends a request to `out` (client side). On error nothing is appended.
pub fn encode_request(request: &Request<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let valid = |text: &[u8], most| text.len() <= most && !text.contains(&0);
    if !valid(request.user, USER_BYTES_MAX) {
        return Err(EncodeError::User);
    }
    let (address, name) = match request.host {
        Host::Address(IpAddr::V6(_)) => return Err(EncodeError::Ipv6),
        Host::Address(IpAddr::V4(address)) if marks_name(address) => {
            return Err(EncodeError::Address);
        }
        Host::Address(IpAddr::V4(address)) => (address, None),
        Host::Name(name) if name.is_empty() || !valid(name, NAME_BYTES_MAX) => {
            return Err(EncodeError::Name);
        }
        Host::Name(name) => (Ipv4Addr::new(0, 0, 0, 1), Some(name)),
    };
    out.extend_from_slice(&[VERSION, request.command.byte()]);
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
#[path = "socks4_test.rs"]
mod tests;
