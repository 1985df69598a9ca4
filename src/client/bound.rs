//! A BIND between its two replies.

use super::error::{Doing, Error};
use super::proxy::Proxy;
use crate::wire::Protocol;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A proxy that listens for one connection on our behalf: what [`Client::bind`] gives. Dropping
/// it makes the proxy stop listening.
///
/// ```no_run
/// # fn send_to_server(address: std::net::SocketAddr) {}
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use socku::client::Client;
///
/// let client = Client::new("127.0.0.1:1080");
/// let bound = client.bind(("192.0.2.7", 21))?;
/// send_to_server(bound.address()); // FTP: the PORT command
/// let (stream, peer) = bound.accept()?;
/// # Ok(())
/// # }
/// ```
///
/// [`Client::bind`]: super::Client::bind
#[derive(Debug)]
pub struct Bound {
    proxy: Proxy,
    protocol: Protocol,
    address: SocketAddr,
    reply_timeout: Duration,
}

impl Bound {
    pub(super) fn new(
        proxy: Proxy,
        protocol: Protocol,
        address: SocketAddr,
        reply_timeout: Duration,
    ) -> Result<Bound, Error> {
        // "If the DSTIP in the reply is 0 [...], the client should replace it by the IP address
        // of the SOCKS server" (Ying-Da Lee's text on BIND). Proxies do likewise in SOCKS5.
        let ip = match address.ip() {
            ip if ip.is_unspecified() => proxy.ip()?,
            ip => ip,
        };
        let address = SocketAddr::new(ip, address.port());
        Ok(Bound { proxy, protocol, address, reply_timeout })
    }

    /// The address to pass on to the peer: that of the first reply, with the proxy's own address in
    /// place of an unspecified one (0.0.0.0 or ::) or of a name. With SOCKS4 it is an IPv6 address
    /// only if the proxy replied with 0.0.0.0 and was itself reached over IPv6.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the peer, at most for the client's reply time-out from now on. Gives the stream
    /// and the peer's address as the proxy reports it.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] when another peer than the expected one connected to the proxy, or none
    /// within the proxy's own time. [`Error::Protocol`], [`Error::Closed`] and [`Error::Io`] as for
    /// the first reply.
    pub fn accept(mut self) -> Result<(TcpStream, SocketAddr), Error> {
        self.proxy.set_deadline(self.reply_timeout);
        let peer = self.proxy.granted(self.protocol, Doing::Peer)?;
        Ok((self.proxy.into_stream()?, peer))
    }
}
