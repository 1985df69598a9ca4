//! The loop's turn: poll, fold events into readiness, run what is ready, timers, reap, accept.
//!
//! Sessions are freed only in reap and made only in accept, both after the events of a turn
//! have been folded, so an event can never reach a wrong session.

mod accept;
mod asking;
mod backlog;
mod bind;
mod dump;
mod names;
mod reset;
mod settings;
mod steps;

pub use settings::{SESSION_BYTES_MAX, Settings};

use crate::access::Line;
use crate::dns::{QUERIES_MAX, Resolver};
use crate::name::Name;
use crate::net::{Event, Net};
use crate::pool::Pool;
use crate::reason::CloseReason;
use crate::relay::{Relay, Side};
use crate::rules::RuleSet;
use crate::session::{Env, Session, State};
use crate::stats::Stats;
use crate::timer::{Deadline, Millis, Timers};
use log::info;
use slab::Slab;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::mem::take;
use std::net::{Ipv4Addr, SocketAddrV4};

use asking::Asking;
use backlog::Backlog;
use bind::FreePorts;
use names::Names;
use reset::PendingReset;

pub use dump::Dump;

/// Most listeners; theirs are the first tokens.
pub const LISTENERS_MAX: usize = 32;
/// The first of the 32 tokens that the embedder may use; [`Reactor::turn`] reports them.
pub const FIRST_FOREIGN_TOKEN: usize = LISTENERS_MAX;
/// The first token of a DNS query's socket.
const FIRST_QUERY_TOKEN: usize = 64;
/// The first token of a session: one for its client, one for its target.
const FIRST_SESSION_TOKEN: usize = FIRST_QUERY_TOKEN + QUERIES_MAX;

/// Most deadlines handled in one turn: each may make a connection or close one.
const EXPIRIES_PER_TURN: usize = 64;

/// A main listener and what is known of it.
struct Entrance<L> {
    listener: L,
    address: SocketAddrV4,
    /// Connections may be waiting.
    ready: bool,
}

/// The socket towards the target.
enum Target<N: Net> {
    None,
    /// A descriptor for what comes, set aside when the client was taken.
    Reserve(N::Reserve),
    /// A BIND that waits for its peer; `ready` when somebody may have come.
    Listener {
        listener: N::Listener,
        port: u16,
        ready: bool,
    },
    Stream(Side<N::Stream>),
    /// The client's identd, which is asked before there is a target.
    Identd(Box<Asking<N>>),
}

/// A session with its sockets and the bytes in transit.
struct Entry<N: Net> {
    session: Session,
    client: Side<N::Stream>,
    target: Target<N>,
    relay: Relay<N::Pipe>,
    /// In the ready queue.
    queued: bool,
    /// The target's connection is probed while it is idle.
    kept_up: bool,
    /// One connection has failed; the other will be reset.
    reset_pending: Option<Box<PendingReset>>,
    /// What was still on its way when a time-out came.
    backlog: Option<Box<Backlog>>,
}

/// The loop over one [`Net`].
pub struct Reactor<N: Net> {
    net: N,
    settings: Settings,
    rules: RuleSet,
    names: Names<N>,
    entrances: Vec<Entrance<N::Listener>>,
    entries: Slab<Entry<N>>,
    timers: Timers,
    pool: Pool<N::Pipe>,
    stats: Stats,
    events: Vec<Event>,
    ready: VecDeque<u32>,
    closed: Vec<u32>,
    per_source: HashMap<Ipv4Addr, u32>,
    /// Accept has failed for want of descriptors: not before this time again.
    accept_after: Option<Millis>,
    /// When the last complaint about accept was logged.
    complained: Option<Millis>,
    /// A call has failed for want of a descriptor: each client is taken with one set aside.
    is_short: bool,
    /// The listener that clients are taken from first.
    next_entrance: usize,
    bind_ports: FreePorts,
    drain_until: Option<Millis>,
    /// The next turn does not wait for events.
    skip_wait: bool,
    now: Millis,
}

fn token_of_client(slot: usize) -> usize {
    FIRST_SESSION_TOKEN + 2 * slot
}

fn token_of_target(slot: usize) -> usize {
    FIRST_SESSION_TOKEN + 2 * slot + 1
}

