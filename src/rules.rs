//! The rules of socks.conf, and the only function that applies them.
//!
//! The first rule that matches decides; when none matches, the request is refused. The grammar is
//! in [`parse`]. Nothing here uses a file, a socket or a clock.

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
    /// Their value; no bit outside the mask is set.
    pub value: u32,
}

impl AddressPattern {
    /// This host itself: 127/8.
    pub const LOOPBACK: AddressPattern = AddressPattern { mask: 0xff00_0000, value: 0x7f00_0000 };
    /// Every address.
    const ALL: AddressPattern = AddressPattern { mask: 0, value: 0 };
    /// Link-local addresses: 169.254/16, where clouds serve instance credentials.
    pub const LINK_LOCAL: AddressPattern = AddressPattern { mask: 0xffff_0000, value: 0xa9fe_0000 };

    /// Whether `address` is one of them.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & self.mask == self.value
    }

    /// Whether every address of `other` is one of them.
    fn covers(self, other: AddressPattern) -> bool {
        self.mask & !other.mask == 0 && other.value & self.mask == self.value
    }

    /// Whether some address is in both.
    fn overlaps(self, other: AddressPattern) -> bool {
        let both = self.mask & other.mask;
        self.value & both == other.value & both
    }
}

/// The targets that a rule matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPattern {
    /// Addresses, including those that a name resolved to.
    Addresses(AddressPattern),
    /// The name of a SOCKS4A request. In lower case, without a final dot.
    Name {
        /// The name.
        name: Box<str>,
        /// `*.name`: names below it match as well.
        subdomains: bool,
    },
}

/// Whether the client's identd is queried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ident {
    /// No query.
    No,
    /// No answer is refused with reply 92, another user with reply 93.
    Strict,
    /// No answer is accepted; another user is refused with reply 93.
    Lax,
}

/// One parsed rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its line in the file, counted from 1.
    pub line: u32,
    /// `permit`, or else `deny`.
    pub permit: bool,
    /// It matches CONNECT.
    pub connect: bool,
    /// It matches BIND.
    pub bind: bool,
    /// The targets it matches.
    pub target: TargetPattern,
    /// The ports it matches; empty means all.
    pub ports: Vec<RangeInclusive<u16>>,
    /// The clients it matches.
    pub from: Option<AddressPattern>,
    /// The USERID it matches.
    pub user: Option<Box<[u8]>>,
    /// Whether identd is queried when it matches.
    pub ident: Ident,
}

/// A request to decide, with one of the addresses it may lead to.
#[derive(Clone, Copy, Debug)]
pub struct AccessRequest<'a> {
    /// CONNECT or BIND.
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

/// The decision of the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Permitted by the rule on this line, if the client's identd agrees.
    Permit {
        /// The rule's line.
        line: u32,
        /// Whether identd is queried.
        ident: Ident,
    },
    /// Denied by the rule on this line.
    Deny {
        /// The rule's line.
        line: u32,
    },
    /// Denied: no rule matches.
    NoRule,
    /// Never the target of a TCP connection: denied before any rule.
    Impossible,
}

/// Why no address at all will be permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPermit {
    /// By a deny rule that matches the name, every address, or all addresses of a later permit
    /// rule.
    Denied {
        /// The rule's line.
        line: u32,
    },
    /// No permit rule matches such a request, and no deny rule decides.
    NoRule,
    /// Port 0 of a CONNECT.
    Impossible,
}

/// The rules of one file, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSet {
    rules: Vec<Rule>,
}

/// A request without its target.
struct PartialRequest<'a> {
    command: Command,
    port: u16,
    client: Ipv4Addr,
    user: &'a [u8],
}

impl RuleSet {
    /// A set of these rules, in this order.
    pub fn of(rules: Vec<Rule>) -> RuleSet {
        RuleSet { rules }
    }

    /// The rules in order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Decides one request.
    pub fn decide(&self, request: &AccessRequest<'_>) -> Verdict {
        let AccessRequest { command, name, address, port, client, user } = *request;
        if is_impossible(command, address, port) {
            return Verdict::Impossible;
        }
        let partial = PartialRequest { command, port, client, user };
        let matching = self.rules.iter().find(|rule| {
            rule.matches_except_target(&partial) && rule.target.matches(name, address)
        });
        match matching {
            Some(rule) if rule.permit => Verdict::Permit { line: rule.line, ident: rule.ident },
            Some(rule) => Verdict::Deny { line: rule.line },
            None => Verdict::NoRule,
        }
    }

