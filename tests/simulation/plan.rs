//! What a seed makes of settings, clients and targets.

use crate::random::Random;
use crate::reloads::HOSTS;
use crate::rules::BIND;
use std::net::Ipv4Addr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Fin,
    Close,
    Reset,
    /// Keeps its end open until the proxy ends it.
    Hold,
    /// Is gone without a word.
    Vanish,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identd {
    Right,
    Other,
    Error,
    Junk,
    Silent,
    Closes,
    Refuses,
    Stalls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Right,
    Wrong,
    Both,
    Nobody,
}

/// Why a request is bad, as the access line will say.
pub type Flaw = Option<&'static str>;

#[derive(Clone, Debug)]
pub struct Plan {
    pub start: u64,
    pub from: Ipv4Addr,
    /// Which listener it comes to.
    pub entrance: usize,
    pub command: u8,
    pub name: Option<&'static str>,
    pub host: Ipv4Addr,
    pub port: u16,
    pub user: &'static str,
    pub request: Vec<u8>,
    pub flaw: Flaw,
    /// Bytes sent behind the request before it is answered.
    pub early: u64,
    pub up: u64,
    pub end: (Ending, u64),
    /// Reads no more than this.
    pub reads: u64,
    pub down: u64,
    pub target_end: (Ending, u64),
    pub target_reads: u64,
    /// Which bytes are sent as urgent, those of the request included.
    pub urgent: Vec<u64>,
    pub target_urgent: Vec<u64>,
    /// The target accepts, sends so many bytes and resets, all at once.
    pub burst: Option<u64>,
    pub identd: Identd,
    pub peer: Peer,
}

/// The names that clients ask for.
pub const NAMES: [&str; 11] = [
    "one.example",
    "many.example",
    "slow.example",
    "long.example",
    "both.example",
    "inner.example",
    "nx.example",
    "empty.example",
    "hosted",
    "10.2.0.2",
    "ONE.Example",
];

/// The truth about names, as the name servers of a generation know it: `None` is a name that does
/// not exist.
pub fn addresses_of(name: &str, generation: usize) -> Option<Vec<Ipv4Addr>> {
    let good = |last| Ipv4Addr::new(10, 2, 0, last);
    let name = name.to_ascii_lowercase();
    if generation % 2 == 1 {
        match name.as_str() {
            "many.example" => return Some(vec![good(5), good(3)]),
            "slow.example" | "empty.example" => return Some(vec![good(2)]),
            "both.example" => return None,
            "nx.example" => return Some(vec![]),
            _ => {}
        }
    }
    Some(match name.as_str() {
        "one.example" => vec![good(1 + generation as u8 % 3)],
        "many.example" => vec![good(6), good(5), good(8), good(2)],
        "slow.example" => vec![good(4), good(2)],
        "long.example" => {
            let dropped = (0..5).map(|net| Ipv4Addr::new(10, 2, net, 6));
            dropped.chain([good(4), good(1)]).collect()
        }
        "both.example" => vec![Ipv4Addr::LOCALHOST, Ipv4Addr::new(10, 2, 1, 3), good(1)],
        "inner.example" => vec![Ipv4Addr::LOCALHOST],
        "empty.example" => vec![],
        "10.2.0.2" => vec![good(2)],
        _ => return None,
    })
}

/// The addresses of a name in a hosts file, whose lines have one address and one name each.
pub fn hosted(file: &[u8], name: &str) -> Option<Vec<Ipv4Addr>> {
    let text = std::str::from_utf8(file).expect("names in ASCII");
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    let listed = lines.filter(|(_, listed)| listed.eq_ignore_ascii_case(name));
    let addresses: Vec<_> = listed.map(|(one, _)| one.parse().expect("an address")).collect();
    (!addresses.is_empty()).then_some(addresses)
}

fn ending(random: &mut Random, most: u64) -> (Ending, u64) {
    let end = random.pick(&[
        Ending::Fin,
        Ending::Fin,
        Ending::Fin,
        Ending::Close,
        Ending::Reset,
        Ending::Hold,
    ]);
    let never = u64::MAX;
    if random.chance(4) {
        return (Ending::Vanish, random.within(0, most));
    }
    match end {
        Ending::Fin if random.chance(50) => (end, never),
        Ending::Hold => (end, most),
        _ => (end, random.within(0, most)),
    }
}

/// A few bytes of some streams, some of them close to each other, and some just behind what fills
/// buffers; the first `head` bytes are not relayed.
fn urgent(random: &mut Random, head: u64, total: u64) -> Vec<u64> {
    let total = head + total;
    let often = if total > 20_000 { 30 } else { 8 };
    if total == 0 || !random.chance(often) {
        return Vec::new();
    }
    let mut at = match random.chance(50) {
        true => random.below(total),
        false => head + random.pick(&[1024, 1025, 2048]) * random.within(1, 3),
    };
    let mut all = Vec::new();
    for _ in 0..random.within(1, 6) {
        all.push(at);
        let most = random.pick(&[1, 100, 10_000, 100_000]);
        at += 1 + random.below(most);
    }
    all
}

