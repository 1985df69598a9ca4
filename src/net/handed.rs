//! The descriptors of an upgrade: lent by one program, and given to the next.

use super::mio_net::Pipe;
use super::{MioNet, Net};
use mio::net::{TcpListener, TcpStream};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A kernel whose sockets outlive the program that has them.
pub trait HandOver: Net {
    /// A descriptor lent to be handed over to the program that takes this one's place.
    type Lent<'a>
    where
        Self: 'a;
    /// A descriptor that was handed over: dropping it closes it.
    type Given;

    /// Where its clock starts, in nanoseconds of the system's clock. Given to a new one, the times
    /// of this one stay valid.
    fn origin_ns(&self) -> u64;

    /// Lends the descriptor of a connection to be handed over.
    fn lend_stream<'a>(&'a self, stream: &'a Self::Stream) -> Self::Lent<'a>;

    /// Lends the descriptor of a listener.
    fn lend_listener<'a>(&'a self, listener: &'a Self::Listener) -> Self::Lent<'a>;

    /// Lends the descriptors of a pipe: the one to read from, and the one to write to.
    fn lend_pipe<'a>(&'a self, pipe: &'a Self::Pipe) -> [Self::Lent<'a>; 2];

    /// Takes over a connection that was handed over; it is not registered yet. When it is, events
    /// report anew what holds then: bytes, a FIN, a failure, an unread urgent byte.
    fn adopt_stream(&mut self, given: Self::Given) -> Self::Stream;

    /// Takes over a listener, and registers it.
    fn adopt_listener(&mut self, given: Self::Given, token: usize) -> io::Result<Self::Listener>;

    /// Takes over a pipe and the bytes in it.
    fn adopt_pipe(&mut self, out: Self::Given, into: Self::Given) -> Self::Pipe;
}

impl HandOver for MioNet {
    type Lent<'a> = BorrowedFd<'a>;
    type Given = OwnedFd;

    fn origin_ns(&self) -> u64 {
        self.origin_ns
    }

    fn lend_stream<'a>(&'a self, stream: &'a TcpStream) -> BorrowedFd<'a> {
        stream.as_fd()
    }

    fn lend_listener<'a>(&'a self, listener: &'a TcpListener) -> BorrowedFd<'a> {
        listener.as_fd()
    }

    fn lend_pipe<'a>(&'a self, pipe: &'a Pipe) -> [BorrowedFd<'a>; 2] {
        [pipe.out.as_fd(), pipe.into.as_fd()]
    }

    fn adopt_stream(&mut self, given: OwnedFd) -> TcpStream {
        // Its options, and that it never blocks, belong to the socket and not to the descriptor.
        TcpStream::from_std(given.into())
    }

    fn adopt_listener(&mut self, given: OwnedFd, token: usize) -> io::Result<TcpListener> {
        self.register_listener(given.into(), token)
    }

    fn adopt_pipe(&mut self, out: OwnedFd, into: OwnedFd) -> Pipe {
        Pipe { out, into }
    }
}

/// Descriptors that are lent, in the order of the indices by which a record names them.
pub struct LentList<'a, N: HandOver> {
    net: &'a N,
    descriptors: Vec<N::Lent<'a>>,
}

impl<'a, N: HandOver> LentList<'a, N> {
    /// None yet.
    pub fn new(net: &'a N) -> LentList<'a, N> {
        LentList { net, descriptors: Vec::new() }
    }

    /// Adds a connection; returns its index.
    pub fn stream(&mut self, stream: &'a N::Stream) -> u32 {
        self.add(self.net.lend_stream(stream))
    }

    /// Adds a listener; returns its index.
    pub fn listener(&mut self, listener: &'a N::Listener) -> u32 {
        self.add(self.net.lend_listener(listener))
    }

    /// Adds a pipe; returns the index of its end to read from, and of the one to write to.
    pub fn pipe(&mut self, pipe: &'a N::Pipe) -> (u32, u32) {
        let [out, into] = self.net.lend_pipe(pipe);
        (self.add(out), self.add(into))
    }

    fn add(&mut self, descriptor: N::Lent<'a>) -> u32 {
        self.descriptors.push(descriptor);
        (self.descriptors.len() - 1) as u32
    }

    /// The descriptors.
    pub fn into_vec(self) -> Vec<N::Lent<'a>> {
        self.descriptors
    }
}

/// Descriptors that were handed over. Those that nobody takes are closed.
pub struct GivenList<N: HandOver> {
    descriptors: Vec<Option<N::Given>>,
    error: Option<io::Error>,
}

impl<N: HandOver> GivenList<N> {
    /// All of them, in the order of their indices.
    pub fn new(descriptors: Vec<N::Given>) -> GivenList<N> {
        GivenList { descriptors: descriptors.into_iter().map(Some).collect(), error: None }
    }

    /// How many there were.
    pub fn count(&self) -> usize {
        self.descriptors.len()
    }

    /// Takes one that [`Handover::check`](crate::handover::Handover::check) has found.
    pub fn take(&mut self, index: u32) -> N::Given {
        let given = self.descriptors.get_mut(index as usize).and_then(Option::take);
        given.expect("each descriptor that a record names is there, once")
    }

    /// Takes a connection and registers it, for room to send as well if it `awaits_room`. If that
    /// fails, the error is noted.
    pub fn stream(
        &mut self,
        index: u32,
        token: usize,
        awaits_room: bool,
        net: &mut N,
    ) -> N::Stream {
        let mut stream = net.adopt_stream(self.take(index));
        let registered = net.register(&mut stream, token);
        let registered = registered.and_then(|()| match awaits_room {
            true => net.await_room(&mut stream, token),
            false => Ok(()),
        });
        self.note(registered);
        stream
    }

    /// Notes the first error.
    pub fn note(&mut self, result: io::Result<()>) {
        self.error = self.error.take().or(result.err());
    }

    /// Takes the first error since this was last called.
    pub fn take_error(&mut self) -> Option<io::Error> {
        self.error.take()
    }
}
