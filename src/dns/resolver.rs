//! The resolver: who waits for which name, which questions that takes, and which queries.
//!
//! A waiter goes through its candidates (the name, the name completed from the search list).
//! Each candidate is a question that all its waiters share; a question goes through the servers,
//! one query at a time. Queries are shared out among the sources of the questions.

mod questions;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::cache::{Answer, Cache};
use super::message::Reading;
use super::query::{Query, Transmit};
use super::shares::Shares;
use super::{Addresses, DnsError, Hosts, Resolved, Settings};
use crate::name::Name;

/// Most queries in flight, and so most sockets; further questions wait their turn.
pub const QUERIES_MAX: usize = 64;
/// Most waiters whose time is up in one call of [`Resolver::handle_timeout`].
const TIMEOUTS_PER_CALL: usize = 256;

/// What asking for a name led to at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Known from the hosts file or the cache; nothing more will come for this waiter.
    Done(Result<Resolved, DnsError>),
    /// [`Resolver::poll_answer`] will name the waiter.
    Waiting,
}

/// The state machine. After every `resolve`, `cancel` and `handle_*`, drain
/// [`poll_close`](Resolver::poll_close) (first, so that sockets are free for what comes next),
/// [`poll_transmit`](Resolver::poll_transmit) and [`poll_answer`](Resolver::poll_answer), and look
/// at [`deadline`](Resolver::deadline) again.
pub struct Resolver {
    settings: Arc<Settings>,
    hosts: Hosts,
    cache: Cache,
    random: Box<dyn FnMut() -> u16 + Send>,
    waiters: BTreeMap<u64, Waiter>,
    /// When each waiter gives up.
    deadlines: BTreeSet<(u64, u64)>,
    questions: BTreeMap<Name, Question>,
    /// Questions that wait for a query, and queries in flight, by source.
    shares: Shares,
    queries: BTreeMap<u64, Query>,
    /// Most of them.
    queries_max: usize,
    /// When each query is given up.
    expiries: BTreeSet<(u64, u64)>,
    transmits: VecDeque<u64>,
    closes: VecDeque<u64>,
    /// Waiters that are answered, in order, and where in it each stands.
    answers: BTreeMap<u64, (u64, Result<Resolved, DnsError>)>,
    answered: BTreeMap<u64, u64>,
    /// The settings are new: what is queued may be asked.
    restarted: bool,
    /// The last number given to a query, an answer or a place in a queue.
    serial: u64,
    rotation: usize,
}

struct Waiter {
    /// The address of the client that asks.
    source: IpAddr,
    settings: Arc<Settings>,
    deadline: u64,
    /// The names still to be asked for.
    candidates: VecDeque<Name>,
    asking: Option<Name>,
    /// The best that the candidates so far give instead of addresses.
    best: DnsError,
}

struct Question {
    waiters: BTreeSet<u64>,
    /// How many of them each source has.
    sources: BTreeMap<IpAddr, usize>,
    /// The source whose share it counts in: one of those, whose queue it waits in.
    payer: IpAddr,
    /// Its place in that queue.
    place: u64,
    /// The key of its query; it waits for one if there is none.
    query: Option<u64>,
    settings: Arc<Settings>,
    /// Where in the list of servers this question starts.
    offset: usize,
    /// How many tries have begun.
    tries: usize,
    /// What it ends with when no try is left.
    failure: DnsError,
}

impl Resolver {
    /// A resolver that draws query ids from `random`, which must not be predictable.
    pub fn new(
        settings: Settings,
        hosts: Hosts,
        random: Box<dyn FnMut() -> u16 + Send>,
    ) -> Resolver {
        Resolver {
            settings: Arc::new(settings),
            hosts,
            cache: Cache::default(),
            random,
            waiters: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            questions: BTreeMap::new(),
            shares: Shares::default(),
            queries: BTreeMap::new(),
            queries_max: QUERIES_MAX,
            expiries: BTreeSet::new(),
            transmits: VecDeque::new(),
            closes: VecDeque::new(),
            answers: BTreeMap::new(),
            answered: BTreeMap::new(),
            restarted: false,
            serial: 0,
            rotation: 0,
        }
    }

