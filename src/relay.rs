//! Bytes from one side to the other: one direction, written once and used for both.
//!
//! ```text
//!     client --- up ---> target          source      Open -> Ended (FIN read)
//!     client <-- down -- target                          \-> Cut (reset)
//! ```
//!
//! A direction holds a buffer only while it holds bytes. Its FIN is forwarded when it is empty;
//! a reset is passed on as a reset once everything that came before it is delivered.

use crate::net::{Event, Net};
use crate::pool::{Buffer, Pool};
use std::io::ErrorKind;

/// Most calls to read that one direction may make in a turn.
const CALLS_PER_TURN: u32 = 8;

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

/// Bytes on their way from a source to a sink.
pub struct Direction {
    held: Option<Buffer>,
    source: Source,
    fin_sent: bool,
    /// How many of the bytes held are the proxy's own: replies.
    own_bytes: u8,
    /// Bytes of the source delivered to the sink.
    pub delivered: u64,
}

impl Default for Direction {
    fn default() -> Direction {
        Direction { held: None, source: Source::Open, fin_sent: false, own_bytes: 0, delivered: 0 }
    }
}

impl Direction {
    /// Whether no byte is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_none()
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
        self.source != Source::Open && self.held.is_none()
    }

    /// The bytes held.
    pub fn held(&self) -> &[u8] {
        self.held.as_ref().map_or(&[], Buffer::held)
    }

    /// Puts bytes of the proxy's own (a reply) behind those held; `false` if there is no room.
    pub fn push(&mut self, pool: &mut Pool, bytes: &[u8]) -> bool {
        let buffer = self.held.get_or_insert_with(|| pool.lend_small());
        let Some(room) = buffer.room().get_mut(..bytes.len()) else { return false };
        room.copy_from_slice(bytes);
        buffer.filled(bytes.len());
        self.own_bytes += bytes.len() as u8;
        true
    }

    /// Drops the first `n` bytes held (a request that was read), and the buffer once it is empty.
    pub fn consume(&mut self, pool: &mut Pool, n: usize) {
        let Some(buffer) = &mut self.held else { return };
        buffer.consume(n);
        if buffer.held().is_empty() {
            self.discard(pool);
        }
    }

    /// Drops what is held.
    pub fn discard(&mut self, pool: &mut Pool) {
        if let Some(buffer) = self.held.take() {
            pool.give_back(buffer);
        }
    }

    /// Drops what is held and takes nothing more: the sink is gone.
    fn cut(&mut self, pool: &mut Pool) {
        self.discard(pool);
        if self.source == Source::Open {
            self.source = Source::Cut;
        }
    }

    /// Reads once from the source, behind what is held. Marks the end of the source; clears its
    /// readiness when the kernel has no more. `lend` chooses the size of a fresh buffer.
    pub fn fill<N: Net>(
        &mut self,
        net: &mut N,
        from: &mut Side<N::Stream>,
        pool: &mut Pool,
        lend: fn(&mut Pool) -> Buffer,
    ) {
        let buffer = self.held.get_or_insert_with(|| lend(pool));
        let room = buffer.room();
        if room.is_empty() {
            return;
        }
        let wanted = room.len();
        match net.recv(&from.stream, room) {
            // After an error was told to a send, the kernel shows its end as if it were a FIN.
            Ok(0) => self.source = if from.reset { Source::Cut } else { Source::Ended },
            Ok(n) => {
                buffer.filled(n);
                from.readable = n == wanted || from.read_closed;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && !from.reset => {
                from.readable = false;
            }
            Err(_) => {
                from.set_reset();
                self.source = Source::Cut;
            }
        }
        if buffer.held().is_empty() {
            self.discard(pool);
        }
    }

    /// Writes what is held until it is delivered or the sink would block.
    pub fn flush<N: Net>(&mut self, net: &mut N, to: &mut Side<N::Stream>, pool: &mut Pool) {
        while let Some(buffer) = &mut self.held
            && to.writable
        {
            let wanted = buffer.held().len();
            match net.send(&to.stream, buffer.held()) {
                Ok(n) => {
                    let own_bytes = n.min(usize::from(self.own_bytes));
                    self.own_bytes -= own_bytes as u8;
                    self.delivered += (n - own_bytes) as u64;
                    // A short count means that the kernel's buffer is full.
                    to.writable = n == wanted;
                    self.consume(pool, n);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => to.writable = false,
                Err(_) => {
                    to.set_reset();
                    self.cut(pool);
                }
            }
        }
    }

    /// Half-closes the sink after the last of the proxy's own bytes, once; `false` if it is gone.
    pub fn finish_own<N: Net>(&mut self, net: &mut N, to: &mut Side<N::Stream>) -> bool {
        self.source = Source::Ended;
        self.forward_fin(net, to);
        !to.reset
    }

    /// Moves bytes until one side would block, the source has ended or the budget is spent.
    fn pump<N: Net>(
        &mut self,
        net: &mut N,
        from: &mut Side<N::Stream>,
        to: &mut Side<N::Stream>,
        pool: &mut Pool,
    ) -> Step {
        for _ in 0..CALLS_PER_TURN {
            self.flush(net, to, pool);
            if self.held.is_some() || self.source != Source::Open || !from.readable {
                return Step::Wait;
            }
            self.fill(net, from, pool, Pool::lend);
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
#[derive(Default)]
pub struct Relay {
    /// From the client to the target.
    pub up: Direction,
    /// From the target to the client.
    pub down: Direction,
}

impl Relay {
    /// Bytes delivered, both ways: what has changed when this has.
    pub fn delivered(&self) -> u64 {
        self.up.delivered + self.down.delivered
    }

    /// Whether one of the directions has ended or been cut.
    pub fn is_half_closed(&self) -> bool {
        self.up.source != Source::Open || self.down.source != Source::Open
    }

    /// Moves what can be moved, both ways, and forwards what has ended.
    pub fn run<N: Net>(
        &mut self,
        net: &mut N,
        client: &mut Side<N::Stream>,
        target: &mut Side<N::Stream>,
        pool: &mut Pool,
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
    fn deliver_rest(&mut self, pool: &mut Pool, which: Which) -> Outcome {
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
    pub fn discard(&mut self, pool: &mut Pool) {
        self.up.discard(pool);
        self.down.discard(pool);
    }
}

#[derive(Clone, Copy)]
enum Which {
    Up,
    Down,
}

impl Direction {
    /// Half-closes the sink once the source has ended and everything is delivered.
    fn forward_fin<N: Net>(&mut self, net: &mut N, to: &mut Side<N::Stream>) {
        if self.source == Source::Ended && self.held.is_none() && !self.fin_sent {
            self.fin_sent = true;
            if net.finish(&to.stream).is_err() {
                to.set_reset();
            }
        }
    }
}
