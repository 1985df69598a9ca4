//! The attempts to reach a target that has several addresses (RFC 8305).
//!
//! They start at intervals, or at once when an earlier one fails, so an address that does not
//! answer delays the next by one interval. The first to connect wins. Few are under way at a time:
//! once they are, each further one replaces the oldest, after a longer interval.

use super::candidates::{Candidate, Candidates};
use crate::reason::{Cause, CloseReason};
use crate::time::Millis;
use minicbor::{Decode, Encode};

/// Most attempts under way at a time.
pub const ATTEMPTS_MAX: usize = 4;
/// How many intervals pass before an attempt replaces the oldest: with 250 ms each, a SYN that was
/// lost is sent again twice before an address is given up.
pub const REPLACE_INTERVALS: Millis = 12;

/// The addresses of a target, and the progress of the attempts to reach them.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Attempts {
    #[n(0)]
    candidates: Candidates,
    #[n(1)]
    started: u8,
    #[n(2)]
    failed: u8,
    /// An attempt lacked resources: no more of them than there are now.
    #[n(3)]
    is_short: bool,
    /// The failure that says most so far, and its attempt.
    #[n(4)]
    failure: Option<(u8, Cause)>,
    /// When the next one starts in parallel with those under way, counted from the first. 32 bits,
    /// since every session has room for it.
    #[n(5)]
    next_after_ms: u32,
}

/// An attempt to be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Its number, from 0.
    pub number: usize,
    /// Its address, and the rule that permits it.
    pub candidate: Candidate,
    /// The oldest attempt is to be closed for it.
    pub replaces_oldest: bool,
}

impl Attempts {
    /// Attempts of which none has started yet.
    pub fn new(candidates: Candidates) -> Attempts {
        Attempts {
            candidates,
            started: 0,
            failed: 0,
            is_short: false,
            failure: None,
            next_after_ms: 0,
        }
    }

    /// Whether no more have failed than were started, nor started than there are candidates.
    pub fn is_consistent(&self) -> bool {
        let has_started = |number| number < self.started;
        self.failed <= self.started
            && usize::from(self.started) <= self.candidates.count()
            && self.failure.is_none_or(|(number, _)| has_started(number))
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

    fn is_full(&self) -> bool {
        self.under_way() == ATTEMPTS_MAX || (self.is_short && self.under_way() > 0)
    }

    /// Starts the next attempt, if one is left; `elapsed_ms` since the first. `is_due` says that its
    /// time has come, and not that another has failed and made room.
    pub fn start_next(
        &mut self,
        is_due: bool,
        elapsed_ms: Millis,
        interval_ms: Millis,
    ) -> Option<Start> {
        let number = usize::from(self.started);
        let candidate = self.candidates.get(number)?;
        let replaces_oldest = is_due && self.is_full();
        if replaces_oldest {
            self.failed += 1;
        }
        self.started += 1;
        self.set_next(elapsed_ms, interval_ms);
        Some(Start { number, candidate, replaces_oldest })
    }

    /// An attempt has failed. Once it was the last, returns the failure that says most, and its
    /// attempt: the latest, but that this host lacks a family says less than how a target answered.
    pub fn fail(&mut self, number: usize, cause: Cause) -> Option<(usize, Cause)> {
        use CloseReason::{ConnectFailed, NetworkUnreachable};
        let says_little = |cause: Cause| matches!(cause.reason, ConnectFailed | NetworkUnreachable);
        self.failed += 1;
        if !says_little(cause) || self.failure.is_none_or(|(_, before)| says_little(before)) {
            self.failure = Some((number as u8, cause));
        }
        let is_last = self.under_way() == 0 && !self.has_next();
        self.failure.filter(|_| is_last).map(|(number, cause)| (number.into(), cause))
    }

    /// An attempt lacked resources. If it is the latest, and others are under way, it is retried
    /// later in place of the oldest; returns whether it will be.
    pub fn postpone(&mut self, number: usize, elapsed_ms: Millis, interval_ms: Millis) -> bool {
        let is_latest = number + 1 == usize::from(self.started);
        if !is_latest || self.under_way() == 1 {
            return false;
        }
        self.started -= 1;
        self.is_short = true;
        self.set_next(elapsed_ms, interval_ms);
        true
    }

    fn set_next(&mut self, elapsed_ms: Millis, interval_ms: Millis) {
        let intervals = if self.is_full() { REPLACE_INTERVALS } else { 1 };
        let after_ms = elapsed_ms.saturating_add(intervals.saturating_mul(interval_ms));
        self.next_after_ms = after_ms.try_into().unwrap_or(u32::MAX);
    }
}
