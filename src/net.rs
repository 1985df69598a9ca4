//! The interface to the kernel: all socket operations of the loop, as a trait.
//!
//! The loop runs over [`MioNet`] and, in tests, over a simulated kernel. Both guarantee the same: a
//! stream is registered for what is awaited of it, and each change of readiness is reported once
//! (edge-triggered). `WouldBlock` from a call re-arms the edge; so does a short count. Awaiting room
//! reports the readiness at that time.

#[cfg(feature = "upgrade")]
mod handed;
mod mio_net;
mod route;
mod sys;

#[cfg(feature = "upgrade")]
pub use handed::{GivenList, HandOver, LentList};
pub use mio_net::{MioNet, listening_socket};
pub use route::{has_address, interface_number, is_local};
pub use sys::{clock_ns, is_writable_within};
#[cfg(feature = "upgrade")]
pub use sys::{exec, set_blocked};

use crate::time::Millis;
use rustix::io::Errno;
use std::io;
use std::net::{IpAddr, SocketAddr};

/// A change of readiness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The token that the socket was registered with.
    pub token: usize,
    /// Bytes, a FIN, an error or a connection may be there to be read.
    pub readable: bool,
    /// There may be room to send, or a connection attempt has ended.
    pub writable: bool,
    /// The peer has sent its FIN, or the connection is gone.
    pub read_closed: bool,
    /// The connection has failed.
    pub failed: bool,
    /// An unread urgent byte has arrived.
    pub urgent: bool,
}

/// The kernel, as the loop uses it. No call blocks except [`Net::poll`].
pub trait Net {
    /// A TCP connection, or one being opened.
    type Stream;
    /// A listening socket.
    type Listener;
    /// A UDP socket connected to one peer.
    type Datagram;
    /// A pipe, which moves bytes from one stream to another without copying them.
    type Pipe;
    /// A descriptor set aside: dropping it lets another be opened.
    type Reserve;

    /// The time now, on a clock that only goes forward.
    fn now(&self) -> Millis;

    /// Waits for events until `timeout_ms` has passed, and appends them. Interruption by a signal
    /// is a normal return.
    fn poll(&mut self, events: &mut Vec<Event>, timeout_ms: Option<Millis>) -> io::Result<()>;

    /// Sets a descriptor aside.
    fn reserve(&mut self) -> io::Result<Self::Reserve>;

    /// Listens; port 0 lets the kernel choose. An IPv6 listener accepts no IPv4. Accepted connections send without delay, have
    /// keepalive enabled and deliver urgent bytes inline.
    fn listen(&mut self, at: SocketAddr, backlog: i32, token: usize) -> io::Result<Self::Listener>;

    /// The address of a listener.
    fn listener_addr(&self, listener: &Self::Listener) -> io::Result<SocketAddr>;

    /// Accepts a waiting connection and returns the address of its peer; it is not registered yet.
    fn accept(&mut self, listener: &Self::Listener) -> io::Result<(Self::Stream, SocketAddr)>;

    /// Registers an accepted connection. Events report bytes, including urgent ones, the end, and
    /// failures; not room to send, which there is at first.
    fn register(&mut self, stream: &mut Self::Stream, token: usize) -> io::Result<()>;

    /// Lets events report room to send as well, from now on.
    fn await_room(&mut self, stream: &mut Self::Stream, token: usize) -> io::Result<()>;

    /// Enables keepalive on a connection opened by [`Net::connect`]. Accepted connections inherit
    /// it from their listener.
    fn enable_keepalive(&mut self, stream: &Self::Stream) -> io::Result<()>;

    /// Starts to connect, from the address `source` if one is given, and registers the connection,
    /// for room to send as well. It has succeeded when an event reports writable and
    /// [`Net::take_error`] has none.
    fn connect(
        &mut self,
        target: SocketAddr,
        source: Option<IpAddr>,
        token: usize,
    ) -> io::Result<Self::Stream>;

    /// Whether packets to `address` end at this host, for whatever reason.
    fn is_local(&self, address: IpAddr) -> io::Result<bool>;

    /// The local address that packets to `peer` leave from. Sends nothing.
    fn source_addr_for(&self, peer: IpAddr) -> io::Result<IpAddr>;

    /// The local address of a connection.
    fn local_addr(&self, stream: &Self::Stream) -> io::Result<SocketAddr>;

    /// Takes the pending error of a connection.
    fn take_error(&self, stream: &Self::Stream) -> io::Result<Option<io::Error>>;

    /// Reads; 0 is the peer's FIN.
    fn recv(&mut self, stream: &Self::Stream, into: &mut [u8]) -> io::Result<usize>;

    /// Whether the next byte to be read is the urgent one. A read that begins before it stops
    /// there; a read that begins at it reads it like any other.
    fn is_at_mark(&self, stream: &Self::Stream) -> io::Result<bool>;

    /// Sends as much as there is room for.
    fn send(&mut self, stream: &Self::Stream, bytes: &[u8]) -> io::Result<usize>;

    /// Sends one byte as urgent.
    fn send_urgent(&mut self, stream: &Self::Stream, byte: &[u8]) -> io::Result<usize>;

    /// Makes a connection opened by [`Net::connect`] send small pieces at once (TCP_NODELAY). If
    /// that fails, it is only slower.
    fn send_without_delay(&mut self, stream: &Self::Stream);

    /// Opens a pipe.
    fn open_pipe(&mut self) -> io::Result<Self::Pipe>;

    /// Moves at most `most` bytes from the stream into an empty pipe; 0 is the peer's FIN. A pipe
    /// is full after a number of pieces, whatever their size: a count below `most` does not mean
    /// that the stream is drained. `WouldBlock` does, as long as the pipe is empty and the next
    /// byte is not an urgent one: before that, splice finds nothing, or the end.
    fn splice_in(
        &mut self,
        from: &Self::Stream,
        pipe: &mut Self::Pipe,
        most: usize,
    ) -> io::Result<usize>;

    /// Moves as much as there is room for, at most the `most` bytes in the pipe, to the stream.
    fn splice_out(
        &mut self,
        pipe: &mut Self::Pipe,
        to: &Self::Stream,
        most: usize,
    ) -> io::Result<usize>;

    /// Opens a UDP socket for one peer, on a port that the kernel chooses, and registers it.
    fn open_datagram(&mut self, peer: SocketAddr, token: usize) -> io::Result<Self::Datagram>;

    /// Sends one datagram to the peer.
    fn send_datagram(&mut self, socket: &Self::Datagram, bytes: &[u8]) -> io::Result<()>;

    /// Reads one datagram from the peer.
    fn recv_datagram(&mut self, socket: &Self::Datagram, into: &mut [u8]) -> io::Result<usize>;

    /// Sends FIN (half-close).
    fn shutdown_write(&mut self, stream: &Self::Stream) -> io::Result<()>;

    /// How many of the sent bytes the peer has not acknowledged.
    fn unacknowledged(&self, stream: &Self::Stream) -> io::Result<usize>;

    /// Closes with a reset; unsent bytes are lost.
    fn abort(&mut self, stream: Self::Stream);
}

/// Whether a call failed because descriptors or memory for sockets have run out.
pub fn lacks_resources(error: &io::Error) -> bool {
    // epoll_ctl returns NOSPC at the user's limit of watches.
    let lacking = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::NOSPC];
    error.raw_os_error().is_some_and(|code| lacking.iter().any(|e| e.raw_os_error() == code))
}
