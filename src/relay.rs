//! Bytes from one side to the other: one direction, written once and used for both.
//!
//! ```text
//!     client --- up ---> target          source      Open -> Ended (FIN read)
//!     client <-- down -- target                          \-> Cut (reset)
//! ```
//!
//! A direction holds a buffer only while it holds bytes. Its FIN is forwarded when it is empty;
//! a reset is passed on as a reset once everything that came before it is delivered.
//!
//! Small and interactive traffic is copied: one call in, one call out. A flow that fills whole
//! buffers goes through a pipe instead (splice), until it becomes a trickle again. A pipe is
//! emptied before more is taken in, so that "would block" always means that the source has no
//! more: with bytes in it, it could as well mean that the pipe is full.

use crate::net::{Event, Net};
use crate::pool::{Buffer, PIPE_BYTES, Pool};
use std::io::{self, ErrorKind};

/// Most calls to read that one direction may make in a turn.
const CALLS_PER_TURN: u32 = 8;
/// Most bytes that one direction may take in in a turn, give or take one call.
const BYTES_PER_TURN: usize = 1 << 20;
/// A splice of less shows that the flow has become small enough to be copied.
const SPLICE_BYTES_MIN: usize = 32 << 10;

/// One connection of a session and what is known of its readiness. A readiness bit is set by an
/// event and cleared only by the kernel saying that it would block.
pub struct Side<S> {
    /// The socket.
    pub stream: S,
    /// There may be something to read.
    pub readable: bool,
    /// There may be room to write.
    pub writable: bool,
    /// The peer's FIN has been announced. It sticks: a short read does not mean drained then.
    pub read_closed: bool,
    /// The connection has failed. It sticks: the kernel tells an error once, to the first call
    /// that asks, and an end of file afterwards.
    pub reset: bool,
    /// An event has told of a failure. It sticks, too.
    failed: bool,
}

impl<S> Side<S> {
    /// A side of which no event has told anything.
    pub fn new(stream: S) -> Side<S> {
        Side {
            stream,
            readable: false,
            writable: false,
            read_closed: false,
            reset: false,
            failed: false,
        }
    }

    /// Takes in what an event tells.
    pub fn fold(&mut self, event: &Event) {
        self.readable |= event.readable || event.failed;
        self.writable |= event.writable || event.failed;
        self.read_closed |= event.read_closed;
        self.failed |= event.failed;
    }

    /// Whether an event has told of a failure.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Notes that a call failed. What had arrived before can still be read.
    fn set_reset(&mut self) {
        self.reset = true;
        self.readable = true;
    }
}

/// How the source of a direction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
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
enum Held<P> {
    Nothing,
    Buffer(Buffer),
    /// A pipe with so many bytes in it.
    Pipe(P, usize),
}

/// Bytes on their way from a source to a sink, in a buffer or in a pipe (`P`).
pub struct Direction<P> {
    held: Held<P>,
    source: Source,
    fin_sent: bool,
    /// The flow is sustained: what comes next goes through a pipe.
    bulk: bool,
    /// How many of the bytes held are the proxy's own: replies.
    own_bytes: u8,
    /// Bytes of the source delivered to the sink.
    pub delivered: u64,
}

impl<P> Default for Direction<P> {
    fn default() -> Direction<P> {
        Direction {
            held: Held::Nothing,
            source: Source::Open,
            fin_sent: false,
            bulk: false,
            own_bytes: 0,
            delivered: 0,
        }
    }
}

impl<P> Direction<P> {
    /// Whether no byte is held.
    pub fn is_empty(&self) -> bool {
        matches!(self.held, Held::Nothing)
    }

    /// Whether the source's FIN has been read.
    pub fn has_ended(&self) -> bool {
        self.source == Source::Ended
    }

    /// Whether the source's FIN has been read, and nothing else.
    pub fn has_left(&self) -> bool {
        self.has_ended() && self.is_empty()
    }

    /// Whether nothing more will come and everything is delivered.
    fn is_over(&self) -> bool {
        self.source != Source::Open && self.is_empty()
    }

    /// The bytes held in a buffer; those in a pipe cannot be seen.
    pub fn held(&self) -> &[u8] {
        match &self.held {
            Held::Buffer(buffer) => buffer.held(),
            _ => &[],
        }
    }

    /// Whether the source has filled the buffer: there may be much more to come.
    fn is_full(&self) -> bool {
        matches!(&self.held, Held::Buffer(buffer) if buffer.is_full())
    }

    /// The buffer held, or one that is lent now.
    fn buffer(&mut self, lend: impl FnOnce() -> Buffer) -> &mut Buffer {
        if self.is_empty() {
            self.held = Held::Buffer(lend());
        }
        match &mut self.held {
            Held::Buffer(buffer) => buffer,
            _ => unreachable!("a pipe is emptied before bytes are put into a buffer"),
        }
    }

