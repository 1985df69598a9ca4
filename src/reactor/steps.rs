//! What a ready session does, state by state, and how its actions are performed.

use super::{Entrance, Entry, Reactor, Target, token_of_target, with_env};
use crate::net::{Net, lacks_resources};
use crate::pool::Pool;
use crate::reason::CloseReason;
use crate::relay::{Outcome, Side, Step, is_reset};
use crate::session::{Action, State};
use crate::timer::Millis;
use log::debug;
use rustix::io::Errno;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, SocketAddrV4};

/// Most reads of what a refused client still sends, in one turn.
const DISCARDS_PER_TURN: u32 = 8;
/// A session that relays after this time is not a short one.
const SHORT_MS: Millis = 1000;

impl<N: Net> Reactor<N> {
    /// Runs one session as far as it comes within its budget.
    pub(super) fn run(&mut self, slot: usize) {
        match self.entries[slot].session.state() {
            State::ReadingRequest if self.entries[slot].client.has_failed() => {
                self.close_if_reset(slot);
            }
            State::ReadingRequest => self.read_request(slot),
            State::Resolving | State::Identifying => {
                if !self.watch_waiting_client(slot) {
                    self.run_identd(slot);
                }
            }
            State::Connecting => {
                if !self.watch_waiting_client(slot) {
                    self.check_connection(slot);
                }
            }
            State::AwaitingBind => {
                if !self.watch_waiting_client(slot) {
                    let action = self.take_peer(slot);
                    self.perform(slot, action);
                }
            }
            State::Relaying => self.relay(slot),
            State::Rejecting(_) => self.reject(slot),
            State::Closed(_) => {}
        }
    }

    /// Does what a session asks for, until it asks for nothing more.
    pub(super) fn perform(&mut self, slot: usize, mut action: Action) {
        loop {
            if action.needs_descriptor() && matches!(self.entries[slot].target, Target::Reserve(_))
            {
                self.close_target(slot);
            }
            action = match action {
                Action::Wait => return,
                Action::Resolve(name, ask) => {
                    self.set_deadline(slot);
                    let action = self.resolve(slot, &name);
                    if !ask || !self.entries[slot].session.state().is_waiting() {
                        action
                    } else {
                        // Nothing was resolved at once, or what was waits for the answer, too.
                        debug_assert_eq!(action, Action::Wait);
                        self.ask_identd(slot)
                    }
                }
                Action::Ask => {
                    self.set_deadline(slot);
                    self.ask_identd(slot)
                }
                Action::Connect(target) => {
                    self.close_identd(slot);
                    self.set_deadline(slot);
                    self.connect(slot, target)
                }
                Action::Listen(facing) => {
                    self.close_identd(slot);
                    self.set_deadline(slot);
                    self.open_bind(slot, facing)
                }
                Action::Send(reply) => {
                    let entry = &mut self.entries[slot];
                    let fits = entry.relay.down.push(&mut self.pool, &reply.encode());
                    assert!(fits, "two replies fit into a small buffer");
                    self.set_deadline(slot);
                    return self.after_reply(slot);
                }
                Action::Close => {
                    self.set_deadline(slot);
                    return self.closed.push(slot as u32);
                }
            }
        }
    }

    /// A reply has been put before the client: what follows depends on where that has led.
    fn after_reply(&mut self, slot: usize) {
        match self.entries[slot].session.state() {
            State::Relaying => self.relay(slot),
            State::Rejecting(_) => {
                self.close_target(slot);
                let Entry { session, relay, .. } = &mut self.entries[slot];
                relay.up.discard(&mut self.pool);
                self.names.cancel(self.now, slot, session.id);
                self.reject(slot);
            }
            _ => {
                self.flush_reply(slot);
                self.enqueue_if_gone(slot);
            }
        }
    }

    fn flush_reply(&mut self, slot: usize) {
        let Entry { relay, client, .. } = &mut self.entries[slot];
        relay.down.flush(&mut self.net, client, &mut self.pool);
    }

