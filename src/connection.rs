//! One client's connection: its sockets, its session, and the bytes between them.
//!
//! A step checks the sockets and returns the session's next action. [`Connection::follow`] is the
//! one loop that performs actions and steps until there is nothing to do but wait. No deadline is
//! stored: it follows from the state, and the loop asks for it after every event.

mod attempts;
mod bind;
mod bind_listener;
mod failure;
mod ident_query;
#[cfg(feature = "upgrade")]
mod record;
mod rejection;
mod target;
mod tunnel;

use crate::address::source_of;
use crate::context::{Context, WaiterId};
use crate::dns::{DnsError, Lookup, Resolved};
use crate::ident::IdentResult;
use crate::name::Name;
use crate::net::{Event, Net, lacks_resources};
use crate::pool::Pool;
use crate::reason::{Cause, CloseReason};
use crate::relay::{Endpoint, Relay};
use crate::session::{Action, Session, State};
use crate::stats::Standing;
use crate::time::Millis;
use crate::token::{CLIENT, TARGET, Token};
use crate::wire::{Answer, Protocol};
use attempts::AttemptResult;
use failure::{cause, reason_of_answer, reason_of_connect};
use ident_query::IdentQuery;
use log::debug;
use rejection::Delivery;
use std::io::ErrorKind;
use std::mem::{replace, take};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use target::TargetSide;
use tunnel::{Tunnel, TunnelStep};

/// One client, from accept to close.
pub struct Connection<N: Net> {
    slot: u32,
    session: Session,
    client: Endpoint<N::Stream>,
    target: TargetSide<N>,
    relay: Relay<N::Pipe>,
    /// How long after its start a client that is waiting for its reply closed its side, and one
    /// more: that takes no room for `None`.
    left_after_ms: Option<NonZeroU32>,
    /// Whether it is in the run queue.
    pub is_queued: bool,
    /// There is more to do, and no event will report it.
    has_more: bool,
    /// A BIND for any peer that has to know its client's other connection.
    needs_primary: bool,
    /// The client that a load balancer named has to be counted before it is served.
    needs_admission: bool,
}

impl<N: Net> Connection<N> {
    /// A client that was just accepted; its socket is registered.
    pub fn new(
        slot: usize,
        session: Session,
        stream: N::Stream,
        reserve: Option<N::Reserve>,
    ) -> Connection<N> {
        Connection {
            slot: slot as u32,
            session,
            client: Endpoint::accepted(stream, Token::Connection { slot, place: CLIENT }),
            target: reserve.map_or(TargetSide::None, TargetSide::Reserve),
            relay: Relay::default(),
            left_after_ms: None,
            is_queued: false,
            has_more: false,
            needs_primary: false,
            needs_admission: false,
        }
    }

    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Bytes delivered: up, down.
    pub fn delivered(&self) -> (u64, u64) {
        (self.relay.up.delivered, self.relay.down.delivered)
    }

    /// Whether the client has sent a greeting of SOCKS5 and nothing more. Once it has ended, it has
    /// asked for nothing and proved nothing.
    pub fn has_only_greeted(&self) -> bool {
        let request = self.session.request();
        request.protocol == Some(Protocol::Socks5)
            && request.command.is_none()
            && request.user().is_empty()
            && !request.is_proven
            && self.relay.up.is_empty()
    }

    /// What the counters go by.
    pub fn standing(&self) -> Standing {
        let request = self.session.request();
        Standing {
            state: self.session.state().kind(),
            request: request.command.map(|command| (self.session.protocol(), command)),
            up_bytes: self.relay.up.delivered,
            down_bytes: self.relay.down.delivered,
        }
    }

    pub fn update_readiness(&mut self, place: usize, event: &Event) {
        match place {
            CLIENT => self.client.update_readiness(event),
            _ => self.target.update_readiness(place, event),
        }
    }

    /// Whether it has to run in the next turn, though no event will report it. Clears the flag.
    pub fn take_has_more(&mut self) -> bool {
        take(&mut self.has_more)
    }

    /// When [`Connection::handle_deadline`] is to be called; `None` is never.
    pub fn deadline(&self, cx: &Context<N>) -> Option<Millis> {
        let durations = &cx.settings.durations;
        let own = match &self.target {
            TargetSide::Tunnel(tunnel) => tunnel.deadline(&self.relay, durations),
            _ => self.session.deadline(durations),
        };
        own.into_iter().chain(self.leave_deadline(cx)).min()
    }

