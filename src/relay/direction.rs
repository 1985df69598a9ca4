//! One direction: bytes on their way from a source to a sink.

use super::endpoint::Endpoint;
use crate::net::{Net, lacks_resources};
use crate::pool::{Buffer, Pool};
use crate::sizes::PIPE_BYTES;
use std::io::{self, ErrorKind};

/// Most calls to read that one direction may make in a turn.
const CALLS_PER_TURN: u32 = 8;
/// Most bytes that one direction may take in in a turn, give or take one call.
const BYTES_PER_TURN: usize = 1 << 20;
/// A splice of less shows that the flow has become small enough to be copied.
const SPLICE_BYTES_MIN: usize = 32 << 10;

/// How the source of a direction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Open,
    /// Its FIN has been read.
    Ended,
    /// It was reset, or what it sends is of no use any more.
    Cut,
}

/// What stopped a step of a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing to do until an event.
    Wait,
    /// The budget is spent; there is more to do.
    More,
}

/// What a direction has in hand.
enum InFlight<P> {
    Nothing,
    Buffer(Buffer),
    /// A pipe with so many bytes in it.
    Pipe(P, usize),
}

/// Bytes on their way from a source to a sink, in a buffer or in a pipe (`P`).
pub struct Direction<P> {
    held: InFlight<P>,
    pub(super) source: Source,
    fin_sent: bool,
    /// The flow is sustained: what comes next goes through a pipe.
    bulk: bool,
    /// What is held is one urgent byte, which has to go out as such.
    urgent: bool,
    /// How many of the bytes held are the proxy's own: replies.
    own_bytes: u8,
    /// Bytes of the source delivered to the sink.
    pub delivered: u64,
}

impl<P> Default for Direction<P> {
    fn default() -> Direction<P> {
        Direction {
            held: InFlight::Nothing,
            source: Source::Open,
            fin_sent: false,
            bulk: false,
            urgent: false,
            own_bytes: 0,
            delivered: 0,
        }
    }
}

impl<P> Direction<P> {
    /// Whether no byte is held.
    pub fn is_empty(&self) -> bool {
        matches!(self.held, InFlight::Nothing)
    }

    /// Whether the source's FIN has been read.
    pub fn has_ended(&self) -> bool {
        self.source == Source::Ended
    }

    /// Whether nothing more will come and everything is delivered.
    pub(super) fn is_closed_and_empty(&self) -> bool {
        self.source != Source::Open && self.is_empty()
    }

    /// The bytes held in a buffer; those in a pipe cannot be seen.
    pub fn held(&self) -> &[u8] {
        match &self.held {
            InFlight::Buffer(buffer) => buffer.held(),
            _ => &[],
        }
    }

    /// Whether the source has filled the buffer: there may be much more to come.
    fn is_full(&self) -> bool {
        matches!(&self.held, InFlight::Buffer(buffer) if buffer.is_full())
    }

    /// The buffer held, or one that is lent now.
    fn buffer(&mut self, lend: impl FnOnce() -> Buffer) -> &mut Buffer {
        if self.is_empty() {
            self.held = InFlight::Buffer(lend());
        }
        match &mut self.held {
            InFlight::Buffer(buffer) => buffer,
            _ => unreachable!("a pipe is emptied before bytes are put into a buffer"),
        }
    }

    /// Appends bytes of the proxy's own (a reply) to those held; `false` if there is no room.
    pub fn push(&mut self, pool: &mut Pool<P>, bytes: &[u8]) -> bool {
        let buffer = self.buffer(|| pool.lend_small());
        let Some(room) = buffer.room().get_mut(..bytes.len()) else { return false };
        room.copy_from_slice(bytes);
        buffer.filled(bytes.len());
        self.own_bytes += bytes.len() as u8;
        true
    }

    /// Drops the first `n` bytes held (a request that was read), and the buffer once it is empty.
    pub fn consume(&mut self, pool: &mut Pool<P>, n: usize) {
        let InFlight::Buffer(buffer) = &mut self.held else { return };
        buffer.consume(n);
        if buffer.held().is_empty() {
            self.discard(pool);
        }
    }

    /// Drops what is held.
    pub fn discard(&mut self, pool: &mut Pool<P>) {
        match std::mem::replace(&mut self.held, InFlight::Nothing) {
            InFlight::Nothing => {}
            InFlight::Buffer(buffer) => pool.give_back(buffer),
            InFlight::Pipe(pipe, 0) => pool.give_back_pipe(pipe),
            InFlight::Pipe(pipe, _) => pool.drop_pipe(pipe),
        }
    }

    /// Drops what is held and takes nothing more: the sink is gone.
    pub(super) fn cut(&mut self, pool: &mut Pool<P>) {
        self.discard(pool);
        if self.source == Source::Open {
            self.source = Source::Cut;
        }
    }
}

