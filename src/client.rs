//! TCP connections through a SOCKS4 or SOCKS4A proxy: blocking, on std sockets, without any
//! dependency.
//!
//! [`Client::connect`] reaches a target through the proxy. [`Client::bind`] makes the proxy listen
//! for one connection from outside, as active-mode FTP needs it; it gives a [`Bound`].
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
//! A time-out is a total: a proxy that sends its reply byte by byte does not extend it. A reply is
//! read to its last byte and not one further, so whatever the target sends is all in the stream.
//! The streams handed out block without time-outs, as std makes them.

mod address;
mod bound;
mod error;
mod proxy;
mod target;

pub use crate::wire::{EncodeError, NAME_BYTES_MAX, USER_BYTES_MAX};
pub use address::ProxyAddress;
pub use bound::Bound;
pub use error::{Doing, Error};
pub use target::Target;

use crate::wire::{self, Command, Protocol, Request};
use proxy::Proxy;
use std::net::{SocketAddrV4, TcpStream};
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
    user: Vec<u8>,
    connect_timeout: Duration,
    reply_timeout: Duration,
}

impl Client {
    /// A client of the proxy at this address, or of this name: `"proxy.example:1080"`,
    /// `("proxy.example", 1080)`, a [`SocketAddr`](std::net::SocketAddr), ...; see
    /// [`ProxyAddress`]. Its user id is empty, its time-outs are [`CONNECT_TIMEOUT`] and
    /// [`REPLY_TIMEOUT`].
    ///
    /// The system's resolver looks up a name each time that a connection is made. All addresses
    /// it gives are tried in its order.
    pub fn new(proxy: impl Into<ProxyAddress>) -> Client {
        Client {
            proxy: proxy.into(),
            user: Vec::new(),
            connect_timeout: CONNECT_TIMEOUT,
            reply_timeout: REPLY_TIMEOUT,
        }
    }

    /// The user id (USERID) to send: any bytes but NUL, at most [`USER_BYTES_MAX`]. It is checked
    /// when it is used.
    pub fn user(self, user: impl Into<Vec<u8>>) -> Client {
        Client { user: user.into(), ..self }
    }

    /// How long connecting to the proxy may take, all its addresses together; [`Duration::MAX`]
    /// means without limit. The system sets the time for looking up a name, which comes before.
    pub fn connect_timeout(self, most: Duration) -> Client {
        Client { connect_timeout: most, ..self }
    }

    /// How long a whole reply may take, the sending of the request included;
    /// [`Duration::MAX`] means without limit. Each of the two replies to a BIND has this time: the
    /// second one from the call of [`Bound::accept`].
    pub fn reply_timeout(self, most: Duration) -> Client {
        Client { reply_timeout: most, ..self }
    }

    /// Connects to a target through the proxy (CONNECT). The target is text of the form
    /// `"HOST:PORT"`, a pair of host and port, or an address; see [`Target`].
    ///
    /// Gives the stream, and the address of the reply: for socku the local address of the
    /// proxy's connection to the target, for other proxies often 0.0.0.0:0.
    ///
    /// # Errors
    ///
    /// Any [`Error`]. With [`Error::Target`] and [`Error::Request`] nothing has been sent, not even
    /// a SYN.
    pub fn connect<'a, T>(&self, target: T) -> Result<(TcpStream, SocketAddrV4), Error>
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
        Bound::new(proxy, address, self.reply_timeout)
    }

    /// Sends one request and reads the (first) reply, which must be a grant.
    fn ask(&self, command: Command, target: &Target<'_>) -> Result<(Proxy, SocketAddrV4), Error> {
        let (host, port) = target.parts();
        let protocol = Protocol::Socks4;
        let request = Request { protocol, command, port, host, user: &self.user };
        let mut bytes = Vec::new();
        wire::encode_request(&request, &mut bytes).map_err(Error::Request)?;
        let mut proxy = Proxy::dial(&self.proxy, self.connect_timeout)?;
        proxy.set_deadline(self.reply_timeout);
        proxy.send(&bytes)?;
        let address = proxy.granted(Doing::Reply)?;
        Ok((proxy, address))
    }
}

#[cfg(test)]
#[path = "client/client_test.rs"]
mod tests;
