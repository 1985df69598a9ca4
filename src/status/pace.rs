//! When the streams of events have something to say: at most once a second, all at the same time,
//! and only while something changes.

use crate::time::Millis;

/// The least time between two events of a stream.
pub const INTERVAL_MS: Millis = 1000;

/// What a stream has told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// When.
    pub at: Millis,
    /// The number of changes by then.
    pub changes: u64,
}

/// The common beat of all streams, so that one snapshot serves them all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    last: Millis,
}

impl Pace {
    /// When a stream may tell the next event; `None` while nothing has changed since the last one.
    /// A stream that began between two beats skips one.
    pub fn due(&self, told: Told, changes: u64) -> Option<Millis> {
        if told.changes == changes {
            return None;
        }
        let beat = self.last + INTERVAL_MS;
        let least = told.at + INTERVAL_MS;
        Some(if beat >= least { beat } else { beat + INTERVAL_MS }.max(least))
    }

    /// The streams that are due tell an event now.
    pub fn beat(&mut self, now: Millis) {
        self.last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(at: Millis) -> Told {
        Told { at, changes: 7 }
    }

    #[test]
    fn without_a_change_nothing_is_due() {
        assert_eq!(Pace { last: 5000 }.due(told(5000), 7), None);
    }

    #[test]
    fn a_change_is_told_a_second_after_the_last_event_and_not_before() {
        assert_eq!(Pace { last: 5000 }.due(told(5000), 8), Some(6000));
        assert_eq!(Pace { last: 1000 }.due(told(1000), 9), Some(2000), "long ago: at once");
    }

    #[test]
    fn a_stream_that_began_between_two_beats_joins_the_second() {
        let pace = Pace { last: 5000 };
        assert_eq!(pace.due(told(5400), 8), Some(7000));
        assert_eq!(Pace { last: 0 }.due(told(5400), 8), Some(6400), "no beat is near");
    }
}
