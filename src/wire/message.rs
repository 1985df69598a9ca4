//! What client and server say to each other, whatever the protocol.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Most bytes in a USERID of SOCKS4, not counting its NUL.
pub const USER_BYTES_MAX: usize = 512;
/// Most bytes in a name, not counting the NUL of SOCKS4A; its characters are checked after parsing.
pub const NAME_BYTES_MAX: usize = 255;
/// Most bytes in the user name and in the password of SOCKS5 (RFC 1929 section 2).
pub const CREDENTIAL_BYTES_MAX: usize = 255;

/// The protocol of a request, by the word of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// SOCKS4, with an address as target.
    Socks4,
    /// SOCKS4A: SOCKS4 with a name as target.
    Socks4a,
    /// SOCKS5 (RFC 1928).
    Socks5,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Socks4 => "4",
            Protocol::Socks4a => "4a",
            Protocol::Socks5 => "5",
        })
    }
}

/// The command of a request (CD or CMD).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// 1: connect to the target.
    Connect,
    /// 2: listen for one connection from the target.
    Bind,
}

impl Command {
    /// The command that a byte stands for in both protocols.
    pub fn from_byte(byte: u8) -> Result<Command, RequestError> {
        match byte {
            1 => Ok(Command::Connect),
            2 => Ok(Command::Bind),
            other => Err(RequestError::Command(other)),
        }
    }

    /// Its byte.
    pub fn byte(self) -> u8 {
        match self {
            Command::Connect => 1,
            Command::Bind => 2,
        }
    }
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host<'a> {
    /// An address; one of IPv4 written as IPv6 (`::ffff:192.0.2.1`) is parsed as IPv4. 0.0.0.0 is
    /// an address here, never a sign of SOCKS4A.
    Address(IpAddr),
    /// The bytes of a name, not yet validated; it may be empty.
    Name(&'a [u8]),
}

/// A complete request, borrowed from the bytes it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The protocol that it is written in; [`Protocol::Socks4a`] if it is SOCKS4 with a name.
    pub protocol: Protocol,
    /// CD or CMD.
    pub command: Command,
    /// DSTPORT or DST.PORT.
    pub port: u16,
    /// The target, or the expected peer of a BIND.
    pub host: Host<'a>,
    /// USERID, without the NUL; empty in SOCKS5.
    pub user: &'a [u8],
}

/// The authentication methods that a SOCKS5 client offers; any others are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Methods {
    /// 0: no authentication.
    pub none: bool,
    /// 2: user and password (RFC 1929).
    pub password: bool,
}

/// The authentication method that a SOCKS5 server chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// 0: no authentication.
    None,
    /// 2: user and password (RFC 1929).
    Password,
}

/// The kind of message that a server expects next from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The first one, of either protocol: a request of SOCKS4 or a greeting of SOCKS5.
    First,
    /// User and password of SOCKS5.
    Password,
    /// The request of SOCKS5.
    Request,
}

/// A message from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// The request.
    Request(Request<'a>),
    /// The greeting of SOCKS5, which offers methods; maybe none that is known.
    Greeting(Methods),
    /// User and password of SOCKS5, as they are; either may be empty.
    Password {
        /// UNAME.
        user: &'a [u8],
        /// PASSWD.
        password: &'a [u8],
    },
}

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// The version byte of the message is another one. As the first byte of all it means that the
    /// peer speaks another protocol, so no reply is due.
    Version(u8),
    /// The command is neither 1 nor 2; SOCKS5's UDP ASSOCIATE is 3.
    Command(u8),
    /// The address type of SOCKS5 (ATYP) is neither 1 nor 3 nor 4.
    AddressType(u8),
    /// USERID exceeds [`USER_BYTES_MAX`].
    UserTooLong,
    /// The name of SOCKS4A exceeds [`NAME_BYTES_MAX`].
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

/// The result of a request: granted, or why not. Each protocol has a code for it, see
/// [`Status::code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// It is granted.
    Granted,
    /// Any failure for which there is no other word.
    Failed,
    /// The rules deny it.
    NotAllowed,
    /// There is no route to the target's network.
    NetworkUnreachable,
    /// The target cannot be reached, or its name not resolved.
    HostUnreachable,
    /// The target refuses the connection.
    Refused,
    /// The target, or the peer of a BIND, has not answered in time.
    TimedOut,
    /// The command is not served.
    CommandNotSupported,
    /// The kind of address is not served.
    AddressTypeNotSupported,
    /// The client's identd is unreachable.
    NoIdent,
    /// The client's identd names another user.
    OtherUser,
}

impl Status {
    /// All of them.
    pub const ALL: [Status; 11] = [
        Status::Granted,
        Status::Failed,
        Status::NotAllowed,
        Status::NetworkUnreachable,
        Status::HostUnreachable,
        Status::Refused,
        Status::TimedOut,
        Status::CommandNotSupported,
        Status::AddressTypeNotSupported,
        Status::NoIdent,
        Status::OtherUser,
    ];
}

/// A reply to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Granted, or why not.
    pub status: Status,
    /// The local address of the outgoing connection, the listening address of a BIND, or its peer;
    /// 0.0.0.0:0 in a rejection.
    pub address: SocketAddr,
}

impl Reply {
    /// A granted reply with its address.
    pub fn granted(address: impl Into<SocketAddr>) -> Reply {
        Reply { status: Status::Granted, address: address.into() }
    }

    /// A rejection.
    pub fn rejected(status: Status) -> Reply {
        Reply { status, address: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0) }
    }
}

/// A message from a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To a greeting of SOCKS5: the method chosen, or `None` when no method offered is acceptable
    /// (the server then closes).
    Method(Option<Method>),
    /// To user and password of SOCKS5. A server that does not accept them closes.
    Password {
        /// Whether they are right.
        accepted: bool,
    },
    /// To a request.
    Reply(Reply),
}

/// A reply as a client receives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerReply {
    /// The byte that says whether the request is granted; see [`Status::from_code`].
    pub code: u8,
    /// BND.ADDR and BND.PORT, or DSTIP and DSTPORT. In place of a name, which SOCKS5 permits here,
    /// the address is 0.0.0.0.
    pub address: SocketAddr,
}

/// The result of a client's parser that found no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<T> {
    /// The message, which took all the bytes.
    Done(T),
    /// Valid so far. The whole message has at least so many bytes, so a client that asks for no
    /// more never reads what comes after it.
    Need(usize),
}

/// The bytes are not an answer of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerError;

/// Why a message cannot be put on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// SOCKS4: the user id contains a NUL or exceeds [`USER_BYTES_MAX`]. SOCKS5: the user name is
    /// empty or exceeds [`CREDENTIAL_BYTES_MAX`].
    User,
    /// The password is empty or exceeds [`CREDENTIAL_BYTES_MAX`].
    Password,
    /// The name is empty, contains a NUL or exceeds [`NAME_BYTES_MAX`].
    Name,
    /// SOCKS4: the address would announce a SOCKS4A name (0.0.0.x with x not 0).
    Address,
    /// SOCKS4 has no IPv6 addresses; SOCKS5 does.
    Ipv6,
}
