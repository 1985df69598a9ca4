//! Rules as a list anybody can read, and what they mean: the reference that the proxy's
//! decisions are compared with.

use crate::random::Random;
use std::net::Ipv4Addr;

pub const CONNECT: u8 = 1;
pub const BIND: u8 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    Anybody,
    /// The /24 of this address.
    Net(Ipv4Addr),
    One(Ipv4Addr),
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
    pub from: Option<Ipv4Addr>,
    pub user: Option<&'static str>,
    pub asks: Asks,
}

/// A request and one address it leads to.
pub struct Case<'a> {
    pub command: u8,
    pub name: Option<&'a str>,
    pub address: Ipv4Addr,
    pub port: u16,
    pub client: Ipv4Addr,
    pub user: &'a str,
}

pub fn random_rules(random: &mut Random) -> Vec<Rule> {
    let nets = [Ipv4Addr::new(10, 2, 0, 1), Ipv4Addr::new(10, 2, 1, 1), Ipv4Addr::LOCALHOST];
    let mut rules = Vec::new();
    for _ in 0..random.below(5) / (1 + random.below(2)) {
        let whom = match random.below(6) {
            0 => Whom::Anybody,
            1 => Whom::Net(random.pick(&nets)),
            2 => Whom::One(Ipv4Addr::new(10, 2, 0, random.within(1, 9) as u8)),
            3 => Whom::Named(random.pick(&["one.example", "many.example", "both.example"])),
            _ => Whom::Under("example"),
        };
        let permit = random.chance(50);
        let asks =
            random.pick(&[Asks::Nothing, Asks::Nothing, Asks::Nothing, Asks::Strict, Asks::Lax]);
        rules.push(Rule {
            permit,
            commands: random.within(1, 3) as u8,
            whom,
            port: random.chance(20).then(|| random.pick(&[80, 443])),
            from: random.chance(20).then(|| Ipv4Addr::new(10, 1, 0, random.within(1, 3) as u8)),
            user: random.chance(15).then_some("bob"),
            asks: if permit { asks } else { Asks::Nothing },
        });
    }
    let asks = random.pick(&[Asks::Nothing, Asks::Nothing, Asks::Nothing, Asks::Lax, Asks::Strict]);
    if random.chance(93) {
        let commands = random.pick(&[3, 3, 3, 1, 2]);
        let (whom, port, from, user) = (Whom::Anybody, None, None, None);
        rules.push(Rule { permit: true, commands, whom, port, from, user, asks });
    }
    rules
}

/// As they stand in a rule file.
pub fn text(rules: &[Rule]) -> String {
    let mut text = String::new();
    for rule in rules {
        text += if rule.permit { "permit " } else { "deny " };
        text += ["", "c ", "b ", "cb "][usize::from(rule.commands)];
        text += &match rule.whom {
            Whom::Anybody => "*.*.*.*".to_string(),
            Whom::Net(address) => {
                format!("{}.{}.{}.*", address.octets()[0], address.octets()[1], address.octets()[2])
            }
            Whom::One(address) => address.to_string(),
            Whom::Named(name) => name.to_string(),
            Whom::Under(name) => format!("*.{name}"),
        };
        text += &rule.port.map_or(String::new(), |port| format!(" port {port}"));
        text += &rule.from.map_or(String::new(), |from| format!(" from {from}"));
        text += &rule.user.map_or(String::new(), |user| format!(" user {user}"));
        text += ["", " ident", " ident-lax"][rule.asks as usize];
        text.push('\n');
    }
    text
}

/// What the rules say of one address: `None` is no.
pub fn decide(rules: &[Rule], case: &Case<'_>) -> Option<Asks> {
    let first = case.address.octets()[0];
    if first == 0 || first >= 224 || (case.command == CONNECT && case.port == 0) {
        return None;
    }
    for rule in rules {
        let matches = rule.commands & case.command != 0
            && is_meant(rule.whom, case)
            && rule.port.is_none_or(|port| port == case.port)
            && rule.from.is_none_or(|from| from == case.client)
            && rule.user.is_none_or(|user| user == case.user);
        if matches {
            return rule.permit.then_some(rule.asks);
        }
    }
    None
}

fn is_meant(whom: Whom, case: &Case<'_>) -> bool {
    let inner = case.address.is_loopback() || case.address.octets()[..2] == [169, 254];
    match (whom, case.name) {
        (Whom::Anybody, _) => true,
        (Whom::Net(net), _) => net.octets()[..3] == case.address.octets()[..3],
        (Whom::One(one), _) => one == case.address,
        (Whom::Named(name), Some(asked)) => !inner && asked.eq_ignore_ascii_case(name),
        (Whom::Under(name), Some(asked)) => {
            let asked = asked.to_ascii_lowercase();
            !inner && (asked == name || asked.ends_with(&format!(".{name}")))
        }
        (Whom::Named(_) | Whom::Under(_), None) => false,
    }
}
