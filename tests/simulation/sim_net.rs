//! [`Net`] over the simulated kernel.

use crate::kernel::{Datagram, Kernel};
use crate::tcp::NEAR;
use rustix::io::Errno;
use socku::net::{Event, Interest, Net};
use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::rc::Rc;

pub type Shared = Rc<RefCell<Kernel>>;

/// The address of the proxy's host.
pub const PROXY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// Whether packets to an address end at that host.
pub fn is_local(address: Ipv4Addr) -> bool {
    address.is_loopback() || address == PROXY
}

pub struct SimNet(pub Shared);

/// A pipe and what is in it, piece by piece.
pub struct Pipe {
    kernel: Shared,
    pieces: VecDeque<Vec<u8>>,
}

impl Drop for Pipe {
    fn drop(&mut self) {
        if let Ok(mut kernel) = self.kernel.try_borrow_mut() {
            kernel.pipes -= 1;
            kernel.piped -= self.pieces.iter().map(Vec::len).sum::<usize>();
        }
    }
}

/// A descriptor that is kept for later.
pub struct Reserve(Shared);

impl Drop for Reserve {
    fn drop(&mut self) {
        if let Ok(mut kernel) = self.0.try_borrow_mut() {
            kernel.reserves -= 1;
        }
    }
}

enum What {
    Stream,
    Listener,
    Datagram,
}

/// A descriptor: dropping it closes.
pub struct Handle {
    kernel: Shared,
    id: usize,
    what: What,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // A failed check unwinds through here with the kernel borrowed.
        if let Ok(mut kernel) = self.kernel.try_borrow_mut()
            && !std::thread::panicking()
        {
            match self.what {
                What::Stream => kernel.let_go(self.id),
                What::Listener => kernel.unlisten(self.id),
                What::Datagram => drop(kernel.datagrams.remove(&self.id)),
            }
        }
    }
}

impl SimNet {
    fn kernel(&self) -> RefMut<'_, Kernel> {
        self.0.borrow_mut()
    }

    fn handle(&self, id: usize, what: What) -> Handle {
        Handle { kernel: self.0.clone(), id, what }
    }
}

impl Net for SimNet {
    type Stream = Handle;
    type Listener = Handle;
    type Datagram = Handle;
    type Pipe = Pipe;
    type Reserve = Reserve;

    fn now(&self) -> u64 {
        self.kernel().now
    }

    fn poll(&mut self, events: &mut Vec<Event>, timeout_ms: Option<u64>) -> io::Result<()> {
        self.kernel().poll(events, timeout_ms);
        Ok(())
    }

    fn reserve(&mut self) -> io::Result<Reserve> {
        let mut kernel = self.kernel();
        kernel.lacks(1)?;
        kernel.reserves += 1;
        Ok(Reserve(self.0.clone()))
    }

    fn listen(&mut self, at: SocketAddrV4, _backlog: i32, token: usize) -> io::Result<Handle> {
        let id = self.kernel().listen(at, token)?;
        Ok(self.handle(id, What::Listener))
    }

    fn listener_addr(&self, listener: &Handle) -> io::Result<SocketAddrV4> {
        Ok(self.kernel().listeners[&listener.id].address)
    }

    fn accept(&mut self, listener: &Handle) -> io::Result<(Handle, SocketAddrV4)> {
        let conn = self.kernel().accept(listener.id)?;
        let peer = self.kernel().conns[conn].peer;
        Ok((self.handle(conn, What::Stream), peer))
    }

    fn register(&mut self, stream: &mut Handle, token: usize) -> io::Result<()> {
        Ok(self.kernel().register(stream.id, token)?)
    }

    fn reregister(
        &mut self,
        stream: &mut Handle,
        token: usize,
        interest: Interest,
    ) -> io::Result<()> {
        self.kernel().reregister(stream.id, token, interest);
        Ok(())
    }

    fn enable_keepalive(&mut self, stream: &Handle) -> io::Result<()> {
        assert!(self.kernel().held.contains(&stream.id));
        Ok(self.kernel().lacks(0)?)
    }

    fn connect(
        &mut self,
        target: SocketAddr,
        source: Option<Ipv4Addr>,
        token: usize,
    ) -> io::Result<Handle> {
        let SocketAddr::V4(target) = target else { panic!("nobody here has IPv6") };
        let conn = self.kernel().connect(target, source, token)?;
        Ok(self.handle(conn, What::Stream))
    }

