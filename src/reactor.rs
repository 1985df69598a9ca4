//! The loop's turn: poll, update readiness, run ready connections, answers, deadlines, reap,
//! accept.
//!
//! Connections are freed only in reap and created only in accept, both after the events of a turn
//! have been handled, so an event can never reach the wrong one. In between, everything that
//! happens to a connection goes through [`Reactor::with`].

mod dump;
mod limits;
mod progress;
mod sources;
mod view;

use crate::access::Line;
use crate::connection::Connection;
use crate::context::{Accepted, Context};
use crate::dns::Resolver;
use crate::limit::Limit;
use crate::net::{Event, Net};
use crate::rules::{Circumstances, RuleSet};
use crate::session::{Session, State};
use crate::settings::Settings;
use crate::spin::WokenBy;
use crate::stats::Stats;
use crate::status::refusal::Refusals;
use crate::time::Millis;
use crate::timer::Timers;
use crate::token::{CLIENT, Token};
use crate::users::Users;
use crate::wire::{self, Answer, Command, Protocol, Reply, Status};
use limits::LimitWatch;
use log::info;
use progress::Progress;
use slab::Slab;
use sources::{Admission, Sources};
use std::collections::VecDeque;
use std::io;
use std::mem::take;
use std::net::{IpAddr, SocketAddr};

pub use dump::Dump;

/// Most deadlines handled per turn: each may open a connection or close one.
const DEADLINES_PER_TURN: usize = 64;
/// Most answers of the resolver handed out per turn: each may open a connection, and thousands may
/// have waited for the same name.
const ANSWERS_PER_TURN: usize = 64;
/// Most comparisons to find rules that never match: about a millisecond.
const COMPARISONS_MAX: usize = 100_000;
/// Most calls to accept per turn.
const ACCEPTS_PER_TURN: usize = 64;

/// The loop over one [`Net`].
pub struct Reactor<N: Net> {
    cx: Context<N>,
    connections: Slab<Connection<N>>,
    timers: Timers,
    /// The slots to run in the next turn.
    ready: VecDeque<u32>,
    /// The slots whose sessions have ended in this turn.
    closed: Vec<u32>,
    sources: Sources,
    stats: Stats,
    refusals: Refusals,
    progress: Progress,
    limits: LimitWatch,
    events: Vec<Event>,
    drain_until: Option<Millis>,
    /// The next turn does not wait for events.
    skip_wait: bool,
}

impl<N: Net> Reactor<N> {
    /// A loop without listeners yet.
    pub fn new(net: N, settings: Settings, rules: RuleSet, resolver: Resolver) -> Reactor<N> {
        Reactor {
            sources: Sources::new(settings.max_per_source),
            cx: Context::new(net, settings, rules, resolver),
            connections: Slab::new(),
            timers: Timers::default(),
            ready: VecDeque::new(),
            closed: Vec::new(),
            stats: Stats::default(),
            refusals: Refusals::default(),
            progress: Progress::default(),
            limits: LimitWatch::default(),
            events: Vec::new(),
            drain_until: None,
            skip_wait: false,
        }
    }

    /// Listens for clients; returns the address, with the port that the kernel chose.
    pub fn listen(&mut self, at: SocketAddr) -> io::Result<SocketAddr> {
        self.cx.listeners.listen(&mut self.cx.net, at)
    }

    /// Runs one turn, which waits for events no longer than until `wake_at`, a time of the embedder.
    /// Returns the embedder's tokens that had an event, as bits counted from
    /// [`FIRST_USER_TOKEN`](crate::token::FIRST_USER_TOKEN).
    pub fn turn(&mut self, wake_at: Option<Millis>) -> io::Result<u32> {
        let is_idle = self.progress.judge(self.activity(), self.cx.now);
        self.stats.idle_turns += u64::from(is_idle);
        let timeout_ms = self.timeout_ms(wake_at);
        let mut woken_by = self.woken_without_event(timeout_ms);
        self.skip_wait = false;
        self.events.clear();
        self.cx.net.poll(&mut self.events, timeout_ms)?;
        let before = std::mem::replace(&mut self.cx.now, self.cx.net.now());
        self.stats.turns += 1;
        self.stats.events += self.events.len() as u64;
        let woken = self.update_readiness(&mut woken_by);
        self.progress.begin(woken_by, self.cx.now - before);
        for _ in 0..self.ready.len() {
            let Some(slot) = self.ready.pop_front() else { break };
            self.with(slot as usize, |connection, cx| {
                connection.is_queued = false;
                connection.run(cx);
            });
        }
        self.cx.drive_dns();
        self.hand_out_answers();
        self.handle_deadlines();
        self.reap();
        self.accept();
        if self.cx.dns.is_ready() {
            // Some of the new clients wait for a name.
            self.cx.drive_dns();
        }
        self.limits.collect(&mut self.cx, &mut self.stats);
        Ok(woken)
    }

