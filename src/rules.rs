//! The rules of socks.conf and the one function that decides by them.
//!
//! The first rule that matches decides; when none matches the answer is no. The grammar is in
//! [`parse`]; nothing here knows a file, a socket or a clock.

pub mod parse;
mod show;

pub use parse::{ParseError, Parser};

use crate::wire::Command;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

/// Addresses given by octets or in CIDR form: those that equal `value` under `mask`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressPattern {
    /// The bits that are compared.
    pub mask: u32,
    /// What they have to be; no bit outside the mask is set.
    pub value: u32,
}

impl AddressPattern {
    /// This host itself: 127/8.
    pub const LOOPBACK: AddressPattern = AddressPattern { mask: 0xff00_0000, value: 0x7f00_0000 };
    /// Every address.
    const ALL: AddressPattern = AddressPattern { mask: 0, value: 0 };
    /// Link-local addresses: 169.254/16, where clouds keep their secrets.
    pub const LINK_LOCAL: AddressPattern = AddressPattern { mask: 0xffff_0000, value: 0xa9fe_0000 };

    /// Whether `address` is one of them.
    pub fn contain(self, address: Ipv4Addr) -> bool {
        u32::from(address) & self.mask == self.value
    }

    /// Whether every address of `other` is one of them.
    fn cover(self, other: AddressPattern) -> bool {
        self.mask & !other.mask == 0 && other.value & self.mask == self.value
    }

    /// Whether some address is in both.
    fn meet(self, other: AddressPattern) -> bool {
        let both = self.mask & other.mask;
        self.value & both == other.value & both
    }
}

/// Whom a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPattern {
    /// Addresses, also those that a name was resolved to.
    Addresses(AddressPattern),
    /// The SOCKS4A requests that ask for a name. In lower case, without a final dot.
    Name {
        /// The name.
        name: Box<str>,
        /// `*.name`: names that end in it count as well.
        subdomains: bool,
    },
}

/// Whether the client's identd is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ident {
    /// It is not.
    No,
    /// No answer is reply 92, another user reply 93.
    Strict,
    /// No answer is let through, another user is reply 93.
    Lax,
}

/// One rule, as understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its line in the file, counted from 1.
    pub line: u32,
    /// `permit`, or else `deny`.
    pub permit: bool,
    /// It is about CONNECT.
    pub connect: bool,
    /// It is about BIND.
    pub bind: bool,
    /// Whom it is about.
    pub target: TargetPattern,
    /// The ports it is about; empty is all.
    pub ports: Vec<RangeInclusive<u16>>,
    /// The clients it is about.
    pub from: Option<AddressPattern>,
    /// The USERID it is about.
    pub user: Option<Box<[u8]>>,
    /// Whether identd is asked once it has matched.
    pub ident: Ident,
}

/// What is to be decided: a request, and one address it may lead to.
#[derive(Clone, Copy, Debug)]
pub struct AccessRequest<'a> {
    /// What is asked for.
    pub command: Command,
    /// The name of a SOCKS4A request.
    pub name: Option<&'a [u8]>,
    /// CONNECT: the address to connect to. BIND: the peer.
    pub address: Ipv4Addr,
    /// DSTPORT.
    pub port: u16,
    /// The client's address.
    pub client: Ipv4Addr,
    /// USERID.
    pub user: &'a [u8],
}

/// What the rules say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes, by the rule of this line, if the client's identd agrees.
    Permit {
        /// The rule's line.
        line: u32,
        /// Whether identd is asked.
        ident: Ident,
    },
    /// No, by the rule of this line.
    Deny {
        /// The rule's line.
        line: u32,
    },
    /// No rule matches: no.
    NoRule,
    /// Never the target of a TCP connection: no, before any rule.
    Impossible,
}

/// Why no address will be permitted, whichever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A deny rule is why: it is about the name, about every address, or about those that a
    /// permit rule behind it is for.
    Denied {
        /// The rule's line.
        line: u32,
    },
    /// No permit rule is about such a request, and no deny rule decides.
    NoRule,
    /// Port 0 of a CONNECT.
    Impossible,
}

/// The rules of one file, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSet {
    rules: Vec<Rule>,
}

/// A query without its target.
struct Asked<'a> {
    command: Command,
    port: u16,
    client: Ipv4Addr,
    user: &'a [u8],
}

impl RuleSet {
    /// These rules, in this order.
    pub fn of(rules: Vec<Rule>) -> RuleSet {
        RuleSet { rules }
    }