    /// Puts bytes of the proxy's own (a reply) behind those held; `false` if there is no room.
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
        let Held::Buffer(buffer) = &mut self.held else { return };
        buffer.consume(n);
        if buffer.held().is_empty() {
            self.discard(pool);
        }
    }

    /// Drops what is held.
    pub fn discard(&mut self, pool: &mut Pool<P>) {
        match std::mem::replace(&mut self.held, Held::Nothing) {
            Held::Nothing => {}
            Held::Buffer(buffer) => pool.give_back(buffer),
            Held::Pipe(pipe, 0) => pool.give_back_pipe(pipe),
            Held::Pipe(pipe, _) => pool.drop_pipe(pipe),
        }
    }

    /// Drops what is held and takes nothing more: the sink is gone.
    fn cut(&mut self, pool: &mut Pool<P>) {
        self.discard(pool);
        if self.source == Source::Open {
            self.source = Source::Cut;
        }
    }

    /// Reads once from the source, behind what is held. Marks the end of the source; clears its
    /// readiness when the kernel has no more. `lend` chooses the size of a fresh buffer.
    pub fn fill<N: Net<Pipe = P>>(
        &mut self,
        net: &mut N,
        from: &mut Side<N::Stream>,
        pool: &mut Pool<P>,
        lend: fn(&mut Pool<P>) -> Buffer,
    ) -> usize {
        let buffer = self.buffer(|| lend(pool));
        let room = buffer.room();
        if room.is_empty() {
            return 0;
        }
        let wanted = room.len();
        let read = net.recv(&from.stream, room);
        if let Ok(n @ 1..) = read {
            buffer.filled(n);
            // A short count means drained, unless a FIN is behind it.
            from.readable = n == wanted || from.read_closed;
        }
        if buffer.held().is_empty() {
            self.discard(pool);
        }
        self.note(read, from)
    }

    /// Moves what the source has into a pipe; nothing is held before. Without a pipe the bytes
    /// are copied.
    fn splice<N: Net<Pipe = P>>(
        &mut self,
        net: &mut N,
        from: &mut Side<N::Stream>,
        pool: &mut Pool<P>,
    ) -> usize {
        let Some(mut pipe) = pool.lend_pipe(|| net.open_pipe()) else {
            self.bulk = false;
            return self.fill(net, from, pool, Pool::lend);
        };
        let read = net.splice_in(&from.stream, &mut pipe, PIPE_BYTES);
        match read {
            Ok(n @ 1..) => {
                self.bulk = n >= SPLICE_BYTES_MIN;
                self.held = Held::Pipe(pipe, n);
            }
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                // Not this kernel, or not these sockets.
                pool.drop_pipe(pipe);
                pool.forbid_pipes();
                return self.fill(net, from, pool, Pool::lend);
            }
            _ => pool.give_back_pipe(pipe),
        }
        self.note(read, from)
    }

    /// Takes in what a call to read told of the source; how many bytes came.
    fn note<S>(&mut self, read: io::Result<usize>, from: &mut Side<S>) -> usize {
        match read {
            // After an error was told to a send, the kernel shows its end as if it were a FIN.
            Ok(0) => self.source = if from.reset { Source::Cut } else { Source::Ended },
            Ok(n) => return n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && !from.reset => {
                from.readable = false;
            }
            Err(_) => {
                from.set_reset();
                self.source = Source::Cut;
            }
        }
        0
    }

    /// Writes what is held until it is delivered or the sink would block.
    pub fn flush<N: Net<Pipe = P>>(
        &mut self,
        net: &mut N,
        to: &mut Side<N::Stream>,
        pool: &mut Pool<P>,
    ) {
        while to.writable {
            let sent = match &mut self.held {
                Held::Nothing => return,
                Held::Buffer(buffer) => net.send(&to.stream, buffer.held()),
                Held::Pipe(pipe, bytes) => net.splice_out(pipe, &to.stream, *bytes),
            };
            match sent {
                Ok(n) => self.sent(n, to, pool),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => to.writable = false,
                Err(_) => {
                    to.set_reset();
                    self.cut(pool);
                }
            }
        }
    }

    /// The sink has taken `n` of the bytes held.
    fn sent<S>(&mut self, n: usize, to: &mut Side<S>, pool: &mut Pool<P>) {
        let own_bytes = n.min(usize::from(self.own_bytes));
        self.own_bytes -= own_bytes as u8;
        self.delivered += (n - own_bytes) as u64;
        match &mut self.held {
            Held::Nothing => {}
            Held::Buffer(buffer) => {
                // A short count means that the kernel's buffer is full.
                to.writable = n == buffer.held().len();
                self.consume(pool, n);
            }
            Held::Pipe(_, bytes) => {
                *bytes -= n;
                if *bytes == 0 {
                    self.discard(pool);
                }
            }
        }
    }

    /// Half-closes the sink after the last of the proxy's own bytes, once; `false` if it is gone.
    pub fn finish_own<N: Net<Pipe = P>>(&mut self, net: &mut N, to: &mut Side<N::Stream>) -> bool {
        self.source = Source::Ended;
        self.forward_fin(net, to);
        !to.reset
    }

    /// Moves bytes until one side would block, the source has ended or the budget is spent.
    fn pump<N: Net<Pipe = P>>(
        &mut self,
        net: &mut N,
        from: &mut Side<N::Stream>,
        to: &mut Side<N::Stream>,
        pool: &mut Pool<P>,
    ) -> Step {
        let mut taken = 0;
        for _ in 0..CALLS_PER_TURN {
            self.flush(net, to, pool);
            if !self.is_empty() || self.source != Source::Open || !from.readable {
                return Step::Wait;
            }
            if taken >= BYTES_PER_TURN {
                return Step::More;
            }
            taken += if self.bulk {
                self.splice(net, from, pool)
            } else {
                let n = self.fill(net, from, pool, Pool::lend);
                self.bulk = n > 0 && self.is_full() && pool.has_pipe();
                n
            };
        }
        self.flush(net, to, pool);
        Step::More
    }
}

