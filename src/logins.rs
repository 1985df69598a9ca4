//! How often logins of each source have failed lately: passwords cannot be tried without end.
//!
//! Only failures are kept, for a second; without any there is nothing to do and no memory in use.

use crate::time::Millis;
use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

/// Most failed logins of one source in any second.
pub const LOGIN_FAILURES_PER_SECOND: usize = 5;
/// Most sources with a failure within the last second. They take some 2 MiB.
const SOURCES_MAX: usize = 4096;
/// How long a failure counts.
const WINDOW_MS: Millis = 1000;
/// Room for so many is kept when the failures are over.
const KEPT: usize = 64;

/// The latest failures of one source, the newest first.
#[derive(Clone, Copy, Debug)]
struct Failures {
    times: [Millis; LOGIN_FAILURES_PER_SECOND],
    /// How many of them have happened; the rest have no meaning.
    count: usize,
}

impl Failures {
    /// Whether there may be one more.
    fn has_room(&self, now: Millis) -> bool {
        self.count < self.times.len() || is_over(self.times[self.times.len() - 1], now)
    }

    fn add(&mut self, now: Millis) {
        self.times.rotate_right(1);
        self.times[0] = now;
        self.count = self.times.len().min(self.count + 1);
    }
}

/// Failed logins of the last second, by source. Times are of the loop's clock, which never goes
/// back.
#[derive(Clone, Debug, Default)]
pub struct Logins {
    /// Of each source, at least the newest failure counts; or did when [`Logins::record_failure`]
    /// was called last.
    sources: HashMap<IpAddr, Failures>,
    /// Each failure, the oldest first. The first one is the newest of its source.
    order: VecDeque<(Millis, IpAddr)>,
}

impl Logins {
    /// Whether a client of this source, which is one of
    /// [`source_of`](crate::address::source_of), may try to log in now. It may not until the
    /// second is over once its logins have failed [`LOGIN_FAILURES_PER_SECOND`] times within it.
    ///
    /// While 4096 sources have failed within a second, no other source may try: an attacker who
    /// has that many cannot use further ones. Logins that succeed are not limited otherwise.
    pub fn may_try(&self, source: IpAddr, now: Millis) -> bool {
        match self.sources.get(&source) {
            Some(failures) => failures.has_room(now),
            None => {
                self.sources.len() < SOURCES_MAX
                    || self.order.front().is_some_and(|&(oldest, _)| is_over(oldest, now))
            }
        }
    }

    /// Records that a login of this source has failed now. Failures that are over are forgotten:
    /// each is looked at once more at most. One that [`Logins::may_try`] did not allow changes
    /// nothing.
    pub fn record_failure(&mut self, source: IpAddr, now: Millis) {
        self.forget_old(now);
        if !self.may_try(source, now) {
            return;
        }
        let none = Failures { times: [0; LOGIN_FAILURES_PER_SECOND], count: 0 };
        self.sources.entry(source).or_insert(none).add(now);
        self.order.push_back((now, source));
        // The first may have been an older one of this source.
        self.forget_old(now);
    }

    /// Forgets sources whose newest failure is over.
    fn forget_old(&mut self, now: Millis) {
        while let Some(&(time, source)) = self.order.front() {
            let is_newest = self.sources.get(&source).is_some_and(|own| own.times[0] == time);
            if is_newest && !is_over(time, now) {
                return;
            }
            if is_newest {
                self.sources.remove(&source);
            }
            self.order.pop_front();
        }
        // None is left.
        self.sources.shrink_to(KEPT);
        self.order.shrink_to(KEPT);
    }
}

/// The failures that count, each with its time and source, the oldest first.
impl<C> Encode<C> for Logins {
    fn encode<W: Write>(
        &self,
        encoder: &mut Encoder<W>,
        cx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        let of_source = |(source, failures): (&IpAddr, &Failures)| {
            failures.times[..failures.count].iter().map(|time| (*time, *source)).collect::<Vec<_>>()
        };
        let mut all: Vec<(Millis, IpAddr)> = self.sources.iter().flat_map(of_source).collect();
        all.sort_unstable();
        all.encode(encoder, cx)
    }
}

impl<'b, C> Decode<'b, C> for Logins {
    fn decode(decoder: &mut Decoder<'b>, cx: &mut C) -> Result<Logins, decode::Error> {
        let mut logins = Logins::default();
        for failure in decoder.array_iter_with::<C, (Millis, IpAddr)>(cx)? {
            let (time, source) = failure?;
            logins.record_failure(source, time);
        }
        Ok(logins)
    }
}

