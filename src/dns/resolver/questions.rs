//! Questions and their queries: which server is queried next, and in whose share it counts.

use std::net::IpAddr;

use super::super::DnsError;
use super::super::family::{Family, QuestionKey};
use super::super::message::Response;
use super::super::ordered::{Order, address_of, key_of, pair};
use super::super::query::{Query, Transport};
use super::super::shares::Shares;
use super::{Question, Resolver};

/// Most sources of one question that are compared to choose its payer.
const SOURCES_COMPARED_MAX: usize = 16;
/// How long the IPv6 addresses of a name are still waited for when it has IPv4 addresses (RFC 8305
/// section 3), or does not exist.
pub const RESOLUTION_DELAY_MS: u64 = 50;
/// The same of IPv4 when it has IPv6 addresses. Most hosts can do without IPv6, but a host without
/// it could do nothing with a name whose IPv4 addresses are a moment late.
pub const IPV4_DELAY_MS: u64 = 1000;

impl Resolver {
    /// Sends queued questions, as far as queries are free or can be preempted.
    pub(super) fn ask_queued(&mut self, now: u64) {
        loop {
            if self.queries.len() >= self.queries_max {
                let Some(key) = self.shares.victim() else { return };
                self.preempt(key);
            }
            let Some(question) = self.shares.next() else { return };
            self.next_try(now, question, DnsError::Timeout);
        }
    }

    /// Ends a query that is not answered yet; its question is queued in its old place. This does
    /// not count as a try. Yet the next server is tried next: if this one is silent, the question
    /// would never get past it.
    fn preempt(&mut self, key: u64) {
        let Some(Query { question: asked, .. }) = self.end_query(key) else { return };
        let Some(question) = self.questions.get_mut(&asked) else { return };
        question.query = None;
        question.tries -= 1;
        question.offset += 1;
        question.payer = question.lightest(&self.shares);
        self.shares.enqueue(question.payer, question.place, asked);
    }

    /// A new question of one waiter, queued.
    pub(super) fn insert_question(&mut self, asked: QuestionKey, source: IpAddr, waiter: u64) {
        let settings = self.settings.clone();
        let place = self.next_serial();
        let mut question = Question {
            waiters: Order::new(),
            sources: Order::new(),
            payer: source,
            place,
            query: None,
            offset: if settings.rotate { self.rotation } else { 0 },
            tries: 0,
            failure: settings.untried_failure(),
            settings,
            cut_off: None,
            if_late: DnsError::Timeout,
        };
        question.waiters.insert(waiter.into(), waiter);
        question.sources.insert(key_of(source), 1);
        self.questions.insert(asked.clone(), question);
        self.shares.enqueue(source, place, asked);
    }

    /// Restarts a question with the current settings: it is queued in its old place.
    pub(super) fn restart(&mut self, asked: QuestionKey) {
        let Some(question) = self.questions.get_mut(&asked) else { return };
        question.settings = self.settings.clone();
        (question.tries, question.offset) = (0, 0);
        question.failure = question.settings.untried_failure();
        if let Some(at) = question.cut_off.take() {
            self.cut_offs.remove(pair(at, question.place));
        }
        let (payer, place) = (question.payer, question.place);
        if let Some(key) = question.query.take() {
            self.end_query(key);
            self.shares.enqueue(payer, place, asked);
        }
    }

    /// The other family of the name has been answered with addresses, or with an error by which
    /// this one ends as well if nothing else comes: it is waited for a little longer.
    pub(super) fn cut_off(&mut self, now: u64, asked: &QuestionKey, error: Option<DnsError>) {
        let Some(question) = self.questions.get_mut(asked) else { return };
        question.if_late = error.unwrap_or(question.if_late);
        if question.cut_off.is_none() {
            let delay_ms = match asked.family {
                Family::V6 => RESOLUTION_DELAY_MS,
                Family::V4 => IPV4_DELAY_MS,
            };
            question.cut_off = Some(now + delay_ms);
            self.cut_offs.insert(pair(now + delay_ms, question.place), asked.clone());
        }
    }

