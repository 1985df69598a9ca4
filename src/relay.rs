//! Bytes from one endpoint to the other: one direction, written once and used for both.
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
//!
//! Urgent bytes (TCP's URG, which telnet and FTP send) stay in their place in the stream and go
//! out as urgent. The kernel announces one; from then on bytes are copied, reads stop in front
//! of it, and it is read and sent alone.

mod direction;
mod endpoint;

pub use direction::{Direction, Step};
pub use endpoint::{Endpoint, is_reset};

use crate::net::Net;
use crate::pool::Pool;
use direction::Source;

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
        client: &mut Endpoint<N::Stream>,
        target: &mut Endpoint<N::Stream>,
        pool: &mut Pool<P>,
    ) -> Outcome {
        let up = self.up.pump(net, client, target, pool);
        let down = self.down.pump(net, target, client, pool);
        notice_failure(net, client, &self.up);
        notice_failure(net, target, &self.down);
        match (client.reset, target.reset) {
            (false, false) => {}
            (true, true) => {
                self.discard(pool);
                return Outcome::ClientReset;
            }
            (true, false) => return self.deliver_rest(pool, Which::Up, up),
            (false, true) => return self.deliver_rest(pool, Which::Down, down),
        }
        if self.up.is_closed_and_empty() && self.down.is_closed_and_empty() {
            return Outcome::Done;
        }
        self.up.forward_fin(net, target);
        self.down.forward_fin(net, client);
        if up == Step::More || down == Step::More || client.reset || target.reset {
            return Outcome::Step(Step::More);
        }
        Outcome::Step(Step::Wait)
    }

    /// After a reset of the source of `which`: what it had sent is still delivered, as far as
    /// `step` has come with it; the other direction is given up.
    fn deliver_rest(&mut self, pool: &mut Pool<P>, which: Which, step: Step) -> Outcome {
        let (rest, lost, outcome) = match which {
            Which::Up => (&mut self.up, &mut self.down, Outcome::ClientReset),
            Which::Down => (&mut self.down, &mut self.up, Outcome::TargetReset),
        };
        lost.cut(pool);
        match (rest.is_closed_and_empty(), rest.is_empty()) {
            (true, _) => outcome,
            (false, true) => Outcome::Step(Step::More),
            (false, false) => Outcome::Step(step),
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

/// An endpoint that has ended is not read any more, so no read would tell that it has failed since.
fn notice_failure<N: Net>(
    net: &N,
    endpoint: &mut Endpoint<N::Stream>,
    from_it: &Direction<N::Pipe>,
) {
    if from_it.has_ended() {
        endpoint.take_failure(net);
    }
}