    fn read_request(&mut self, slot: usize) {
        while self.entries[slot].client.readable {
            let Entry { session, client, relay, .. } = &mut self.entries[slot];
            let before = relay.up.held().len();
            relay.up.fill(&mut self.net, client, &mut self.pool, Pool::lend_small);
            if client.reset || relay.up.has_ended() {
                let reason = match client.reset {
                    true => CloseReason::of_client_failure(client.lost),
                    false => CloseReason::ClientLeft,
                };
                let action = session.close(reason);
                return self.perform(slot, action);
            }
            if relay.up.held().len() == before {
                continue;
            }
            let (taken, action) =
                with_env(&self.net, &self.entrances, &self.rules, &self.names, |env| {
                    session.handle_request(relay.up.held(), env)
                });
            relay.up.consume(&mut self.pool, taken);
            if action != Action::Wait {
                self.perform(slot, action);
                return self.enqueue_if_gone(slot);
            }
        }
    }

    /// An event before this state may have told of the client's end, the one that brought the
    /// request for example, and no other will: it is looked at in the next turn.
    fn enqueue_if_gone(&mut self, slot: usize) {
        let Entry { session, client, .. } = &self.entries[slot];
        if session.state().is_waiting() && (client.read_closed || client.has_failed()) {
            self.enqueue(slot);
        }
    }

    fn connect(&mut self, slot: usize, target: SocketAddrV4) -> Action {
        let entry = &mut self.entries[slot];
        let target = SocketAddr::V4(target);
        match self.net.connect(target, self.settings.outbound, token_of_target(slot)) {
            Ok(stream) => {
                entry.target = Target::Stream(Side::connecting(stream));
                Action::Wait
            }
            Err(error) => {
                self.is_short |= lacks_resources(&error);
                entry.session.handle_failed(reason_of(&error))
            }
        }
    }

    /// Whether the connection attempt has ended, and how.
    fn check_connection(&mut self, slot: usize) {
        let entry = &mut self.entries[slot];
        let Target::Stream(target) = &mut entry.target else { return };
        if !target.writable {
            return;
        }
        // Only when the event told of a failure is there an error worth a call.
        let outcome = match target.has_failed().then(|| self.net.error(&target.stream)) {
            None | Some(Ok(None)) => self.net.local(&target.stream),
            // It was connected, and reset before anybody looked: what it sent is still there.
            Some(Ok(Some(error))) if is_reset(&error) => {
                target.set_failed(&error);
                self.net.local(&target.stream)
            }
            Some(Ok(Some(error)) | Err(error)) => Err(error),
        };
        let action = match outcome {
            Ok(local) => entry.session.handle_connected(local),
            Err(error) => entry.session.handle_failed(reason_of(&error)),
        };
        self.perform(slot, action);
    }

    /// Notices a client that leaves while its target or peer is awaited; `true` when it has.
    ///
    /// A FIN may also be the first half of a half-close. A CONNECT goes on, with a deadline of its
    /// own when nothing came with the request; a BIND that listens ends.
    fn watch_waiting_client(&mut self, slot: usize) -> bool {
        self.flush_reply(slot);
        let Entry { session, client, .. } = &mut self.entries[slot];
        // A send may have taken the error, so that the event told of an end only.
        let has_failed = client.reset || client.has_failed();
        if client.read_closed && session.state() == State::AwaitingBind && !has_failed {
            // It may still read.
            let action = session.reject(CloseReason::ClientLeft);
            self.perform(slot, action);
            return true;
        }
        self.hasten_leave(slot);
        self.close_if_reset(slot);
        matches!(self.entries[slot].session.state(), State::Closed(_))
    }

    /// Nobody is there to be answered. What the client sent before its reset is of no use then.
    fn close_if_reset(&mut self, slot: usize) {
        let Entry { session, client, .. } = &mut self.entries[slot];
        if !client.reset && client.has_failed() {
            let error = self.net.error(&client.stream).ok().flatten();
            client.set_failed(&error.unwrap_or_else(|| ErrorKind::ConnectionReset.into()));
        }
        if client.reset {
            let action = session.close(CloseReason::of_client_failure(client.lost));
            self.perform(slot, action);
        }
    }

