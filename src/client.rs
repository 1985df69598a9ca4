//! The client side: TCP connections through a SOCKS4 or SOCKS4A proxy, blocking, on std sockets.
//!
//! [`Client::connect`] reaches a target through the proxy. [`Client::bind`] makes the proxy listen
//! for one connection from outside, as active-mode FTP wants it; [`Bound`] is what it gives.
//!
//! ```no_run
//! use socku::client::Client;
//! use std::io::{Read, Write};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let client = Client::new("127.0.0.1:1080".parse()?).user("alice");
//!     let (mut stream, _) = client.connect(("www.example.com", 80))?;
//!     stream.write_all(b"GET / HTTP/1.0\r\nHost: www.example.com\r\n\r\n")?;
//!     let mut page = String::new();
//!     stream.read_to_string(&mut page)?;
//!     println!("{page}");
//!     Ok(())
//! }
//! ```
//!
//! A time-out is a total: a proxy that sends its reply byte by byte gains nothing by it. A reply
//! is read to its last byte and not one further, so what comes behind it is all in the stream.
//! The streams handed out block without time-outs, as std makes them.

mod bound;
mod error;
mod proxy;
mod target;

pub use bound::Bound;
pub use error::{Doing, Error};
pub use target::Target;

use crate::wire::{self, Command, Request};
use proxy::Proxy;
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

/// How long connecting to the proxy may take unless [`Client::connect_timeout`] says otherwise.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a reply may take unless [`Client::reply_timeout`] says otherwise: longer than the two
/// minutes that a proxy gives a target or a peer (and the time for a name and an identd before
/// that), so that it is the proxy that says what has failed.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(150);

/// A proxy, and how to ask it. Nothing is sent before [`connect`](Client::connect) or
/// [`bind`](Client::bind), and each of them makes a connection of its own.
#[derive(Clone, Debug)]
pub struct Client {
    proxy: SocketAddr,
    user: Vec<u8>,
    connect_timeout: Duration,
    reply_timeout: Duration,
}

impl Client {
    /// Will ask the proxy at this address, with an empty user id, [`CONNECT_TIMEOUT`] and
    /// [`REPLY_TIMEOUT`].
    pub fn new(proxy: SocketAddr) -> Client {
        Client {
            proxy,
            user: Vec::new(),
            connect_timeout: CONNECT_TIMEOUT,
            reply_timeout: REPLY_TIMEOUT,
        }
    }

    /// The user id (USERID) to send: any bytes but NUL, at most [`wire::USER_BYTES_MAX`]. It is
    /// checked when it is used.
    pub fn user(self, user: impl Into<Vec<u8>>) -> Client {
        Client { user: user.into(), ..self }
    }

    /// How long connecting to the proxy may take; [`Duration::MAX`] means for ever.
    pub fn connect_timeout(self, most: Duration) -> Client {
        Client { connect_timeout: most, ..self }
    }

    /// How long a whole reply may take, the sending of the request included;
    /// [`Duration::MAX`] means for ever. Both replies to a BIND have this time each: the second
    /// one from the call of [`Bound::accept`].
    pub fn reply_timeout(self, most: Duration) -> Client {
        Client { reply_timeout: most, ..self }
    }

    /// Connects to a target through the proxy (CONNECT).
    ///
    /// Gives the stream, and the address of the reply: for socku the local address of the
    /// proxy's connection to the target, for other proxies often 0.0.0.0:0.
    ///
    /// # Errors
    ///
    /// Any [`Error`]. With [`Error::Request`] nothing has been sent, not even a SYN.
    pub fn connect<'a>(
        &self,
        target: impl Into<Target<'a>>,
    ) -> Result<(TcpStream, SocketAddrV4), Error> {
        let (proxy, address) = self.ask(Command::Connect, target.into())?;
        Ok((proxy.into_stream()?, address))
    }

    /// Makes the proxy listen for one connection from `peer` (BIND).
    ///
    /// Proxies compare the peer's address with the one expected here, but not its port. What
    /// the address 0.0.0.0 means is up to the proxy: for socku it is any peer that its rules
    /// permit.
    ///
    /// # Errors
    ///
    /// Any [`Error`]. With [`Error::Request`] nothing has been sent, not even a SYN.
    pub fn bind<'a>(&self, peer: impl Into<Target<'a>>) -> Result<Bound, Error> {
        let (proxy, address) = self.ask(Command::Bind, peer.into())?;
        Bound::new(proxy, address, self.reply_timeout)
    }

    /// Sends one request and reads the (first) reply, which must be a grant.
    fn ask(&self, command: Command, target: Target<'_>) -> Result<(Proxy, SocketAddrV4), Error> {
        let (host, port) = target.parts();
        let mut bytes = Vec::new();
        wire::encode_request(&Request { command, port, host, user: &self.user }, &mut bytes)
            .map_err(Error::Request)?;
        let mut proxy = Proxy::dial(self.proxy, self.connect_timeout)?;
        proxy.set_deadline(self.reply_timeout);
        proxy.send(&bytes)?;
        let address = proxy.granted(Doing::Reply)?;
        Ok((proxy, address))
    }
}