    /// How long the poll may wait.
    fn timeout_ms(&self, wake_at: Option<Millis>) -> Option<Millis> {
        if self.skip_wait || self.has_work() {
            return Some(0);
        }
        let own = [self.timers.next(), self.cx.dns.deadline(), self.accept_at(), self.drain_until];
        let next = own.into_iter().chain([wake_at]);
        next.flatten().min().map(|at| at.saturating_sub(self.cx.now))
    }

    /// Whether something is left over that no event will report.
    fn has_work(&self) -> bool {
        !self.ready.is_empty() || !self.closed.is_empty() || self.cx.dns.is_ready()
    }

    /// What a turn is woken by that need not wait for events.
    fn woken_without_event(&self, timeout_ms: Option<Millis>) -> WokenBy {
        match timeout_ms {
            Some(0) if self.skip_wait => WokenBy::OTHER,
            Some(0) if self.has_work() => WokenBy::WORK,
            Some(0) => WokenBy::DEADLINE,
            _ => WokenBy::default(),
        }
    }

    /// Records each event at its socket.
    fn update_readiness(&mut self, woken_by: &mut WokenBy) -> u32 {
        let mut woken = 0;
        let events = take(&mut self.events);
        for event in &events {
            match Token::of(event.token) {
                Token::Listener(number) => {
                    woken_by.add(WokenBy::LISTENER);
                    self.cx.listeners.set_ready(number);
                }
                Token::User(number) => {
                    woken_by.add(WokenBy::OTHER);
                    woken |= 1 << number;
                }
                Token::Query(place) => {
                    woken_by.add(WokenBy::QUERY);
                    self.cx.dns.update_readiness(place, event);
                }
                Token::Connection { slot, place } => {
                    woken_by.add(if place == CLIENT { WokenBy::CLIENT } else { WokenBy::TARGET });
                    if let Some(connection) = self.connections.get_mut(slot) {
                        connection.update_readiness(place, event);
                        enqueue(&mut self.ready, connection, slot);
                    }
                }
            }
        }
        self.events = events;
        woken
    }

    /// Applies `act` to the connection in a slot, if it has an open one. This is the only place
    /// that arms its deadline, queues it again, counts what has become of it, and lists it as
    /// closed. Returns its deadline if it is still open.
    fn with(
        &mut self,
        slot: usize,
        act: impl FnOnce(&mut Connection<N>, &mut Context<N>),
    ) -> Option<Millis> {
        let open =
            |connection: &&mut Connection<N>| connection.session().state().closed().is_none();
        let mut connection = self.connections.get_mut(slot).filter(open)?;
        let before = connection.standing();
        act(connection, &mut self.cx);
        if connection.take_needs_primary() {
            let client = connection.session().client.ip;
            let primary = primary_addr(&self.connections, client, &self.cx.net);
            connection = &mut self.connections[slot];
            connection.listen_everywhere(primary, &mut self.cx);
        }
        self.stats.count_change(before, connection.standing());
        if connection.session().state().closed().is_some() {
            self.closed.push(slot as u32);
            return None;
        }
        if connection.take_has_more() {
            enqueue(&mut self.ready, connection, slot);
        }
        let deadline = connection.deadline(&self.cx);
        if let Some(at) = deadline {
            self.timers.set(slot, at);
        }
        deadline
    }

    /// Hands the resolver's answers to the waiting sessions; the rest follow in the next turn.
    fn hand_out_answers(&mut self) {
        for _ in 0..ANSWERS_PER_TURN {
            let Some((waiter, answer)) = self.cx.dns.poll_answer() else { return };
            self.with(waiter.slot, |connection, cx| {
                if connection.session().id == waiter.id {
                    connection.handle_resolved(answer, cx);
                }
            });
        }
    }