    fn relay(&mut self, slot: usize) {
        let entry = &mut self.entries[slot];
        if entry.reset_pending.is_some() {
            return self.check_drained(slot);
        }
        if !entry.kept_up && self.now - entry.session.started >= SHORT_MS {
            self.keep_up(slot);
        }
        let entry = &mut self.entries[slot];
        let Target::Stream(target) = &mut entry.target else { return };
        let before = (entry.relay.delivered(), entry.relay.is_half_closed());
        let outcome = entry.relay.run(&mut self.net, &mut entry.client, target, &mut self.pool);
        let after = (entry.relay.delivered(), entry.relay.is_half_closed());
        match outcome {
            Outcome::Step(step) => {
                if before != after {
                    self.set_deadline(slot);
                }
                if step == Step::More {
                    self.enqueue(slot);
                }
            }
            Outcome::Done => {
                let action = entry.session.close(CloseReason::Done);
                self.perform(slot, action);
            }
            Outcome::ClientReset => {
                let reason = CloseReason::of_client_failure(entry.client.lost);
                self.drain_then_reset(slot, reason);
            }
            Outcome::TargetReset => {
                let reason = CloseReason::of_target_failure(target.lost);
                self.drain_then_reset(slot, reason);
            }
        }
    }

    /// Has the kernel notice when the target vanishes. A short session is over before that matters,
    /// and is spared the calls.
    pub(super) fn keep_up(&mut self, slot: usize) {
        let entry = &mut self.entries[slot];
        if let Target::Stream(target) = &entry.target {
            entry.kept_up = true;
            if let Err(error) = self.net.keep_up(&target.stream) {
                debug!("id={} keeping the target's connection up: {error}", entry.session.id);
            }
        }
    }

    /// Delivers the refusal, then waits for the client to close: closing over bytes that nobody
    /// read would reset the connection and could take the reply with it.
    fn reject(&mut self, slot: usize) {
        self.flush_reply(slot);
        let Entry { session, client, relay, .. } = &mut self.entries[slot];
        let mut gone = client.reset || client.has_failed();
        let ended = relay.up.has_ended();
        if !gone && relay.down.is_empty() {
            gone = !relay.down.finish_own(&mut self.net, client) || ended;
            for _ in 0..DISCARDS_PER_TURN {
                if gone || !client.readable {
                    break;
                }
                relay.up.fill(&mut self.net, client, &mut self.pool, Pool::lend_small);
                relay.up.discard(&mut self.pool);
                gone = client.reset || relay.up.has_ended();
            }
        }
        if gone {
            let action = session.handle_rejected();
            self.perform(slot, action);
        } else if client.readable && self.entries[slot].relay.down.is_empty() {
            self.enqueue(slot);
        }
    }
}

/// Whether a target is one of the listening sockets. One that listens on every address does so
/// on all that lead to this host. When the kernel cannot be asked, the answer is the safe one.
pub(super) fn is_own<N: Net>(
    net: &N,
    entrances: &[Entrance<N::Listener>],
    target: SocketAddrV4,
) -> bool {
    let reaches = |own: SocketAddrV4| match own.ip().is_unspecified() {
        true => target.ip().is_loopback() || net.is_local(*target.ip()).unwrap_or(true),
        false => own.ip() == target.ip(),
    };
    entrances.iter().any(|e| e.address.port() == target.port() && reaches(e.address))
}

/// The reason that an error of a connection attempt stands for.
pub(super) fn reason_of(error: &io::Error) -> CloseReason {
    if lacks_resources(error) {
        return CloseReason::NoResources;
    }
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::CONNREFUSED | Errno::CONNRESET) => CloseReason::Refused,
        Some(Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::NETDOWN | Errno::HOSTDOWN) => {
            CloseReason::Unreachable
        }
        Some(Errno::ACCESS | Errno::PERM) => CloseReason::Prohibited,
        Some(Errno::TIMEDOUT) => CloseReason::ConnectTimeout,
        _ => CloseReason::ConnectFailed,
    }
}