/// From the source.
impl<P> Direction<P> {
    /// Reads once from the source, appending to what is held; how many bytes came. Marks the end
    /// of the source; clears its readiness when the kernel has no more. `lend` chooses the size
    /// of a fresh buffer.
    pub fn fill<N: Net<Pipe = P>>(
        &mut self,
        net: &mut N,
        from: &mut Endpoint<N::Stream>,
        pool: &mut Pool<P>,
        lend: fn(&mut Pool<P>) -> Buffer,
    ) -> usize {
        self.fill_at_most(net, from, pool, lend, usize::MAX)
    }

    fn fill_at_most<N: Net<Pipe = P>>(
        &mut self,
        net: &mut N,
        from: &mut Endpoint<N::Stream>,
        pool: &mut Pool<P>,
        lend: fn(&mut Pool<P>) -> Buffer,
        most: usize,
    ) -> usize {
        let buffer = self.buffer(|| lend(pool));
        let room = buffer.room();
        let wanted = room.len().min(most);
        if wanted == 0 {
            return 0;
        }
        let read = net.recv(&from.stream, &mut room[..wanted]);
        if let Ok(n @ 1..) = read {
            buffer.filled(n);
            // A short count means drained, unless a FIN or an urgent byte comes next.
            from.readable = n == wanted || from.read_closed || from.urgent;
            from.read_on = from.readable;
        }
        if buffer.held().is_empty() {
            self.discard(pool);
        }
        self.update_source(read, from)
    }

    /// Reads the urgent byte that is next, alone. Nothing is held.
    fn fill_urgent<N: Net<Pipe = P>>(
        &mut self,
        net: &mut N,
        from: &mut Endpoint<N::Stream>,
        pool: &mut Pool<P>,
    ) -> usize {
        let n = self.fill_at_most(net, from, pool, Pool::lend_small, 1);
        self.urgent = n == 1;
        from.urgent &= n != 1;
        n
    }

    /// Moves what the source has into a pipe; nothing is held before. Without a pipe, and where
    /// only a read tells how things stand, the bytes are copied.
    fn splice<N: Net<Pipe = P>>(
        &mut self,
        net: &mut N,
        from: &mut Endpoint<N::Stream>,
        pool: &mut Pool<P>,
    ) -> usize {
        let Some(mut pipe) = pool.lend_pipe(|| net.open_pipe()) else {
            return self.copy(net, from, pool);
        };
        match net.splice_in(&from.stream, &mut pipe, PIPE_BYTES) {
            Ok(n @ 1..) => {
                self.bulk = n >= SPLICE_BYTES_MIN;
                self.held = InFlight::Pipe(pipe, n);
                from.read_on = true;
                return n;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                pool.give_back_pipe(pipe);
                return 0;
            }
            Err(error)
                if error.kind() == ErrorKind::WouldBlock && !from.read_closed && !from.reset =>
            {
                from.readable = false;
                pool.give_back_pipe(pipe);
                return 0;
            }
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                // Not this kernel, or not these sockets.
                pool.drop_pipe(pipe);
                pool.forbid_pipes();
            }
            // The kernel tells an error once. What came before it is still to be read, and then what
            // looks like a FIN.
            Err(error) if error.kind() != ErrorKind::WouldBlock && !lacks_resources(&error) => {
                pool.give_back_pipe(pipe);
                from.set_failed(&error);
            }
            // An urgent byte looks like an empty source, and with a FIN after it like the end; for
            // want of memory the copy is slower, and no more.
            _ => {
                pool.give_back_pipe(pipe);
                from.read_on = true;
            }
        }
        self.copy(net, from, pool)
    }

    /// Takes in what a call to read told of the source; how many bytes came.
    fn update_source<S>(&mut self, read: io::Result<usize>, from: &mut Endpoint<S>) -> usize {
        match read {
            // After an error was told to a send, the kernel shows its end as if it were a FIN.
            Ok(0) => self.source = if from.reset { Source::Cut } else { Source::Ended },
            Ok(n) => return n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && !from.reset => {
                from.readable = false;
                // An urgent byte that a read took in unannounced is not waited for.
                from.urgent = false;
            }
            Err(error) => {
                from.set_failed(&error);
                self.source = Source::Cut;
            }
        }
        0
    }
}

