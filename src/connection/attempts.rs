//! The sockets of the attempts to reach a target.

use crate::context::Context;
use crate::net::{Event, Net};
use crate::relay::{Endpoint, is_reset};
use crate::session::ATTEMPTS_MAX;
use crate::token::{TARGET, Token};
use smallvec::SmallVec;
use std::io;
use std::net::{SocketAddr, SocketAddrV4};

/// One attempt.
struct Attempt<N: Net> {
    /// Its number in the session.
    number: usize,
    endpoint: Endpoint<N::Stream>,
}

/// The attempts under way, the oldest first; most targets have one address.
pub struct AttemptSockets<N: Net>(SmallVec<[Attempt<N>; 1]>);

impl<N: Net> Default for AttemptSockets<N> {
    fn default() -> AttemptSockets<N> {
        AttemptSockets(SmallVec::new())
    }
}

/// What has come of an attempt.
pub struct Ended<N: Net> {
    /// Its number in the session.
    pub number: usize,
    /// The connection and its address at this end, or why there is none.
    pub result: io::Result<(Endpoint<N::Stream>, SocketAddrV4)>,
}

impl<N: Net> AttemptSockets<N> {
    /// Starts an attempt. When there are as many as there may be, the oldest makes way.
    pub fn start(
        &mut self,
        number: usize,
        target: SocketAddrV4,
        slot: usize,
        cx: &mut Context<N>,
    ) -> io::Result<()> {
        if self.0.len() == ATTEMPTS_MAX {
            self.0.remove(0);
        }
        let token = Token::Connection { slot, place: TARGET + number };
        let target = SocketAddr::V4(target);
        let stream = cx.net.connect(target, cx.settings.outbound, token.number())?;
        self.0.push(Attempt { number, endpoint: Endpoint::connecting(stream, token) });
        Ok(())
    }

    /// Takes in an event of the attempt with this place among the connection's tokens.
    pub fn update_readiness(&mut self, place: usize, event: &Event) {
        let mut attempts = self.0.iter_mut();
        if let Some(attempt) = attempts.find(|attempt| TARGET + attempt.number == place) {
            attempt.endpoint.update_readiness(event);
        }
    }

    /// Takes an attempt that has ended, if one has.
    pub fn take_ended(&mut self, cx: &mut Context<N>) -> Option<Ended<N>> {
        let place = self.0.iter().position(|attempt| attempt.endpoint.writable)?;
        let Attempt { number, mut endpoint } = self.0.remove(place);
        let result = check(&mut endpoint, &cx.net).map(|local| {
            endpoint.set_connected(&mut cx.net);
            (endpoint, local)
        });
        Some(Ended { number, result })
    }
}

/// Whether an attempt that has ended has connected: the address at this end.
fn check<N: Net>(endpoint: &mut Endpoint<N::Stream>, net: &N) -> io::Result<SocketAddrV4> {
    // Only when the event told of a failure is there an error worth a call.
    if endpoint.has_failed()
        && let Some(error) = net.take_error(&endpoint.stream)?
    {
        // It was connected, and reset before anybody looked: what it sent is still there.
        if !is_reset(&error) {
            return Err(error);
        }
        endpoint.set_failed(&error);
    }
    net.local_addr(&endpoint.stream)
}