    /// How long a client that has closed its side is kept.
    fn leave_deadline(&self, cx: &Context<N>) -> Option<Millis> {
        let left_after_ms = self.left_after_ms.filter(|_| self.session.state().is_waiting())?;
        let left_at = self.session.started + Millis::from(left_after_ms.get() - 1);
        let since = left_at.max(self.session.since());
        Some(since.saturating_add(cx.settings.durations.leave_ms))
    }

    /// The deadline has come. Does nothing if it has moved to a later time.
    pub fn handle_deadline(&mut self, cx: &mut Context<N>) {
        if self.deadline(cx).is_none_or(|at| at > cx.now) {
            return;
        }
        let has_left = self.leave_deadline(cx).is_some_and(|at| at <= cx.now);
        let action = match &mut self.target {
            _ if has_left => self.session.reject(CloseReason::ClientLeft, cx.now),
            TargetSide::Tunnel(tunnel) => {
                let step = tunnel.handle_deadline(&self.relay, &self.client, cx);
                self.handle_tunnel(step, cx.now)
            }
            _ => self.session.handle_deadline(&cx.settings.durations, &cx.env()),
        };
        if matches!(self.target, TargetSide::Identd(_)) && !self.session.queries_ident() {
            self.set_target(TargetSide::None, cx);
        }
        self.follow(action, cx);
    }

    /// The name that it is waiting for has been resolved, or not.
    pub fn handle_resolved(&mut self, answer: Result<Resolved, DnsError>, cx: &mut Context<N>) {
        let action = self.session.handle_resolved(&answer, &cx.env());
        self.follow(action, cx);
    }

    pub fn stop(&mut self, now: Millis) {
        match self.session.state() {
            // The reason is known, and the reply is sent.
            State::Rejecting(_) if self.relay.down.is_empty() => self.session.handle_rejected(now),
            _ => self.session.close(CloseReason::Stopped, now),
        };
    }

    /// Whether the client that a load balancer named has to be admitted: by [`Connection::run`],
    /// [`Connection::reject_unwelcome`] or [`Connection::shed`]. Clears the flag.
    pub fn take_needs_admission(&mut self) -> bool {
        take(&mut self.needs_admission)
    }

    /// Rejects a client that has too many sessions, in its own protocol.
    pub fn reject_unwelcome(&mut self, cx: &mut Context<N>) {
        self.session.handle_unwelcome(cx.now);
        self.run(cx);
    }

    /// Ends the session of a client that has far too many.
    pub fn shed(&mut self, now: Millis) {
        self.session.close(CloseReason::TooManyFromSource, now);
    }

    pub fn run(&mut self, cx: &mut Context<N>) {
        self.follow(Action::Wait, cx);
    }

    /// Performs actions and steps, until there is nothing to do but wait.
    fn follow(&mut self, mut action: Action, cx: &mut Context<N>) {
        loop {
            while action != Action::Wait {
                action = self.perform(action, cx);
            }
            action = self.step(cx);
            if action == Action::Wait {
                return;
            }
        }
    }

    /// Performs one action; returns the next.
    fn perform(&mut self, action: Action, cx: &mut Context<N>) -> Action {
        if action.needs_descriptor() && matches!(self.target, TargetSide::Reserve(_)) {
            self.target = TargetSide::None;
        }
        match action {
            Action::Wait => Action::Wait,
            Action::Resolve { name, query_ident } => self.resolve(&name, query_ident, cx),
            Action::QueryIdent => self.query_ident(cx),
            Action::Connect { attempt, target, replaces_oldest } => {
                self.connect(attempt, target, replaces_oldest, cx)
            }
            Action::Listen(listen_for) => self.listen(listen_for, cx),
            Action::Send(answer) => self.send(answer, cx),
            Action::Admit => {
                self.needs_admission = true;
                Action::Wait
            }
        }
    }

    /// Checks the sockets; returns the session's next action.
    fn step(&mut self, cx: &mut Context<N>) -> Action {
        match self.session.state() {
            _ if self.needs_admission => Action::Wait,
            State::ReadingProxyHeader | State::ReadingRequest { .. } => self.read_messages(cx),
            State::Relaying => self.step_target(cx),
            State::Rejecting(_) => self.deliver_rejection(cx),
            State::Closed(_) => Action::Wait,
            _ => match self.watch_client(cx) {
                Action::Wait => self.step_target(cx),
                action => action,
            },
        }
    }

