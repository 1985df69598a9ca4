//! The smallest scenario that still fails in the same check.

use crate::cuts::Cut;
use crate::failure::{self, Failure};
use crate::lines;
use crate::scenario::{Mode, Scenario};
use crate::world;
use std::time::{Duration, Instant};

/// No scenario is looked for longer than this.
const TIME_MAX: Duration = Duration::from_secs(10);
/// Without a client, all others meet other chances: that many orders of events are tried then.
const SEEDS_PER_CUT: u64 = 4;

struct Search {
    /// Of the smallest scenario so far.
    failure: Failure,
    until: Instant,
    scenario: Scenario,
    cuts: Vec<Cut>,
    tried: u64,
}

/// Describes the smallest scenario found, and how to replay it.
pub fn smallest(seed: u64, mode: Mode, failure: &Failure) -> String {
    let scenario = Scenario::random(seed, mode);
    let clients = scenario.clients.len();
    let until = Instant::now() + TIME_MAX;
    let failure = failure.clone();
    let mut search = Search { failure, until, scenario, cuts: Vec::new(), tried: 0 };
    while search.shrink_once() {}
    let Search { failure, scenario, cuts, tried, .. } = search;
    let cuts: Vec<String> = cuts.iter().map(Cut::to_string).collect();
    format!(
        "\nsmallest of {tried} scenarios that fail like seed {seed}, {mode:?} ({} of {clients} \
         clients):\n{}: {}\n{scenario}replay:\n    SOCKU_SEED={seed} SOCKU_MODE={mode:?} \
         SOCKU_CUTS=\"{}\" cargo test --test simulation\n",
        scenario.clients.len(),
        failure.check,
        failure.message,
        cuts.join(" "),
    )
}

impl Search {
    /// Tries every cut once; whether one was kept.
    fn shrink_once(&mut self) -> bool {
        let mut has_shrunk = false;
        for cut in Cut::all(&self.scenario) {
            if Instant::now() >= self.until {
                return false;
            }
            has_shrunk |= self.keep_if_failing(cut);
        }
        has_shrunk
    }

    fn keep_if_failing(&mut self, cut: Cut) -> bool {
        let mut smaller = self.scenario.clone();
        if !cut.apply(&mut smaller) {
            return false;
        }
        if self.fails(&smaller) {
            self.scenario = smaller;
            self.cuts.push(cut);
            return true;
        }
        for seed in 0..SEEDS_PER_CUT {
            let reseed = Cut::Reseed(seed);
            reseed.apply(&mut smaller);
            if self.fails(&smaller) {
                self.scenario = smaller;
                self.cuts.extend([cut, reseed]);
                return true;
            }
        }
        false
    }

    fn fails(&mut self, scenario: &Scenario) -> bool {
        if Instant::now() >= self.until {
            return false;
        }
        self.tried += 1;
        let result = failure::catch_quietly(|| world::run(scenario, false));
        lines::take();
        match result {
            Err(failure) if failure.check == self.failure.check => {
                self.failure = failure;
                true
            }
            _ => false,
        }
    }
}
