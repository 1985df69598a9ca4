//! The sockets of the attempts to reach a target.

use crate::context::Context;
use crate::net::{Event, Net};
use crate::relay::{Endpoint, is_reset};
use crate::token::{TARGET, Token};
use smallvec::SmallVec;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};

/// One attempt.
pub(super) struct Attempt<N: Net> {
    /// Its number in the session, of which there are few: every session has room for an
    /// attempt.
    pub(super) number: u8,
    pub(super) endpoint: Endpoint<N::Stream>,
}

/// The attempts under way, oldest first; most targets have one address.
pub struct AttemptSockets<N: Net>(pub(super) SmallVec<[Attempt<N>; 1]>);

impl<N: Net> Default for AttemptSockets<N> {
    fn default() -> AttemptSockets<N> {
        AttemptSockets(SmallVec::new())
    }
}

/// The result of an attempt.
pub struct AttemptResult<N: Net> {
    /// Its number in the session.
    pub number: usize,
    /// The connection and its local address, or the error.
    pub result: io::Result<(Endpoint<N::Stream>, SocketAddr)>,
}

impl<N: Net> AttemptSockets<N> {
    /// Starts an attempt of a client of this source. Those beside a session's first are limited for
    /// all sessions together, and for those of the source: the error is `QuotaExceeded` then.
    pub fn start(
        &mut self,
        number: usize,
        target: SocketAddr,
        slot: usize,
        source: IpAddr,
        cx: &mut Context<N>,
    ) -> io::Result<()> {
        if !self.0.is_empty() && !cx.extra_attempts.may_start(source) {
            return Err(ErrorKind::QuotaExceeded.into());
        }
        let token = Token::Connection { slot, place: TARGET + number };
        let outbound = cx.settings.outbound.facing(target.ip());
        let stream = cx.net.connect(target, outbound, token.number())?;
        let number = number as u8;
        let attempt = Attempt { number, endpoint: Endpoint::connecting(stream, token) };
        self.change(source, cx, |attempts| attempts.push(attempt));
        Ok(())
    }

    /// Closes the oldest.
    pub fn drop_oldest(&mut self, source: IpAddr, cx: &mut Context<N>) {
        self.change(source, cx, |attempts| drop(attempts.drain(..attempts.len().min(1))));
    }

    /// Closes all.
    pub fn clear(&mut self, source: IpAddr, cx: &mut Context<N>) {
        self.change(source, cx, SmallVec::clear);
    }

    /// The only place that changes the list, so that those beside the first are counted.
    pub(super) fn change<T>(
        &mut self,
        source: IpAddr,
        cx: &mut Context<N>,
        act: impl FnOnce(&mut SmallVec<[Attempt<N>; 1]>) -> T,
    ) -> T {
        let before = self.0.len().saturating_sub(1);
        let result = act(&mut self.0);
        cx.extra_attempts.change(source, before, self.0.len().saturating_sub(1));
        result
    }

    /// Handles an event of the attempt with this place among the connection's tokens.
    pub fn update_readiness(&mut self, place: usize, event: &Event) {
        let mut attempts = self.0.iter_mut();
        if let Some(attempt) =
            attempts.find(|attempt| TARGET + usize::from(attempt.number) == place)
        {
            attempt.endpoint.update_readiness(event);
        }
    }

    /// Takes an attempt that has ended, if one has.
    pub fn take_ended(&mut self, source: IpAddr, cx: &mut Context<N>) -> Option<AttemptResult<N>> {
        let place = self.0.iter().position(|attempt| attempt.endpoint.writable)?;
        let Attempt { number, mut endpoint } =
            self.change(source, cx, |attempts| attempts.remove(place));
        let result = check(&mut endpoint, &cx.net).map(|local| (endpoint, local));
        Some(AttemptResult { number: number.into(), result })
    }
}

/// Whether an ended attempt has connected; returns the local address.
fn check<N: Net>(endpoint: &mut Endpoint<N::Stream>, net: &N) -> io::Result<SocketAddr> {
    // Only after an event that reported a failure is there an error worth a call.
    if endpoint.is_failure_reported()
        && let Some(error) = net.take_error(&endpoint.stream)?
    {
        // It connected and was reset since: the bytes it sent can still be read.
        if !is_reset(&error) {
            return Err(error);
        }
        endpoint.set_failed(&error);
    }
    net.local_addr(&endpoint.stream)
}