    fn step_target(&mut self, cx: &mut Context<N>) -> Action {
        let source = self.source();
        match &mut self.target {
            // A name is being resolved.
            TargetSide::None | TargetSide::Reserve(_) => Action::Wait,
            TargetSide::Identd(query) => match query.step(cx) {
                Some(result) => {
                    self.set_target(TargetSide::None, cx);
                    self.session.handle_ident(result, &cx.env())
                }
                None => Action::Wait,
            },
            TargetSide::Attempts(attempts) => match attempts.take_ended(source, cx) {
                Some(ended) => self.handle_attempt(ended, cx),
                None => Action::Wait,
            },
            TargetSide::Listener(listener) => match listener.accept(cx) {
                Ok((stream, peer)) => self.handle_peer(stream, peer, cx),
                Err(error) => self.handle_accept_error(&error, cx.now),
            },
            TargetSide::Tunnel(tunnel) => {
                let since = self.session.since();
                let step = tunnel.step(since, &mut self.relay, &mut self.client, cx);
                self.handle_tunnel(step, cx.now)
            }
        }
    }

    fn handle_tunnel(&mut self, step: TunnelStep, now: Millis) -> Action {
        match step {
            TunnelStep::Wait => {}
            TunnelStep::More => self.has_more = true,
            TunnelStep::Ended(reason) => return self.close_relay(reason, now),
        }
        Action::Wait
    }

    /// Ends a relay, with the error of the connection that has failed, if it ends because of that.
    fn close_relay(&mut self, reason: CloseReason, now: Millis) -> Action {
        let error = match &mut self.target {
            _ if reason.is_client_failure() => self.client.error,
            TargetSide::Tunnel(tunnel) if reason.is_target_failure() => tunnel.target().error,
            _ => None,
        };
        self.session.close(Cause { reason, error }, now)
    }
}

/// Why a session ends when its client's connection has failed.
fn cause_of_client_failure<S>(client: &Endpoint<S>) -> Cause {
    Cause { reason: CloseReason::of_client_failure(client.lost), error: client.error }
}

/// Client side: the request and the reply.
impl<N: Net> Connection<N> {
    /// Reads messages up to the request. Those that have come together are handled without another
    /// read, and answered together.
    fn read_messages(&mut self, cx: &mut Context<N>) -> Action {
        if self.client.is_failure_reported() {
            return self.close_if_reset(cx);
        }
        let Connection { session, client, relay, .. } = self;
        loop {
            let (taken, action) = session.handle_bytes(relay.up.held(), &cx.env());
            relay.up.consume(&mut cx.pool, taken);
            if action != Action::Wait || session.state().closed().is_some() {
                return action;
            }
            if taken > 0 {
                // A header: the request may have come with it.
                continue;
            }
            relay.down.flush(&mut cx.net, client, &mut cx.pool);
            if !client.readable {
                return Action::Wait;
            }
            relay.up.fill(&mut cx.net, client, &mut cx.pool, Pool::lend_small);
            if client.failed {
                return session.close(cause_of_client_failure(client), cx.now);
            }
            if relay.up.has_ended() {
                return session.close(CloseReason::ClientLeft, cx.now);
            }
        }
    }

    /// Detects that the client leaves while its target or peer is awaited. A FIN may also be the
    /// first half of a half-close. A CONNECT continues, with a separate deadline when nothing came
    /// with the request; a BIND that listens ends.
    fn watch_client(&mut self, cx: &mut Context<N>) -> Action {
        self.relay.down.flush(&mut cx.net, &mut self.client, &mut cx.pool);
        // A send may have taken the error, so that the event reported only an end.
        if self.client.is_gone() {
            return self.close_if_reset(cx);
        }
        if self.client.read_closed {
            if let State::AwaitingBind(_) = self.session.state() {
                // It may still read.
                return self.session.reject(CloseReason::ClientLeft, cx.now);
            }
            if self.relay.up.is_empty() {
                let age_ms = u32::try_from(cx.now - self.session.started).unwrap_or(u32::MAX);
                self.left_after_ms.get_or_insert(NonZeroU32::MIN.saturating_add(age_ms));
            }
        }
        Action::Wait
    }

    /// The client is gone: no reply. Bytes that it sent before its reset are dropped.
    fn close_if_reset(&mut self, cx: &mut Context<N>) -> Action {
        self.client.take_failure(&cx.net);
        self.session.close(cause_of_client_failure(&self.client), cx.now)
    }

    /// Queues an answer to the client. After a rejection, nothing else is needed.
    fn send(&mut self, answer: Answer, cx: &mut Context<N>) -> Action {
        let bytes = answer.encode(self.session.protocol());
        let fits = self.relay.down.push(&mut cx.pool, &bytes);
        assert!(fits, "all answers to a client fit into a small buffer");
        if let State::Rejecting(reason) = self.session.state() {
            if *reason == CloseReason::BadPassword {
                cx.logins.record_failure(self.source(), cx.now);
            }
            self.set_target(TargetSide::None, cx);
            self.relay.up.discard(&mut cx.pool);
            cx.dns.cancel(cx.now, self.waiter_id());
        }
        Action::Wait
    }