/// Whether a failure at this time no longer counts.
fn is_over(time: Millis, now: Millis) -> bool {
    time.saturating_add(WINDOW_MS) <= now
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn source(number: usize) -> IpAddr {
        Ipv4Addr::from(number as u32).into()
    }

    #[test]
    fn five_failures_of_a_source_close_it_until_the_second_is_over() {
        let (one, other) = (source(1), source(2));
        let mut logins = Logins::default();
        for now in [100, 100, 300, 500, 900] {
            assert!(logins.may_try(one, now), "{now}");
            logins.record_failure(one, now);
        }
        for (now, expected) in [(900, false), (1099, false), (1100, true), (5000, true)] {
            assert_eq!(logins.may_try(one, now), expected, "{now}");
            assert!(logins.may_try(other, now));
        }
        // Two have become old; 300, 500 and 900 still count.
        for (now, expected) in
            [(1100, true), (1100, true), (1100, false), (1299, false), (1300, true)]
        {
            assert_eq!(logins.may_try(one, now), expected, "{now}");
            logins.record_failure(one, now);
        }
    }

    #[test]
    fn a_failure_that_was_not_allowed_does_not_lengthen_the_wait() {
        let mut logins = Logins::default();
        for now in (0..1000).step_by(10) {
            logins.record_failure(source(1), now);
        }
        assert!(!logins.may_try(source(1), 999) && logins.may_try(source(1), 1000));
        assert_eq!(logins.order.len(), 1, "the fifth, which is the newest");
    }

    #[test]
    fn with_the_table_full_another_source_waits_until_the_oldest_is_over() {
        let mut logins = Logins::default();
        for number in 0..SOURCES_MAX {
            assert!(logins.may_try(source(number), 10));
            logins.record_failure(source(number), if number == 0 { 10 } else { 20 });
        }
        let new = source(SOURCES_MAX);
        assert!(!logins.may_try(new, 20));
        logins.record_failure(new, 20);
        assert_eq!(logins.sources.len(), SOURCES_MAX);
        assert!(logins.may_try(source(7), 20), "a source that is known has its own limit");
        // The oldest fails again: it is no longer the oldest, so that another one is.
        logins.record_failure(source(0), 500);
        for (now, expected) in [(1009, false), (1010, false), (1019, false), (1020, true)] {
            assert_eq!(logins.may_try(new, now), expected, "{now}");
        }
        logins.record_failure(new, 1020);
        assert_eq!((logins.sources.len(), logins.order.len()), (2, 2));
    }

    #[test]
    fn a_source_that_fails_again_does_not_hide_those_that_are_over() {
        let mut logins = Logins::default();
        for (number, now) in [(1, 0), (2, 500), (1, 900), (3, 1000), (2, 1400), (3, 1900)] {
            logins.record_failure(source(number), now);
        }
        assert_eq!((logins.sources.len(), logins.order.len()), (2, 2));
        assert_eq!(logins.order.front(), Some(&(1400, source(2))));
    }

    #[test]
    fn memory_is_bounded_and_given_back() {
        let mut logins = Logins::default();
        for round in 0..20 {
            for number in 0..SOURCES_MAX + 100 {
                logins.record_failure(source(number), 100 * round);
            }
            assert!(logins.sources.len() <= SOURCES_MAX);
            assert!(logins.order.len() <= SOURCES_MAX * LOGIN_FAILURES_PER_SECOND);
        }
        logins.record_failure(source(1), 1_000_000);
        assert_eq!((logins.sources.len(), logins.order.len()), (1, 1));
        assert!(logins.sources.capacity() < 256 && logins.order.capacity() < 256);
    }

    proptest! {
        /// A list of all failures says the same.
        #[test]
        fn any_failures_are_limited_as_by_a_plain_list(
            steps in prop::collection::vec((0..3usize, 0..400u64), 1..200),
        ) {
            let (mut logins, mut list, mut now) = (Logins::default(), Vec::new(), 0);
            for (number, after_ms) in steps {
                now += after_ms;
                let recent =
                    list.iter().filter(|&&(other, time)| other == number && now < time + 1000);
                let expected = recent.count() < LOGIN_FAILURES_PER_SECOND;
                prop_assert_eq!(logins.may_try(source(number), now), expected);
                if expected {
                    list.push((number, now));
                }
                logins.record_failure(source(number), now);
                prop_assert!(logins.order.len() <= 3 * LOGIN_FAILURES_PER_SECOND);
            }
        }
    }
}
