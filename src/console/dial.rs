//! The way to a remote shell: a CONNECT through the proxy.

use super::query::{Host, Proxy};
use crate::client::{Client, Error, Target};
use std::net::TcpStream;
use std::time::Duration;

/// Connects to `target` through the proxy. SOCKS4 is used for an address and SOCKS4A for a name,
/// unless the proxy is to be spoken to by SOCKS5. The `timeout` is for the proxy's reply.
pub fn dial(
    proxy: &Proxy<'_>,
    target: &(Host, u16),
    timeout: Duration,
) -> Result<TcpStream, Error> {
    let target = match target {
        (Host::Address(address), port) => Target::from((*address, *port)),
        (Host::Name(name), port) if name.is_absolute() => Target::from((format!("{name}."), *port)),
        (Host::Name(name), port) => Target::from((name.as_str(), *port)),
    };
    let client = Client::new((proxy.host, proxy.port)).user(proxy.user).reply_timeout(timeout);
    let client = match (proxy.is_socks5, proxy.password) {
        (false, _) => client,
        (true, "") => client.socks5(),
        (true, password) => client.password(password),
    };
    Ok(client.connect(target)?.0)
}