    /// The rules in order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Decides one query.
    pub fn decide(&self, query: &AccessRequest<'_>) -> Verdict {
        let AccessRequest { command, name, address, port, client, user } = *query;
        if is_impossible(command, address, port) {
            return Verdict::Impossible;
        }
        let asked = Asked { command, port, client, user };
        let matching = self
            .rules
            .iter()
            .find(|rule| rule.matches_except_target(&asked) && rule.target.matches(name, address));
        match matching {
            Some(rule) if rule.permit => Verdict::Permit { line: rule.line, ident: rule.ident },
            Some(rule) => Verdict::Deny { line: rule.line },
            None => Verdict::NoRule,
        }
    }

    /// Whether there may be an address for which [`RuleSet::decide`] permits this, and if so
    /// whether the client's identd will be asked: `Strict` means for certain, `Lax` perhaps,
    /// `No` never. An error is a certain "no".
    ///
    /// A "yes" may be wrong where several deny rules cover the addresses of a permit rule only
    /// together; the addresses are judged one by one later anyway.
    pub fn could_permit(
        &self,
        command: Command,
        name: Option<&[u8]>,
        port: u16,
        client: Ipv4Addr,
        user: &[u8],
    ) -> Result<Ident, Refusal> {
        if command == Command::Connect && port == 0 {
            return Err(Refusal::Impossible);
        }
        let asked = Asked { command, port, client, user };
        let (mut denied, mut refusal) = (Denied::default(), None);
        let (mut with_ident, mut without) = (false, false);
        let is_about =
            |rule: &&Rule| rule.matches_except_target(&asked) && rule.target.may_match(name);
        for rule in self.rules.iter().filter(is_about) {
            if !rule.permit {
                denied.add(rule);
                continue;
            }
            match denied.deciding(&rule.target) {
                Some(line) => refusal = refusal.or(Some(line)),
                None if rule.target.is_impossible() => {}
                None if rule.ident == Ident::No => without = true,
                None => with_ident = true,
            }
        }
        match (with_ident, without) {
            (true, false) => Ok(Ident::Strict),
            (true, true) => Ok(Ident::Lax),
            (false, true) => Ok(Ident::No),
            (false, false) => Err(match refusal.or(denied.everything()) {
                Some(line) => Refusal::Denied { line },
                None => Refusal::NoRule,
            }),
        }
    }

    /// What is to be said once about these rules when a listening address is not loopback: that
    /// they make an open proxy, or let clients of other hosts reach 127/8.
    pub fn open_proxy_warnings(&self, beyond_loopback: bool) -> Vec<String> {
        if !beyond_loopback {
            return Vec::new();
        }
        let is_open = |rule: &&Rule| rule.permit && rule.from.is_none_or(|from| from.mask == 0);
        let open = self.rules.iter().find(is_open).map(|rule| {
            format!(
                "line {}: permits every client (`{rule}`); add `from` unless that is meant",
                rule.line
            )
        });
        let commands: [fn(&Rule) -> bool; 2] = [|rule| rule.connect, |rule| rule.bind];
        let exposing = commands.into_iter().filter_map(|command| self.exposing(command));
        let exposed = exposing.min_by_key(|rule| rule.line).map(|rule| {
            format!("line {}: lets other hosts reach services of this one (`{rule}`)", rule.line)
        });
        open.into_iter().chain(exposed).collect()
    }

    /// The first permit rule for this command that lets other hosts reach 127/8, unless a rule
    /// before it denies that to everybody whom it permits.
    fn exposing(&self, is_about: fn(&Rule) -> bool) -> Option<&Rule> {
        let mut shields: Vec<Option<AddressPattern>> = Vec::new();
        self.rules.iter().filter(|rule| is_about(rule)).find(|rule| {
            if rule.shields_loopback() && shields.len() < DENIED_MAX {
                shields.push(rule.from);
            }
            let covers = |from: &Option<AddressPattern>| {
                from.is_none_or(|from| rule.from.is_some_and(|permitted| from.cover(permitted)))
            };
            rule.permit && rule.exposes_loopback() && !shields.iter().any(covers)
        })
    }
}

/// Deny rules that a permit rule is compared with: all of any sane file, and a bound on
/// its time with any other.
const DENIED_MAX: usize = 64;

/// The deny rules that a request has met so far.
#[derive(Default)]
struct Denied {
    addresses: Vec<(AddressPattern, u32)>,
    /// The line of the first that is about the name asked for.
    named: Option<u32>,
}

impl Denied {
    fn add(&mut self, rule: &Rule) {
        match rule.target {
            TargetPattern::Addresses(addresses) if self.addresses.len() < DENIED_MAX => {
                self.addresses.push((addresses, rule.line));
            }
            TargetPattern::Addresses(_) => {}
            TargetPattern::Name { .. } => self.named = self.named.or(Some(rule.line)),
        }
    }