/// To the sink.
impl<P> Direction<P> {
    /// Writes what is held until it is delivered or the sink would block; `false` when the kernel
    /// lacks the memory to move it out of a pipe, which no event will tell the end of.
    pub fn flush<N: Net<Pipe = P>>(
        &mut self,
        net: &mut N,
        to: &mut Endpoint<N::Stream>,
        pool: &mut Pool<P>,
    ) -> bool {
        while to.writable {
            if to.may_delay && self.delivered > 0 && !self.is_empty() {
                // Nothing is held back before the first piece, so a short session needs no call.
                to.may_delay = false;
                net.send_without_delay(&to.stream);
            }
            let sent = match &mut self.held {
                InFlight::Nothing => return true,
                InFlight::Buffer(buffer) if self.urgent => {
                    net.send_urgent(&to.stream, buffer.held())
                }
                InFlight::Buffer(buffer) => net.send(&to.stream, buffer.held()),
                InFlight::Pipe(pipe, bytes) => net.splice_out(pipe, &to.stream, *bytes),
            };
            match sent {
                Ok(n) => self.update_sink(n, net, to, pool),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => to.wait_for_room(net),
                Err(error) if self.held().is_empty() && lacks_resources(&error) => return false,
                Err(error) => {
                    to.set_failed(&error);
                    self.cut(pool);
                }
            }
        }
        true
    }

    /// The sink has taken `n` of the bytes held.
    fn update_sink<N: Net<Pipe = P>>(
        &mut self,
        n: usize,
        net: &mut N,
        to: &mut Endpoint<N::Stream>,
        pool: &mut Pool<P>,
    ) {
        let own_bytes = n.min(usize::from(self.own_bytes));
        self.own_bytes -= own_bytes as u8;
        self.delivered += (n - own_bytes) as u64;
        match &mut self.held {
            InFlight::Nothing => {}
            InFlight::Buffer(buffer) => {
                if n < buffer.held().len() {
                    // A short count means that the kernel's buffer is full.
                    to.wait_for_room(net);
                }
                self.urgent &= n == 0;
                self.consume(pool, n);
            }
            InFlight::Pipe(_, bytes) => {
                *bytes -= n;
                if *bytes == 0 {
                    self.discard(pool);
                }
            }
        }
    }

    /// Half-closes the sink after the last of the proxy's own bytes, once; `false` if it is gone.
    pub fn shutdown_after_reply<N: Net<Pipe = P>>(
        &mut self,
        net: &mut N,
        to: &mut Endpoint<N::Stream>,
    ) -> bool {
        self.source = Source::Ended;
        self.forward_fin(net, to);
        !to.reset
    }

    /// Half-closes the sink once the source has ended and everything is delivered.
    pub(super) fn forward_fin<N: Net<Pipe = P>>(
        &mut self,
        net: &mut N,
        to: &mut Endpoint<N::Stream>,
    ) {
        if self.source == Source::Ended && self.is_empty() && !self.fin_sent {
            self.fin_sent = true;
            if let Err(error) = net.shutdown_write(&to.stream) {
                to.set_failed(&error);
            }
        }
    }
}

impl<P> Direction<P> {
    /// Moves bytes until one side would block, the source has ended or the budget is spent.
    pub(super) fn pump<N: Net<Pipe = P>>(
        &mut self,
        net: &mut N,
        from: &mut Endpoint<N::Stream>,
        to: &mut Endpoint<N::Stream>,
        pool: &mut Pool<P>,
    ) -> Step {
        let mut taken = 0;
        for _ in 0..CALLS_PER_TURN {
            if !self.flush(net, to, pool) {
                return Step::More;
            }
            if !self.is_empty() || self.source != Source::Open || !from.readable {
                return Step::Wait;
            }
            if taken >= BYTES_PER_TURN {
                return Step::More;
            }
            taken += self.take_in(net, from, pool);
        }
        self.flush(net, to, pool);
        Step::More
    }

    /// Takes in the next piece, the way that suits the flow.
    fn take_in<N: Net<Pipe = P>>(
        &mut self,
        net: &mut N,
        from: &mut Endpoint<N::Stream>,
        pool: &mut Pool<P>,
    ) -> usize {
        // Splice stops in front of an urgent byte, but only a read gets past it.
        if self.bulk && !from.urgent {
            self.splice(net, from, pool)
        } else {
            self.copy(net, from, pool)
        }
    }

    /// Takes in the next piece by reading it, an urgent byte alone. A flow that fills a whole
    /// buffer goes on through a pipe.
    fn copy<N: Net<Pipe = P>>(
        &mut self,
        net: &mut N,
        from: &mut Endpoint<N::Stream>,
        pool: &mut Pool<P>,
    ) -> usize {
        self.bulk = false;
        // What comes before a FIN has been announced with it.
        let may_be_urgent = from.urgent || (from.read_on && !from.read_closed);
        if may_be_urgent && net.is_at_mark(&from.stream).unwrap_or(false) {
            return self.fill_urgent(net, from, pool);
        }
        let n = self.fill(net, from, pool, Pool::lend);
        self.bulk = n > 0 && self.is_full() && pool.has_pipe();
        n
    }
}
