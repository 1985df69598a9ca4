//! TCP connections through a SOCKS proxy (SOCKS4, SOCKS4A or SOCKS5): blocking, on std sockets,
//! without any dependency.
//!
//! [`Client::connect`] reaches a target through the proxy. [`Client::bind`] makes the proxy listen
//! for one connection from outside, as active-mode FTP needs it; it gives a [`Bound`]. A client
//! speaks SOCKS4 unless [`Client::socks5`] or [`Client::password`] says otherwise.
//!
//! ```no_run
//! use socku::client::Client;
//! use std::io::{Read, Write};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let client = Client::new("proxy.example:1080").user("alice");
//!     let (mut stream, _) = client.connect("www.example.com:80")?;
//!     stream.write_all(b"GET / HTTP/1.0\r\nHost: www.example.com\r\n\r\n")?;
//!     let mut page = String::new();
//!     stream.read_to_string(&mut page)?;
//!     println!("{page}");
//!     Ok(())
//! }
//! ```
//!
//! With SOCKS5, targets may be IPv6 addresses, a rejection says why, and the proxy may ask for a
//! password. It goes to the proxy in plain text, like everything else.
//!
//! ```no_run
//! use socku::client::{Client, Error, Rejection};
//!
//! let client = Client::new("proxy.example:1080").user("alice").password("secret");
//! match client.connect("[2001:db8::1]:80") {
//!     Ok((stream, _)) => println!("connected: {stream:?}"),
//!     Err(Error::Rejected(Rejection::Refused)) => println!("nothing listens there"),
//!     Err(error) => println!("{error}"),
//! }
//! ```
//!
//! A time-out is a total: a proxy that sends its reply byte by byte does not extend it. A reply is
//! read to its last byte and not one further, so whatever the target sends is all in the stream.
//! The streams handed out block without time-outs, as std makes them.

mod address;
mod bound;
mod error;
mod proxy;
mod rejection;
mod target;

pub use crate::wire::{CREDENTIAL_BYTES_MAX, EncodeError, NAME_BYTES_MAX, USER_BYTES_MAX};
pub use address::ProxyAddress;
pub use bound::Bound;
pub use error::{Doing, Error};
pub use rejection::Rejection;
pub use target::Target;

use crate::wire::{self, AnswerError, Command, Method, Methods, Protocol, Received, Request};
use proxy::Proxy;
use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long connecting to the proxy may take unless [`Client::connect_timeout`] says otherwise.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a reply may take unless [`Client::reply_timeout`] says otherwise: longer than the two
/// minutes that a proxy gives a target or a peer (and the time for a name and an identd before
/// that), so that the proxy's reply comes first.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(150);

/// A proxy, and how to ask it. Nothing is looked up or sent before [`connect`](Client::connect) or
/// [`bind`](Client::bind). Each of them makes a connection of its own.
#[derive(Clone, Debug)]
pub struct Client {
    proxy: ProxyAddress,
    protocol: Protocol,
    user: Vec<u8>,
    password: Option<Password>,
    connect_timeout: Duration,
    reply_timeout: Duration,
}

impl Client {
    /// A client of the proxy at this address, or of this name: `"proxy.example:1080"`,
    /// `("proxy.example", 1080)`, a [`SocketAddr`], ...; see
    /// [`ProxyAddress`]. It speaks SOCKS4, and SOCKS4A where the target is a name. Its user is
    /// empty, its time-outs are [`CONNECT_TIMEOUT`] and [`REPLY_TIMEOUT`].
    ///
    /// The system's resolver looks up a name each time that a connection is made. All addresses
    /// it gives are tried in its order.
    pub fn new(proxy: impl Into<ProxyAddress>) -> Client {
        Client {
            proxy: proxy.into(),
            protocol: Protocol::Socks4,
            user: Vec::new(),
            password: None,
            connect_timeout: CONNECT_TIMEOUT,
            reply_timeout: REPLY_TIMEOUT,
        }
    }

    /// Speaks SOCKS5 (RFC 1928), without authentication unless there is a
    /// [`password`](Client::password).
    pub fn socks5(self) -> Client {
        Client { protocol: Protocol::Socks5, ..self }
    }

    /// The user. SOCKS4 sends it as user id (USERID): any bytes but NUL, at most
    /// [`USER_BYTES_MAX`]. SOCKS5 sends it only together with a [`password`](Client::password): any
    /// bytes, 1 to [`CREDENTIAL_BYTES_MAX`]. It is checked when it is used.
    pub fn user(self, user: impl Into<Vec<u8>>) -> Client {
        Client { user: user.into(), ..self }
    }

    /// The password of the [`user`](Client::user): any bytes, 1 to [`CREDENTIAL_BYTES_MAX`]. It is
    /// checked when it is used. The client speaks SOCKS5 then, since SOCKS4 has no passwords. It offers the
    /// proxy to authenticate by user and password (RFC 1929) or not at all, and the proxy chooses.
    ///
    /// User and password reach the proxy unencrypted. `Debug` does not show the password.
    pub fn password(self, password: impl Into<Vec<u8>>) -> Client {
        Client { password: Some(Password(password.into())), ..self.socks5() }
    }

