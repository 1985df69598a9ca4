//! Relays bytes between two endpoints. One direction is written once and used for both.
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
//! emptied before more is read, so that "would block" always means that the source has no more:
//! with bytes in the pipe, it could also mean that the pipe is full.
//!
//! Urgent bytes (TCP's URG, which telnet and FTP send) keep their place in the stream and are sent
//! as urgent. The kernel announces one; from then on bytes are copied, reads stop before it, and it
//! is read and sent alone.

mod direction;
mod endpoint;
#[cfg(feature = "upgrade")]
mod record;

pub use direction::{Direction, Step};
pub use endpoint::{Endpoint, is_reset};

use crate::net::Net;
use crate::pool::Pool;
use direction::SourceState;

/// The result of a relay's run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Not ended; the same as for a direction.
    Step(Step),
    /// Both directions have ended, and everything is delivered.
    Done,
    /// The client's connection has failed, and all bytes from it were sent to the target.
    ClientFailed,
    /// The target's connection has failed, and all bytes from it were sent to the client.
    TargetFailed,
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
    /// Bytes delivered in both directions.
    pub fn delivered(&self) -> u64 {
        self.up.delivered + self.down.delivered
    }

    /// Whether a direction has ended or been cut.
    pub fn is_half_closed(&self) -> bool {
        self.up.source != SourceState::Open || self.down.source != SourceState::Open
    }

    /// Moves bytes in both directions, and forwards FINs.
    pub fn run<N: Net<Pipe = P>>(
        &mut self,
        net: &mut N,
        client: &mut Endpoint<N::Stream>,
        target: &mut Endpoint<N::Stream>,
        pool: &mut Pool<P>,
    ) -> Progress {
        let up = self.up.pump(net, client, target, pool);
        let down = self.down.pump(net, target, client, pool);
        check_failure(net, client, &self.up);
        check_failure(net, target, &self.down);
        match (client.failed, target.failed) {
            (false, false) => {}
            (true, true) => {
                self.discard(pool);
                return Progress::ClientFailed;
            }
            (true, false) => return self.deliver_rest(pool, Which::Up, up),
            (false, true) => return self.deliver_rest(pool, Which::Down, down),
        }
        if self.up.is_closed_and_empty() && self.down.is_closed_and_empty() {
            return Progress::Done;
        }
        self.up.forward_fin(net, target);
        self.down.forward_fin(net, client);
        if up == Step::More || down == Step::More || client.failed || target.failed {
            return Progress::Step(Step::More);
        }
        Progress::Step(Step::Wait)
    }

    /// After a reset of the source of `which`: its bytes are still delivered, as far as `step` has
    /// come; the other direction is dropped.
    fn deliver_rest(&mut self, pool: &mut Pool<P>, which: Which, step: Step) -> Progress {
        let (rest, lost, ended) = match which {
            Which::Up => (&mut self.up, &mut self.down, Progress::ClientFailed),
            Which::Down => (&mut self.down, &mut self.up, Progress::TargetFailed),
        };
        lost.cut(pool);
        match (rest.is_closed_and_empty(), rest.is_empty()) {
            (true, _) => ended,
            (false, true) => Progress::Step(Step::More),
            (false, false) => Progress::Step(step),
        }
    }

    /// Gives back all buffers.
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

/// An endpoint that has ended is no longer read, so no read would report that it has failed since.
fn check_failure<N: Net>(
    net: &N,
    endpoint: &mut Endpoint<N::Stream>,
    from_it: &Direction<N::Pipe>,
) {
    if from_it.has_ended() {
        endpoint.take_failure(net);
    }
}
