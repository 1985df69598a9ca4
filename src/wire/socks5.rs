//! The bytes of SOCKS5, for client and server.
//!
//! Sources: RFC 1928 (SOCKS Protocol Version 5) and RFC 1929 (Username/Password Authentication).

use super::message::{
    AnswerError, CREDENTIAL_BYTES_MAX, Command, EncodeError, Host, Message, Method, Methods,
    NAME_BYTES_MAX, Parsed, Protocol, Received, Reply, Request, RequestError, ServerReply, Status,
};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The version byte of greetings, requests and the answers to them (VER).
pub const VERSION: u8 = 5;
/// The version byte of user and password (RFC 1929 section 2).
const PASSWORD_VERSION: u8 = 1;
/// METHOD: no authentication required.
const METHOD_NONE: u8 = 0;
/// METHOD: user and password.
const METHOD_PASSWORD: u8 = 2;
/// METHOD: no acceptable methods.
const METHOD_UNACCEPTABLE: u8 = 255;
/// ATYP: an IPv4 address.
const TYPE_IPV4: u8 = 1;
/// ATYP: a name after its length byte.
const TYPE_NAME: u8 = 3;
/// ATYP: an IPv6 address.
const TYPE_IPV6: u8 = 4;
/// Bytes of a request or a reply before the address: VER, CMD or REP, RSV, ATYP.
const HEAD_BYTES: usize = 4;
/// Bytes of the longest reply that a server sends: it never sends a name.
pub const REPLY_BYTES_MAX: usize = HEAD_BYTES + 16 + 2;

/// Parses the client's greeting: VER, NMETHODS, METHODS. NMETHODS 0 offers nothing.
pub fn parse_greeting(bytes: &[u8]) -> Result<Parsed<Message<'_>>, RequestError> {
    check_version(bytes, VERSION)?;
    let Some((offered, length)) = counted(bytes, 1) else { return Ok(Parsed::More) };
    let methods = Methods {
        none: offered.contains(&METHOD_NONE),
        password: offered.contains(&METHOD_PASSWORD),
    };
    Ok(Parsed::Done(Message::Greeting(methods), length))
}

/// Parses user and password: VER 1, ULEN, UNAME, PLEN, PASSWD.
pub fn parse_password(bytes: &[u8]) -> Result<Parsed<Message<'_>>, RequestError> {
    check_version(bytes, PASSWORD_VERSION)?;
    let Some((user, end)) = counted(bytes, 1) else { return Ok(Parsed::More) };
    let Some((password, length)) = counted(bytes, end) else { return Ok(Parsed::More) };
    Ok(Parsed::Done(Message::Password { user, password }, length))
}

/// Parses a request: VER, CMD, RSV, ATYP, DST.ADDR, DST.PORT. RSV may be anything: some clients do
/// not set it.
pub fn parse_request(bytes: &[u8]) -> Result<Parsed<Message<'_>>, RequestError> {
    check_version(bytes, VERSION)?;
    let Some(&command) = bytes.get(1) else { return Ok(Parsed::More) };
    let command = Command::from_byte(command)?;
    match parse_address(bytes) {
        Ok(Received::Done(Address { host, port, end })) => {
            let protocol = Protocol::Socks5;
            let request = Request { protocol, command, port, host, user: b"" };
            Ok(Parsed::Done(Message::Request(request), end))
        }
        Ok(Received::Need(_)) => Ok(Parsed::More),
        Err(BadType(address_type)) => Err(RequestError::AddressType(address_type)),
    }
}

fn check_version(bytes: &[u8], expected: u8) -> Result<(), RequestError> {
    match bytes.first() {
        Some(&version) if version != expected => Err(RequestError::Version(version)),
        _ => Ok(()),
    }
}

/// The bytes after a length byte at `start`, and where they end.
fn counted(bytes: &[u8], start: usize) -> Option<(&[u8], usize)> {
    let end = start + 1 + usize::from(*bytes.get(start)?);
    Some((bytes.get(start + 1..end)?, end))
}

/// The last fields of a request or reply, and where it ends.
struct Address<'a> {
    host: Host<'a>,
    port: u16,
    end: usize,
}

/// An ATYP that has no meaning.
struct BadType(u8);

/// Parses ATYP, address and port, which are at the same place in requests and replies.
fn parse_address(bytes: &[u8]) -> Result<Received<Address<'_>>, BadType> {
    // No message is shorter than with an empty name; its length byte says how long it is.
    let Some(&address_type) = bytes.get(HEAD_BYTES - 1) else {
        return Ok(Received::Need(HEAD_BYTES + 1));
    };
    let (start, length) = match (address_type, bytes.get(HEAD_BYTES)) {
        (TYPE_IPV4, _) => (HEAD_BYTES, 4),
        (TYPE_IPV6, _) => (HEAD_BYTES, 16),
        (TYPE_NAME, Some(&length)) => (HEAD_BYTES + 1, usize::from(length)),
        (TYPE_NAME, None) => return Ok(Received::Need(HEAD_BYTES + 1)),
        (other, _) => return Err(BadType(other)),
    };
    let end = start + length + 2;
    let Some(fields) = bytes.get(start..end) else { return Ok(Received::Need(end)) };
    let (address, port) = fields.split_at(length);
    let host = match address_type {
        TYPE_NAME => Host::Name(address),
        _ => Host::Address(ip(address)),
    };
    Ok(Received::Done(Address { host, port: u16::from_be_bytes([port[0], port[1]]), end }))
}

/// The address of 4 or 16 octets.
fn ip(octets: &[u8]) -> IpAddr {
    match <[u8; 4]>::try_from(octets) {
        Ok(octets) => Ipv4Addr::from(octets).into(),
        Err(_) => {
            let octets: [u8; 16] = octets.try_into().expect("an address has 4 or 16 octets");
            IpAddr::from(octets).to_canonical()
        }
    }
}

