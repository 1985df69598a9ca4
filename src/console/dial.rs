//! The way to a remote shell: a CONNECT through the proxy.

use crate::client::{Client, Error, Target};
use crate::name::Classified;
use std::net::TcpStream;
use std::time::Duration;

/// Connects to `target` through the proxy: by SOCKS4 to an address, by SOCKS4A to a name. The
/// `timeout` is for the proxy's reply.
pub fn dial(
    proxy: (&str, u16),
    target: &(Classified, u16),
    timeout: Duration,
) -> Result<TcpStream, Error> {
    let target = match target {
        // As text: a client that knows IPv4 only sends IPv6 as a name.
        (Classified::Address(address), port) => Target::from((address.to_string(), *port)),
        (Classified::Name(name), port) if name.is_absolute() => {
            Target::from((format!("{name}."), *port))
        }
        (Classified::Name(name), port) => Target::from((name.as_str(), *port)),
    };
    let client = Client::new(proxy).reply_timeout(timeout);
    Ok(client.connect(target)?.0)
}
