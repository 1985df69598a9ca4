//! Which seeds are run.

use std::process::Command;
use std::{env, fmt};

/// Seeds of a plain `cargo test`.
const SEEDS: u64 = 512;

pub struct Seeds {
    first: u64,
    count: u64,
    are_fresh: bool,
}

impl Seeds {
    /// Those that the environment wants.
    pub fn wanted() -> Seeds {
        if let Some(count) = number("SOCKU_FRESH_SEEDS") {
            return Seeds { first: first_of_commit(), count, are_fresh: true };
        }
        Seeds { first: 0, count: number("SOCKU_SEEDS").unwrap_or(SEEDS), are_fresh: false }
    }

    pub fn get(&self, place: u64) -> Option<u64> {
        (place < self.count).then(|| self.first + place)
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// No other commit runs them, so too little is known of them for more than the invariants.
    pub fn are_fresh(&self) -> bool {
        self.are_fresh
    }
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} seeds from {} on", self.count, self.first)
    }
}

/// A number in the environment.
pub fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// A number that follows from the commit: the first 12 digits of its hash.
fn first_of_commit() -> u64 {
    let output = Command::new("git").args(["rev-parse", "HEAD"]).output().expect("git");
    let hash = String::from_utf8(output.stdout).expect("a hash");
    let digits = hash.get(..12).expect("fresh seeds are taken from a commit");
    u64::from_str_radix(digits, 16).expect("hexadecimal digits")
}
