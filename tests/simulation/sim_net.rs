//! [`Net`] over the simulated kernel.

use crate::addresses::{is_local, own_facing};
use crate::kernel::Kernel;
use crate::tcp::NEAR;
use rustix::io::Errno;
use socku::internals::net::{Event, Net};
use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::hash::Hash;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

pub type Shared = Rc<RefCell<Kernel>>;

pub struct SimNet(pub Shared);

/// A pipe and what is in it, piece by piece.
pub struct Pipe {
    pub kernel: Shared,
    pub pieces: VecDeque<Vec<u8>>,
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

/// The kind of a descriptor.
pub enum What {
    Stream,
    Listener,
    Datagram,
}

/// A descriptor: dropping it closes.
pub struct Handle {
    kernel: Shared,
    pub id: usize,
    pub what: What,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // A failed check unwinds through here with the kernel borrowed.
        if let Ok(mut kernel) = self.kernel.try_borrow_mut()
            && !std::thread::panicking()
            && !kernel.handed.remove(&(matches!(self.what, What::Listener), self.id))
        {
            kernel.journal.note(("close", self.id));
            match self.what {
                What::Stream => kernel.let_go(self.id),
                What::Listener => kernel.unlisten(self.id),
                What::Datagram => drop(kernel.datagrams.remove(&self.id)),
            }
        }
    }
}

impl SimNet {
    pub fn kernel(&self) -> RefMut<'_, Kernel> {
        self.0.borrow_mut()
    }

    pub fn handle(&self, id: usize, what: What) -> Handle {
        Handle { kernel: self.0.clone(), id, what }
    }

    /// Notes a call about a socket, and its result.
    pub fn noted<T: Hash>(&self, call: &str, id: usize, result: Result<T, Errno>) -> io::Result<T> {
        let mut kernel = self.kernel();
        let now = kernel.now;
        kernel.journal.note((call, id, now, result.as_ref().map_err(|e| e.raw_os_error())));
        Ok(result?)
    }

    /// The same, with bytes that it was given or has brought.
    fn noted_bytes(
        &self,
        call: &str,
        id: usize,
        result: Result<usize, Errno>,
        bytes: &[u8],
    ) -> io::Result<usize> {
        if let Ok(n) = result {
            self.kernel().journal.note_bytes(&bytes[..n]);
        }
        self.noted(call, id, result)
    }
}

impl Net for SimNet {
    type Stream = Handle;
    type Listener = Handle;
    type Datagram = Handle;
    type Pipe = Pipe;
    type Reserve = Reserve;

    fn now(&self) -> u64 {
        let mut kernel = self.kernel();
        kernel.turn_at = kernel.now;
        kernel.now
    }

    fn poll(&mut self, events: &mut Vec<Event>, timeout_ms: Option<u64>) -> io::Result<()> {
        let mut kernel = self.kernel();
        kernel.poll(events, timeout_ms);
        kernel.journal.note(("poll", timeout_ms));
        for e in events {
            let ends = (e.read_closed, e.failed, e.urgent);
            kernel.journal.note((e.token, e.readable, e.writable, ends));
        }
        Ok(())
    }

    fn reserve(&mut self) -> io::Result<Reserve> {
        let lacks = self.kernel().lacks(1);
        self.noted("reserve", 0, lacks)?;
        self.kernel().reserves += 1;
        Ok(Reserve(self.0.clone()))
    }

    fn listen(&mut self, at: SocketAddr, _backlog: i32, token: usize) -> io::Result<Handle> {
        let listening = self.kernel().listen(at, token);
        let id = self.noted("listen", token, listening)?;
        Ok(self.handle(id, What::Listener))
    }

    fn listener_addr(&self, listener: &Handle) -> io::Result<SocketAddr> {
        Ok(self.kernel().listeners[&listener.id].address)
    }

    fn accept(&mut self, listener: &Handle) -> io::Result<(Handle, SocketAddr)> {
        let accepted = self.kernel().accept(listener.id);
        let conn = self.noted("accept", listener.id, accepted)?;
        let peer = self.kernel().conns[conn].peer;
        Ok((self.handle(conn, What::Stream), peer))
    }

    fn register(&mut self, stream: &mut Handle, token: usize) -> io::Result<()> {
        let registered = self.kernel().register(stream.id, token);
        self.noted("register", stream.id, registered)
    }

    fn await_room(&mut self, stream: &mut Handle, token: usize) -> io::Result<()> {
        self.kernel().await_room(stream.id, token);
        self.noted("await_room", stream.id, Ok(()))
    }

    fn enable_keepalive(&mut self, stream: &Handle) -> io::Result<()> {
        assert!(self.kernel().held.contains(&stream.id));
        let lacks = self.kernel().lacks(0);
        self.noted("enable_keepalive", stream.id, lacks)
    }

