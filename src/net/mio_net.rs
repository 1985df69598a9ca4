//! [`Net`] over mio: one epoll, edge-triggered.

use super::sys::{self, clock_ns};
use super::{Event, Net, route};
use crate::address::unspecified;
use crate::sizes::PIPE_BYTES;
use crate::time::Millis;
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Events, Poll, Registry, Token};
use rustix::pipe::{self, PipeFlags, SpliceFlags};
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Most waits in one turn, when signals interrupt them.
const POLLS_MAX: u32 = 3;
/// Most events taken from the kernel per turn.
const EVENTS_PER_TURN: usize = 1024;
/// The idle time before the first keepalive probe; interval and number of probes are the system's
/// (net.ipv4.tcp_keepalive_intvl, tcp_keepalive_probes).
const KEEPALIVE_AFTER: Duration = Duration::from_secs(600);
/// The interest in every stream.
const READ: mio::Interest = mio::Interest::READABLE.add(mio::Interest::PRIORITY);
const READ_AND_ROOM: mio::Interest = READ.add(mio::Interest::WRITABLE);
const SPLICE_FLAGS: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);
/// Any port: FTP's is as good as another, since nothing is sent.
const ANY_PORT: u16 = 21;

/// Both ends of a pipe.
pub struct Pipe {
    pub(super) out: OwnedFd,
    pub(super) into: OwnedFd,
}

/// Sockets of this machine.
pub struct MioNet {
    poll: Poll,
    events: Events,
    pub(super) origin_ns: u64,
    /// Adopted listeners whose first clients may have come before their options were set.
    adopted: Vec<RawFd>,
}

impl MioNet {
    /// A poll without any socket yet.
    pub fn new() -> io::Result<MioNet> {
        MioNet::with_origin(clock_ns())
    }

    /// The same with the clock of another, by its `HandOver::origin_ns`.
    pub fn with_origin(origin_ns: u64) -> io::Result<MioNet> {
        let events = Events::with_capacity(EVENTS_PER_TURN);
        Ok(MioNet { poll: Poll::new()?, events, origin_ns, adopted: Vec::new() })
    }

    /// The registry, for other sources that the embedder wants to wake the loop.
    pub fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// Listens at an address where other processes of this user may listen in the same way
    /// (SO_REUSEPORT); the kernel chooses among them for each connection.
    pub fn listen_shared(
        &mut self,
        at: SocketAddr,
        backlog: i32,
        token: usize,
    ) -> io::Result<TcpListener> {
        self.open_listener(at, backlog, token, true)
    }

    fn open_listener(
        &mut self,
        at: SocketAddr,
        backlog: i32,
        token: usize,
        reuse_port: bool,
    ) -> io::Result<TcpListener> {
        let socket = listening_socket(at, backlog, |socket| {
            if reuse_port {
                socket.set_reuse_port(true)?;
            }
            set_inherited_options(&SockRef::from(socket))
        })?;
        self.register_listener(socket, token)
    }

    pub(super) fn register_listener(
        &mut self,
        listener: std::net::TcpListener,
        token: usize,
    ) -> io::Result<TcpListener> {
        let mut listener = TcpListener::from_std(listener);
        self.registry().register(&mut listener, Token(token), mio::Interest::READABLE)?;
        Ok(listener)
    }

    /// Takes over a listening socket that somebody else has opened, and registers it; what
    /// [`Net::listen`] promises holds for it.
    ///
    /// The opener may keep it: closing this one then closes neither it nor its queue of clients.
    /// From then on, until this process ends, new clients wake the loop for nothing.
    pub fn adopt_passed(
        &mut self,
        listener: std::net::TcpListener,
        token: usize,
    ) -> io::Result<TcpListener> {
        check_adoptable(&listener)?;
        listener.set_nonblocking(true)?;
        set_inherited_options(&SockRef::from(&listener))?;
        let listener = self.register_listener(listener, token)?;
        self.adopted.push(listener.as_raw_fd());
        Ok(listener)
    }

    /// Gives a client that was in the queue before its listener was adopted the options that it
    /// could not inherit. The queue has none of them any more once it was empty.
    fn complete_options(&mut self, listener: &TcpListener, accepted: &io::Result<Accepted>) {
        let listener = listener.as_raw_fd();
        match accepted {
            Ok((stream, _)) if self.adopted.contains(&listener) => {
                let _ = set_inherited_options(&SockRef::from(stream));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.adopted.retain(|&adopted| adopted != listener);
            }
            _ => {}
        }
    }
}