    fn deliver_rejection(&mut self, cx: &mut Context<N>) -> Action {
        match rejection::deliver(&mut self.relay, &mut self.client, cx) {
            Delivery::Wait => {}
            Delivery::More => self.has_more = true,
            Delivery::Done => return self.session.handle_rejected(cx.now),
        }
        Action::Wait
    }
}

/// Target side: name, identd, attempts and listener.
impl<N: Net> Connection<N> {
    /// The source by which what its client may take is counted.
    fn source(&self) -> IpAddr {
        source_of(self.session.client.ip)
    }

    fn waiter_id(&self) -> WaiterId {
        WaiterId { slot: self.slot as usize, id: self.session.id }
    }

    fn target_token(&self) -> Token {
        Token::Connection { slot: self.slot as usize, place: TARGET }
    }

    fn resolve(&mut self, name: &Name, query_ident: bool, cx: &mut Context<N>) -> Action {
        if query_ident {
            let action = self.query_ident(cx);
            if action != Action::Wait {
                return action;
            }
        }
        let source = self.source();
        match cx.dns.resolve(cx.now, name, source, self.waiter_id()) {
            Lookup::Waiting => Action::Wait,
            Lookup::Done(answer) => self.session.handle_resolved(&answer, &cx.env()),
        }
    }

    fn query_ident(&mut self, cx: &mut Context<N>) -> Action {
        let token = self.target_token();
        let error = match IdentQuery::start(&self.client.stream, &self.session, token, cx) {
            Ok(query) => {
                cx.ident_queries += 1;
                self.set_target(TargetSide::Identd(Box::new(query)), cx);
                return Action::Wait;
            }
            Err(error) => error,
        };
        debug!("id={} querying identd: {error}", self.session.id);
        cx.note_shortage(&error);
        // A shortage on this host does not count as a missing answer.
        let lacks_port = matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable);
        if lacks_port || lacks_resources(&error) {
            return self.session.reject(cause(CloseReason::NoResources, &error), cx.now);
        }
        self.session.handle_ident(IdentResult::Missing, &cx.env())
    }

    fn connect(
        &mut self,
        attempt: usize,
        target: SocketAddr,
        replaces_oldest: bool,
        cx: &mut Context<N>,
    ) -> Action {
        let source = self.source();
        let mut attempts = self.target.take_attempts(source, cx);
        if replaces_oldest {
            attempts.drop_oldest(source, cx);
        }
        let started = attempts.start(attempt, target, self.slot as usize, source, cx);
        self.target = TargetSide::Attempts(attempts);
        match started {
            Ok(()) => Action::Wait,
            Err(error) => {
                cx.note_shortage(&error);
                let cause = cause(reason_of_connect(&error), &error);
                self.session.handle_attempt_failed(attempt, cause, &cx.env())
            }
        }
    }

    fn handle_attempt(&mut self, ended: AttemptResult<N>, cx: &mut Context<N>) -> Action {
        match ended.result {
            Ok((target, local)) => {
                self.set_target(TargetSide::Tunnel(Tunnel::new(target, cx.now)), cx);
                self.session.handle_connected(ended.number, local, cx.now)
            }
            Err(error) => {
                self.has_more = true; // Another attempt may have ended as well.
                let cause = cause(reason_of_answer(&error), &error);
                self.session.handle_attempt_failed(ended.number, cause, &cx.env())
            }
        }
    }
}

/// Closing.
impl<N: Net> Connection<N> {
    fn set_target(&mut self, target: TargetSide<N>, cx: &mut Context<N>) {
        let source = self.source();
        replace(&mut self.target, target).release(source, cx);
    }

    /// Closes the sockets of a session that has ended, and gives back its buffers. A transfer that
    /// was cut off must not look complete: its connections are reset.
    pub fn close(mut self, reason: CloseReason, cx: &mut Context<N>) {
        let source = self.source();
        self.relay.discard(&mut cx.pool);
        cx.dns.cancel(cx.now, self.waiter_id());
        match self.target {
            TargetSide::Tunnel(tunnel) if reason.is_cut() => cx.net.abort(tunnel.into_stream()),
            other => other.release(source, cx),
        }
        if reason.is_cut() {
            cx.net.abort(self.client.stream);
        }
    }
}
