//! The rules of socks.conf, and the only function that applies them.
//!
//! The first rule that matches decides; when none matches, the request is refused. The grammar is
//! in [`parse`]. Nothing here uses a file, a socket or a clock.

mod addresses;
#[cfg_attr(not(feature = "dead-rules"), path = "rules/dead/absent.rs")]
mod dead;
#[cfg(feature = "explain")]
mod nearest;
pub mod parse;
mod show;
mod warnings;

pub use addresses::AddressPattern;
pub use dead::Dead;
pub use parse::Parser;
pub use warnings::Circumstances;

use crate::wire::Command;
use minicbor::{Decode, Encode};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

/// The targets that a rule matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPattern {
    /// Addresses, including those that a name resolved to.
    Addresses(AddressPattern),
    /// The name that a request asks for. In lower case, without a final dot.
    Name {
        /// The name.
        name: Box<str>,
        /// `*.name`: names below it match as well.
        subdomains: bool,
    },
}

/// Whether the client's identd is queried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Ident {
    /// No query.
    #[n(0)]
    No,
    /// No answer is refused with reply 92, another user with reply 93.
    #[n(1)]
    Strict,
    /// No answer is accepted; another user is refused with reply 93.
    #[n(2)]
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
    /// The user it matches.
    pub user: Option<Box<[u8]>>,
    /// It matches only a user who has proved who he is.
    pub auth: bool,
    /// Whether identd is queried when it matches.
    pub ident: Ident,
}

/// A request to decide, with one of the addresses it may lead to.
#[derive(Clone, Copy, Debug)]
pub struct AccessRequest<'a> {
    /// CONNECT or BIND.
    pub command: Command,
    /// The name that it asks for, if it asks for one.
    pub name: Option<&'a [u8]>,
    /// CONNECT: the address to connect to. BIND: the peer.
    pub address: IpAddr,
    /// DSTPORT.
    pub port: u16,
    /// The client's address.
    pub client: IpAddr,
    /// USERID, or the user of a SOCKS5 password.
    pub user: &'a [u8],
    /// The user has proved who he is, by a SOCKS5 password (RFC 1929); a USERID is a claim.
    pub proven: bool,
}

/// A request without its target: what is known of it before a name is resolved, and before the peer
/// of a BIND connects. The fields are those of [`AccessRequest`].
#[derive(Clone, Copy, Debug)]
pub struct PartialRequest<'a> {
    /// CONNECT or BIND.
    pub command: Command,
    /// DSTPORT.
    pub port: u16,
    /// The client's address.
    pub client: IpAddr,
    /// USERID, or the user of a SOCKS5 password.
    pub user: &'a [u8],
    /// The user has proved who he is.
    pub proven: bool,
}

impl<'a> PartialRequest<'a> {
    /// The same request with one of the addresses it may lead to, and the name that has it.
    pub fn with_address(self, name: Option<&'a [u8]>, address: IpAddr) -> AccessRequest<'a> {
        let PartialRequest { command, port, client, user, proven } = self;
        AccessRequest { command, name, address, port, client, user, proven }
    }
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
    /// By a deny rule that matches the name, every address of a family, or all addresses of a later
    /// permit rule.
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

impl RuleSet {
    /// A set of these rules, in this order.
    pub fn of(rules: Vec<Rule>) -> RuleSet {
        RuleSet { rules }
    }

    /// The rules in order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Decides one request. An IPv4 address written as IPv6 is judged as IPv4.
    pub fn decide(&self, request: &AccessRequest<'_>) -> Verdict {
        let AccessRequest { command, name, address, port, client, user, proven } = *request;
        if is_impossible(command, address, port) {
            return Verdict::Impossible;
        }
        let partial = PartialRequest { command, port, client, user, proven };
        let matching = self.rules.iter().find(|rule| {
            rule.matches_except_target(&partial) && rule.target.matches(name, address)
        });
        match matching {
            Some(rule) if rule.permit => Verdict::Permit { line: rule.line, ident: rule.ident },
            Some(rule) => Verdict::Deny { line: rule.line },
            None => Verdict::NoRule,
        }
    }

    /// The rules that match this request, by `name` if it asks for one, for some address.
    pub fn may_decide<'a>(
        &'a self,
        request: &'a PartialRequest<'_>,
        name: Option<&'a [u8]>,
    ) -> impl Iterator<Item = &'a Rule> {
        self.rules
            .iter()
            .filter(move |rule| rule.matches_except_target(request) && rule.target.may_match(name))
    }

