//! The resolver: who waits for which name, which questions that takes, and which queries.
//!
//! A waiter goes through its candidates (the name, the name completed from the search list).
//! Each candidate is a question that all its waiters share; a question goes through the servers,
//! one query at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::cache::{Answer, Cache};
use super::message::Reading;
use super::query::{Query, Transmit, Transport};
use super::{DnsError, Hosts, Settings};
use crate::name::Name;

/// Most queries in flight, and so most sockets; further questions wait their turn.
pub const QUERIES_MAX: usize = 64;

/// What asking for a name led to at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Known from the hosts file or the cache; nothing more will come for this waiter.
    Done(Answer),
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
    /// Questions for which no query was free, in order.
    queue: BTreeMap<u64, Name>,
    queries: BTreeMap<u64, Query>,
    /// When each query is given up.
    expiries: BTreeSet<(u64, u64)>,
    transmits: VecDeque<u64>,
    closes: VecDeque<u64>,
    answers: VecDeque<(u64, Answer)>,
    /// The last number given to a query or a place in the queue.
    serial: u64,
    rotation: usize,
}

struct Waiter {
    name: Name,
    settings: Arc<Settings>,
    deadline: u64,
    /// How many candidates have been taken.
    taken: usize,
    asking: Option<Name>,
    /// The best that the candidates so far give instead of addresses.
    best: DnsError,
}

struct Question {
    waiters: BTreeSet<u64>,
    settings: Arc<Settings>,
    /// Where in the list of servers this question starts.
    offset: usize,
    /// How many tries have begun.
    tries: usize,
    /// What it ends with when no try is left.
    failure: DnsError,
    place: Place,
}

