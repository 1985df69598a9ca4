//! What runs came to, for a look at whether they tested anything.

use crate::scenario::Mode;
use crate::seen::Seen;
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub struct Outcome {
    pub sessions: u64,
    pub turns: u64,
    /// Sessions over kernels without bad habits, and turns there in which no call did anything.
    pub calm_sessions: u64,
    pub fruitless: u64,
    pub bytes: u64,
    pub spliced: u64,
    /// By mode.
    pub seen: [Seen; 2],
    pub reasons: BTreeMap<String, u64>,
    /// All calls of one run, as a number.
    pub journal: u64,
}

impl Outcome {
    pub fn add(&mut self, other: &Outcome) {
        self.sessions += other.sessions;
        self.turns += other.turns;
        self.calm_sessions += other.calm_sessions;
        self.fruitless += other.fruitless;
        self.bytes += other.bytes;
        self.spliced += other.spliced;
        for (seen, other) in self.seen.iter_mut().zip(&other.seen) {
            seen.add(other);
        }
        for (reason, count) in &other.reasons {
            *self.reasons.entry(reason.clone()).or_default() += count;
        }
    }

    /// With enough seeds, every kind of end has been seen.
    pub fn assert_it_was_a_test(&self, seeds: u64) {
        if seeds < 256 {
            return;
        }
        for reason in [
            "done",
            "client-reset",
            "target-reset",
            "client-lost",
            "target-lost",
            "client-left",
            "request-timeout",
            "connect-timeout",
            "bind-timeout",
            "idle-timeout",
            "half-close-timeout",
            "bad-version",
            "bad-command",
            "user-too-long",
            "name-too-long",
            "bad-address-type",
            "no-method",
            "bad-password",
            "too-many-logins",
            "loop",
            "empty-name",
            "bad-name",
            "dns-not-found",
            "dns-no-data",
            "dns-server-failure",
            "no-rule",
            "denied",
            "no-ident",
            "other-user",
            "impossible-target",
            "refused",
            "unreachable",
            "network-unreachable",
            "prohibited",
            "wrong-peer",
            "no-resources",
            "too-many-from-source",
            "stopped",
        ] {
            assert!(self.reasons.contains_key(reason), "no session ended with {reason}");
        }
        assert!(self.reasons["done"] > seeds / 2, "{} transfers are done", self.reasons["done"]);
        for seen in &self.seen {
            assert!(seen.urgent > seeds / 8, "{} urgent bytes were passed on", seen.urgent);
            assert!(seen.waiting_resets > seeds / 8, "{} resets waited", seen.waiting_resets);
            assert!(seen.reloads > seeds / 4, "{} reloads", seen.reloads);
            assert!(seen.lingering > 0, "no reload met a question");
            assert!(seen.dns_streams > seeds / 4, "{} questions over TCP", seen.dns_streams);
            assert!(seen.bursts > seeds / 32, "{} early resets", seen.bursts);
            seen.assert_it_was_a_test(seeds);
        }
        let met = self.seen[Mode::Spliced as usize].splices_at_mark;
        assert!(met > 0, "no splice met an urgent byte");
        self.seen[Mode::Spliced as usize].assert_pipes_were_handed_over(seeds);
        assert!(self.spliced > seeds * 1000, "{} bytes went through pipes", self.spliced);
    }
}
