//! One direction: bytes in transit from a source to a sink.

use super::endpoint::Endpoint;
use crate::net::{Net, lacks_resources};
use crate::pool::{Buffer, Pool};
use crate::sizes::PIPE_BYTES;
use std::io::{self, ErrorKind};

/// Most read calls per direction and turn.
const CALLS_PER_TURN: u32 = 8;
/// Most bytes read per direction and turn, give or take one call.
const BYTES_PER_TURN: usize = 1 << 20;
/// A splice of less than this shows that the flow has become small enough to be copied.
const SPLICE_BYTES_MIN: usize = 32 << 10;

/// The state of a direction's source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SourceState {
    Open,
    /// Its FIN has been read.
    Ended,
    /// It was reset, or its bytes are no longer wanted.
    Cut,
}

/// Why a step of a direction stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing to do until an event.
    Wait,
    /// The budget is spent; there is more to do.
    More,
}

/// The bytes that a direction holds. Nothing is a buffer without memory: a variant for it would cost
/// each session 16 bytes.
pub(super) enum InFlight<P> {
    Buffer(Buffer),
    /// A pipe, and how many bytes are in it.
    Pipe(P, usize),
}

impl<P> InFlight<P> {
    pub(super) fn nothing() -> InFlight<P> {
        InFlight::Buffer(Buffer::none())
    }
}

/// Bytes in transit from a source to a sink, in a buffer or in a pipe (`P`).
pub struct Direction<P> {
    pub(super) held: InFlight<P>,
    pub(super) source: SourceState,
    pub(super) fin_sent: bool,
    /// The flow is sustained: the next bytes go through a pipe.
    pub(super) bulk: bool,
    /// The byte held is urgent and has to be sent as such.
    pub(super) urgent: bool,
    /// How many of the bytes held are the proxy's own replies.
    pub(super) own_bytes: u8,
    /// Bytes of the source delivered to the sink.
    pub delivered: u64,
}

impl<P> Default for Direction<P> {
    fn default() -> Direction<P> {
        Direction {
            held: InFlight::nothing(),
            source: SourceState::Open,
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
        matches!(&self.held, InFlight::Buffer(buffer) if buffer.is_none())
    }

    /// Whether the source's FIN has been read.
    pub fn has_ended(&self) -> bool {
        self.source == SourceState::Ended
    }

    /// Whether no more bytes will come and all are delivered.
    pub(super) fn is_closed_and_empty(&self) -> bool {
        self.source != SourceState::Open && self.is_empty()
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

    /// The buffer held, or a newly lent one.
    fn buffer(&mut self, lend: impl FnOnce() -> Buffer) -> &mut Buffer {
        if self.is_empty() {
            self.held = InFlight::Buffer(lend());
        }
        match &mut self.held {
            InFlight::Buffer(buffer) => buffer,
            _ => unreachable!("a pipe is emptied before bytes are put into a buffer"),
        }
    }

    /// Appends the proxy's own bytes (a reply) to those held; `false` if there is no room.
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

    /// Drops the bytes held.
    pub fn discard(&mut self, pool: &mut Pool<P>) {
        match std::mem::replace(&mut self.held, InFlight::nothing()) {
            InFlight::Buffer(buffer) if buffer.is_none() => {}
            InFlight::Buffer(buffer) => pool.give_back(buffer),
            InFlight::Pipe(pipe, 0) => pool.give_back_pipe(pipe),
            InFlight::Pipe(pipe, _) => pool.drop_pipe(pipe),
        }
    }

    /// Drops the bytes held and reads no more: the sink is gone.
    pub(super) fn cut(&mut self, pool: &mut Pool<P>) {
        self.discard(pool);
        if self.source == SourceState::Open {
            self.source = SourceState::Cut;
        }
    }
}

/// Reading from the source.
impl<P> Direction<P> {
    /// Reads once from the source, and appends to the bytes held; returns how many were read. Marks
    /// the end of the source; clears its readiness when the kernel has no more. `lend` chooses the
    /// size of a new buffer.
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
        pool.moves += u64::from(read.is_ok());
        if let Ok(n @ 1..) = read {
            buffer.filled(n);
            // A short count means drained, unless a FIN or an urgent byte comes next.
            from.readable = n == wanted || from.read_closed || from.urgent;
            from.read_since_event = from.readable;
        }
        if buffer.held().is_empty() {
            self.discard(pool);
        }
        self.update_source(read, from)
    }

    /// Reads the next byte, an urgent one, alone. No bytes are held before.
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

    /// Moves bytes from the source into a pipe; none are held before. Without a pipe, or when only
    /// a read shows the state of the source, the bytes are copied.
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
                pool.moves += 1;
                from.read_since_event = true;
                return n;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                pool.give_back_pipe(pipe);
                return 0;
            }
            Err(error)
                if error.kind() == ErrorKind::WouldBlock && !from.read_closed && !from.failed =>
            {
                from.readable = false;
                pool.give_back_pipe(pipe);
                return 0;
            }
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                // The kernel cannot splice, or not from these sockets.
                pool.drop_pipe(pipe);
                pool.forbid_pipes();
            }
            // The kernel reports an error once. The bytes before it can still be read, and then an
            // apparent FIN.
            Err(error) if error.kind() != ErrorKind::WouldBlock && !lacks_resources(&error) => {
                pool.give_back_pipe(pipe);
                from.set_failed(&error);
            }
            // An urgent byte looks like an empty source, and with a FIN after it like the end.
            // After a lack of memory, copying is only slower.
            _ => {
                pool.give_back_pipe(pipe);
                from.read_since_event = true;
            }
        }
        self.copy(net, from, pool)
    }

    /// Updates the source from the result of a read; returns how many bytes were read.
    fn update_source<S>(&mut self, read: io::Result<usize>, from: &mut Endpoint<S>) -> usize {
        match read {
            // After a send has taken the error, the kernel reports the end as if it were a FIN.
            Ok(0) => self.source = if from.failed { SourceState::Cut } else { SourceState::Ended },
            Ok(n) => return n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && !from.failed => {
                from.readable = false;
                // A read may have taken the urgent byte before it was announced.
                from.urgent = false;
            }
            Err(error) => {
                from.set_failed(&error);
                self.source = SourceState::Cut;
            }
        }
        0
    }
}

