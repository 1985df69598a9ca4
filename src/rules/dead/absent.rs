//! Without the feature `dead-rules`: no rule is known never to decide.

use super::RuleSet;
use std::fmt;

/// A rule that never decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead {
    /// Its place among the rules, from 0.
    pub place: usize,
    /// Why it never decides.
    pub why: WhyDead,
}

/// Why a rule never decides: this build knows no reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhyDead {}

impl fmt::Display for WhyDead {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl RuleSet {
    /// None is found.
    pub fn dead_rules(&self, _comparisons_max: usize) -> Vec<Dead> {
        Vec::new()
    }
}