/// The code of a status (REP, RFC 1928 section 6).
pub fn code(status: Status) -> u8 {
    match status {
        Status::Granted => 0,
        Status::Failed => 1,
        // Identd is asked because a rule wants it.
        Status::NotAllowed | Status::NoIdent | Status::OtherUser => 2,
        Status::NetworkUnreachable => 3,
        Status::HostUnreachable => 4,
        Status::Refused => 5,
        // RFC 1928: "TTL expired".
        Status::TimedOut => 6,
        Status::CommandNotSupported => 7,
        Status::AddressTypeNotSupported => 8,
    }
}

/// The status of a code; RFC 1928 assigns no meaning to the others.
pub fn status(code: u8) -> Option<Status> {
    Status::ALL.into_iter().find(|&status| self::code(status) == code)
}

/// The byte of a method, or of none.
pub fn method_code(method: Option<Method>) -> u8 {
    match method {
        Some(Method::None) => METHOD_NONE,
        Some(Method::Password) => METHOD_PASSWORD,
        None => METHOD_UNACCEPTABLE,
    }
}

/// The answer to a greeting: VER, METHOD.
pub fn encode_method(method: Option<Method>) -> [u8; 2] {
    [VERSION, method_code(method)]
}

/// The answer to user and password: VER 1, STATUS.
pub fn encode_password_status(accepted: bool) -> [u8; 2] {
    [PASSWORD_VERSION, u8::from(!accepted)]
}

/// Appends a reply to `out`: VER, REP, RSV 0, ATYP, BND.ADDR, BND.PORT.
pub fn encode_reply(reply: Reply, out: &mut impl Extend<u8>) {
    out.extend([VERSION, code(reply.status), 0]);
    encode_address(reply.address.ip(), out);
    out.extend(reply.address.port().to_be_bytes());
}

/// Appends ATYP and an address.
fn encode_address(ip: IpAddr, out: &mut impl Extend<u8>) {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            out.extend([TYPE_IPV4]);
            out.extend(ip.octets());
        }
        IpAddr::V6(ip) => {
            out.extend([TYPE_IPV6]);
            out.extend(ip.octets());
        }
    }
}

/// Parses the answer to a greeting (client side); `None` if no method offered is acceptable.
pub fn parse_method(bytes: &[u8]) -> Result<Received<Option<Method>>, AnswerError> {
    match *bytes {
        [VERSION, METHOD_NONE] => Ok(Received::Done(Some(Method::None))),
        [VERSION, METHOD_PASSWORD] => Ok(Received::Done(Some(Method::Password))),
        [VERSION, METHOD_UNACCEPTABLE] => Ok(Received::Done(None)),
        [] | [VERSION] => Ok(Received::Need(2)),
        _ => Err(AnswerError),
    }
}

/// Parses the answer to user and password (client side): whether they are accepted.
pub fn parse_password_status(bytes: &[u8]) -> Result<Received<bool>, AnswerError> {
    match *bytes {
        [PASSWORD_VERSION, status] => Ok(Received::Done(status == 0)),
        [] | [PASSWORD_VERSION] => Ok(Received::Need(2)),
        _ => Err(AnswerError),
    }
}

/// Parses a reply (client side). Its code may be any byte.
pub fn parse_reply(bytes: &[u8]) -> Result<Received<ServerReply>, AnswerError> {
    if bytes.first().is_some_and(|&version| version != VERSION) {
        return Err(AnswerError);
    }
    match parse_address(bytes) {
        Ok(Received::Need(length)) => Ok(Received::Need(length)),
        Ok(Received::Done(Address { host, port, end })) if end == bytes.len() => {
            let ip = match host {
                Host::Address(ip) => ip,
                Host::Name(_) => Ipv4Addr::UNSPECIFIED.into(),
            };
            let address = SocketAddr::new(ip, port);
            Ok(Received::Done(ServerReply { code: bytes[1], address }))
        }
        _ => Err(AnswerError),
    }
}

/// Appends a greeting to `out` (client side).
pub fn encode_greeting(methods: Methods, out: &mut Vec<u8>) {
    let offered = [(methods.none, METHOD_NONE), (methods.password, METHOD_PASSWORD)];
    let codes = || offered.iter().filter(|(is_offered, _)| *is_offered).map(|(_, code)| *code);
    out.extend([VERSION, codes().count() as u8]);
    out.extend(codes());
}

/// Appends user and password to `out` (client side). On error nothing is appended.
pub fn encode_password(user: &[u8], password: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let valid = |text: &[u8]| (1..=CREDENTIAL_BYTES_MAX).contains(&text.len());
    if !valid(user) {
        return Err(EncodeError::User);
    }
    if !valid(password) {
        return Err(EncodeError::Password);
    }
    out.push(PASSWORD_VERSION);
    for text in [user, password] {
        out.push(text.len() as u8);
        out.extend_from_slice(text);
    }
    Ok(())
}

/// Appends a request to `out` (client side). On error nothing is appended.
pub fn encode_request(request: &Request<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let head = [VERSION, request.command.byte(), 0];
    match request.host {
        Host::Address(ip) => {
            out.extend(head);
            encode_address(ip, out);
        }
        Host::Name(name) => {
            if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(&0) {
                return Err(EncodeError::Name);
            }
            out.extend(head);
            out.extend([TYPE_NAME, name.len() as u8]);
            out.extend_from_slice(name);
        }
    }
    out.extend(request.port.to_be_bytes());
    Ok(())
}

#[cfg(test)]
#[path = "socks5_test.rs"]
mod tests;