/// Calls `act` with the session and what it needs to know of the proxy.
fn with_env<N: Net, T>(
    net: &N,
    entrances: &[Entrance<N::Listener>],
    rules: &RuleSet,
    names: &Names<N>,
    act: impl FnOnce(&Env<'_>) -> T,
) -> T {
    let is_own = |target| steps::is_own(net, entrances, target);
    let candidates = |name: &Name| names.resolver.candidates(name);
    act(&Env { rules, is_own: &is_own, candidates: &candidates })
}

impl<N: Net> Reactor<N> {
    /// A loop without listeners yet.
    pub fn new(net: N, settings: Settings, rules: RuleSet, resolver: Resolver) -> Reactor<N> {
        let now = net.now();
        Reactor {
            timers: Timers::new(settings.durations_ms),
            pool: Pool::new(
                settings.buffer_bytes,
                settings.buffer_budget_bytes,
                settings.pipes_max,
            ),
            bind_ports: FreePorts::new(settings.bind_ports.clone()),
            net,
            settings,
            rules,
            names: Names::new(resolver),
            entrances: Vec::new(),
            entries: Slab::new(),
            stats: Stats::default(),
            events: Vec::new(),
            ready: VecDeque::new(),
            closed: Vec::new(),
            per_source: HashMap::new(),
            accept_after: None,
            complained: None,
            is_short: false,
            next_entrance: 0,
            drain_until: None,
            skip_wait: false,
            now,
        }
    }

    /// Replaces the rules; sessions that are running go on.
    pub fn set_rules(&mut self, rules: RuleSet) {
        self.rules = rules;
    }

    /// The rules in force.
    pub fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// Whether [`Reactor::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.drain_until.is_some()
    }

    /// Who turns names into addresses: for new settings.
    pub fn resolver(&mut self) -> &mut Resolver {
        &mut self.names.resolver
    }

    /// The counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Sessions open.
    pub fn session_count(&self) -> usize {
        self.entries.len()
    }

    /// Buffers lent: small, large.
    pub fn lent_buffers(&self) -> (usize, usize) {
        self.pool.lent()
    }

    /// Pipes lent, and kept for later.
    pub fn pipes(&self) -> (usize, usize) {
        self.pool.pipes()
    }

    /// The kernel's edge.
    pub fn net(&mut self) -> &mut N {
        &mut self.net
    }

    /// One turn. Returns the embedder's tokens that had an event, as bits counted from
    /// [`FIRST_FOREIGN_TOKEN`].
    pub fn turn(&mut self) -> io::Result<u32> {
        let timeout_ms = self.timeout_ms();
        self.skip_wait = false;
        self.events.clear();
        self.net.poll(&mut self.events, timeout_ms)?;
        self.now = self.net.now();
        let foreign = self.fold();
        for _ in 0..self.ready.len() {
            let Some(slot) = self.ready.pop_front() else { break };
            // A slot that was freed since, or freed and taken again, runs to no effect.
            let Some(entry) = self.entries.get_mut(slot as usize) else { continue };
            entry.queued = false;
            self.run(slot as usize);
        }
        self.answer_names();
        self.expire();
        self.reap();
        self.accept();
        Ok(foreign)
    }

    /// How long the poll may take.
    fn timeout_ms(&self) -> Option<Millis> {
        if self.skip_wait
            || !self.ready.is_empty()
            || self.names.is_ready()
            || self.may_accept(self.now)
        {
            return Some(0);
        }
        let accept_after = self.accept_after.filter(|_| self.wants_accept());
        let next = [self.timers.next(), self.names.deadline(), accept_after, self.drain_until];
        next.into_iter().flatten().min().map(|at| at.saturating_sub(self.now))
    }

    fn fold(&mut self) -> u32 {
        let mut foreign = 0;
        let events = take(&mut self.events);
        for event in &events {
            match event.token.checked_sub(FIRST_SESSION_TOKEN) {
                Some(place) => self.fold_session(place, event),
                None if event.token >= FIRST_QUERY_TOKEN => {
                    self.names.fold(event.token - FIRST_QUERY_TOKEN, event);
                }
                None if event.token >= FIRST_FOREIGN_TOKEN => {
                    foreign |= 1 << (event.token - FIRST_FOREIGN_TOKEN);
                }
                None => {
                    if let Some(entrance) = self.entrances.get_mut(event.token) {
                        entrance.ready = true;
                    }
                }
            }
        }
        self.events = events;
        foreign
    }

    fn fold_session(&mut self, place: usize, event: &Event) {
        let slot = place / 2;
        let Some(entry) = self.entries.get_mut(slot) else { return };
        if place.is_multiple_of(2) {
            entry.client.fold(event);
        } else {
            match &mut entry.target {
                Target::None | Target::Reserve(_) => return,
                Target::Listener { ready, .. } => *ready = true,
                Target::Stream(target) => target.fold(event),
                Target::Identd(asking) => asking.side.fold(event),
            }
        }
        self.enqueue(slot);
    }

    fn enqueue(&mut self, slot: usize) {
        let entry = &mut self.entries[slot];
        if !entry.queued {
            entry.queued = true;
            self.ready.push_back(slot as u32);
        }
    }

    fn expire(&mut self) {
        // Those that are left keep their time, which has come: the next poll does not wait.
        for _ in 0..EXPIRIES_PER_TURN {
            let Some((slot, kind)) = self.timers.expired(self.now) else { break };
            match kind {
                Deadline::Ident => self.close_identd(slot),
                Deadline::Quiet => {
                    self.keep_up(slot);
                    self.timers.set(slot, Deadline::Rest, self.now);
                    continue;
                }
                Deadline::Drain | Deadline::SlowDrain => {
                    self.check_drained(slot);
                    continue;
                }
                Deadline::Idle | Deadline::Rest | Deadline::HalfClose
                    if self.waits_for_reader(slot) =>
                {
                    self.set_deadline(slot);
                    continue;
                }
                _ => {}
            }
            let action = self.entries[slot].session.handle_deadline(kind);
            self.set_deadline(slot);
            self.perform(slot, action);
        }
    }

    /// Frees the sessions that have ended, with an access line each.
    fn reap(&mut self) {
        while let Some(slot) = self.closed.pop() {
            let slot = slot as usize;
            let mut entry = self.entries.remove(slot);
            self.timers.clear(slot);
            entry.relay.discard(&mut self.pool);
            if !matches!(entry.target, Target::Stream(_)) {
                self.release(std::mem::replace(&mut entry.target, Target::None));
            }
            self.names.cancel(self.now, slot, entry.session.id);
            self.forget_source(*entry.session.client.ip());
            let State::Closed(reason) = entry.session.state() else {
                unreachable!("only closed sessions are listed")
            };
            let (up, down) = (entry.relay.up.delivered, entry.relay.down.delivered);
            self.stats.count_closed(reason, up, down);
            info!(target: "access", "{}", Line { session: &entry.session, up, down, now: self.now });
            self.close_sockets(entry, reason);
            // A descriptor is free: whoever waits for one may be served.
            self.accept_after = self.accept_after.map(|_| self.now);
        }
    }

    /// Closes what a session has beside its client, and gives back what that holds.
    fn release(&mut self, target: Target<N>) {
        match target {
            Target::Identd(mut asking) => asking.discard(&mut self.pool),
            Target::Listener { port, .. } => self.bind_ports.give_back(port),
            Target::None | Target::Reserve(_) | Target::Stream(_) => {}
        }
    }

    /// The same for a session that goes on.
    fn close_target(&mut self, slot: usize) {
        let target = std::mem::replace(&mut self.entries[slot].target, Target::None);
        self.release(target);
    }

    /// A transfer that was cut must not look complete: its connections are reset.
    fn close_sockets(&mut self, entry: Entry<N>, reason: CloseReason) {
        use CloseReason::*;
        let cut = matches!(
            reason,
            ClientReset
                | TargetReset
                | ClientLost
                | TargetLost
                | IdleTimeout
                | HalfCloseTimeout
                | Stopped
        );
        if !cut {
            return;
        }
        self.net.abort(entry.client.stream);
        if let Target::Stream(target) = entry.target {
            self.net.abort(target.stream);
        }
    }

    /// Lets the next turn take what has happened and not wait for more: the embedder has work left.
    pub fn skip_wait(&mut self) {
        self.skip_wait = true;
    }

    /// Stops accepting. Sessions have until the drain time-out, see [`Reactor::is_drain_over`].
    pub fn drain(&mut self) {
        self.entrances.clear();
        let until = self.now.saturating_add(self.settings.drain_timeout_ms);
        self.drain_until.get_or_insert(until);
    }

    /// Whether [`Reactor::drain`] was called and nothing is left to do.
    pub fn is_drained(&self) -> bool {
        self.is_draining() && self.entries.is_empty()
    }

    /// Whether the drain time-out has come: the embedder is to call [`Reactor::stop`].
    pub fn is_drain_over(&self) -> bool {
        self.drain_until.is_some_and(|until| until <= self.now)
    }

    /// Ends every session now.
    pub fn stop(&mut self) {
        self.drain();
        let slots: Vec<usize> = self.entries.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            if !matches!(self.entries[slot].session.state(), State::Closed(_)) {
                let Entry { session, relay, .. } = &mut self.entries[slot];
                let action = match session.state() {
                    // It has its reason, and its client the reply.
                    State::Rejecting(_) if relay.down.is_empty() => session.handle_rejected(),
                    _ => session.close(CloseReason::Stopped),
                };
                self.perform(slot, action);
            }
        }
        self.reap();
    }

    /// Puts the session's deadline in place of the one it had.
    fn set_deadline(&mut self, slot: usize) {
        let entry = &self.entries[slot];
        let kind = match (entry.session.deadline(), &entry.reset_pending) {
            (Some(Deadline::Idle), Some(pending)) => Some(pending.deadline(self.now)),
            (Some(Deadline::Idle), _) if entry.relay.is_half_closed() => Some(Deadline::HalfClose),
            (Some(Deadline::Idle), _) if !entry.kept_up => Some(Deadline::Quiet),
            (kind, _) => kind,
        };
        match kind {
            // Asking is one wait, whatever else becomes known meanwhile.
            Some(Deadline::Ident) if self.timers.kind(slot) == kind => {}
            Some(kind) => self.timers.set(slot, kind, self.now),
            None => self.timers.clear(slot),
        }
        self.hasten_leave(slot);
    }

    /// A client that has closed its side may have left, unless bytes came with its request.
    fn hasten_leave(&mut self, slot: usize) {
        let Entry { session, client, relay, .. } = &self.entries[slot];
        if session.state().is_waiting() && client.read_closed && relay.up.is_empty() {
            self.timers.hasten(slot, Deadline::Leave, self.now);
        }
    }
}