/// Writing to the sink.
impl<P> Direction<P> {
    /// Writes the bytes held until they are delivered or the sink would block; `false` when the
    /// kernel lacks the memory to move them out of a pipe, the end of which no event reports.
    pub fn flush<N: Net<Pipe = P>>(
        &mut self,
        net: &mut N,
        to: &mut Endpoint<N::Stream>,
        pool: &mut Pool<P>,
    ) -> bool {
        while to.writable {
            if to.may_delay && self.delivered > 0 && !self.is_empty() {
                // The kernel does not delay the first piece, so a short session saves the call.
                to.may_delay = false;
                net.send_without_delay(&to.stream);
            }
            let sent = match &mut self.held {
                InFlight::Buffer(buffer) if buffer.is_none() => return true,
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

    /// The sink has accepted `n` of the bytes held.
    fn update_sink<N: Net<Pipe = P>>(
        &mut self,
        n: usize,
        net: &mut N,
        to: &mut Endpoint<N::Stream>,
        pool: &mut Pool<P>,
    ) {
        let own_bytes = n.min(usize::from(self.own_bytes));
        self.own_bytes -= own_bytes as u8;
        pool.moves += 1;
        self.delivered += (n - own_bytes) as u64;
        match &mut self.held {
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
        self.source = SourceState::Ended;
        self.forward_fin(net, to);
        !to.failed
    }

    /// Half-closes the sink once the source has ended and everything is delivered.
    pub(super) fn forward_fin<N: Net<Pipe = P>>(
        &mut self,
        net: &mut N,
        to: &mut Endpoint<N::Stream>,
    ) {
        if self.source == SourceState::Ended && self.is_empty() && !self.fin_sent {
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
            if !self.is_empty() || self.source != SourceState::Open || !from.readable {
                return Step::Wait;
            }
            if taken >= BYTES_PER_TURN {
                return Step::More;
            }
            taken += self.receive(net, from, pool);
        }
        self.flush(net, to, pool);
        Step::More
    }

    /// Reads the next piece, by splicing or copying.
    fn receive<N: Net<Pipe = P>>(
        &mut self,
        net: &mut N,
        from: &mut Endpoint<N::Stream>,
        pool: &mut Pool<P>,
    ) -> usize {
        // Splice stops before an urgent byte, and only a read gets past it.
        if self.bulk && !from.urgent {
            self.splice(net, from, pool)
        } else {
            self.copy(net, from, pool)
        }
    }

    /// Reads the next piece into a buffer, an urgent byte alone. A flow that fills a whole buffer
    /// continues through a pipe.
    fn copy<N: Net<Pipe = P>>(
        &mut self,
        net: &mut N,
        from: &mut Endpoint<N::Stream>,
        pool: &mut Pool<P>,
    ) -> usize {
        self.bulk = false;
        // An urgent byte before a FIN has been announced with the FIN.
        let may_be_urgent = from.urgent || (from.read_since_event && !from.read_closed);
        if may_be_urgent && net.is_at_mark(&from.stream).unwrap_or(false) {
            return self.fill_urgent(net, from, pool);
        }
        let n = self.fill(net, from, pool, Pool::lend);
        self.bulk = n > 0 && self.is_full() && pool.has_pipe();
        n
    }
}
