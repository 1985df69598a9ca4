//! Rules as a list anybody can read, and what they mean: the reference that the proxy's
//! decisions are compared with.

use crate::addresses::{CLIENTS, TARGETS, address, are_one_source, loopback, v4, v6};
use crate::random::Random;
use std::net::IpAddr;

pub const CONNECT: u8 = 1;
pub const BIND: u8 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    Anybody,
    /// Every address of IPv6, or of IPv4.
    Family(bool),
    /// The /24 of this address, or the /48.
    Net(IpAddr),
    One(IpAddr),
    Named(&'static str),
    Under(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    Nothing,
    Strict,
    Lax,
}

#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub permit: bool,
    /// 1, 2, or 3 for both.
    pub commands: u8,
    pub whom: Whom,
    pub port: Option<u16>,
    /// A client, or those of the /64 that this begins.
    pub from: Option<IpAddr>,
    pub user: Option<&'static str>,
    pub auth: bool,
    pub asks: Asks,
}

/// A request and one address it leads to.
pub struct Case<'a> {
    pub command: u8,
    pub name: Option<&'a str>,
    pub address: IpAddr,
    pub port: u16,
    pub client: IpAddr,
    pub user: &'a str,
    /// The user has proved who he is.
    pub is_proven: bool,
}

pub fn random_rules(random: &mut Random) -> Vec<Rule> {
    let mut rules = Vec::new();
    for _ in 0..random.below(5) / (1 + random.below(2)) {
        let is_v6 = random.chance(35);
        let whom = match random.below(6) {
            0 => random.pick(&[Whom::Anybody, Whom::Family(false), Whom::Family(true)]),
            1 => Whom::Net(random.pick(&[
                address(is_v6, TARGETS, 0, 1),
                address(is_v6, TARGETS, 1, 1),
                loopback(is_v6),
            ])),
            2 => Whom::One(address(is_v6, TARGETS, 0, random.within(1, 9) as u8)),
            3 => Whom::Named(random.pick(&["one.example", "many.example", "both.example"])),
            _ => Whom::Under("example"),
        };
        let permit = random.chance(50);
        let number = random.within(1, 3) as u8;
        let from = match random.chance(35) {
            true => v6(CLIENTS, number, 0),
            false => v4(CLIENTS, 0, number),
        };
        rules.push(Rule {
            permit,
            commands: random.within(1, 3) as u8,
            whom,
            port: random.chance(20).then(|| random.pick(&[80, 443])),
            from: random.chance(20).then_some(from),
            user: random.chance(15).then_some("bob"),
            auth: permit && random.chance(25),
            asks: if permit { asks(random) } else { Asks::Nothing },
        });
    }
    if random.chance(93) {
        rules.push(last_rule(random));
    }
    rules
}

/// It permits most of what no other rule has decided.
fn last_rule(random: &mut Random) -> Rule {
    let whom = match random.below(20) {
        0 => Whom::Family(false),
        1 => Whom::Family(true),
        _ => Whom::Anybody,
    };
    Rule {
        permit: true,
        commands: random.pick(&[3, 3, 3, 1, 2]),
        whom,
        port: None,
        from: None,
        user: None,
        auth: random.chance(5),
        asks: asks(random),
    }
}

fn asks(random: &mut Random) -> Asks {
    random.pick(&[Asks::Nothing, Asks::Nothing, Asks::Nothing, Asks::Lax, Asks::Strict])
}

/// As they stand in a rule file.
pub fn text(rules: &[Rule]) -> String {
    let mut text = String::new();
    for rule in rules {
        text += if rule.permit { "permit " } else { "deny " };
        text += ["", "c ", "b ", "cb "][usize::from(rule.commands)];
        text += &match rule.whom {
            Whom::Anybody => "*".to_string(),
            Whom::Family(false) => "*.*.*.*".to_string(),
            Whom::Family(true) => "::/0".to_string(),
            Whom::Net(IpAddr::V4(address)) => {
                let [a, b, c, _] = address.octets();
                format!("{a}.{b}.{c}.*")
            }
            Whom::Net(IpAddr::V6(address)) => {
                let [a, b, c, ..] = address.segments();
                format!("{a:x}:{b:x}:{c:x}::/48")
            }
            Whom::One(address) => address.to_string(),
            Whom::Named(name) => name.to_string(),
            Whom::Under(name) => format!("*.{name}"),
        };
        text += &rule.port.map_or(String::new(), |port| format!(" port {port}"));
        text += &rule.from.map_or(String::new(), |from| match from {
            IpAddr::V4(from) => format!(" from {from}"),
            IpAddr::V6(from) => format!(" from {from}/64"),
        });
        text += &rule.user.map_or(String::new(), |user| format!(" user {user}"));
        text += if rule.auth { " auth" } else { "" };
        text += ["", " ident", " ident-lax"][rule.asks as usize];
        text.push('\n');
    }
    text
}

/// What the rules say of one address: `None` is no.
pub fn decide(rules: &[Rule], case: &Case<'_>) -> Option<Asks> {
    let is_impossible = match case.address {
        IpAddr::V4(address) => address.octets()[0] == 0 || address.octets()[0] >= 224,
        IpAddr::V6(address) => address.is_unspecified() || address.is_multicast(),
    };
    if is_impossible || (case.command == CONNECT && case.port == 0) {
        return None;
    }
    for rule in rules {
        let matches = rule.commands & case.command != 0
            && is_meant(rule.whom, case)
            && rule.port.is_none_or(|port| port == case.port)
            && rule.from.is_none_or(|from| are_one_source(from, case.client))
            && rule.user.is_none_or(|user| user == case.user)
            && (case.is_proven || !rule.auth);
        if matches {
            return rule.permit.then_some(rule.asks);
        }
    }
    None
}

fn is_meant(whom: Whom, case: &Case<'_>) -> bool {
    let inner = case.address.is_loopback()
        || match case.address {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        };
    match (whom, case.name) {
        (Whom::Anybody, _) => true,
        (Whom::Family(is_v6), _) => case.address.is_ipv6() == is_v6,
        (Whom::Net(net), _) => is_in_net(case.address, net),
        (Whom::One(one), _) => one == case.address,
        (Whom::Named(name), Some(asked)) => !inner && asked.eq_ignore_ascii_case(name),
        (Whom::Under(name), Some(asked)) => {
            let asked = asked.to_ascii_lowercase();
            !inner && (asked == name || asked.ends_with(&format!(".{name}")))
        }
        (Whom::Named(_) | Whom::Under(_), None) => false,
    }
}

fn is_in_net(address: IpAddr, net: IpAddr) -> bool {
    match (address, net) {
        (IpAddr::V4(address), IpAddr::V4(net)) => address.octets()[..3] == net.octets()[..3],
        (IpAddr::V6(address), IpAddr::V6(net)) => address.segments()[..3] == net.segments()[..3],
        _ => false,
    }
}