#[derive(Clone, Copy)]
enum Place {
    Queued(u64),
    Asked(u64),
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
            queue: BTreeMap::new(),
            queries: BTreeMap::new(),
            expiries: BTreeSet::new(),
            transmits: VecDeque::new(),
            closes: VecDeque::new(),
            answers: VecDeque::new(),
            serial: 0,
            rotation: 0,
        }
    }

    /// Replaces the settings, for what is asked from now on, and forgets the cache: other
    /// servers may say other things.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = Arc::new(settings);
        self.cache.clear();
    }

    /// Replaces the hosts file.
    pub fn set_hosts(&mut self, hosts: Hosts) {
        self.hosts = hosts;
    }

    /// Asks for the addresses of a name. `waiter` names who asks until the answer or `cancel`;
    /// the caller must not use it twice at a time.
    pub fn resolve(&mut self, now: u64, name: &Name, waiter: u64) -> Outcome {
        assert!(!self.waiters.contains_key(&waiter), "waiter {waiter} waits already");
        // glibc's order, too: the hosts file knows names as they stand, before any completion.
        if let Some(addresses) = self.hosts.lookup(name.as_str()) {
            return Outcome::Done(Ok(addresses.clone()));
        }
        if self.settings.tries() == 0 {
            return Outcome::Done(Err(DnsError::ServerFailure));
        }
        let mut new = Waiter {
            name: name.clone(),
            settings: self.settings.clone(),
            deadline: now + self.settings.total_timeout_ms,
            taken: 0,
            asking: None,
            best: DnsError::NotFound,
        };
        if let Some(answer) = self.advance(now, waiter, &mut new) {
            return Outcome::Done(answer);
        }
        self.deadlines.insert((new.deadline, waiter));
        self.waiters.insert(waiter, new);
        Outcome::Waiting
    }

    /// Forgets a waiter that has gone; its question ends with the last who waits for it.
    pub fn cancel(&mut self, now: u64, waiter: u64) {
        if let Some(gone) = self.remove_waiter(waiter) {
            self.leave(now, waiter, gone.asking);
        } else {
            self.answers.retain(|(other, _)| *other != waiter);
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
    pub fn poll_answer(&mut self) -> Option<(u64, Answer)> {
        self.answers.pop_front()
    }

    /// When to call [`Resolver::handle_timeout`], if nothing else happens.
    pub fn deadline(&self) -> Option<u64> {
        // Every turn of the loop asks, however many queries are open.
        let first = [self.expiries.first(), self.deadlines.first()];
        first.into_iter().flatten().map(|(deadline, _)| *deadline).min()
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

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: u64) {
        // Waiters first, so that no server is asked for somebody who has just given up.
        while let Some(&(deadline, waiter)) = self.deadlines.first()
            && deadline <= now
        {
            let Some(late) = self.remove_waiter(waiter) else { break };
            self.leave(now, waiter, late.asking);
            self.answers.push_back((waiter, Err(DnsError::Timeout)));
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

    fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }
}

/// Waiters and their candidates.
impl Resolver {
    /// Goes on to the next candidate that the cache does not rule out. `None`: it is asked.
    fn advance(&mut self, now: u64, key: u64, waiter: &mut Waiter) -> Option<Answer> {
        while let Some(candidate) = waiter.settings.candidate(&waiter.name, waiter.taken) {
            waiter.taken += 1;
            let Some(name) = candidate else { continue };
            match self.cache.get(now, &name) {
                Some(Ok(addresses)) => return Some(Ok(addresses.clone())),
                Some(Err(error)) => waiter.best = better(waiter.best, *error),
                None => {
                    waiter.asking = Some(name.clone());
                    self.join(now, key, name, waiter.settings.clone());
                    return None;
                }
            }
        }
        Some(Err(waiter.best))
    }

    /// Waits for a question, which is asked unless it is already.
    fn join(&mut self, now: u64, key: u64, name: Name, settings: Arc<Settings>) {
        if let Some(question) = self.questions.get_mut(&name) {
            question.waiters.insert(key);
            return;
        }
        if settings.rotate {
            self.rotation = self.rotation.wrapping_add(1);
        }
        let place = self.next_serial();
        let question = Question {
            waiters: BTreeSet::from([key]),
            offset: if settings.rotate { self.rotation } else { 0 },
            settings,
            tries: 0,
            failure: DnsError::Timeout,
            place: Place::Queued(place),
        };
        self.questions.insert(name.clone(), question);
        self.queue.insert(place, name);
        self.ask_queued(now);
    }

    /// A waiter no longer waits for a question.
    fn leave(&mut self, now: u64, key: u64, name: Option<Name>) {
        let Some(name) = name else { return };
        let Some(question) = self.questions.get_mut(&name) else { return };
        question.waiters.remove(&key);
        if question.waiters.is_empty() {
            self.remove_question(&name);
            self.ask_queued(now);
        }
    }

    /// A question is answered: its waiters are done or go on to their next candidate.
    fn answer(&mut self, now: u64, name: &Name, answer: Answer) {
        let Some(question) = self.remove_question(name) else { return };
        for key in question.waiters {
            let Some(mut waiter) = self.remove_waiter(key) else { continue };
            waiter.asking = None;
            let done = match &answer {
                // As in glibc, a failure that took time ends the search.
                Ok(_) | Err(DnsError::Timeout) => Some(answer.clone()),
                Err(error) => {
                    waiter.best = better(waiter.best, *error);
                    self.advance(now, key, &mut waiter)
                }
            };
            match done {
                Some(answer) => self.answers.push_back((key, answer)),
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

/// Questions and their queries.
impl Resolver {
    /// Asks what is queued, as far as queries are free.
    fn ask_queued(&mut self, now: u64) {
        while self.queries.len() < QUERIES_MAX
            && let Some((_, name)) = self.queue.pop_first()
        {
            self.next_try(now, name, DnsError::Timeout);
        }
    }

    /// Sends a question to the next server, or gives it up with what its tries have shown.
    fn next_try(&mut self, now: u64, name: Name, failure: DnsError) {
        let Some(question) = self.questions.get_mut(&name) else { return };
        if failure == DnsError::ServerFailure {
            question.failure = failure;
        }
        if question.tries >= question.settings.tries() {
            let failure = question.failure;
            return self.answer(now, &name, Err(failure));
        }
        let servers = &question.settings.servers;
        let server = servers[(question.offset + question.tries) % servers.len()];
        question.tries += 1;
        // Some middleboxes drop what carries an OPT record, so later rounds go without.
        let edns = question.tries <= servers.len();
        self.send(now, Query::new(name, server, Transport::Udp, edns));
    }

    /// Starts a query, which must belong to a question.
    fn send(&mut self, now: u64, mut query: Query) {
        let key = self.next_serial();
        let Some(question) = self.questions.get_mut(&query.name) else { return };
        question.place = Place::Asked(key);
        query.id = (self.random)();
        query.deadline = now + question.settings.try_timeout_ms();
        self.expiries.insert((query.deadline, key));
        self.queries.insert(key, query);
        self.transmits.push_back(key);
    }

    /// What an answer means for its query and its question.
    fn handle_reading(&mut self, now: u64, key: u64, reading: Reading) {
        if reading == Reading::Foreign {
            return;
        }
        let Some(query) = self.end_query(key) else { return };
        let Query { name, server, transport, edns, .. } = query;
        match reading {
            Reading::Foreign => {}
            Reading::Truncated => {
                self.send(now, Query::new(name, server, Transport::Tcp, edns));
            }
            Reading::NoEdns => self.send(now, Query::new(name, server, transport, false)),
            Reading::Failure => self.next_try(now, name, DnsError::ServerFailure),
            Reading::Answer(answer, ttl_s) => {
                self.cache.insert(now, &name, &answer, ttl_s);
                self.answer(now, &name, answer);
            }
        }
    }

    fn end_query(&mut self, key: u64) -> Option<Query> {
        let query = self.queries.remove(&key)?;
        self.expiries.remove(&(query.deadline, key));
        if query.transmitted {
            self.closes.push_back(key);
        }
        Some(query)
    }

    fn remove_question(&mut self, name: &Name) -> Option<Question> {
        let question = self.questions.remove(name)?;
        match question.place {
            Place::Queued(place) => drop(self.queue.remove(&place)),
            Place::Asked(key) => drop(self.end_query(key)),
        }
        Some(question)
    }
}

#[cfg(test)]
#[path = "resolver_test.rs"]
mod tests;
