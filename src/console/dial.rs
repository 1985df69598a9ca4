//! The way to a remote shell: the proxy, and a CONNECT through it.

use crate::name::Target;
use crate::wire::{self, Code, Command, Host, Request};
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};
use std::{error, fmt};

/// Why there is no connection to a remote shell.
#[derive(Debug)]
pub enum DialError {
    /// The SOCKS server's name leads to no address.
    Lookup(io::Error),
    /// The SOCKS server cannot be reached.
    Reach(io::Error),
    /// The connection to the SOCKS server broke before its reply.
    Reply(io::Error),
    /// It said no.
    Refused(Code),
    /// What it sent is no SOCKS4 reply.
    Protocol([u8; wire::REPLY_BYTES]),
    /// Nothing that SOCKS4 could ask for.
    Request(wire::EncodeError),
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DialError::Lookup(error) => write!(f, "the SOCKS server's name is not known: {error}"),
            DialError::Reach(error) => {
                write!(f, "the SOCKS server cannot be reached: {}", why(error))
            }
            DialError::Reply(error) => write!(f, "the SOCKS server gave no answer: {}", why(error)),
            DialError::Refused(Code::NoIdent) => {
                f.write_str("the SOCKS server refused: it cannot reach identd here (92)")
            }
            DialError::Refused(Code::OtherUser) => {
                f.write_str("the SOCKS server refused: identd names another user (93)")
            }
            DialError::Refused(_) => {
                f.write_str("the SOCKS server refused, or could not reach the host (91)")
            }
            DialError::Protocol(bytes) => {
                write!(f, "this is no SOCKS4 server: it answered {}", bytes.escape_ascii())
            }
            DialError::Request(_) => f.write_str("SOCKS4 cannot ask for this address"),
        }
    }
}

impl error::Error for DialError {}

/// What an error is called; a time-out has two names among errors, and neither says so.
pub fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "it took too long".into(),
        io::ErrorKind::UnexpectedEof => "it closed the connection".into(),
        kind => kind.to_string(),
    }
}

/// Connects to `target` through the proxy: by SOCKS4 to an address, by SOCKS4A to a name. All of
/// it must be done within `timeout`, but for the look-up of the proxy's name.
pub fn dial(
    proxy: (&str, u16),
    target: &(Target, u16),
    timeout: Duration,
) -> Result<TcpStream, DialError> {
    let request = request(target)?;
    let until = Instant::now() + timeout;
    let mut stream = reach(proxy, until)?;
    stream.write_all(&request).map_err(DialError::Reply)?;
    let reply = read_reply(&mut stream, until).map_err(DialError::Reply)?;
    match wire::parse_reply(reply) {
        Ok(reply) if reply.code == Code::Granted => Ok(stream),
        Ok(reply) => Err(DialError::Refused(reply.code)),
        Err(_) => Err(DialError::Protocol(reply)),
    }
}

fn request((target, port): &(Target, u16)) -> Result<Vec<u8>, DialError> {
    let name = match target {
        Target::Address(_) => String::new(),
        Target::Name(name) if name.is_absolute() => format!("{name}."),
        Target::Name(name) => name.to_string(),
    };
    let host = match target {
        Target::Address(address) => Host::Address(*address),
        Target::Name(_) => Host::Name(name.as_bytes()),
    };
    let request = Request { command: Command::Connect, port: *port, host, user: b"" };
    let mut bytes = Vec::new();
    wire::encode_request(&request, &mut bytes).map_err(DialError::Request)?;
    Ok(bytes)
}

/// Tries every address of the proxy in turn.
fn reach(proxy: (&str, u16), until: Instant) -> Result<TcpStream, DialError> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in proxy.to_socket_addrs().map_err(DialError::Lookup)? {
        match TcpStream::connect_timeout(&address, left(until).map_err(DialError::Reach)?) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(DialError::Reach(last))
}

/// Reads exactly the reply: what follows belongs to the session.
fn read_reply(stream: &mut TcpStream, until: Instant) -> io::Result<[u8; wire::REPLY_BYTES]> {
    let mut reply = [0; wire::REPLY_BYTES];
    let mut filled = 0;
    while filled < reply.len() {
        stream.set_read_timeout(Some(left(until)?))?;
        match stream.read(&mut reply[filled..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(reply)
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}
