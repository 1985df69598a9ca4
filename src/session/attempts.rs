//! The attempts to reach a target that has several addresses (RFC 8305, for one family).
//!
//! They start at intervals, or at once when an earlier one fails, so an address that does not
//! answer delays the next by one interval at most. The first to connect wins.

use super::candidates::{Candidate, Candidates};
use crate::time::Millis;

/// Most attempts under way at a time. A further one replaces the oldest.
pub const ATTEMPTS_MAX: usize = 4;

/// The addresses of a target, and the progress of the attempts to reach them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempts {
    candidates: Candidates,
    started: u8,
    failed: u8,
    /// When the next one starts in parallel with those under way, counted from the first. 32 bits,
    /// since every session has room for it.
    next_after_ms: u32,
}

impl Attempts {
    /// Attempts of which none has started yet.
    pub fn new(candidates: Candidates) -> Attempts {
        Attempts { candidates, started: 0, failed: 0, next_after_ms: 0 }
    }

    /// The candidate with this number, from 0.
    pub fn get(&self, number: usize) -> Option<Candidate> {
        self.candidates.get(number)
    }

    /// When the next attempt starts, counted from the first; `None` once all have started.
    pub fn next_after_ms(&self) -> Option<Millis> {
        self.has_next().then_some(self.next_after_ms.into())
    }

    /// How many are under way.
    fn under_way(&self) -> usize {
        usize::from(self.started - self.failed)
    }

    fn has_next(&self) -> bool {
        usize::from(self.started) < self.candidates.count()
    }

    /// Starts the next attempt, if one is left; returns its number and candidate. The one after it
    /// starts `next_after_ms` after the first.
    pub fn start_next(&mut self, next_after_ms: Millis) -> Option<(usize, Candidate)> {
        let number = usize::from(self.started);
        let candidate = self.candidates.get(number)?;
        if self.under_way() == ATTEMPTS_MAX {
            self.failed += 1;
        }
        self.started += 1;
        self.set_next(next_after_ms);
        Some((number, candidate))
    }

    /// An attempt has failed. Returns whether it was the last.
    pub fn fail_one(&mut self) -> bool {
        self.failed += 1;
        self.under_way() == 0 && !self.has_next()
    }

    /// An attempt lacked resources. If it is the latest, and others are under way, it is retried
    /// later; returns whether it will be.
    pub fn postpone(&mut self, number: usize, next_after_ms: Millis) -> bool {
        let is_latest = number + 1 == usize::from(self.started);
        if !is_latest || self.under_way() == 1 {
            return false;
        }
        self.started -= 1;
        self.set_next(next_after_ms);
        true
    }

    fn set_next(&mut self, after_ms: Millis) {
        self.next_after_ms = after_ms.try_into().unwrap_or(u32::MAX);
    }
}