/// What a run of a relay came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As for a direction.
    Step(Step),
    /// Both directions have ended and everything is delivered.
    Done,
    /// The client was reset, and what it had sent is with the target's kernel.
    ClientReset,
    /// The target was reset, and what it had sent is with the client's kernel.
    TargetReset,
}

/// Both directions of a session.
pub struct Relay<P> {
    /// From the client to the target.
    pub up: Direction<P>,
    /// From the target to the client.
    pub down: Direction<P>,
}

impl<P> Default for Relay<P> {
    fn default() -> Relay<P> {
        Relay { up: Direction::default(), down: Direction::default() }
    }
}

impl<P> Relay<P> {
    /// Bytes delivered, both ways: what has changed when this has.
    pub fn delivered(&self) -> u64 {
        self.up.delivered + self.down.delivered
    }

    /// Whether one of the directions has ended or been cut.
    pub fn is_half_closed(&self) -> bool {
        self.up.source != Source::Open || self.down.source != Source::Open
    }

    /// Moves what can be moved, both ways, and forwards what has ended.
    pub fn run<N: Net<Pipe = P>>(
        &mut self,
        net: &mut N,
        client: &mut Side<N::Stream>,
        target: &mut Side<N::Stream>,
        pool: &mut Pool<P>,
    ) -> Outcome {
        let up = self.up.pump(net, client, target, pool);
        let down = self.down.pump(net, target, client, pool);
        // A side that has ended is not read any more, so no call would tell of its reset.
        client.reset |= client.failed && self.up.has_ended();
        target.reset |= target.failed && self.down.has_ended();
        match (client.reset, target.reset) {
            (false, false) => {}
            (true, true) => {
                self.discard(pool);
                return Outcome::ClientReset;
            }
            (true, false) => return self.deliver_rest(pool, Which::Up),
            (false, true) => return self.deliver_rest(pool, Which::Down),
        }
        if self.up.is_over() && self.down.is_over() {
            return Outcome::Done;
        }
        self.up.forward_fin(net, target);
        self.down.forward_fin(net, client);
        if up == Step::More || down == Step::More || client.reset || target.reset {
            return Outcome::Step(Step::More);
        }
        Outcome::Step(Step::Wait)
    }

    /// After a reset of the source of `which`: what it had sent is still delivered, the other
    /// direction is given up.
    fn deliver_rest(&mut self, pool: &mut Pool<P>, which: Which) -> Outcome {
        let (rest, lost, outcome) = match which {
            Which::Up => (&mut self.up, &mut self.down, Outcome::ClientReset),
            Which::Down => (&mut self.down, &mut self.up, Outcome::TargetReset),
        };
        lost.cut(pool);
        match (rest.is_over(), rest.is_empty()) {
            (true, _) => outcome,
            (false, true) => Outcome::Step(Step::More),
            (false, false) => Outcome::Step(Step::Wait),
        }
    }

    /// Gives all buffers back.
    pub fn discard(&mut self, pool: &mut Pool<P>) {
        self.up.discard(pool);
        self.down.discard(pool);
    }
}

#[derive(Clone, Copy)]
enum Which {
    Up,
    Down,
}

impl<P> Direction<P> {
    /// Half-closes the sink once the source has ended and everything is delivered.
    fn forward_fin<N: Net<Pipe = P>>(&mut self, net: &mut N, to: &mut Side<N::Stream>) {
        if self.source == Source::Ended && self.is_empty() && !self.fin_sent {
            self.fin_sent = true;
            if net.finish(&to.stream).is_err() {
                to.set_reset();
            }
        }
    }
}
