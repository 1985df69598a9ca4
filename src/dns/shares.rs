//! Decides which question is sent next, so that no source uses up the queries of all others.
//!
//! A source is a client's address. Of the sources with waiting questions, the one with the fewest
//! queries in flight is next; equals take turns. When all queries are in use, the oldest of the
//! source that holds the most is preempted, as long as that evens the shares out (max-min
//! fairness). Every step costs O(log n).

use std::net::IpAddr;

use super::family::QuestionKey;
use super::ordered::{Order, Ordered, first_of, key_of, pair};

#[derive(Debug, Default)]
pub struct Shares {
    /// Sources with a question that is waiting or in flight.
    sources: Ordered<SourceShare>,
    /// Sources with a waiting question, in the order of their queries in flight, and of their turns.
    /// The first is next.
    waiting: Ordered<IpAddr>,
    /// Sources with a query in flight: how many, address. Queries are few.
    holding: Vec<(usize, IpAddr)>,
    turns: u64,
}

#[derive(Debug, Default)]
struct SourceShare {
    /// Waiting questions, in order of arrival.
    queued: Ordered<QuestionKey>,
    /// Keys of queries in flight, the oldest first.
    queries: Order,
    /// When it last had its turn or began to wait, which no other source has: the lowest is next.
    turn: u64,
}

impl Shares {
    /// Queues a question. `place` orders the questions of one source and is unique.
    pub fn enqueue(&mut self, source: IpAddr, place: u64, question: QuestionKey) {
        let turn = self.next_turn();
        self.change(source, |source| {
            if source.queued.is_empty() {
                source.turn = turn;
            }
            source.queued.insert(place, question);
        });
    }

    /// Removes a question from the queue.
    pub fn dequeue(&mut self, source: IpAddr, place: u64) {
        self.change(source, |source| source.queued.remove(place));
    }

    /// Takes the next question.
    pub fn next(&mut self) -> Option<QuestionKey> {
        let source = *self.waiting.first()?.1;
        let turn = self.next_turn();
        self.change(source, |source| {
            source.turn = turn;
            source.queued.pop_first()
        })
    }

    /// Adds a query in flight. Keys grow, so the lowest is the oldest.
    pub fn hold(&mut self, source: IpAddr, key: u64) {
        self.change(source, |source| source.queries.insert(key.into(), key));
    }

    /// Removes a query that has ended.
    pub fn release(&mut self, source: IpAddr, key: u64) {
        self.change(source, |source| source.queries.remove(&key.into()));
    }

    /// The query to preempt in favour of a waiting question, if that evens the shares out.
    pub fn victim(&self) -> Option<u64> {
        let fewest = first_of(self.waiting.first()?.0);
        let &(most, largest) = self.holding.iter().max()?;
        let source = self.sources.get(key_of(largest)).filter(|_| fewest + 1 < most as u64)?;
        source.queries.first_key_value().map(|(_, key)| *key)
    }

    /// How many questions of a source are waiting or in flight.
    pub fn load(&self, source: IpAddr) -> usize {
        let source = self.sources.get(key_of(source));
        source.map_or(0, |source| source.queued.len() + source.queries.len())
    }

    /// Whether a question is waiting.
    pub fn is_any_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// How many questions are waiting.
    #[cfg(test)]
    pub fn queued(&self) -> usize {
        self.sources.values().map(|source| source.queued.len()).sum()
    }

    /// Whether no source is left.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.waiting.is_empty() && self.holding.is_empty()
    }

    fn next_turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }

    /// The only place that changes a source, so that both orders stay correct.
    fn change<T>(&mut self, address: IpAddr, act: impl FnOnce(&mut SourceShare) -> T) -> T {
        let mut source = self.sources.remove(key_of(address)).unwrap_or_default();
        let held = source.queries.len();
        if !source.queued.is_empty() {
            self.waiting.remove(pair(held as u64, source.turn));
        }
        self.holding.retain(|(_, holder)| *holder != address);
        let result = act(&mut source);
        let held = source.queries.len();
        if !source.queued.is_empty() {
            self.waiting.insert(pair(held as u64, source.turn), address);
        }
        if held > 0 {
            self.holding.push((held, address));
        }
        if held > 0 || !source.queued.is_empty() {
            self.sources.insert(key_of(address), source);
        }
        result
    }
}

#[cfg(test)]
#[path = "shares_test.rs"]
mod tests;