    /// Whether there may be an address for which [`RuleSet::decide`] permits this, and if so
    /// whether the client's identd will be queried: `Strict` means always, `Lax` perhaps, `No`
    /// never. An error is certain.
    ///
    /// `Ok` may be wrong where several deny rules cover the addresses of a permit rule only
    /// together; each address is evaluated later anyway.
    pub fn could_permit(
        &self,
        command: Command,
        name: Option<&[u8]>,
        port: u16,
        client: Ipv4Addr,
        user: &[u8],
    ) -> Result<Ident, NoPermit> {
        if command == Command::Connect && port == 0 {
            return Err(NoPermit::Impossible);
        }
        let partial = PartialRequest { command, port, client, user };
        let (mut denies, mut denied_by) = (DenyRules::default(), None);
        let (mut with_ident, mut without) = (false, false);
        let applies =
            |rule: &&Rule| rule.matches_except_target(&partial) && rule.target.may_match(name);
        for rule in self.rules.iter().filter(applies) {
            if !rule.permit {
                denies.add(rule);
                continue;
            }
            match denies.line_denying(&rule.target) {
                Some(line) => denied_by = denied_by.or(Some(line)),
                None if rule.target.is_impossible() => {}
                None if rule.ident == Ident::No => without = true,
                None => with_ident = true,
            }
        }
        match (with_ident, without) {
            (true, false) => Ok(Ident::Strict),
            (true, true) => Ok(Ident::Lax),
            (false, true) => Ok(Ident::No),
            (false, false) => Err(match denied_by.or(denies.line_denying_all()) {
                Some(line) => NoPermit::Denied { line },
                None => NoPermit::NoRule,
            }),
        }
    }

    /// Warnings for a proxy that listens on more than loopback: the rules make it an open proxy, or
    /// let clients of other hosts reach 127/8.
    pub fn open_proxy_warnings(&self, beyond_loopback: bool) -> Vec<String> {
        if !beyond_loopback {
            return Vec::new();
        }
        let is_open = |rule: &&Rule| rule.permit && rule.from.is_none_or(|from| from.mask == 0);
        let open = self.rules.iter().find(is_open).map(|rule| {
            format!(
                "line {}: permits every client (`{rule}`); add `from` unless this is intended",
                rule.line
            )
        });
        let commands: [fn(&Rule) -> bool; 2] = [|rule| rule.connect, |rule| rule.bind];
        let exposing =
            commands.into_iter().filter_map(|command| self.rule_exposing_loopback(command));
        let exposed = exposing.min_by_key(|rule| rule.line).map(|rule| {
            format!("line {}: lets other hosts reach services of this one (`{rule}`)", rule.line)
        });
        open.into_iter().chain(exposed).collect()
    }

    /// The first permit rule for this command that lets other hosts reach 127/8, unless a rule
    /// before it denies that to every client it permits.
    fn rule_exposing_loopback(&self, applies: fn(&Rule) -> bool) -> Option<&Rule> {
        let mut shields: Vec<Option<AddressPattern>> = Vec::new();
        self.rules.iter().filter(|rule| applies(rule)).find(|rule| {
            if rule.shields_loopback() && shields.len() < DENY_RULES_MAX {
                shields.push(rule.from);
            }
            let covers = |from: &Option<AddressPattern>| {
                from.is_none_or(|from| rule.from.is_some_and(|permitted| from.covers(permitted)))
            };
            rule.permit && rule.exposes_loopback() && !shields.iter().any(covers)
        })
    }
}

/// Most deny rules that a permit rule is compared with: all of any sane file, and a bound on the
/// time taken by any other.
const DENY_RULES_MAX: usize = 64;

/// The deny rules before the current one that apply to a request.
#[derive(Default)]
struct DenyRules {
    addresses: Vec<(AddressPattern, u32)>,
    /// The line of the first that matches the requested name.
    named: Option<u32>,
}

impl DenyRules {
    fn add(&mut self, rule: &Rule) {
        match rule.target {
            TargetPattern::Addresses(addresses) if self.addresses.len() < DENY_RULES_MAX => {
                self.addresses.push((addresses, rule.line));
            }
            TargetPattern::Addresses(_) => {}
            TargetPattern::Name { .. } => self.named = self.named.or(Some(rule.line)),
        }
    }

