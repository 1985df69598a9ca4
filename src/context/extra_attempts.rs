//! Attempts to connect beside the first of each session: few for all sessions together, and a part of
//! them for each client address, so that none takes them all from the others.

use std::collections::HashMap;
use std::net::IpAddr;

/// No client address has more than one in so many.
const SHARES: usize = 4;

/// How many there are.
pub struct ExtraAttempts {
    most: usize,
    total: usize,
    /// Those of each source, as `address::source_of` has it, that has any.
    sources: HashMap<IpAddr, usize>,
    /// How often one was put off; to be taken.
    pub lacking: u64,
}

impl ExtraAttempts {
    /// At most so many.
    pub fn new(most: usize) -> ExtraAttempts {
        ExtraAttempts { most, total: 0, sources: HashMap::new(), lacking: 0 }
    }

    /// Those of all sources.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Whether a session of this source may start one.
    pub fn may_start(&mut self, source: IpAddr) -> bool {
        let of_source = self.sources.get(&source).copied().unwrap_or(0);
        let may_start = self.total < self.most && of_source < self.most.div_ceil(SHARES);
        self.lacking += u64::from(!may_start);
        may_start
    }

    /// A session of this source has `after` of them, where it had `before`.
    pub fn change(&mut self, source: IpAddr, before: usize, after: usize) {
        if before == after {
            return;
        }
        self.total = self.total + after - before;
        let of_source = self.sources.entry(source).or_insert(0);
        *of_source = *of_source + after - before;
        if *of_source == 0 {
            self.sources.remove(&source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_source_takes_all_and_all_together_have_a_limit() {
        let source = |last| IpAddr::from([10, 0, 0, last]);
        let mut attempts = ExtraAttempts::new(8);
        for last in 1..=4 {
            for before in 0..2 {
                assert!(attempts.may_start(source(last)));
                attempts.change(source(last), before, before + 1);
            }
            assert!(!attempts.may_start(source(last)), "its part is taken");
        }
        assert!(!attempts.may_start(source(5)), "all are taken");
        assert_eq!(attempts.lacking, 5);
        attempts.change(source(1), 2, 0);
        assert!(attempts.may_start(source(5)) && attempts.may_start(source(1)));
        (2..=4).for_each(|last| attempts.change(source(last), 2, 0));
        assert!(attempts.sources.is_empty() && attempts.total == 0);
        assert!(
            ExtraAttempts::new(1).may_start(source(1))
                && !ExtraAttempts::new(0).may_start(source(1))
        );
    }
}