    /// Replaces the settings, and forgets the cache: other servers may say other things. What is
    /// being asked is asked anew, for an old server's answer counts no more.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = Arc::new(settings);
        self.cache.clear();
        let names: Vec<Name> = self.questions.keys().cloned().collect();
        names.into_iter().for_each(|name| self.restart(name));
        self.restarted = true;
    }

    /// Allows so many queries in flight, at least one and at most [`QUERIES_MAX`]: where sockets are
    /// few, questions wait for each other.
    pub fn set_queries_max(&mut self, queries_max: usize) {
        self.queries_max = queries_max.clamp(1, QUERIES_MAX);
    }

    /// Replaces the hosts file.
    pub fn set_hosts(&mut self, hosts: Hosts) {
        self.hosts = hosts;
    }

    /// The names that [`Resolver::resolve`] may lead to an address: what is known without a
    /// question, or else what may be asked for.
    pub fn candidates(&self, name: &Name) -> Vec<Name> {
        match self.known(name) {
            Some(_) => vec![name.clone()],
            None => self.settings.candidates(name).into(),
        }
    }

    /// Asks for the addresses of a name. `source` is the client's address: questions in flight
    /// are shared out by it. `waiter` names who asks until the answer or `cancel`; the caller
    /// must not use it twice at a time.
    pub fn resolve(&mut self, now: u64, name: &Name, source: IpAddr, waiter: u64) -> Lookup {
        assert!(!self.waiters.contains_key(&waiter), "waiter {waiter} waits already");
        if let Some(addresses) = self.known(name) {
            return Lookup::Done(Ok(Resolved { name: name.clone(), addresses }));
        }
        if self.settings.tries() == 0 {
            return Lookup::Done(Err(DnsError::ServerFailure));
        }
        let mut new = Waiter {
            source,
            settings: self.settings.clone(),
            deadline: now + self.settings.total_timeout_ms,
            candidates: self.settings.candidates(name),
            asking: None,
            best: DnsError::NotFound,
        };
        if let Some(answer) = self.advance(now, waiter, &mut new) {
            return Lookup::Done(answer);
        }
        self.deadlines.insert((new.deadline, waiter));
        self.waiters.insert(waiter, new);
        Lookup::Waiting
    }

    /// What needs no question. As in glibc, the hosts file knows names as they stand, before any
    /// completion; it may say where a name below localhost leads, but not localhost itself.
    fn known(&self, name: &Name) -> Option<Addresses> {
        let home = || Addresses::from([Ipv4Addr::LOCALHOST]);
        if name.is_localhost() {
            return Some(home());
        }
        let listed = self.hosts.lookup(name.as_str()).cloned();
        listed.or_else(|| name.is_below_localhost().then(home))
    }

    /// Forgets a waiter that has gone; its question ends with the last who waits for it.
    pub fn cancel(&mut self, now: u64, waiter: u64) {
        if let Some(gone) = self.remove_waiter(waiter) {
            self.leave(now, waiter, &gone);
        } else if let Some(place) = self.answered.remove(&waiter) {
            self.answers.remove(&place);
        }
    }

    /// The next query to send: open a socket of its own for it.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        while let Some(key) = self.transmits.pop_front() {
            // A query may have ended before it began.
            if let Some(query) = self.queries.get_mut(&key) {
                query.transmitted = true;
                return Some(query.transmit(key));
            }
        }
        None
    }

    /// The next socket that is no longer needed, by the key of its [`Transmit`].
    pub fn poll_close(&mut self) -> Option<u64> {
        self.closes.pop_front()
    }

    /// The next waiter whose wait is over.
    pub fn poll_answer(&mut self) -> Option<(u64, Result<Resolved, DnsError>)> {
        let (_, (waiter, answer)) = self.answers.pop_first()?;
        self.answered.remove(&waiter);
        Some((waiter, answer))
    }

    /// How many answers [`Resolver::poll_answer`] would give.
    pub fn answers(&self) -> usize {
        self.answers.len()
    }

    /// When to call [`Resolver::handle_timeout`], if nothing else happens.
    pub fn deadline(&self) -> Option<u64> {
        // Every turn of the loop asks, however many queries are open.
        let first = [self.expiries.first(), self.deadlines.first()];
        let first = first.into_iter().flatten().map(|(deadline, _)| *deadline).min();
        if self.restarted { Some(0) } else { first }
    }

    /// A datagram has come for a query. Unknown keys are ignored here and below: the query may
    /// have ended while the event was on its way.
    pub fn handle_datagram(&mut self, now: u64, key: u64, bytes: &[u8]) {
        if let Some(query) = self.queries.get(&key) {
            let reading = query.read_datagram(bytes);
            self.handle_reading(now, key, reading);
        }
    }

    /// Bytes have come over a query's TCP connection, cut anywhere.
    pub fn handle_stream_bytes(&mut self, now: u64, key: u64, bytes: &[u8]) {
        if let Some(query) = self.queries.get_mut(&key) {
            let reading = query.read_stream(bytes);
            self.handle_reading(now, key, reading);
        }
    }

    /// A query's socket could not be opened, has failed, or was closed by the server.
    pub fn handle_error(&mut self, now: u64, key: u64) {
        if self.queries.contains_key(&key) {
            self.handle_reading(now, key, Reading::Failure);
        }
    }

    /// Time has passed. When the time of many waiters is up, the deadline stays in the past:
    /// the rest is for the next call.
    pub fn handle_timeout(&mut self, now: u64) {
        // Waiters first, so that no server is asked for somebody who has just given up.
        for _ in 0..TIMEOUTS_PER_CALL {
            let Some(&(deadline, waiter)) = self.deadlines.first() else { break };
            if deadline > now {
                break;
            }
            let Some(late) = self.remove_waiter(waiter) else { break };
            self.leave(now, waiter, &late);
            self.give(waiter, Err(DnsError::Timeout));
        }
        if std::mem::take(&mut self.restarted) {
            self.ask_queued(now);
        }
        let late = self.expiries.iter().take_while(|(deadline, _)| *deadline <= now);
        let keys: Vec<u64> = late.map(|(_, key)| *key).collect();
        for key in keys {
            if let Some(query) = self.end_query(key) {
                self.next_try(now, query.name, DnsError::Timeout);
            }
        }
    }

    /// Queries in flight; at most [`QUERIES_MAX`].
    pub fn queries(&self) -> usize {
        self.queries.len()
    }

    /// Who waits.
    pub fn waiters(&self) -> usize {
        self.waiters.len()
    }

    /// Names in the cache, those that have expired included.
    pub fn cached(&self) -> usize {
        self.cache.len()
    }

    fn remove_waiter(&mut self, key: u64) -> Option<Waiter> {
        let waiter = self.waiters.remove(&key)?;
        self.deadlines.remove(&(waiter.deadline, key));
        Some(waiter)
    }

    fn give(&mut self, waiter: u64, answer: Result<Resolved, DnsError>) {
        let place = self.next_serial();
        self.answers.insert(place, (waiter, answer));
        self.answered.insert(waiter, place);
    }

    fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }
}