    /// Whether there may be an address for which [`RuleSet::decide`] permits this, and if so
    /// whether the client's identd will be queried: `Strict` means always, `Lax` perhaps, `No`
    /// never. An error is certain.
    ///
    /// `Ok` may be wrong where several deny rules cover the addresses of a permit rule only
    /// together; each address is evaluated later anyway.
    pub fn could_permit(
        &self,
        request: &PartialRequest<'_>,
        name: Option<&[u8]>,
    ) -> Result<Ident, NoPermit> {
        if request.command == Command::Connect && request.port == 0 {
            return Err(NoPermit::Impossible);
        }
        let (mut denies, mut denied_by) = (DenyRules::default(), None);
        let (mut with_ident, mut without) = (false, false);
        for rule in self.may_decide(request, name) {
            if !rule.permit {
                denies.add(rule);
                continue;
            }
            match denies.line_denying(&rule.target) {
                Some(line) => denied_by = denied_by.or(Some(line)),
                None if rule.ident == Ident::No => without = true,
                None => with_ident = true,
            }
        }
        match (with_ident, without) {
            (true, false) => Ok(Ident::Strict),
            (true, true) => Ok(Ident::Lax),
            (false, true) => Ok(Ident::No),
            (false, false) => Err(match denied_by.or(denies.line_denying_a_family()) {
                Some(line) => NoPermit::Denied { line },
                None => NoPermit::NoRule,
            }),
        }
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

    /// The line of the rule by which all of these addresses are denied: for both families that may
    /// take two rules, and it is the second.
    fn covering(&self, addresses: AddressPattern) -> Option<u32> {
        addresses.families().try_fold(0, |last, of_one| {
            let (_, line) = self.addresses.iter().find(|(denied, _)| denied.covers(of_one))?;
            Some(last.max(*line))
        })
    }

    /// The line of the rule because of which a later rule with this target permits nothing. After a
    /// deny rule with the requested name, only what host-name rules do not cover is left.
    fn line_denying(&self, target: &TargetPattern) -> Option<u32> {
        let (addresses, named) = match *target {
            TargetPattern::Addresses(addresses) => {
                let is_left = |own: &AddressPattern| {
                    own.covers(addresses)
                        || (own.overlaps(addresses) && self.covering(*own).is_none())
                };
                (addresses, self.named.filter(|_| !NEVER_BY_NAME.iter().any(is_left)))
            }
            TargetPattern::Name { .. } => (AddressPattern::ANY, self.named),
        };
        [self.covering(addresses), named].into_iter().flatten().min()
    }

    /// The line of the rule that decides for every address of a family that a name may lead to.
    fn line_denying_a_family(&self) -> Option<u32> {
        let families = AddressPattern::ANY.families();
        families.filter_map(|family| self.covering(family)).chain(self.named).min()
    }
}

/// What host-name rules do not cover: this host itself, and its links, where clouds serve the
/// credentials of an instance. A name server may answer with any of these.
const NEVER_BY_NAME: [AddressPattern; 8] = [
    AddressPattern::LOOPBACK[0],
    AddressPattern::LOOPBACK[1],
    v4([169, 254, 0, 0], 16),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    // 127/8 and 169.254/16 by way of a NAT64 gateway (RFC 6052 section 2.1).
    v6([0x64, 0xff9b, 0, 0, 0, 0, 0x7f00, 0], 104),
    v6([0x64, 0xff9b, 0, 0, 0, 0, 0xa9fe, 0], 112),
    // The metadata services of Amazon and Google, which have unique local addresses.
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128),
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128),
];

/// 0/8, 224/4 with 240/4, :: and ff00::/8.
const IMPOSSIBLE: [AddressPattern; 4] =
    [v4([0; 4], 8), v4([224, 0, 0, 0], 3), v6([0; 8], 128), v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8)];

const fn v4([a, b, c, d]: [u8; 4], bits: u32) -> AddressPattern {
    AddressPattern::network(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), bits)
}

const fn v6([a, b, c, d, e, f, g, h]: [u16; 8], bits: u32) -> AddressPattern {
    AddressPattern::network(IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), bits)
}

fn is_impossible(command: Command, address: IpAddr, port: u16) -> bool {
    IMPOSSIBLE.iter().any(|addresses| addresses.contains(address))
        || (command == Command::Connect && port == 0)
}

impl Rule {
    /// Whether everything but the target matches.
    fn matches_except_target(&self, request: &PartialRequest<'_>) -> bool {
        self.has_command(request.command)
            && self.has_port(request.port)
            && self.clients().contains(request.client)
            && self.has_user(request.user)
            && (!self.auth || request.proven)
    }

    fn has_command(&self, command: Command) -> bool {
        match command {
            Command::Connect => self.connect,
            Command::Bind => self.bind,
        }
    }

    fn has_port(&self, port: u16) -> bool {
        self.ports.is_empty() || self.ports.iter().any(|ports| ports.contains(&port))
    }

    fn has_user(&self, user: &[u8]) -> bool {
        self.user.as_deref().is_none_or(|own| own == user)
    }

    /// The clients it matches, whatever else it asks of them.
    fn clients(&self) -> AddressPattern {
        self.from.unwrap_or(AddressPattern::ANY)
    }
}

impl TargetPattern {
    /// Whether it matches for some address.
    fn may_match(&self, name: Option<&[u8]>) -> bool {
        match self {
            TargetPattern::Addresses(own) => !IMPOSSIBLE.iter().any(|all| all.covers(*own)),
            TargetPattern::Name { .. } => self.covers_name(name),
        }
    }

    fn matches(&self, name: Option<&[u8]>, address: IpAddr) -> bool {
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