    fn handle_deadlines(&mut self) {
        // The rest stay due, so the next poll does not wait.
        for _ in 0..DEADLINES_PER_TURN {
            let Some(slot) = self.timers.expired(self.cx.now) else { break };
            let next = self.with(slot, Connection::handle_deadline);
            // One that stays due would come again and again.
            self.stats.deadlines += u64::from(next.is_none_or(|at| at > self.cx.now));
        }
    }

    /// Frees the connections whose sessions have ended, with an access line each.
    fn reap(&mut self) {
        if !self.closed.is_empty() && self.is_full() {
            self.limits.still_reached(Limit::Sessions, self.cx.now);
        }
        while let Some(slot) = self.closed.pop() {
            let connection = self.connections.remove(slot as usize);
            self.timers.clear(slot as usize);
            let (session, (up, down)) = (connection.session(), connection.delivered());
            self.sources.remove(session.client.ip);
            self.cx.shortage.remove_session();
            if let Some(reason) = session.state().closed() {
                self.stats.count_closed(reason);
                self.refusals.record(session, reason, self.cx.now);
                info!(target: "access", "{}", Line { session, up, down, now: self.cx.now });
                connection.close(reason, &mut self.cx);
            }
            self.cx.listeners.retry_now(self.cx.now);
        }
        self.cx.spare.refill(&mut self.cx.net);
    }

    fn is_full(&self) -> bool {
        self.connections.len() >= self.cx.settings.max_sessions
    }

    /// When to call accept, if connections may be waiting and there is room for a session.
    fn accept_at(&self) -> Option<Millis> {
        let may_accept = !self.is_full() && self.cx.listeners.is_ready();
        may_accept.then(|| self.cx.listeners.retry_at().unwrap_or(self.cx.now))
    }

    /// Accepts waiting connections, a few at a time and from each listener in turn.
    fn accept(&mut self) {
        for _ in 0..ACCEPTS_PER_TURN {
            if self.accept_at().is_none_or(|at| at > self.cx.now) {
                return;
            }
            let Context { listeners, net, shortage, now, .. } = &mut self.cx;
            if let Some(accepted) = listeners.accept(net, shortage, *now) {
                self.admit(accepted);
            }
        }
    }

    /// Creates the connection of an accepted client.
    fn admit(&mut self, Accepted { mut stream, client, reserve }: Accepted<N>) {
        let admission = self.sources.admission(client.ip());
        if admission != Admission::Serve {
            self.limits.reached(Limit::PerSource, 1, &self.cx, &mut self.stats);
        }
        if admission == Admission::Shed {
            self.stats.shed += 1;
            return self.cx.net.abort(stream);
        }
        let slot = self.connections.vacant_key();
        let token = Token::Connection { slot, place: CLIENT }.number();
        if let Err(error) = self.cx.net.register(&mut stream, token) {
            self.cx.listeners.log_accept_error(&error, self.cx.now);
            return self.reject_unregistered(stream);
        }
        self.sources.add(client.ip());
        self.cx.shortage.add_session();
        let session = match admission {
            Admission::Reject => Session::unwelcome,
            _ => Session::new,
        };
        let session = session(self.stats.opened + 1, client.into(), self.cx.now);
        let connection = Connection::new(slot, session, stream, reserve);
        self.stats.count_opened(connection.standing());
        self.connections.insert(connection);
        if self.is_full() {
            self.limits.reached(Limit::Sessions, 1, &self.cx, &mut self.stats);
        }
        // Most clients send their request at once: this saves a turn for it.
        self.with(slot, Connection::run);
    }

    /// Refuses a client without waiting for its request: no event would report its arrival.
    fn reject_unregistered(&mut self, stream: N::Stream) {
        // Unread bytes would turn the close into a reset. Neither call blocks.
        let mut bytes = [0; 1024];
        let read = self.cx.net.recv(&stream, &mut bytes).unwrap_or(0);
        let reply = match wire::first_protocol(&bytes[..read]) {
            Some(Protocol::Socks5) => Answer::Method(None).encode(Protocol::Socks5),
            _ => Answer::Reply(Reply::rejected(Status::Failed)).encode(Protocol::Socks4),
        };
        if !self.cx.net.send(&stream, &reply).is_ok_and(|n| n == reply.len()) {
            // The client is gone, or would wait for the rest in vain.
            self.cx.net.abort(stream);
        }
    }
}