type Accepted = (TcpStream, SocketAddr);

impl Net for MioNet {
    type Stream = TcpStream;
    type Listener = TcpListener;
    type Datagram = UdpSocket;
    type Pipe = Pipe;
    type Reserve = OwnedFd;

    fn now(&self) -> Millis {
        clock_ns().saturating_sub(self.origin_ns) / 1_000_000
    }

    fn poll(&mut self, events: &mut Vec<Event>, timeout_ms: Option<Millis>) -> io::Result<()> {
        let until = timeout_ms.map(|timeout_ms| self.now().saturating_add(timeout_ms));
        for _ in 0..POLLS_MAX {
            let left = until.map(|until| Duration::from_millis(until.saturating_sub(self.now())));
            match self.poll.poll(&mut self.events, left) {
                // After a signal, or a stop of the process for longer than the time-out: whatever
                // has happened meanwhile comes before the deadlines.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            break;
        }
        events.extend(self.events.iter().map(|event| Event {
            token: event.token().0,
            readable: event.is_readable(),
            writable: event.is_writable(),
            read_closed: event.is_read_closed(),
            failed: event.is_error(),
            urgent: event.is_priority(),
        }));
        Ok(())
    }

    fn reserve(&mut self) -> io::Result<OwnedFd> {
        // Any descriptor will do; standard error can be copied without opening a file.
        io::stderr().as_fd().try_clone_to_owned()
    }

    fn listen(&mut self, at: SocketAddr, backlog: i32, token: usize) -> io::Result<TcpListener> {
        self.open_listener(at, backlog, token, false)
    }

    fn listener_addr(&self, listener: &TcpListener) -> io::Result<SocketAddr> {
        listener.local_addr()
    }

    fn accept(&mut self, listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        let accepted = listener.accept();
        if !self.adopted.is_empty() {
            self.complete_options(listener, &accepted);
        }
        accepted
    }

    fn register(&mut self, stream: &mut TcpStream, token: usize) -> io::Result<()> {
        self.registry().register(stream, Token(token), READ)
    }

    fn await_room(&mut self, stream: &mut TcpStream, token: usize) -> io::Result<()> {
        self.registry().reregister(stream, Token(token), READ_AND_ROOM)
    }

    fn enable_keepalive(&mut self, stream: &TcpStream) -> io::Result<()> {
        enable_keepalive(&SockRef::from(stream))
    }

    fn connect(
        &mut self,
        target: SocketAddr,
        source: Option<IpAddr>,
        token: usize,
    ) -> io::Result<TcpStream> {
        let domain = Domain::for_address(target);
        let socket = Socket::new(domain, Type::STREAM.nonblocking(), None)?;
        socket.set_out_of_band_inline(true)?;
        if let Some(source) = source {
            // On a kernel without this option, fewer ports are available per source.
            let _ = sys::bind_without_port(&socket);
            socket.bind(&on_link_of(target, source).into())?;
        }
        match socket.connect(&target.into()) {
            Err(error) if !in_progress(&error) => return Err(error),
            _ => {}
        }
        let mut stream = TcpStream::from_std(socket.into());
        self.registry().register(&mut stream, Token(token), READ_AND_ROOM)?;
        Ok(stream)
    }

    fn is_local(&self, address: IpAddr) -> io::Result<bool> {
        route::is_local(address)
    }

    fn source_addr_for(&self, peer: IpAddr) -> io::Result<IpAddr> {
        let socket = std::net::UdpSocket::bind((unspecified(peer), 0))?;
        socket.connect((peer, ANY_PORT))?;
        Ok(socket.local_addr()?.ip())
    }

    fn local_addr(&self, stream: &TcpStream) -> io::Result<SocketAddr> {
        stream.local_addr()
    }

    fn take_error(&self, stream: &TcpStream) -> io::Result<Option<io::Error>> {
        stream.take_error()
    }

    fn recv(&mut self, mut stream: &TcpStream, into: &mut [u8]) -> io::Result<usize> {
        stream.read(into)
    }

    fn is_at_mark(&self, stream: &TcpStream) -> io::Result<bool> {
        sys::is_at_mark(stream)
    }

    fn send(&mut self, mut stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        stream.write(bytes)
    }

    fn send_urgent(&mut self, stream: &TcpStream, byte: &[u8]) -> io::Result<usize> {
        SockRef::from(stream).send_out_of_band(byte)
    }

    fn send_without_delay(&mut self, stream: &TcpStream) {
        let _ = stream.set_nodelay(true);
    }

    fn open_pipe(&mut self) -> io::Result<Pipe> {
        let (out, into) = pipe::pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        // An unprivileged user's pipes are limited in total; a smaller pipe works as well.
        let _ = pipe::fcntl_setpipe_size(&into, PIPE_BYTES);
        Ok(Pipe { out, into })
    }

    fn splice_in(&mut self, from: &TcpStream, pipe: &mut Pipe, most: usize) -> io::Result<usize> {
        Ok(pipe::splice(from, None, &pipe.into, None, most, SPLICE_FLAGS)?)
    }

    fn splice_out(&mut self, pipe: &mut Pipe, to: &TcpStream, most: usize) -> io::Result<usize> {
        Ok(pipe::splice(&pipe.out, None, to, None, most, SPLICE_FLAGS)?)
    }

    fn open_datagram(&mut self, peer: SocketAddr, token: usize) -> io::Result<UdpSocket> {
        // Connecting chooses a random port, and accepts datagrams only from this peer.
        let domain = Domain::for_address(peer);
        let socket = Socket::new(domain, Type::DGRAM.nonblocking(), None)?;
        socket.connect(&peer.into())?;
        let mut socket = UdpSocket::from_std(socket.into());
        self.registry().register(&mut socket, Token(token), mio::Interest::READABLE)?;
        Ok(socket)
    }

    fn send_datagram(&mut self, socket: &UdpSocket, bytes: &[u8]) -> io::Result<()> {
        socket.send(bytes).map(|_| ())
    }

    fn recv_datagram(&mut self, socket: &UdpSocket, into: &mut [u8]) -> io::Result<usize> {
        socket.recv(into)
    }

    fn shutdown_write(&mut self, stream: &TcpStream) -> io::Result<()> {
        stream.shutdown(Shutdown::Write)
    }

    fn unacknowledged(&self, stream: &TcpStream) -> io::Result<usize> {
        sys::unacknowledged(stream)
    }

    fn abort(&mut self, stream: TcpStream) {
        // If this fails, the connection is closed in order, which is the next best.
        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    }
}

/// A socket that listens, with the options that are set before. At an IPv6 address it is for IPv6
/// only: IPv4 has listeners of its own, and no client looks like another.
pub fn listening_socket(
    at: SocketAddr,
    backlog: i32,
    set_options: impl FnOnce(&Socket) -> io::Result<()>,
) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM.nonblocking(), None)?;
    socket.set_reuse_address(true)?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    set_options(&socket)?;
    socket.bind(&at.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

/// Sets the options that accepted connections inherit from their listener, which saves calls.
fn set_inherited_options(socket: &SockRef<'_>) -> io::Result<()> {
    let _ = socket.set_tcp_nodelay(true);
    let _ = enable_keepalive(socket);
    socket.set_out_of_band_inline(true)
}

/// Whether a socket of somebody else can serve as a listener of this proxy.
fn check_adoptable(listener: &std::net::TcpListener) -> io::Result<()> {
    let (address, socket) = (listener.local_addr()?, SockRef::from(listener));
    let error = |found| {
        let message = format!("the TCP socket on {address} {found}");
        Err(io::Error::new(ErrorKind::InvalidInput, message))
    };
    if !socket.is_listener()? {
        return error("does not listen, expected a listening one");
    }
    // Rules and loops are judged by the family. A socket for both shows IPv4 clients as IPv6.
    let takes_ipv4 = match address.ip() {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => {
            ip.is_unspecified() && !socket.only_v6()? || ip.to_ipv4_mapped().is_some()
        }
    };
    match takes_ipv4 {
        true => error("accepts IPv4 as well, expected one for IPv6 only (BindIPv6Only=ipv6-only)"),
        false => Ok(()),
    }
}

/// Detects a peer that has vanished. Unacknowledged data times out by net.ipv4.tcp_retries2; a user
/// time-out (TCP_USER_TIMEOUT) would cut off readers that pause.
fn enable_keepalive(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_AFTER))
}

fn in_progress(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
}

/// The address to bind to before connecting to `target`: a link-local one is of the same link.
fn on_link_of(target: SocketAddr, source: IpAddr) -> SocketAddr {
    let mut source = SocketAddr::new(source, 0);
    if let (SocketAddr::V6(source), SocketAddr::V6(target)) = (&mut source, target) {
        source.set_scope_id(target.scope_id());
    }
    source
}
