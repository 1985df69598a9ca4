//! The permit rule that came nearest to a request that no rule permits.
//!
//! That is the one of whose conditions (command, target, port, client, user, proof) the fewest fail;
//! of equals, the first.

use super::{PartialRequest, Rule, RuleSet, TargetPattern};
use crate::escape::Escaped;
use crate::wire::Command;
use std::fmt;
use std::net::IpAddr;

/// A permit rule, and what kept it from matching.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nearest<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// All of its conditions that fail, at least one.
    pub obstacles: Vec<Obstacle<'a>>,
}

/// A condition of a rule that a request does not meet; `Display` says what the request has instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle<'a> {
    /// The rule is for the other command.
    Command(Command),
    /// The rule is for another target than this name, or this address.
    Target(Option<&'a [u8]>, Option<IpAddr>),
    /// The rule is for the name, which leads to an address that no name may lead to.
    NeverByName(IpAddr),
    /// The rule is for other ports.
    Port(u16),
    /// The rule is for other clients.
    From(IpAddr),
    /// The rule is for another user.
    User(&'a [u8]),
    /// The rule requires that the user has proved who he is.
    Auth,
}

impl fmt::Display for Obstacle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::Command(Command::Connect) => f.write_str("command is CONNECT"),
            Obstacle::Command(Command::Bind) => f.write_str("command is BIND"),
            Obstacle::Target(Some(name), Some(address)) => {
                write!(f, "target is {} at {address}", Escaped(name))
            }
            Obstacle::Target(Some(name), None) => write!(f, "target is {}", Escaped(name)),
            Obstacle::Target(None, Some(address)) => write!(f, "target is {address}"),
            Obstacle::Target(None, None) => f.write_str("target is any peer"),
            Obstacle::NeverByName(address) => {
                write!(f, "target is {address}, which no rule for a name covers")
            }
            Obstacle::Port(port) => write!(f, "port is {port}"),
            Obstacle::From(client) => write!(f, "client is {client}"),
            Obstacle::User(user) => write!(f, "user is \"{}\"", Escaped(user)),
            Obstacle::Auth => f.write_str("the user has proved no password"),
        }
    }
}

impl RuleSet {
    /// The permit rule that comes nearest to a request for this name, or this address, or both;
    /// `None` if there is no permit rule, or one matches.
    pub fn nearest<'a>(
        &'a self,
        request: &PartialRequest<'a>,
        name: Option<&'a [u8]>,
        address: Option<IpAddr>,
    ) -> Option<Nearest<'a>> {
        let permits = self.rules.iter().filter(|rule| rule.permit);
        let nearest = permits.map(|rule| {
            let obstacles = rule.obstacles(request, name, address);
            Nearest { rule, obstacles }
        });
        // The first of equals.
        let nearest = nearest.min_by_key(|nearest| nearest.obstacles.len())?;
        (!nearest.obstacles.is_empty()).then_some(nearest)
    }
}

impl Rule {
    /// The conditions that a request does not meet.
    fn obstacles<'a>(
        &self,
        request: &PartialRequest<'a>,
        name: Option<&'a [u8]>,
        address: Option<IpAddr>,
    ) -> Vec<Obstacle<'a>> {
        let PartialRequest { command, port, client, user, proven } = *request;
        let target = match (address, &self.target) {
            (None, target) if target.may_match(name) => None,
            (Some(address), target) if target.matches(name, address) => None,
            (Some(address), TargetPattern::Name { .. }) if self.target.covers_name(name) => {
                Some(Obstacle::NeverByName(address))
            }
            // The name does not matter to a rule for addresses.
            (Some(_), TargetPattern::Addresses(_)) => Some(Obstacle::Target(None, address)),
            _ => Some(Obstacle::Target(name, address)),
        };
        [
            (!self.has_command(command)).then_some(Obstacle::Command(command)),
            target,
            (!self.has_port(port)).then_some(Obstacle::Port(port)),
            (!self.clients().contains(client)).then_some(Obstacle::From(client)),
            (!self.has_user(user)).then_some(Obstacle::User(user)),
            (self.auth && !proven).then_some(Obstacle::Auth),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
