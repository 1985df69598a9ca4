//! Non-blocking sockets and epoll, as the engine needs them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, accept_with, bind, connect,
    listen, recv, send, socket_with, sockopt,
};

pub use rustix::event::epoll::EventFlags;

const BACKLOG: i32 = 4096;
const EVENTS_PER_WAIT: usize = 1024;
const SOCKET_FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

/// The outcome of a non-blocking call.
pub enum Outcome<T> {
    /// It did something.
    Done(T),
    /// It would have blocked.
    Blocked,
}

fn outcome<T>(result: Result<T, Errno>) -> io::Result<Outcome<T>> {
    match result {
        Ok(value) => Ok(Outcome::Done(value)),
        // A socket whose connection is not there yet says NOTCONN when read.
        Err(Errno::AGAIN | Errno::INTR | Errno::NOTCONN) => Ok(Outcome::Blocked),
        Err(errno) => Err(errno.into()),
    }
}

/// A socket that listens.
pub fn listener(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = socket_for(address)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    // Inherited by accepted sockets.
    sockopt::set_tcp_nodelay(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn socket_for(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    Ok(socket_with(family, SocketType::STREAM, SOCKET_FLAGS, None)?)
}

/// A socket whose connection is under way. With `from`, both addresses are IPv4.
pub fn connecting(to: SocketAddr, from: Option<Ipv4Addr>) -> io::Result<OwnedFd> {
    let socket = socket_for(to)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    if let Some(from) = from {
        // The port is chosen by connect, per destination, not by bind.
        setsockopt(&socket, IpBindAddressNoPort, &true)?;
        bind(&socket, &SocketAddrV4::new(from, 0))?;
    }
    match connect(&socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(errno) => Err(errno.into()),
    }
}

/// Takes a connection from a listener's queue.
pub fn accept(listener: &OwnedFd) -> io::Result<Outcome<OwnedFd>> {
    outcome(accept_with(listener, SOCKET_FLAGS))
}

/// Sends bytes; the whole of a small message, or nothing.
pub fn send_message(socket: &OwnedFd, bytes: &[u8]) -> io::Result<Outcome<()>> {
    match outcome(send(socket, bytes, SendFlags::NOSIGNAL))? {
        Outcome::Done(sent) if sent == bytes.len() => Ok(Outcome::Done(())),
        Outcome::Done(_) => Err(io::Error::other("a small message was cut")),
        Outcome::Blocked => Ok(Outcome::Blocked),
    }
}

/// Sends what fits.
pub fn send_some(socket: &OwnedFd, bytes: &[u8]) -> io::Result<Outcome<usize>> {
    outcome(send(socket, bytes, SendFlags::NOSIGNAL))
}

/// Sends the start of a file without copying it.
pub fn send_file(socket: &OwnedFd, file: &OwnedFd, bytes: usize) -> io::Result<Outcome<usize>> {
    let mut offset = 0;
    outcome(rustix::fs::sendfile(socket, file, Some(&mut offset), bytes))
}

/// Receives bytes; 0 is the end.
pub fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<Outcome<usize>> {
    outcome(recv(socket, buffer, RecvFlags::empty()).map(|(_, received)| received))
}

/// Takes up to `buffer.len()` bytes out of the socket without copying them; 0 is the end.
pub fn discard(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<Outcome<usize>> {
    outcome(recv(socket, buffer, RecvFlags::TRUNC).map(|(_, received)| received))
}

/// Makes the coming close a reset, so that nothing lingers in the kernel.
pub fn reset_on_close(socket: &OwnedFd) {
    // Fails only for what is no socket.
    let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

/// An epoll instance with its list of events.
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poller {
    /// A new instance.
    pub fn new() -> io::Result<Poller> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Poller { epoll, events: Vec::with_capacity(EVENTS_PER_WAIT) })
    }

    /// Watches a descriptor.
    pub fn add(&self, fd: impl AsFd, token: u64, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, epoll::EventData::new_u64(token), flags)?)
    }

    /// Changes what is watched.
    pub fn modify(&self, fd: impl AsFd, token: u64, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, epoll::EventData::new_u64(token), flags)?)
    }

    /// Waits at most `timeout` and moves what happened into `into`.
    pub fn wait(&mut self, timeout: Duration, into: &mut Vec<(u64, EventFlags)>) -> io::Result<()> {
        let timeout =
            Timespec { tv_sec: timeout.as_secs() as _, tv_nsec: timeout.subsec_nanos() as _ };
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        into.extend(self.events.drain(..).map(|event| (event.data.u64(), event.flags)));
        Ok(())
    }
}
