//! Which question is asked next, so that no source takes the queries of all others.
//!
//! A source is a client's address. Of those with questions waiting, the one with the fewest
//! queries in flight is next; equals take turns. When every query is taken, the oldest of the
//! source that holds the most makes way, as long as that evens the shares out (max-min
//! fairness). Every step costs O(log n).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::name::Name;

#[derive(Debug, Default)]
pub struct Shares {
    /// Sources with a question that waits or is asked.
    sources: BTreeMap<IpAddr, Source>,
    /// Sources with a waiting question: queries in flight, turn, address. The first is next.
    waiting: BTreeSet<(usize, u64, IpAddr)>,
    /// Sources with a query in flight: how many, address.
    holding: BTreeSet<(usize, IpAddr)>,
    turns: u64,
}

#[derive(Debug, Default)]
struct Source {
    /// Waiting questions, by the order in which they came.
    queued: BTreeMap<u64, Name>,
    /// Keys of queries in flight, the oldest first.
    queries: BTreeSet<u64>,
    /// When it last had its turn or began to wait: the lower, the sooner it is next.
    turn: u64,
}

impl Shares {
    /// A question waits. `place` orders the questions of one source and is unique.
    pub fn enqueue(&mut self, source: IpAddr, place: u64, name: Name) {
        let turn = self.next_turn();
        self.change(source, |source| {
            if source.queued.is_empty() {
                source.turn = turn;
            }
            source.queued.insert(place, name);
        });
    }

    /// A question no longer waits.
    pub fn dequeue(&mut self, source: IpAddr, place: u64) {
        self.change(source, |source| source.queued.remove(&place));
    }

    /// Takes the question that is next.
    pub fn next(&mut self) -> Option<Name> {
        let (_, _, source) = *self.waiting.first()?;
        let turn = self.next_turn();
        self.change(source, |source| {
            source.turn = turn;
            source.queued.pop_first().map(|(_, name)| name)
        })
    }

    /// A query is in flight. Keys grow, so that the lowest is the oldest.
    pub fn hold(&mut self, source: IpAddr, key: u64) {
        self.change(source, |source| source.queries.insert(key));
    }

    /// A query has ended.
    pub fn release(&mut self, source: IpAddr, key: u64) {
        self.change(source, |source| source.queries.remove(&key));
    }

    /// The query to be ended in favour of a waiting question, if that evens the shares out.
    pub fn victim(&self) -> Option<u64> {
        let (fewest, ..) = self.waiting.first()?;
        let (most, richest) = self.holding.last()?;
        let source = self.sources.get(richest).filter(|_| fewest + 1 < *most)?;
        source.queries.first().copied()
    }

    /// How many questions of a source wait or are asked.
    pub fn load(&self, source: IpAddr) -> usize {
        self.sources.get(&source).map_or(0, |source| source.queued.len() + source.queries.len())
    }

    /// How many questions wait.
    #[cfg(test)]
    pub fn queued(&self) -> usize {
        self.sources.values().map(|source| source.queued.len()).sum()
    }

    /// Whether nothing is remembered of anybody.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.waiting.is_empty() && self.holding.is_empty()
    }

    fn next_turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }

    /// The only place that changes a source, so that the orders always tell the truth.
    fn change<T>(&mut self, address: IpAddr, act: impl FnOnce(&mut Source) -> T) -> T {
        let mut source = self.sources.remove(&address).unwrap_or_default();
        let held = source.queries.len();
        self.waiting.remove(&(held, source.turn, address));
        self.holding.remove(&(held, address));
        let result = act(&mut source);
        let held = source.queries.len();
        if !source.queued.is_empty() {
            self.waiting.insert((held, source.turn, address));
        }
        if held > 0 {
            self.holding.insert((held, address));
        }
        if held > 0 || !source.queued.is_empty() {
            self.sources.insert(address, source);
        }
        result
    }
}

#[cfg(test)]
#[path = "shares_test.rs"]
mod tests;