    fn connect(
        &mut self,
        target: SocketAddr,
        source: Option<IpAddr>,
        token: usize,
    ) -> io::Result<Handle> {
        let connecting = self.kernel().connect(target, source, token);
        let conn = self.noted("connect", token, connecting)?;
        Ok(self.handle(conn, What::Stream))
    }

    fn is_local(&self, address: IpAddr) -> io::Result<bool> {
        Ok(is_local(address))
    }

    fn source_addr_for(&self, peer: IpAddr) -> io::Result<IpAddr> {
        self.kernel().mood.lack.route_to(peer)?;
        Ok(own_facing(peer))
    }

    fn local_addr(&self, stream: &Handle) -> io::Result<SocketAddr> {
        let local = self.kernel().local_addr(stream.id);
        self.noted("local_addr", stream.id, Ok(local))
    }

    fn take_error(&self, stream: &Handle) -> io::Result<Option<io::Error>> {
        let error = self.kernel().take_error(stream.id);
        let code = error.map(Errno::raw_os_error);
        self.noted("take_error", stream.id, Ok(code))?;
        Ok(error.map(io::Error::from))
    }

    fn recv(&mut self, stream: &Handle, into: &mut [u8]) -> io::Result<usize> {
        let read = self.kernel().recv(stream.id, into);
        self.noted_bytes("recv", stream.id, read, into)
    }

    fn is_at_mark(&self, stream: &Handle) -> io::Result<bool> {
        let is_at_mark = self.kernel().conns[stream.id].ends[NEAR].is_at_mark();
        self.noted("is_at_mark", stream.id, Ok(is_at_mark))
    }

    fn send(&mut self, stream: &Handle, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.kernel().send(stream.id, bytes);
        self.noted_bytes("send", stream.id, sent, bytes)
    }

    fn send_urgent(&mut self, stream: &Handle, byte: &[u8]) -> io::Result<usize> {
        let sent = self.kernel().send_urgent(stream.id, byte);
        self.noted_bytes("send_urgent", stream.id, sent, byte)
    }

    fn send_without_delay(&mut self, stream: &Handle) {
        assert!(self.kernel().held.contains(&stream.id));
    }

    fn open_pipe(&mut self) -> io::Result<Pipe> {
        let lacks = self.kernel().lacks(2);
        self.noted("open_pipe", 0, lacks)?;
        self.kernel().pipes += 1;
        Ok(Pipe { kernel: self.0.clone(), pieces: VecDeque::new() })
    }

    fn splice_in(&mut self, from: &Handle, pipe: &mut Pipe, most: usize) -> io::Result<usize> {
        let moved = self.kernel().splice_in(from.id, &mut pipe.pieces, most);
        self.noted("splice_in", from.id, moved)
    }

    fn splice_out(&mut self, pipe: &mut Pipe, to: &Handle, most: usize) -> io::Result<usize> {
        let moved = self.kernel().splice_out(&mut pipe.pieces, to.id, most);
        self.noted("splice_out", to.id, moved)
    }

    fn open_datagram(&mut self, peer: SocketAddr, token: usize) -> io::Result<Handle> {
        let opened = self.kernel().open_datagram(peer, token);
        let id = self.noted("open_datagram", token, opened)?;
        Ok(self.handle(id, What::Datagram))
    }

    fn send_datagram(&mut self, socket: &Handle, bytes: &[u8]) -> io::Result<()> {
        self.kernel().journal.note_bytes(bytes);
        let sent = self.kernel().send_datagram(socket.id, bytes);
        self.noted("send_datagram", socket.id, sent)
    }

    fn recv_datagram(&mut self, socket: &Handle, into: &mut [u8]) -> io::Result<usize> {
        let read = self.kernel().recv_datagram(socket.id, into);
        self.noted_bytes("recv_datagram", socket.id, read, into)
    }

    fn shutdown_write(&mut self, stream: &Handle) -> io::Result<()> {
        let finished = self.kernel().finish_near(stream.id);
        self.noted("shutdown_write", stream.id, finished)
    }

    fn unacknowledged(&self, stream: &Handle) -> io::Result<usize> {
        let mut kernel = self.kernel();
        let bytes = kernel.owed(stream.id);
        kernel.checks.has_looked = true;
        kernel.seen.waiting_resets += u64::from(bytes > 0);
        drop(kernel);
        self.noted("unacknowledged", stream.id, Ok(bytes))
    }

    fn abort(&mut self, stream: Handle) {
        self.kernel().journal.note(("abort", stream.id));
        self.kernel().abort(stream.id);
    }
}
