//! The attempts to reach a target that has several addresses (RFC 8305, for one family).
//!
//! They start some time apart, or at once when one before fails, so an address that does not
//! answer costs its successor that time and no more. The first that connects wins.

use super::candidates::{Candidate, Candidates};
use crate::time::Millis;

/// Most attempts under way at a time. A further one takes the place of the oldest.
pub const ATTEMPTS_MAX: usize = 4;

/// The addresses of a target, and how far the attempts to reach them have come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempts {
    candidates: Candidates,
    started: u8,
    failed: u8,
    /// When the next one starts beside those under way, counted from the first; in 32 bits, for
    /// every session has room for this.
    next_after_ms: u32,
}

impl Attempts {
    /// None has started yet.
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

    /// Starts the next attempt, if one is left: its number and candidate. The one after it is to
    /// start `next_after_ms` after the first.
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

    /// An attempt has failed. Whether it was the last hope.
    pub fn fail_one(&mut self) -> bool {
        self.failed += 1;
        self.under_way() == 0 && !self.has_next()
    }

    /// The attempt that was started last could not be made for want of something. It is made later
    /// if others are under way; whether it will be.
    pub fn put_off(&mut self, next_after_ms: Millis) -> bool {
        let is_alone = self.under_way() == 1;
        if !is_alone {
            self.started -= 1;
            self.set_next(next_after_ms);
        }
        !is_alone
    }

    fn set_next(&mut self, after_ms: Millis) {
        self.next_after_ms = after_ms.try_into().unwrap_or(u32::MAX);
    }
}
