//! Addresses to listen on that exclude each other, which a start and `-t` refuse in the same words.

use crate::config::Config;
use crate::token::LISTENERS_MAX;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

/// An address to listen on, with its flag.
pub type Listened = (&'static str, SocketAddr);

/// The addresses of the settings, as many as there may be.
pub fn listened(config: &Config) -> Vec<Listened> {
    let clients = config.listen.iter().take(LISTENERS_MAX).map(|address| ("listen", *address));
    clients.chain(config.status.map(|address| ("status", address))).collect()
}

/// Why the address at this place cannot be listened on beside those before it.
pub fn conflict(config: &Config, all: &[Listened], place: usize) -> Option<io::Error> {
    let (flag, address) = all[place];
    // Only listeners for clients share a port, by --reuse-port.
    let is_shared = config.reuse_port && flag == "listen";
    let mut before = all[..place].iter().filter(|_| !is_shared);
    let (other, taken) = before.find(|(_, other)| excludes(address, *other))?;
    let message = format!("--{other} {taken} has its port already");
    Some(io::Error::new(ErrorKind::AddrInUse, message))
}

/// Whether two sockets cannot listen on these addresses at the same time.
fn excludes(one: SocketAddr, other: SocketAddr) -> bool {
    let (one_ip, other_ip) = (one.ip(), other.ip());
    one.port() != 0
        && one.port() == other.port()
        && one.is_ipv4() == other.is_ipv4()
        && (one == other || one_ip.is_unspecified() || other_ip.is_unspecified())
}