    /// The line of the first rule that covers all of these addresses.
    fn covering(&self, addresses: AddressPattern) -> Option<u32> {
        let (_, line) = self.addresses.iter().find(|(denied, _)| denied.cover(addresses))?;
        Some(*line)
    }

    /// The line of the rule because of which a rule behind it with this target permits nothing.
    /// After a deny rule with the name asked for there are only 127/8 and 169.254/16 left, which
    /// host-name rules do not cover.
    fn deciding(&self, target: &TargetPattern) -> Option<u32> {
        let TargetPattern::Addresses(addresses) = *target else { return self.everything() };
        let is_left = |&own: &AddressPattern| addresses.meet(own) && self.covering(own).is_none();
        let is_named = !OWN.iter().any(|own| own.cover(addresses) || is_left(own));
        let named = self.named.filter(|_| is_named);
        [self.covering(addresses), named].into_iter().flatten().min()
    }

    /// The line of the rule that decides for every address that a name may lead to.
    fn everything(&self) -> Option<u32> {
        [self.covering(AddressPattern::ALL), self.named].into_iter().flatten().min()
    }
}

/// What host-name rules do not cover.
const OWN: [AddressPattern; 2] = [AddressPattern::LOOPBACK, AddressPattern::LINK_LOCAL];

/// 0/8, and 224/4 with 240/4.
const IMPOSSIBLE: [AddressPattern; 2] = [
    AddressPattern { mask: 0xff00_0000, value: 0 },
    AddressPattern { mask: 0xe000_0000, value: 0xe000_0000 },
];

fn is_impossible(command: Command, address: Ipv4Addr, port: u16) -> bool {
    IMPOSSIBLE.iter().any(|addresses| addresses.contain(address))
        || (command == Command::Connect && port == 0)
}

impl Rule {
    /// Whether everything but the target matches.
    fn matches_except_target(&self, asked: &Asked<'_>) -> bool {
        let command = match asked.command {
            Command::Connect => self.connect,
            Command::Bind => self.bind,
        };
        command
            && (self.ports.is_empty() || self.ports.iter().any(|ports| ports.contains(&asked.port)))
            && self.from.is_none_or(|from| from.contain(asked.client))
            && self.user.as_deref().is_none_or(|user| user == asked.user)
    }

    /// Whether its target meets 127/8 and its clients may be other hosts.
    fn exposes_loopback(&self) -> bool {
        let reaches = matches!(self.target, TargetPattern::Addresses(addresses) if addresses.meet(AddressPattern::LOOPBACK));
        reaches && self.from.is_none_or(|from| !AddressPattern::LOOPBACK.cover(from))
    }

    /// Whether it denies all of 127/8, to whomever it is about.
    fn shields_loopback(&self) -> bool {
        !self.permit
            && self.ports.is_empty()
            && self.user.is_none()
            && matches!(self.target, TargetPattern::Addresses(a) if a.cover(AddressPattern::LOOPBACK))
    }
}

impl TargetPattern {
    /// Whether no connection can go to any of it.
    fn is_impossible(&self) -> bool {
        matches!(self, TargetPattern::Addresses(own) if IMPOSSIBLE.iter().any(|all| all.cover(*own)))
    }

    /// Whether it matches for some address.
    fn may_match(&self, name: Option<&[u8]>) -> bool {
        matches!(self, TargetPattern::Addresses(_)) || self.names(name)
    }

    fn matches(&self, name: Option<&[u8]>, address: Ipv4Addr) -> bool {
        match self {
            TargetPattern::Addresses(addresses) => addresses.contain(address),
            // A name that somebody else controls must not lead to this host's own services.
            TargetPattern::Name { .. } => {
                self.names(name) && !OWN.iter().any(|own| own.contain(address))
            }
        }
    }

    /// Whether this is a host-name target that covers the name asked for.
    fn names(&self, asked: Option<&[u8]>) -> bool {
        let (TargetPattern::Name { name, subdomains }, Some(asked)) = (self, asked) else {
            return false;
        };
        let asked = asked.strip_suffix(b".").unwrap_or(asked);
        let Some((front, end)) = asked.split_at_checked(asked.len().wrapping_sub(name.len()))
        else {
            return false;
        };
        end.eq_ignore_ascii_case(name.as_bytes())
            && (front.is_empty() || (*subdomains && front.len() > 1 && front.ends_with(b".")))
    }
}

#[cfg(test)]
#[path = "rules/rules_test.rs"]
mod tests;
