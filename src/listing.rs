//! The output of `-t`: the rules as they are understood.

use crate::rules::{Dead, RuleSet};
use std::fmt::Write;

/// The rules as understood, a line each: the line in the file, the rule, and whether it never matches.
pub fn listing(rules: &RuleSet, dead: &[Dead]) -> String {
    let mut text = String::new();
    let mut dead = dead.iter().map(|dead| dead.place).peekable();
    for (place, rule) in rules.rules().iter().enumerate() {
        let mark = if dead.next_if_eq(&place).is_some() { "   (never matches)" } else { "" };
        let _ = writeln!(text, "{:>4}: {rule}{mark}", rule.line);
    }
    text + "   -: deny everything else\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listing_shows_lines_and_the_default() {
        let listing = listing(&RuleSet::parse(b"# x\npermit c 1.2.3.4").unwrap(), &[]);
        assert_eq!(listing, "   2: permit c 1.2.3.4\n   -: deny everything else\n");
    }
}