/// Waiters and their candidates.
impl Resolver {
    /// Goes on to the next candidate that the cache does not rule out. `None`: it is asked.
    fn advance(
        &mut self,
        now: u64,
        key: u64,
        waiter: &mut Waiter,
    ) -> Option<Result<Resolved, DnsError>> {
        while let Some(name) = waiter.candidates.pop_front() {
            match self.cache.get(now, &name) {
                Some(Ok(addresses)) => {
                    let addresses = addresses.clone();
                    return Some(Ok(Resolved { name, addresses }));
                }
                Some(Err(error)) => waiter.best = better(waiter.best, *error),
                None => {
                    waiter.asking = Some(name.clone());
                    self.join(now, key, name, waiter);
                    return None;
                }
            }
        }
        Some(Err(waiter.best))
    }

    /// Waits for a question, which is asked unless it is already.
    fn join(&mut self, now: u64, key: u64, name: Name, waiter: &Waiter) {
        let (source, settings) = (waiter.source, &waiter.settings);
        if let Some(question) = self.questions.get_mut(&name) {
            question.waiters.insert(key);
            *question.sources.entry(source).or_default() += 1;
            let payer = question.payer;
            // In the queue of a source with many, it would wait longer than if nobody else asked.
            if self.shares.load(source) + 1 < self.shares.load(payer) {
                self.charge(&name, source);
            }
        } else {
            self.rotation = self.rotation.wrapping_add(usize::from(settings.rotate));
            let place = self.next_serial();
            let question = Question {
                waiters: BTreeSet::from([key]),
                sources: BTreeMap::from([(source, 1)]),
                payer: source,
                place,
                query: None,
                offset: if settings.rotate { self.rotation } else { 0 },
                settings: settings.clone(),
                tries: 0,
                failure: DnsError::Timeout,
            };
            self.questions.insert(name.clone(), question);
            self.shares.enqueue(source, place, name);
        }
        self.ask_queued(now);
    }

