//! The resolver: waiters, the questions they wait for, and the queries that answer them.
//!
//! A waiter tries its possible names in order (the name, the name completed from the search list).
//! Each name is two questions, one for each family, that all its waiters share; a question tries the
//! servers in order, one query at a time. Queries are shared out among the sources of the questions.

mod questions;
mod waiters;

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::cache::Cache;
use super::counters::Counters;
use super::family::QuestionKey;
use super::message::Response;
use super::ordered::{Order, Ordered, first_of};
use super::query::{Query, Transmit};
use super::shares::Shares;
use super::waiter::Waiter;
use super::{Addresses, DnsError, Hosts, Resolved, ResolverSettings};
use crate::name::Name;

/// Most queries in flight, and so most sockets; further questions wait their turn.
pub const QUERIES_MAX: usize = 64;
/// Most waiters timed out by one call of [`Resolver::handle_timeout`].
const TIMEOUTS_PER_CALL: usize = 256;

/// The immediate result of a look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Known from the hosts file or the cache; no answer follows.
    Done(Result<Resolved, DnsError>),
    /// [`Resolver::poll_answer`] will return the answer.
    Waiting,
}

/// The state machine. After every `resolve`, `cancel` and `handle_*`, drain
/// [`poll_close`](Resolver::poll_close) (first, so that sockets are free for the rest),
/// [`poll_transmit`](Resolver::poll_transmit) and [`poll_answer`](Resolver::poll_answer), and check
/// [`deadline`](Resolver::deadline) again.
pub struct Resolver {
    settings: Arc<ResolverSettings>,
    hosts: Hosts,
    cache: Cache,
    random: Box<dyn FnMut() -> u16 + Send>,
    waiters: Ordered<Waiter>,
    /// The numbers of the waiters, in the order in which they time out.
    deadlines: Order,
    questions: HashMap<QuestionKey, Question>,
    /// The questions that end because the other family has waited long enough, in that order.
    cut_offs: Ordered<QuestionKey>,
    /// Questions waiting for a query, and queries in flight, by source.
    shares: Shares,
    queries: Ordered<Query>,
    /// Most of them.
    queries_max: usize,
    /// How many names were asked for while questions waited; to be taken.
    delayed: u64,
    /// The keys of the queries, in the order in which they time out.
    expiries: Order,
    transmits: VecDeque<u64>,
    closes: VecDeque<u64>,
    /// Answers not yet polled, in order, and the place of each waiter among them.
    answers: Ordered<(u64, Result<Resolved, DnsError>)>,
    answered: Order,
    /// The settings are new: queued questions may be sent.
    restarted: bool,
    /// The last number given to a query, an answer or a queued question.
    serial: u64,
    rotation: usize,
    counters: Counters,
}

struct Question {
    /// By their number.
    waiters: Order,
    /// The number of waiters of each source.
    sources: Order,
    /// The source whose share it counts in and whose queue it waits in.
    payer: IpAddr,
    /// Its place in that queue, which no other question has.
    place: u64,
    /// The key of its query; without one it is queued.
    query: Option<u64>,
    settings: Arc<ResolverSettings>,
    /// The index of the first server to try.
    offset: usize,
    /// How many tries have started.
    tries: usize,
    /// The error that it ends with when no try is left.
    failure: DnsError,
    /// When it ends whatever happens, its key in the cut-offs.
    cut_off: Option<u64>,
    /// The error that it ends with then.
    if_late: DnsError,
}

impl Resolver {
    /// A resolver that draws query ids from `random`, which must not be predictable.
    pub fn new(
        settings: ResolverSettings,
        hosts: Hosts,
        random: Box<dyn FnMut() -> u16 + Send>,
    ) -> Resolver {
        Resolver {
            settings: Arc::new(settings),
            hosts,
            cache: Cache::default(),
            random,
            waiters: Ordered::default(),
            deadlines: Order::new(),
            questions: HashMap::new(),
            cut_offs: Ordered::default(),
            shares: Shares::default(),
            queries: Ordered::default(),
            queries_max: QUERIES_MAX,
            delayed: 0,
            expiries: Order::new(),
            transmits: VecDeque::new(),
            closes: VecDeque::new(),
            answers: Ordered::default(),
            answered: Order::new(),
            restarted: false,
            serial: 0,
            rotation: 0,
            counters: Counters::default(),
        }
    }

