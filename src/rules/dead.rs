//! Rules that never decide: those before them take every request that they match, or no connection
//! can be made to their target.
//!
//! A rule is cut into regions, in each of which the command, the family of the target and the family
//! of the client are the same. It is dead when each region is, that is when rules before it, each of
//! which matches the whole region but for the port, have all its ports together. So a rule that is
//! called dead is dead; one that several others cover in a less regular way may be missed.

use super::{AddressPattern, IMPOSSIBLE, Rule, RuleSet, TargetPattern};
use crate::wire::Command;
use std::fmt;
use std::ops::RangeInclusive;

type Ports = RangeInclusive<u16>;

/// A rule that never decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead {
    /// Its place among the rules, from 0.
    pub place: usize,
    /// Why it never decides.
    pub why: WhyDead,
}

/// Why a rule never decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhyDead {
    /// No connection can have its target, or its port.
    Impossible,
    /// The rules on these lines match first, in this order.
    Covered(Vec<u32>),
}

impl fmt::Display for WhyDead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WhyDead::Impossible => f.write_str("it cannot be the target of a connection"),
            WhyDead::Covered(lines) => {
                let shown: Vec<String> = lines.iter().map(u32::to_string).collect();
                let (lines, verb) = match shown.len() {
                    1 => ("line", "matches"),
                    _ => ("lines", "match"),
                };
                write!(f, "{lines} {} {verb} first", shown.join(", "))
            }
        }
    }
}

/// A part of what a rule matches.
#[derive(Clone, Copy)]
struct Region<'a> {
    command: Command,
    /// The addresses of the target, of one family.
    addresses: AddressPattern,
    /// The name that is asked for, and whether names below it are, too.
    name: Option<(&'a str, bool)>,
    /// The clients, of one family.
    clients: AddressPattern,
}

impl RuleSet {
    /// The rules that never decide, in order. Rules are compared with those before them, at most
    /// `comparisons_max` times in all: of a very long file, the last rules are not looked at.
    pub fn dead_rules(&self, comparisons_max: usize) -> Vec<Dead> {
        let mut left = comparisons_max;
        let mut dead = Vec::new();
        for (place, rule) in self.rules.iter().enumerate() {
            let Some(why) = why_dead(rule, &self.rules[..place], &mut left) else { continue };
            dead.push(Dead { place, why });
        }
        dead
    }
}

/// Why a rule never decides after those `before` it. `left` is how many comparisons may follow.
fn why_dead(rule: &Rule, before: &[Rule], left: &mut usize) -> Option<WhyDead> {
    let mut lines = Vec::new();
    for region in regions(rule) {
        let ports = ports_of(rule, region.command);
        if !ports.is_empty() {
            lines.extend(covering(&region, rule, ports, before, left)?);
        }
    }
    lines.sort_unstable();
    lines.dedup();
    Some(if lines.is_empty() { WhyDead::Impossible } else { WhyDead::Covered(lines) })
}

/// The lines of the rules that together match all of a region, if there are such.
fn covering(
    region: &Region<'_>,
    rule: &Rule,
    mut ports: Vec<Ports>,
    before: &[Rule],
    left: &mut usize,
) -> Option<Vec<u32>> {
    let mut lines = Vec::new();
    for earlier in before {
        let cost = 1 + ports.len() * earlier.ports.len();
        *left = left.checked_sub(cost)?;
        if !earlier.covers_but_ports(region, rule) {
            continue;
        }
        let count = lines.len();
        if earlier.ports.is_empty() {
            ports.clear();
            lines.push(earlier.line);
        }
        for taken in &earlier.ports {
            let rest: Vec<Ports> = ports.iter().flat_map(|own| without(own, taken)).collect();
            if rest != ports && lines.len() == count {
                lines.push(earlier.line);
            }
            ports = rest;
        }
        if ports.is_empty() {
            return Some(lines);
        }
    }
    None
}

/// The regions of a rule; none whose target is impossible.
fn regions(rule: &Rule) -> impl Iterator<Item = Region<'_>> {
    let (addresses, name) = match &rule.target {
        TargetPattern::Addresses(addresses) => (*addresses, None),
        TargetPattern::Name { name, subdomains } => {
            (AddressPattern::ANY, Some((&**name, *subdomains)))
        }
    };
    let commands = [(Command::Connect, rule.connect), (Command::Bind, rule.bind)];
    let commands = commands.into_iter().filter_map(|(command, has)| has.then_some(command));
    commands.flat_map(move |command| {
        let possible = |one: &AddressPattern| !IMPOSSIBLE.iter().any(|all| all.covers(*one));
        addresses.families().filter(possible).flat_map(move |addresses| {
            let clients = rule.clients().families();
            clients.map(move |clients| Region { command, addresses, name, clients })
        })
    })
}

/// The ports of a rule for this command: a CONNECT never has port 0.
fn ports_of(rule: &Rule, command: Command) -> Vec<Ports> {
    let all = [0..=u16::MAX];
    let ports: &[Ports] = if rule.ports.is_empty() { &all } else { &rule.ports };
    match command {
        Command::Bind => ports.to_vec(),
        Command::Connect => ports.iter().flat_map(|ports| without(ports, &(0..=0))).collect(),
    }
}

/// The parts of some ports that are not among those taken.
fn without(ports: &Ports, taken: &Ports) -> impl Iterator<Item = Ports> + use<> {
    let (low, high) = (*ports.start(), *ports.end());
    let below = taken.start().checked_sub(1).map(|end| low..=end.min(high));
    let above = taken.end().checked_add(1).map(|start| start.max(low)..=high);
    below.into_iter().chain(above).filter(|part| !part.is_empty())
}

impl Rule {
    /// Whether it matches every request of a region of another rule, whatever the port.
    fn covers_but_ports(&self, region: &Region<'_>, other: &Rule) -> bool {
        self.has_command(region.command)
            && self.target.covers_region(region)
            && self.clients().covers(region.clients)
            && (self.user.is_none() || self.user == other.user)
            && (!self.auth || other.auth)
    }
}

impl TargetPattern {
    fn covers_region(&self, region: &Region<'_>) -> bool {
        match self {
            TargetPattern::Addresses(own) => own.covers(region.addresses),
            TargetPattern::Name { subdomains, .. } => region.name.is_some_and(|(name, below)| {
                (*subdomains || !below) && self.covers_name(Some(name.as_bytes()))
            }),
        }
    }
}

#[cfg(test)]
#[path = "dead_test.rs"]
mod tests;