    /// A waiter, removed already, no longer waits for its question.
    fn leave(&mut self, now: u64, key: u64, waiter: &Waiter) {
        let Some(name) = &waiter.asking else { return };
        let Some(question) = self.questions.get_mut(name) else { return };
        question.waiters.remove(&key);
        let waiting = question.sources.entry(waiter.source).or_default();
        *waiting = waiting.saturating_sub(1);
        if *waiting == 0 {
            question.sources.remove(&waiter.source);
        }
        if question.waiters.is_empty() {
            self.remove_question(name);
        } else if !question.sources.contains_key(&question.payer) {
            let payer = question.lightest(&self.shares);
            self.charge(name, payer);
        }
        self.ask_queued(now);
    }

    /// A question is answered: its waiters are done or go on to their next candidate.
    fn answer(&mut self, now: u64, name: &Name, answer: Answer) {
        let Some(question) = self.remove_question(name) else { return };
        for key in question.waiters {
            let Some(mut waiter) = self.remove_waiter(key) else { continue };
            waiter.asking = None;
            let done = match &answer {
                Ok(addresses) => {
                    Some(Ok(Resolved { name: name.clone(), addresses: addresses.clone() }))
                }
                // As in glibc, a failure that took time ends the search.
                Err(DnsError::Timeout) => Some(Err(DnsError::Timeout)),
                Err(error) => {
                    waiter.best = better(waiter.best, *error);
                    self.advance(now, key, &mut waiter)
                }
            };
            match done {
                Some(answer) => self.give(key, answer),
                None => {
                    self.deadlines.insert((waiter.deadline, key));
                    self.waiters.insert(key, waiter);
                }
            }
        }
        self.ask_queued(now);
    }
}

/// What several candidates without addresses amount to, as in glibc: that a name exists says
/// more than that another does not, and a server that failed might have known.
fn better(one: DnsError, other: DnsError) -> DnsError {
    let rank = |error| match error {
        DnsError::NotFound => 0,
        DnsError::NoData => 1,
        DnsError::ServerFailure => 2,
        DnsError::Timeout => 3,
    };
    if rank(other) > rank(one) { other } else { one }
}

#[cfg(test)]
#[path = "resolver_test.rs"]
mod tests;
