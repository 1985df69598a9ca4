//! The whole reactor over a simulated kernel, by seeds. Each seed is run twice: with all bytes
//! copied, and with pipes and buffers small enough that flows soon go through them.
//!
//! `SOCKU_SEED=N` replays one seed and prints what happens; `SOCKU_SEEDS=N` runs that many, and
//! `SOCKU_FRESH_SEEDS=N` as many that no commit before has run. Of a seed that fails, the smallest
//! scenario that fails alike is printed, with the variables that replay it.

#![cfg(feature = "server")]
#![cfg_attr(not(feature = "upgrade"), allow(dead_code, reason = "only an upgrade uses it"))]

mod access;
mod actors;
mod addresses;
mod attempts;
mod calls;
mod checks;
mod cuts;
mod dns;
mod ends;
mod failure;
mod flow;
mod journal;
mod kernel;
mod lines;
mod login;
mod name_server;
mod names;
mod outcome;
mod plan;
mod queue;
mod random;
mod reloads;
mod replies;
mod request;
mod rules;
mod scenario;
mod seeds;
mod seen;
mod shrink;
mod sim_net;
mod tcp;
#[cfg_attr(not(feature = "upgrade"), path = "upgrades/absent.rs")]
mod upgrades;
mod users;
mod wakes;
mod wire;
mod world;

use failure::Failure;
use outcome::Outcome;
use scenario::{Mode, Scenario};
use seeds::Seeds;
use std::collections::BTreeMap;
use std::env;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

const THREADS: u64 = 2;
/// One seed of so many is run twice, to see that it leads to the same calls.
const REPEAT_EVERY: u64 = 16;

type Failures = BTreeMap<(u64, Mode), Failure>;

#[test]
fn every_invariant_holds_for_every_seed() {
    lines::install();
    failure::install();
    if let Some(seed) = seeds::number("SOCKU_SEED") {
        return replay(seed);
    }
    let seeds = Seeds::wanted();
    let next = AtomicU64::new(0);
    let results: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| work(&seeds, &next))).collect();
        threads.into_iter().map(|thread| thread.join().expect("seeds are caught")).collect()
    });
    let (mut sum, mut failures) = (Outcome::default(), Failures::new());
    for (outcome, failed) in results {
        sum.add(&outcome);
        failures.extend(failed);
    }
    println!("{seeds}: {sum:?}");
    if let Some((&(seed, mode), failure)) = failures.first_key_value() {
        eprintln!("{}", shrink::smallest(seed, mode, failure));
        panic!("{} runs of {seeds} fail: {:?}", failures.len(), failures.keys());
    }
    if !seeds.are_fresh() {
        sum.assert_it_was_a_test(seeds.count());
    }
}

/// Runs seeds until none is left.
fn work(seeds: &Seeds, next: &AtomicU64) -> (Outcome, Failures) {
    let (mut sum, mut failures) = (Outcome::default(), Failures::new());
    while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
        for mode in Mode::BOTH {
            match failure::catch(|| run_seed(seed, mode)) {
                Ok(outcome) => sum.add(&outcome),
                Err(failure) => {
                    eprintln!("seed {seed} fails, {mode:?}; SOCKU_SEED={seed} shows how");
                    failures.insert((seed, mode), failure);
                }
            }
        }
    }
    (sum, failures)
}

fn run_seed(seed: u64, mode: Mode) -> Outcome {
    let scenario = Scenario::random(seed, mode);
    let outcome = world::run(&scenario, false);
    if seed.is_multiple_of(REPEAT_EVERY) {
        let again = world::run(&scenario, false);
        assert_eq!(outcome.journal, again.journal, "the same seed leads to other calls");
    }
    outcome
}

/// Shows what happens, with what `SOCKU_CUTS` leaves of the scenario and in `SOCKU_MODE` only.
fn replay(seed: u64) {
    let only = env::var("SOCKU_MODE").ok();
    let cuts = env::var("SOCKU_CUTS").unwrap_or_default();
    for mode in Mode::BOTH {
        if only.as_ref().is_some_and(|only| *only != format!("{mode:?}")) {
            continue;
        }
        let mut scenario = Scenario::random(seed, mode);
        for word in cuts.split_whitespace() {
            let cut: cuts::Cut = word.parse().expect("a cut");
            cut.apply(&mut scenario);
        }
        println!("seed {seed}, {mode:?}\n{scenario}");
        println!("{:?}", world::run(&scenario, true));
    }
}