    /// Counts a question in the share of another of its sources.
    pub(super) fn charge(&mut self, asked: &QuestionKey, source: IpAddr) {
        let Some(question) = self.questions.get_mut(asked) else { return };
        let payer = std::mem::replace(&mut question.payer, source);
        match question.query {
            Some(key) => {
                self.shares.release(payer, key);
                self.shares.hold(source, key);
            }
            None => {
                self.shares.dequeue(payer, question.place);
                self.shares.enqueue(source, question.place, asked.clone());
            }
        }
    }

    /// Sends a question to the next server, or ends it with the error of its tries.
    pub(super) fn next_try(&mut self, now: u64, asked: QuestionKey, failure: DnsError) {
        let Some(question) = self.questions.get_mut(&asked) else { return };
        if failure == DnsError::ServerFailure {
            question.failure = failure;
        }
        if question.tries >= question.settings.tries() {
            let failure = question.failure;
            return self.answer(now, &asked, Err(failure));
        }
        let servers = &question.settings.servers;
        let server = servers[(question.offset + question.tries) % servers.len()];
        question.tries += 1;
        // Some middleboxes drop messages with an OPT record, so later rounds omit it.
        let edns = question.tries <= servers.len();
        self.send(now, Query::new(asked, server, Transport::Udp, edns));
    }

    /// Starts a query, which must belong to a question.
    fn send(&mut self, now: u64, mut query: Query) {
        let key = self.next_serial();
        let Some(question) = self.questions.get_mut(&query.question) else { return };
        question.query = Some(key);
        self.shares.hold(question.payer, key);
        query.id = (self.random)();
        query.deadline = now + question.settings.try_timeout_ms();
        self.expiries.insert(pair(query.deadline, key), key);
        self.queries.insert(key, query);
        self.transmits.push_back(key);
    }

    /// Handles a response to a query.
    pub(super) fn handle_response(&mut self, now: u64, key: u64, response: Response) {
        if response == Response::Unrelated {
            return;
        }
        let Some(query) = self.end_query(key) else { return };
        let Query { question, server, transport, edns, .. } = query;
        match response {
            Response::Unrelated => {}
            Response::Truncated => {
                self.send(now, Query::new(question, server, Transport::Tcp, edns));
            }
            Response::NoEdns => self.send(now, Query::new(question, server, transport, false)),
            Response::Failure => {
                self.counters.failed += 1;
                self.next_try(now, question, DnsError::ServerFailure);
            }
            Response::Answer(answer, ttl_s) => {
                self.counters.answered += 1;
                self.cache.insert(now, &question, &answer, ttl_s);
                self.answer(now, &question, answer);
            }
        }
        self.ask_queued(now);
    }

    pub(super) fn end_query(&mut self, key: u64) -> Option<Query> {
        let query = self.queries.remove(key)?;
        self.expiries.remove(&pair(query.deadline, key));
        if let Some(question) = self.questions.get(&query.question) {
            self.shares.release(question.payer, key);
        }
        if query.transmitted {
            self.closes.push_back(key);
        }
        Some(query)
    }

    pub(super) fn remove_question(&mut self, asked: &QuestionKey) -> Option<Question> {
        let question = self.questions.get(asked)?;
        if let Some(at) = question.cut_off {
            self.cut_offs.remove(pair(at, question.place));
        }
        match question.query {
            None => self.shares.dequeue(question.payer, question.place),
            Some(key) => drop(self.end_query(key)),
        }
        self.questions.remove(asked)
    }
}

impl Question {
    /// The source to charge it to: of its sources, the one with the fewest other questions, so that
    /// it is sent as soon as if that one had asked alone.
    pub(super) fn lightest(&self, shares: &Shares) -> IpAddr {
        let sources = self.sources.keys().take(SOURCES_COMPARED_MAX).map(|&key| address_of(key));
        sources.min_by_key(|&source| shares.load(source)).unwrap_or(self.payer)
    }
}

#[cfg(test)]
#[path = "sharing_test.rs"]
mod tests;