    /// The line of the first rule that covers all of these addresses.
    fn covering(&self, addresses: AddressPattern) -> Option<u32> {
        let (_, line) = self.addresses.iter().find(|(denied, _)| denied.covers(addresses))?;
        Some(*line)
    }

    /// The line of the rule because of which a later rule with this target permits nothing. After a
    /// deny rule with the requested name, only 127/8 and 169.254/16 are left, which host-name rules
    /// do not cover.
    fn line_denying(&self, target: &TargetPattern) -> Option<u32> {
        let TargetPattern::Addresses(addresses) = *target else { return self.line_denying_all() };
        let is_left =
            |&own: &AddressPattern| addresses.overlaps(own) && self.covering(own).is_none();
        let is_named = !NEVER_BY_NAME.iter().any(|own| own.covers(addresses) || is_left(own));
        let named = self.named.filter(|_| is_named);
        [self.covering(addresses), named].into_iter().flatten().min()
    }

    /// The line of the rule that decides for every address that a name may lead to.
    fn line_denying_all(&self) -> Option<u32> {
        [self.covering(AddressPattern::ALL), self.named].into_iter().flatten().min()
    }
}

/// What host-name rules do not cover.
const NEVER_BY_NAME: [AddressPattern; 2] = [AddressPattern::LOOPBACK, AddressPattern::LINK_LOCAL];

/// 0/8, and 224/4 with 240/4.
const IMPOSSIBLE: [AddressPattern; 2] = [
    AddressPattern { mask: 0xff00_0000, value: 0 },
    AddressPattern { mask: 0xe000_0000, value: 0xe000_0000 },
];

fn is_impossible(command: Command, address: Ipv4Addr, port: u16) -> bool {
    IMPOSSIBLE.iter().any(|addresses| addresses.contains(address))
        || (command == Command::Connect && port == 0)
}

impl Rule {
    /// Whether everything but the target matches.
    fn matches_except_target(&self, request: &PartialRequest<'_>) -> bool {
        let command = match request.command {
            Command::Connect => self.connect,
            Command::Bind => self.bind,
        };
        command
            && (self.ports.is_empty()
                || self.ports.iter().any(|ports| ports.contains(&request.port)))
            && self.from.is_none_or(|from| from.contains(request.client))
            && self.user.as_deref().is_none_or(|user| user == request.user)
    }

    /// Whether its target overlaps 127/8 and its clients may be other hosts.
    fn exposes_loopback(&self) -> bool {
        let reaches = matches!(self.target, TargetPattern::Addresses(addresses) if addresses.overlaps(AddressPattern::LOOPBACK));
        reaches && self.from.is_none_or(|from| !AddressPattern::LOOPBACK.covers(from))
    }

    /// Whether it denies all of 127/8 to the clients it matches.
    fn shields_loopback(&self) -> bool {
        !self.permit
            && self.ports.is_empty()
            && self.user.is_none()
            && matches!(self.target, TargetPattern::Addresses(a) if a.covers(AddressPattern::LOOPBACK))
    }
}

impl TargetPattern {
    /// Whether no TCP connection can go to any of it.
    fn is_impossible(&self) -> bool {
        matches!(self, TargetPattern::Addresses(own) if IMPOSSIBLE.iter().any(|all| all.covers(*own)))
    }

    /// Whether it matches for some address.
    fn may_match(&self, name: Option<&[u8]>) -> bool {
        matches!(self, TargetPattern::Addresses(_)) || self.covers_name(name)
    }

    fn matches(&self, name: Option<&[u8]>, address: Ipv4Addr) -> bool {
        match self {
            TargetPattern::Addresses(addresses) => addresses.contains(address),
            // A name controlled by a third party must not lead to this host's own services.
            TargetPattern::Name { .. } => {
                self.covers_name(name) && !NEVER_BY_NAME.iter().any(|own| own.contains(address))
            }
        }
    }

    /// Whether this is a host-name target that covers the requested name.
    fn covers_name(&self, requested: Option<&[u8]>) -> bool {
        let (TargetPattern::Name { name, subdomains }, Some(requested)) = (self, requested) else {
            return false;
        };
        let requested = requested.strip_suffix(b".").unwrap_or(requested);
        let Some((front, end)) =
            requested.split_at_checked(requested.len().wrapping_sub(name.len()))
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