fn enqueue<N: Net>(ready: &mut VecDeque<u32>, connection: &mut Connection<N>, slot: usize) {
    if !connection.is_queued {
        connection.is_queued = true;
        ready.push_back(slot as u32);
    }
}

/// The local address of the client's latest running CONNECT.
fn primary_addr<N: Net>(
    connections: &Slab<Connection<N>>,
    client: IpAddr,
    net: &N,
) -> Option<IpAddr> {
    let connections = connections.iter().map(|(_, connection)| connection);
    let running = connections.filter(|connection| {
        let session = connection.session();
        session.client.ip == client
            && session.request().command == Some(Command::Connect)
            && matches!(session.state(), State::Relaying)
    });
    running.max_by_key(|connection| connection.session().id)?.target_addr(net)
}

/// The interface for the embedder.
impl<N: Net> Reactor<N> {
    /// The kernel.
    pub fn net(&mut self) -> &mut N {
        &mut self.cx.net
    }

    /// The time of the last turn, by the clock of the loop.
    pub fn now(&self) -> Millis {
        self.cx.now
    }

    /// Another socket of the proxy listens at this address: like those for clients, it is the target
    /// of no session.
    pub fn refuse_as_target(&mut self, address: SocketAddr) {
        self.cx.listeners.add_own(address);
    }

    /// The rules in force.
    pub fn rules(&self) -> &RuleSet {
        &self.cx.rules
    }

    /// Replaces the rules; running sessions continue.
    pub fn set_rules(&mut self, rules: RuleSet) {
        self.cx.rules = rules;
    }

    /// Warnings about the rules in force, for a proxy that listens on more than loopback or not.
    pub fn rule_warnings(&self, beyond_loopback: bool) -> Vec<String> {
        let (has_users, resolver) = (self.cx.users.is_some(), self.cx.dns.known_names());
        self.cx.rules.warnings(&Circumstances {
            beyond_loopback,
            has_users,
            is_listed: &|name| resolver.is_listed(name),
            has_search: resolver.has_search(),
            comparisons_max: COMPARISONS_MAX,
        })
    }

    /// Replaces the users who can log in; sessions of those who have logged in continue.
    pub fn set_users(&mut self, users: Users) {
        self.cx.users = Some(users);
    }

    /// The resolver, for new settings.
    pub fn resolver(&mut self) -> &mut Resolver {
        self.cx.dns.resolver()
    }

    /// The counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The number of open sessions.
    pub fn session_count(&self) -> usize {
        self.connections.len()
    }

    /// Buffers lent: small, large.
    pub fn lent_buffers(&self) -> (usize, usize) {
        self.cx.pool.lent()
    }

    /// Pipes lent, and pipes kept.
    pub fn pipes(&self) -> (usize, usize) {
        self.cx.pool.pipes()
    }

    /// Makes the next turn handle pending events without waiting: the embedder has work left.
    pub fn skip_wait(&mut self) {
        self.skip_wait = true;
    }

    /// Writes the counters to the log and begins a dump of the open sessions.
    pub fn start_dump(&self) -> Dump {
        Dump::start(&self.connections, &self.cx, &self.stats)
    }

    /// Writes the next piece of a dump while `has_room`. Returns whether the dump is complete.
    pub fn continue_dump(&self, dump: &mut Dump, has_room: impl Fn() -> bool) -> bool {
        dump.write_next(&self.connections, self.cx.now, has_room)
    }

    /// Stops accepting. Sessions have until the drain time-out, see [`Reactor::is_drain_over`].
    pub fn drain(&mut self) {
        self.cx.listeners.close();
        let until = self.cx.now.saturating_add(self.cx.settings.drain_timeout_ms);
        self.drain_until.get_or_insert(until);
    }

    /// Whether [`Reactor::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.drain_until.is_some()
    }

    /// Whether [`Reactor::drain`] was called and nothing is left to do.
    pub fn is_drained(&self) -> bool {
        self.is_draining() && self.connections.is_empty()
    }

    /// Whether the drain time-out has come: the embedder should then call [`Reactor::stop`].
    pub fn is_drain_over(&self) -> bool {
        self.drain_until.is_some_and(|until| until <= self.cx.now)
    }

    /// Ends every session now.
    pub fn stop(&mut self) {
        self.drain();
        let slots: Vec<usize> = self.connections.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.with(slot, |connection, cx| connection.stop(cx.now));
        }
        self.reap();
    }
}
