//! The way to a remote shell: the proxy's address, and a CONNECT through it.

use crate::client::{self, Client, Doing};
use crate::name::Classified;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;
use std::{error, fmt, io};

/// Why there is no connection to a remote shell.
#[derive(Debug)]
pub enum DialError {
    /// The proxy's name leads to no address.
    Lookup(io::Error),
    /// The proxy cannot be reached, or does not do what it is asked for.
    Proxy(client::Error),
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DialError::Lookup(error) => write!(f, "the name of the SOCKS proxy: {error}"),
            DialError::Proxy(error) => error.fmt(f),
        }
    }
}

impl error::Error for DialError {}

/// Connects to `target` through the proxy: by SOCKS4 to an address, by SOCKS4A to a name. Each
/// address of the proxy is tried until one can be reached; `timeout` is for its reply.
pub fn dial(
    proxy: (&str, u16),
    target: &(Classified, u16),
    timeout: Duration,
) -> Result<TcpStream, DialError> {
    let absolute;
    let target: client::Target<'_> = match target {
        (Classified::Address(address), port) => (*address, *port).into(),
        (Classified::Name(name), port) if name.is_absolute() => {
            absolute = format!("{name}.");
            (&*absolute, *port).into()
        }
        (Classified::Name(name), port) => (name.as_str(), *port).into(),
    };
    let mut unreachable = DialError::Lookup(io::ErrorKind::AddrNotAvailable.into());
    for address in proxy.to_socket_addrs().map_err(DialError::Lookup)? {
        let client = Client::new(address).reply_timeout(timeout);
        match client.connect(target) {
            Ok((stream, _)) => return Ok(stream),
            Err(error @ client::Error::Io { doing: Doing::Connecting, .. }) => {
                unreachable = DialError::Proxy(error);
            }
            Err(error) => return Err(DialError::Proxy(error)),
        }
    }
    Err(unreachable)
}