    fn is_local(&self, address: Ipv4Addr) -> io::Result<bool> {
        Ok(is_local(address))
    }

    fn source_addr_for(&self, peer: Ipv4Addr) -> io::Result<Ipv4Addr> {
        Ok(if peer.is_loopback() { Ipv4Addr::LOCALHOST } else { PROXY })
    }

    fn local_addr(&self, stream: &Handle) -> io::Result<SocketAddrV4> {
        Ok(self.kernel().local_addr(stream.id))
    }

    fn take_error(&self, stream: &Handle) -> io::Result<Option<io::Error>> {
        let mut kernel = self.kernel();
        Ok(kernel.conns[stream.id].ends[NEAR].error.take().map(io::Error::from))
    }

    fn recv(&mut self, stream: &Handle, into: &mut [u8]) -> io::Result<usize> {
        Ok(self.kernel().recv(stream.id, into)?)
    }

    fn is_at_mark(&self, stream: &Handle) -> io::Result<bool> {
        Ok(self.kernel().conns[stream.id].ends[NEAR].is_at_mark())
    }

    fn send(&mut self, stream: &Handle, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.kernel().send(stream.id, bytes)?)
    }

    fn send_urgent(&mut self, stream: &Handle, byte: &[u8]) -> io::Result<usize> {
        Ok(self.kernel().send_urgent(stream.id, byte)?)
    }

    fn send_without_delay(&mut self, stream: &Handle) {
        assert!(self.kernel().held.contains(&stream.id));
    }

    fn open_pipe(&mut self) -> io::Result<Pipe> {
        let mut kernel = self.kernel();
        kernel.lacks(2)?;
        kernel.pipes += 1;
        Ok(Pipe { kernel: self.0.clone(), pieces: VecDeque::new() })
    }

    fn splice_in(&mut self, from: &Handle, pipe: &mut Pipe, most: usize) -> io::Result<usize> {
        Ok(self.kernel().splice_in(from.id, &mut pipe.pieces, most)?)
    }

    fn splice_out(&mut self, pipe: &mut Pipe, to: &Handle, most: usize) -> io::Result<usize> {
        Ok(self.kernel().splice_out(&mut pipe.pieces, to.id, most)?)
    }

    fn open_datagram(&mut self, peer: SocketAddr, token: usize) -> io::Result<Handle> {
        assert!(peer.is_ipv4() && peer.port() == 53, "a question to {peer}");
        let mut kernel = self.kernel();
        kernel.lacks(1)?;
        let id = kernel.fresh_id();
        let inbox = Default::default();
        let socket = Datagram { token, inbox, bounced: false, edge: false };
        kernel.datagrams.insert(id, socket);
        drop(kernel);
        Ok(self.handle(id, What::Datagram))
    }

    fn send_datagram(&mut self, socket: &Handle, bytes: &[u8]) -> io::Result<()> {
        let mut kernel = self.kernel();
        kernel.lacks(0)?;
        kernel.asked(socket.id, bytes);
        Ok(())
    }

    fn recv_datagram(&mut self, socket: &Handle, into: &mut [u8]) -> io::Result<usize> {
        let mut kernel = self.kernel();
        if kernel.is_interrupted() {
            return Err(Errno::INTR.into());
        }
        let Some(socket) = kernel.datagrams.get_mut(&socket.id) else { panic!("closed") };
        if std::mem::take(&mut socket.bounced) {
            return Err(Errno::CONNREFUSED.into());
        }
        let Some(bytes) = socket.inbox.pop_front() else { return Err(Errno::AGAIN.into()) };
        let n = bytes.len().min(into.len());
        into[..n].copy_from_slice(&bytes[..n]);
        kernel.progress += 1;
        Ok(n)
    }

    fn shutdown_write(&mut self, stream: &Handle) -> io::Result<()> {
        Ok(self.kernel().finish_near(stream.id)?)
    }

    fn unacknowledged(&self, stream: &Handle) -> io::Result<usize> {
        let mut kernel = self.kernel();
        let bytes = kernel.owed(stream.id);
        kernel.seen.waiting_resets += u64::from(bytes > 0);
        Ok(bytes)
    }

    fn abort(&mut self, stream: Handle) {
        self.kernel().abort(stream.id);
    }
}