    /// Replaces the settings, and clears the cache: other servers may answer differently. Open
    /// questions are restarted, and a waiter that has the answer to one asks that again, for an old
    /// server's answer is no longer accepted.
    pub fn set_settings(&mut self, settings: ResolverSettings) {
        self.settings = Arc::new(settings);
        self.cache.clear();
        let mut questions = Ordered::default();
        for (asked, question) in &self.questions {
            questions.insert(question.place, asked.clone());
        }
        while let Some(asked) = questions.pop_first() {
            self.restart(asked);
        }
        self.rejoin();
        self.restarted = !self.questions.is_empty();
    }

    /// Allows so many queries in flight, at least the two of a name and at most [`QUERIES_MAX`]:
    /// where sockets are few, questions wait for each other.
    pub fn set_queries_max(&mut self, queries_max: usize) {
        self.queries_max = queries_max.clamp(2, QUERIES_MAX);
    }

    /// Most queries in flight.
    pub fn queries_max(&self) -> usize {
        self.queries_max
    }

    /// Takes how many names were asked for while questions waited because all queries were in use.
    pub fn take_delayed(&mut self) -> u64 {
        std::mem::take(&mut self.delayed)
    }

    /// Replaces the hosts file.
    pub fn set_hosts(&mut self, hosts: Hosts) {
        self.hosts = hosts;
    }

    /// The names that [`Resolver::resolve`] may find addresses for: the name itself if it is known
    /// without a query, or else the names that may be queried.
    pub fn possible_names(&self, name: &Name) -> Vec<Name> {
        match self.known(name) {
            Some(_) => vec![name.clone()],
            None => self.settings.possible_names(name).into(),
        }
    }

    /// Looks up the addresses of a name. `source` is the client's, by which queries are shared out
    /// (`address::source_of`). `waiter` identifies the waiter until the answer or `cancel`; the caller must not
    /// use it twice at a time.
    pub fn resolve(&mut self, now: u64, name: &Name, source: IpAddr, waiter: u64) -> Lookup {
        assert!(!self.waiters.contains(waiter), "waiter {waiter} waits already");
        if let Some(addresses) = self.known(name) {
            return Lookup::Done(Ok(Resolved { name: name.clone(), addresses }));
        }
        if self.settings.tries() == 0 {
            return Lookup::Done(Err(DnsError::ServerFailure));
        }
        let deadline = now + self.settings.total_timeout_ms;
        let mut new = Waiter::new(source, deadline, self.settings.possible_names(name));
        if let Some(answer) = self.advance(now, waiter, &mut new) {
            return Lookup::Done(answer);
        }
        self.insert_waiter(waiter, new);
        self.ask_queued(now);
        self.delayed += u64::from(self.shares.is_any_waiting());
        Lookup::Waiting
    }

    /// The addresses known without a query. As in glibc, the hosts file is consulted before any
    /// completion; it may list a name below localhost, but not localhost itself.
    pub fn known(&self, name: &Name) -> Option<Addresses> {
        let loopback = || Addresses::from([Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        if name.is_localhost() {
            return Some(loopback());
        }
        let listed = self.hosts.lookup(name.as_str()).cloned();
        listed.or_else(|| name.is_below_localhost().then(loopback))
    }

    /// Whether the hosts file has this name, in lower case.
    pub fn is_listed(&self, name: &str) -> bool {
        self.hosts.lookup(name).is_some()
    }

    /// Whether names of one label are completed.
    pub fn has_search(&self) -> bool {
        !self.settings.search.is_empty()
    }

    /// Removes a waiter; its questions end when their last waiter leaves.
    pub fn cancel(&mut self, now: u64, waiter: u64) {
        if let Some(gone) = self.remove_waiter(waiter) {
            self.leave(waiter, &gone);
            self.ask_queued(now);
        } else if let Some(place) = self.answered.remove(&waiter.into()) {
            self.answers.remove(place);
        }
    }

    /// The next query to send; it needs a separate socket.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        while let Some(key) = self.transmits.pop_front() {
            // A query may have ended before it was sent.
            if let Some(query) = self.queries.get_mut(key) {
                query.transmitted = true;
                self.counters.sent += 1;
                return Some(query.transmit(key));
            }
        }
        None
    }

