//! The loop's turn: poll, update readiness, run ready connections, answers, deadlines, reap,
//! accept.
//!
//! Connections are freed only in reap and created only in accept, both after the events of a turn
//! have been handled, so an event can never reach the wrong one. In between, everything that
//! happens to a connection goes through [`Reactor::with`].

mod control;
mod dump;
mod limits;
mod progress;
#[cfg(feature = "upgrade")]
mod record;
mod sources;
#[cfg(feature = "status")]
mod view;

use crate::access::Line;
use crate::connection::Connection;
use crate::context::{Accepted, Context};
use crate::dns::Resolver;
use crate::limit::Limit;
use crate::net::{Event, Net};
use crate::reason::CloseReason;
use crate::rules::RuleSet;
use crate::session::{Session, State};
use crate::settings::Settings;
use crate::spin::WokenBy;
use crate::stats::Stats;
use crate::status::refusal::Refusals;
use crate::time::Millis;
use crate::timer::Timers;
use crate::token::{CLIENT, Token};
use crate::wire::{self, Answer, Command, Protocol, Reply, Status};
use limits::LimitWatch;
use log::{Level, log};
use progress::Progress;
use slab::Slab;
use sources::{Admission, Sources};
use std::collections::VecDeque;
use std::io;
use std::mem::take;
use std::net::IpAddr;

pub use dump::Dump;
#[cfg(feature = "upgrade")]
pub use record::Export;

/// A health check that takes longer is not told from a client that holds a session.
const PROBE_MS: Millis = 6_000;
/// Most deadlines handled per turn: each may open a connection or close one.
const DEADLINES_PER_TURN: usize = 64;
/// Most answers of the resolver handed out per turn: each may open a connection, and thousands may
/// have waited for the same name.
const ANSWERS_PER_TURN: usize = 64;
/// Most calls to accept per turn.
const ACCEPTS_PER_TURN: usize = 64;
/// Most calls to accept before the listeners are closed: more than wait at one of them.
const QUEUED_MAX: usize = 8192;

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
    limits: LimitWatch,
    refusals: Refusals,
    progress: Progress,
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
            limits: LimitWatch::default(),
            refusals: Refusals::default(),
            progress: Progress::default(),
            events: Vec::new(),
            drain_until: None,
            skip_wait: false,
        }
    }

    /// Runs one turn, which waits for events no longer than until `wake_at`, a time of the embedder.
    /// Returns the embedder's tokens that had an event, as bits counted from
    /// [`FIRST_USER_TOKEN`](crate::token::FIRST_USER_TOKEN).
    pub fn turn(&mut self, wake_at: Option<Millis>) -> io::Result<u32> {
        let is_idle = self.progress.judge(self.activity(), self.cx.now);
        self.stats.idle_turns += u64::from(is_idle);
        let timeout_ms = self.timeout_ms(wake_at);
        let woken_by = self.woken_without_event(timeout_ms);
        self.skip_wait = false;
        self.events.clear();
        self.cx.net.poll(&mut self.events, timeout_ms)?;
        let before = std::mem::replace(&mut self.cx.now, self.cx.net.now());
        self.stats.turns += 1;
        self.stats.events += self.events.len() as u64;
        self.progress.begin(self.woken_by(woken_by), self.cx.now - before);
        let woken = self.update_readiness();
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

    /// What a turn is woken by, now that its events are known. What a socket reports is a peer's
    /// doing, and no sign that the loop turns by itself.
    fn woken_by(&self, mut woken_by: WokenBy) -> WokenBy {
        for event in &self.events {
            match Token::of(event.token) {
                Token::User(_) => woken_by.add(WokenBy::OTHER),
                _ => return WokenBy::default(),
            }
        }
        woken_by
    }

    /// Records each event at its socket.
    fn update_readiness(&mut self) -> u32 {
        let mut woken = 0;
        let events = take(&mut self.events);
        for event in &events {
            match Token::of(event.token) {
                Token::Listener(number) => self.cx.listeners.set_ready(number),
                Token::User(number) => woken |= 1 << number,
                Token::Query(place) => self.cx.dns.update_readiness(place, event),
                Token::Connection { slot, place } => {
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
        if connection.take_needs_admission() {
            let client = connection.session().client.ip;
            let admission = self.admission(client);
            self.sources.add(client);
            connection = &mut self.connections[slot];
            match admission {
                Admission::Serve => connection.run(&mut self.cx),
                Admission::Reject => connection.reject_unwelcome(&mut self.cx),
                Admission::Shed => connection.shed(self.cx.now),
            }
        }
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
            if self.is_counted(session) {
                self.sources.remove(session.client.ip);
            }
            self.cx.shortage.remove_session();
            if let Some(reason) = session.state().closed() {
                self.stats.count_closed(reason);
                self.refusals.record(session, reason, self.cx.now);
                let (now, format) = (self.cx.now, self.cx.settings.log_format);
                let level = if self.is_probe(&connection) { Level::Debug } else { Level::Info };
                log!(target: "access", level, "{}", Line { session, up, down, now, format });
                connection.close(reason, &mut self.cx);
            }
            self.cx.listeners.retry_now(self.cx.now);
        }
        self.cx.spare.refill(&mut self.cx.net);
    }

    /// Whether a program of this host only looked whether the proxy answers (`--health`): it left
    /// after its greeting. That may happen every few seconds. Any other client leaves a line, so that
    /// nobody can try passwords or hold sessions unseen.
    fn is_probe(&self, connection: &Connection<N>) -> bool {
        let session = connection.session();
        let client = session.client.ip;
        let mut own = self.cx.listeners.addresses();
        session.state().closed() == Some(CloseReason::ClientLeft)
            && connection.has_only_greeted()
            && self.cx.now - session.started <= PROBE_MS
            && session.balancer().is_none()
            && (client.is_loopback() || own.any(|address| address.ip() == client))
    }

    /// What to do with one more session of a client's address.
    fn admission(&mut self, client: IpAddr) -> Admission {
        let admission = self.sources.admission(client);
        if admission != Admission::Serve {
            self.limits.reached(Limit::PerSource, 1, &self.cx, &mut self.stats);
        }
        admission
    }

    /// Whether a session counts among those of its client's address. One that a load balancer has
    /// for itself does not, nor one whose header has not come.
    fn is_counted(&self, session: &Session) -> bool {
        session.balancer().is_some() || !self.cx.settings.is_balancer(session.client.ip)
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

    /// Accepts the clients that wait already, as far as there is room. It ends, however many more
    /// come.
    fn accept_queued(&mut self) {
        self.cx.listeners.set_all_ready();
        for _ in 0..QUEUED_MAX / ACCEPTS_PER_TURN {
            self.accept();
            if self.accept_at().is_none_or(|at| at > self.cx.now) {
                return;
            }
        }
    }

    /// Creates the connection of an accepted client.
    fn admit(&mut self, Accepted { mut stream, client, reserve }: Accepted<N>) {
        let is_balancer = self.cx.settings.is_balancer(client.ip());
        let admission = match is_balancer {
            true => Admission::Serve,
            false => self.admission(client.ip()),
        };
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
        if !is_balancer {
            self.sources.add(client.ip());
        }
        self.cx.shortage.add_session();
        let session = match admission {
            Admission::Reject => Session::unwelcome,
            _ if is_balancer => Session::behind_balancer,
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