    /// How long connecting to the proxy may take, all its addresses together; [`Duration::MAX`]
    /// means without limit. The system sets the time for looking up a name, which comes before.
    pub fn connect_timeout(self, most: Duration) -> Client {
        Client { connect_timeout: most, ..self }
    }

    /// How long a whole reply may take, including the sending of the request and, in SOCKS5, the
    /// authentication; [`Duration::MAX`] means without limit. Each of the two replies to a BIND has
    /// this time: the second one from the call of [`Bound::accept`].
    pub fn reply_timeout(self, most: Duration) -> Client {
        Client { reply_timeout: most, ..self }
    }

    /// Connects to a target through the proxy (CONNECT). The target is text of the form
    /// `"HOST:PORT"`, a pair of host and port, or an address; see [`Target`].
    ///
    /// Gives the stream, and the address of the reply: for socku the local address of the
    /// proxy's connection to the target, for other proxies often 0.0.0.0:0. A SOCKS5 proxy may
    /// reply with a name; then the address is 0.0.0.0 with the port of the reply.
    ///
    /// # Errors
    ///
    /// Any [`Error`]. With [`Error::Target`] and [`Error::Request`] nothing has been sent, not even
    /// a SYN.
    pub fn connect<'a, T>(&self, target: T) -> Result<(TcpStream, SocketAddr), Error>
    where
        T: TryInto<Target<'a>>,
        Error: From<T::Error>,
    {
        let (proxy, address) = self.ask(Command::Connect, &target.try_into()?)?;
        Ok((proxy.into_stream()?, address))
    }

    /// Makes the proxy listen for one connection from `peer` (BIND), which takes the same forms as
    /// the target of [`connect`](Client::connect).
    ///
    /// Proxies compare the peer's address with the one expected here, but not its port. The
    /// meaning of the address 0.0.0.0 is up to the proxy: for socku it is any peer that its rules
    /// permit.
    ///
    /// # Errors
    ///
    /// Any [`Error`]. With [`Error::Target`] and [`Error::Request`] nothing has been sent, not even
    /// a SYN.
    pub fn bind<'a, T>(&self, peer: T) -> Result<Bound, Error>
    where
        T: TryInto<Target<'a>>,
        Error: From<T::Error>,
    {
        let (proxy, address) = self.ask(Command::Bind, &peer.try_into()?)?;
        Bound::new(proxy, self.protocol, address, self.reply_timeout)
    }

    /// Sends one request and reads the (first) reply, which must be a grant.
    fn ask(&self, command: Command, target: &Target<'_>) -> Result<(Proxy, SocketAddr), Error> {
        let (host, port) = target.parts();
        let request = Request { protocol: self.protocol, command, port, host, user: &self.user };
        // Everything is put into bytes first, so that nothing is sent of what cannot be asked.
        let mut bytes = Vec::new();
        wire::encode_request(&request, &mut bytes).map_err(Error::Request)?;
        let password = self.password_message()?;
        let mut proxy = Proxy::dial(&self.proxy, self.connect_timeout)?;
        proxy.set_deadline(self.reply_timeout);
        if self.protocol == Protocol::Socks5 {
            authenticate(&mut proxy, password.as_deref())?;
        }
        proxy.send(&bytes)?;
        let address = proxy.granted(self.protocol, Doing::Reply)?;
        Ok((proxy, address))
    }

    /// User and password in the bytes of SOCKS5, if there is a password.
    fn password_message(&self) -> Result<Option<Vec<u8>>, Error> {
        let Some(Password(password)) = &self.password else { return Ok(None) };
        let mut bytes = Vec::new();
        wire::encode_password(&self.user, password, &mut bytes).map_err(Error::Request)?;
        Ok(Some(bytes))
    }
}

/// The dialogue of SOCKS5 before the request. Each message waits for the answer to the one before:
/// only that says what comes next.
fn authenticate(proxy: &mut Proxy, password: Option<&[u8]>) -> Result<(), Error> {
    let mut greeting = Vec::new();
    let offered = Methods { none: true, password: password.is_some() };
    wire::encode_greeting(offered, &mut greeting);
    proxy.send(&greeting)?;
    let method = proxy.receive(Doing::Authenticating, |bytes| match wire::parse_method(bytes) {
        Ok(Received::Done(Some(Method::Password))) if !offered.password => Err(AnswerError),
        parsed => parsed,
    })?;
    match (method, password) {
        (Some(Method::Password), Some(password)) => {
            proxy.send(password)?;
            match proxy.receive(Doing::Authenticating, wire::parse_password_status)? {
                true => Ok(()),
                false => Err(Error::WrongPassword),
            }
        }
        (Some(_), _) => Ok(()),
        (None, _) => Err(Error::NoMethod),
    }
}

/// A password, which `Debug` does not show.
#[derive(Clone)]
struct Password(Vec<u8>);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("...")
    }
}

#[cfg(test)]
#[path = "client/client_test.rs"]
mod tests;