    /// The next socket that is no longer needed, by the key of its [`Transmit`].
    pub fn poll_close(&mut self) -> Option<u64> {
        self.closes.pop_front()
    }

    /// The next waiter that has an answer.
    pub fn poll_answer(&mut self) -> Option<(u64, Result<Resolved, DnsError>)> {
        let (waiter, answer) = self.answers.pop_first()?;
        self.answered.remove(&waiter.into());
        Some((waiter, answer))
    }

    /// How many answers [`Resolver::poll_answer`] would return.
    pub fn answers(&self) -> usize {
        self.answers.len()
    }

    /// When to call [`Resolver::handle_timeout`], if nothing else happens.
    pub fn deadline(&self) -> Option<u64> {
        // Called in every turn of the loop, with any number of open queries.
        let first = |order: &Order| order.first_key_value().map(|(key, _)| *key);
        let cut_off = self.cut_offs.first().map(|(key, _)| key);
        let firsts = [first(&self.expiries), first(&self.deadlines), cut_off];
        let first = firsts.into_iter().flatten().map(first_of).min();
        if self.restarted { Some(0) } else { first }
    }

    /// A datagram has arrived for a query. Unknown keys are ignored here and below: the query may
    /// have ended while the event was pending.
    pub fn handle_datagram(&mut self, now: u64, key: u64, bytes: &[u8]) {
        if let Some(query) = self.queries.get(key) {
            let response = query.read_datagram(bytes);
            self.handle_response(now, key, response);
        }
    }

    /// Bytes have arrived over a query's TCP connection, cut anywhere.
    pub fn handle_stream_bytes(&mut self, now: u64, key: u64, bytes: &[u8]) {
        if let Some(query) = self.queries.get_mut(key) {
            let response = query.read_stream(bytes);
            self.handle_response(now, key, response);
        }
    }

    /// A query's socket could not be opened, has failed, or was closed by the server.
    pub fn handle_error(&mut self, now: u64, key: u64) {
        if self.queries.contains(key) {
            self.handle_response(now, key, Response::Failure);
        }
    }

    /// Times out waiters, questions and queries. When many waiters are due, the deadline stays in the past:
    /// the rest is for the next call.
    pub fn handle_timeout(&mut self, now: u64) {
        // Waiters first, so that no query is sent for a waiter that has just timed out.
        for _ in 0..TIMEOUTS_PER_CALL {
            let Some((key, waiter)) = self.deadlines.first_key_value() else { break };
            if first_of(*key) > now {
                break;
            }
            self.time_out(now, *waiter);
        }
        while let Some((at, question)) = self.cut_offs.first() {
            if first_of(at) > now {
                break;
            }
            let asked = question.clone();
            let error = self.questions.get(&asked).map(|question| question.if_late);
            self.answer(now, &asked, Err(error.unwrap_or(DnsError::Timeout)));
        }
        self.restarted = false;
        let late = self.expiries.iter().take_while(|(deadline, _)| first_of(**deadline) <= now);
        let keys: Vec<u64> = late.map(|(_, key)| *key).collect();
        // The latest first: if there was one socket only, and a silent server kept it for the AAAA
        // query of a name, the A query has it now.
        for key in keys.into_iter().rev() {
            if let Some(query) = self.end_query(key) {
                self.counters.timed_out += 1;
                self.next_try(now, query.question, DnsError::Timeout);
            }
        }
        self.ask_queued(now);
    }

    /// Queries in flight; at most [`QUERIES_MAX`].
    pub fn queries(&self) -> usize {
        self.queries.len()
    }

    /// The number of waiters.
    pub fn waiters(&self) -> usize {
        self.waiters.len()
    }

    /// Answers in the cache, including expired ones.
    pub fn cached(&self) -> usize {
        self.cache.len()
    }

    /// What has been done since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Goes on counting from here.
    pub fn set_counters(&mut self, counters: Counters) {
        self.counters = counters;
    }

    fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }
}

#[cfg(test)]
#[path = "resolver/families_test.rs"]
mod families;
#[cfg(test)]
#[path = "resolver_test.rs"]
mod tests;