impl Plan {
    pub fn random(random: &mut Random, names: &[&'static str]) -> Plan {
        let command = random.pick(&[1, 1, 1, 2]);
        let name = random.chance(40).then(|| random.pick(names));
        let host = match random.below(20) {
            0 if command == 2 || random.chance(30) => Ipv4Addr::UNSPECIFIED,
            1 => Ipv4Addr::new(127, 0, 0, 2),
            2 => Ipv4Addr::new(224, 0, 0, 1),
            3 => Ipv4Addr::new(10, 2, 1, 3),
            _ => {
                Ipv4Addr::new(10, 2, 0, random.pick(&[1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 5, 6, 7, 8, 9]))
            }
        };
        let size = |random: &mut Random| match random.below(9) {
            0 | 4 => 0,
            1 => random.below(100),
            2 | 5 => random.below(5_000),
            3 => random.below(600_000),
            _ => random.below(60_000),
        };
        let (up, down) = (size(random), size(random));
        let mut plan = Plan {
            start: random.below(4_000),
            from: Ipv4Addr::new(10, 1, 0, random.within(1, 4) as u8),
            entrance: random.below(2) as usize,
            command,
            name,
            host,
            port: random.pick(&[80, 80, 80, 80, 80, 443, 443, 443, 443, 0]),
            user: random.pick(&["", "bob", "bob", "eve"]),
            request: Vec::new(),
            flaw: None,
            early: if random.chance(50) { 0 } else { random.below(3_000) },
            up,
            end: (Ending::Fin, u64::MAX),
            reads: if random.chance(10) { 16 + random.below(3_000) } else { u64::MAX },
            down,
            target_end: ending(random, down),
            target_reads: if random.chance(10) { random.below(3_000) } else { u64::MAX },
            urgent: Vec::new(),
            target_urgent: urgent(random, 0, down),
            burst: random.chance(4).then(|| random.below(400)),
            identd: random.pick(&[
                Identd::Right,
                Identd::Right,
                Identd::Right,
                Identd::Other,
                Identd::Error,
                Identd::Junk,
                Identd::Silent,
                Identd::Closes,
                Identd::Refuses,
                Identd::Stalls,
            ]),
            peer: random.pick(&[Peer::Right, Peer::Right, Peer::Wrong, Peer::Both, Peer::Nobody]),
        };
        // RFC 1413 knows no empty user, so its identd cannot name it.
        if plan.user.is_empty() && plan.identd == Identd::Right {
            plan.identd = Identd::Error;
        }
        plan.write_request(random);
        plan.urgent = urgent(random, plan.request.len() as u64, up);
        plan.end = match random.below(10) {
            0 => (
                random.pick(&[
                    Ending::Fin,
                    Ending::Close,
                    Ending::Reset,
                    Ending::Hold,
                    Ending::Vanish,
                ]),
                random.within(0, plan.request.len() as u64),
            ),
            1..=4 => (Ending::Fin, u64::MAX),
            _ => {
                let (end, at) = ending(random, up);
                (end, at.saturating_add(plan.request.len() as u64))
            }
        };
        plan
    }

    fn write_request(&mut self, random: &mut Random) {
        let mut bytes = vec![4, self.command];
        bytes.extend(self.port.to_be_bytes());
        let host = if self.name.is_some() { Ipv4Addr::new(0, 0, 0, 7) } else { self.host };
        bytes.extend(host.octets());
        bytes.extend(self.user.bytes());
        bytes.push(0);
        if let Some(name) = self.name {
            bytes.extend(name.bytes());
            bytes.push(0);
        }
        if random.chance(15) {
            let long = |most: usize| vec![b'a'; most + 1];
            match random.below(6) {
                0 => (self.flaw, bytes[0]) = (Some("bad-version"), random.pick(&[0, 5, 0x47])),
                1 => (self.flaw, bytes[1]) = (Some("bad-command"), random.pick(&[0, 3, 255])),
                2 => {
                    (self.flaw, bytes) = (Some("user-too-long"), [&bytes[..8], &long(512)].concat())
                }
                other => {
                    bytes.truncate(8);
                    bytes[4..].copy_from_slice(&[0, 0, 0, 1]);
                    let name = [&b"\0\0"[..], b"\x00127.1\0", b"\0a..b\0"][other as usize - 3];
                    bytes.extend(name);
                    self.flaw = Some(["empty-name", "bad-name", "bad-name"][other as usize - 3]);
                }
            }
        }
        self.request = bytes;
    }

    /// BIND for any peer.
    pub fn is_open_bind(&self) -> bool {
        self.command == BIND && self.name.is_none() && self.host.is_unspecified()
    }

    /// The peer that the client expects.
    pub fn right_peer(&self) -> Ipv4Addr {
        let known = |name| hosted(HOSTS[0], name).or(addresses_of(name, 0)).unwrap_or_default();
        let addresses = self.name.map_or(vec![self.host], known);
        match addresses.last() {
            Some(address) if !address.is_unspecified() => *address,
            _ => Ipv4Addr::new(10, 2, 0, 1),
        }
    }
}
