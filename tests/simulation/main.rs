//! The whole reactor over a simulated kernel, by seeds. Each seed is run twice: with all bytes
//! copied, and with pipes and buffers small enough that flows soon go through them.
//!
//! `SOCKU_SEED=N` replays one seed and prints what happens; `SOCKU_SEEDS=N` runs that many.

mod actors;
mod calls;
mod checks;
mod dns;
mod ends;
mod kernel;
mod lines;
mod plan;
mod queue;
mod random;
mod rules;
mod sim_net;
mod tcp;
mod wire;
mod world;

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::{env, thread};
use world::{Mode, Outcome, run};

/// Seeds of a plain `cargo test`.
const SEEDS: u64 = 512;
const THREADS: u64 = 2;

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn every_invariant_holds_for_every_seed() {
    lines::install();
    if let Some(seed) = number("SOCKU_SEED") {
        for mode in Mode::BOTH {
            println!("seed {seed}, {mode:?}\n{:?}", run(seed, mode, true));
        }
        return;
    }
    let seeds = number("SOCKU_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let work = || {
            let mut sum = Outcome::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds {
                    return sum;
                }
                for mode in Mode::BOTH {
                    match panic::catch_unwind(AssertUnwindSafe(|| run(seed, mode, false))) {
                        Ok(outcome) => sum.add(&outcome),
                        Err(_) => {
                            eprintln!("seed {seed} fails, {mode:?}; SOCKU_SEED={seed} shows how");
                            sum.failed.insert(seed);
                        }
                    }
                }
            }
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("seeds are caught")).collect()
    });
    let mut sum = Outcome::default();
    outcomes.iter().for_each(|outcome| sum.add(outcome));
    println!("{seeds} seeds: {sum:?}");
    let failed = &sum.failed;
    assert!(failed.is_empty(), "{} of {seeds} seeds fail: {failed:?}", failed.len());
    sum.assert_it_was_a_test(seeds);
}
