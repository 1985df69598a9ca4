//! The listeners for clients, served in turn.

use super::shortage::Shortage;
use crate::address::IpPort;
use crate::net::{Net, lacks_resources};
use crate::time::Millis;
use crate::token::{LISTENERS_MAX, Token};
use log::error;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};

/// The delay before accept is retried after it lacked resources.
const ACCEPT_RETRY_MS: Millis = 200;
/// At most one log line about that in this time.
const LOG_EVERY_MS: Millis = 1000;
/// As many waiting connections as the system's limit (net.core.somaxconn) allows.
pub const BACKLOG: i32 = 4096;

/// A listener and its readiness.
pub(super) struct Listener<L> {
    pub(super) socket: L,
    pub(super) address: SocketAddr,
    /// Connections may be waiting.
    pub(super) ready: bool,
}

/// An accepted client.
pub struct Accepted<N: Net> {
    /// Its connection, which is not registered yet.
    pub stream: N::Stream,
    /// Its address.
    pub client: SocketAddr,
    /// A descriptor set aside for its target.
    pub reserve: Option<N::Reserve>,
}

/// The listeners for clients.
pub struct Listeners<N: Net> {
    pub(super) listeners: Vec<Listener<N::Listener>>,
    /// Where the proxy listens for others than its clients.
    others: Vec<SocketAddr>,
    /// The listener that is tried first.
    pub(super) next: usize,
    /// Accept lacked descriptors: not before this time again.
    pub(super) retry_at: Option<Millis>,
    /// When the last line about a failure was logged.
    pub(super) logged_at: Option<Millis>,
    /// Events of listeners: each is of a client that has come.
    pub arrivals: u64,
    /// How often accept lacked descriptors or memory.
    pub failures: u64,
}

impl<N: Net> Default for Listeners<N> {
    fn default() -> Listeners<N> {
        Listeners {
            listeners: Vec::new(),
            others: Vec::new(),
            next: 0,
            retry_at: None,
            logged_at: None,
            arrivals: 0,
            failures: 0,
        }
    }
}

impl<N: Net> Listeners<N> {
    /// Listens; returns the address, with the port that the kernel chose.
    pub fn listen(&mut self, net: &mut N, at: SocketAddr) -> io::Result<SocketAddr> {
        self.add(net, |net, token| net.listen(at, BACKLOG, token))
    }

    /// Adds the socket that `open` gives, which registers it with this token; returns its address.
    pub fn add(
        &mut self,
        net: &mut N,
        open: impl FnOnce(&mut N, usize) -> io::Result<N::Listener>,
    ) -> io::Result<SocketAddr> {
        let number = self.listeners.len();
        if number == LISTENERS_MAX {
            return Err(io::Error::new(ErrorKind::InvalidInput, "expected at most 32 addresses"));
        }
        let socket = open(net, Token::Listener(number).number())?;
        let address = net.listener_addr(&socket)?;
        self.listeners.push(Listener { socket, address, ready: false });
        Ok(address)
    }

    /// The proxy listens at this address as well, for others than its clients.
    pub fn add_own(&mut self, address: SocketAddr) {
        self.others.push(address);
    }

    /// The addresses that they listen at.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.listeners.iter().map(|listener| listener.address)
    }

    /// Closes all of them.
    pub fn close(&mut self) {
        self.listeners.clear();
    }

    /// Handles an event of a listener.
    pub fn set_ready(&mut self, number: usize) {
        if let Some(listener) = self.listeners.get_mut(number) {
            listener.ready = true;
            self.arrivals += 1;
        }
    }

    /// Lets each listener be tried, whether or not an event has told of a connection.
    pub fn set_all_ready(&mut self) {
        self.listeners.iter_mut().for_each(|listener| listener.ready = true);
    }

    /// Whether connections may be waiting.
    pub fn is_ready(&self) -> bool {
        self.listeners.iter().any(|listener| listener.ready)
    }

    /// When accept may be retried.
    pub fn retry_at(&self) -> Option<Millis> {
        self.retry_at
    }

    /// A descriptor was freed: accept may be retried now.
    pub fn retry_now(&mut self, now: Millis) {
        self.retry_at = self.retry_at.map(|_| now);
    }

    /// Whether a target is one of the listening sockets, see [`is_own`].
    pub fn is_own(&self, net: &N, target: IpPort) -> io::Result<bool> {
        let addresses = self.addresses().chain(self.others.iter().copied());
        is_own(addresses, target, |address| net.is_local(address))
    }

    /// Accepts a client from the next listener that may have one; `None` when it has none. While
    /// descriptors are short, a client is accepted only together with one for its target: with the
    /// last descriptor it could only be refused.
    pub fn accept(
        &mut self,
        net: &mut N,
        shortage: &mut Shortage,
        now: Millis,
    ) -> Option<Accepted<N>> {
        // Each listener in turn, even when there is room for one client only.
        let (before, after) = self.listeners.split_at(self.next);
        let step = after.iter().chain(before).position(|listener| listener.ready)?;
        let number = (self.next + step) % self.listeners.len();
        self.next = (number + 1) % self.listeners.len();
        let listener = &mut self.listeners[number];
        let error = match try_accept(net, &listener.socket, shortage.is_short()) {
            Ok(accepted) => {
                self.retry_at = None;
                return Some(accepted);
            }
            Err(error) => error,
        };
        match error.kind() {
            ErrorKind::WouldBlock => listener.ready = false,
            _ if lacks_resources(&error) => {
                shortage.note();
                self.retry_at = Some(now + ACCEPT_RETRY_MS);
                self.log_accept_error(&error, now);
            }
            // An error of a connection that is gone already. The next one may be fine.
            _ => {}
        }
        None
    }

    /// Counts a failure, and logs at most one a second.
    pub fn log_accept_error(&mut self, error: &io::Error, now: Millis) {
        self.failures += 1;
        if self.logged_at.is_none_or(|at| at + LOG_EVERY_MS <= now) {
            self.logged_at = Some(now);
            error!("accepting clients: {error}; clients wait or are refused");
        }
    }
}

/// Whether a target is one of these listening sockets. One on 0.0.0.0 or :: listens on all addresses
/// of this host in its family, which the kernel knows (`is_local`). When it cannot tell, the answer
/// is yes, the safe one. An error means that there was no descriptor to ask it with.
pub fn is_own(
    listening: impl Iterator<Item = SocketAddr>,
    target: IpPort,
    is_local: impl Fn(IpAddr) -> io::Result<bool>,
) -> io::Result<bool> {
    let is_like =
        |own: &SocketAddr| own.port() == target.port && own.is_ipv6() == target.ip.is_ipv6();
    for own in listening.filter(is_like) {
        let is_reached = match own.ip().is_unspecified() {
            true => target.ip.is_loopback() || is_local_or_unknown(&is_local, target.ip)?,
            false => own.ip() == target.ip,
        };
        if is_reached {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_local_or_unknown(
    is_local: impl Fn(IpAddr) -> io::Result<bool>,
    address: IpAddr,
) -> io::Result<bool> {
    is_local(address).or_else(|error| if lacks_resources(&error) { Err(error) } else { Ok(true) })
}

fn try_accept<N: Net>(
    net: &mut N,
    listener: &N::Listener,
    is_short: bool,
) -> io::Result<Accepted<N>> {
    let reserve = is_short.then(|| net.reserve()).transpose()?;
    let (stream, client) = net.accept(listener)?;
    Ok(Accepted { stream, client, reserve })
}
