//! The descriptors of an upgrade: lent by one program, and given to the next.

use super::Net;
use std::io;

/// Descriptors that are lent, in the order of the indices by which a record names them.
pub struct LentList<'a, N: Net> {
    net: &'a N,
    descriptors: Vec<N::Lent<'a>>,
}

impl<'a, N: Net> LentList<'a, N> {
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
pub struct GivenList<N: Net> {
    descriptors: Vec<Option<N::Given>>,
    error: Option<io::Error>,
}

impl<N: Net> GivenList<N> {
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
