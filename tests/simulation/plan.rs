//! What a seed makes of settings, clients and targets.

use crate::addresses::{CLIENTS, TARGETS, address, own_facing, unspecified};
use crate::names::{HOSTS, addresses_of, hosted};
use crate::random::Random;
use crate::request::{Credentials, credentials};
use crate::rules::BIND;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

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

/// Ports that clients ask for.
const PORTS: [u16; 10] = [80, 80, 80, 80, 80, 443, 443, 443, 443, 0];

/// Why a request is bad, as the access line will say.
pub type Flaw = Option<&'static str>;

#[derive(Clone, Debug)]
pub struct Plan {
    pub start: u64,
    pub from: IpAddr,
    /// Which listener it comes to.
    pub entrance: usize,
    pub command: u8,
    pub name: Option<&'static str>,
    pub host: IpAddr,
    pub port: u16,
    pub is_socks5: bool,
    /// An IPv4 address is written as IPv6.
    pub is_mapped: bool,
    /// USERID of SOCKS4.
    pub user: &'static str,
    /// User and password of SOCKS5, sent after the greeting.
    pub login: Option<Credentials>,
    /// All messages up to the request, and where each of them ends.
    pub request: Vec<u8>,
    pub ends: Vec<usize>,
    /// Each message is sent when the one before is answered, and not all at once.
    pub is_in_turn: bool,
    /// How long such a client takes to send the first and each of the others.
    pub delay_ms: u64,
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

/// What all clients of a run have in common.
pub struct Fashion<'a> {
    pub names: &'a [&'static str],
    /// Where they may come to.
    pub entrances: &'a [SocketAddr],
    /// How likely they speak SOCKS5, and how likely they want to reach IPv6, in per cent.
    pub socks5: u64,
    pub v6: u64,
    /// How likely they have a password, and how likely that is right.
    pub passwords: u64,
    pub right: u64,
    /// Somebody tries passwords at this entrance, from one source and within a second.
    pub guesses: Option<usize>,
}

/// The target of a CONNECT or the expected peer of a BIND, of this family.
fn host(random: &mut Random, command: u8, is_v6: bool) -> IpAddr {
    match random.below(20) {
        0 if command == 2 || random.chance(30) => unspecified(is_v6),
        1 if is_v6 => Ipv6Addr::LOCALHOST.into(),
        1 => Ipv4Addr::new(127, 0, 0, 2).into(),
        2 if is_v6 => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).into(),
        2 => Ipv4Addr::new(224, 0, 0, 1).into(),
        3 => address(is_v6, TARGETS, 1, 3),
        _ => {
            let hosts = [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 5, 6, 7, 8, 9];
            address(is_v6, TARGETS, 0, random.pick(&hosts))
        }
    }
}

impl Plan {
    pub fn random(random: &mut Random, fashion: &Fashion<'_>) -> Plan {
        let command = random.pick(&[1, 1, 1, 2]);
        let entrance = random.below(fashion.entrances.len() as u64) as usize;
        let (entrance, guesses) = (fashion.guesses.unwrap_or(entrance), fashion.guesses.is_some());
        let is_v6 = fashion.entrances[entrance].is_ipv6();
        let number = if guesses { 1 } else { random.within(1, 4) as u8 };
        let from = match is_v6 {
            // Several addresses of a network are one source.
            true => address(is_v6, CLIENTS, number, random.within(1, 2) as u8),
            false => address(is_v6, CLIENTS, 0, number),
        };
        let is_socks5 = guesses || random.chance(fashion.socks5);
        let target_is_v6 = is_socks5 && random.chance(fashion.v6);
        let name = random.chance(40).then(|| random.pick(fashion.names));
        let (mut host, mut port) = (host(random, command, target_is_v6), random.pick(&PORTS));
        if random.chance(2) {
            // A loop, if it is reached that way.
            (host, port) = (own_facing(host), random.pick(&[1080, 1082]));
        }
        let size = |random: &mut Random| match random.below(9) {
            0 | 4 => 0,
            1 => random.below(100),
            2 | 5 => random.below(5_000),
            3 => random.below(600_000),
            _ => random.below(60_000),
        };
        let (up, down) = (size(random), size(random));
        let mut plan = Plan {
            start: random.below(if guesses { 800 } else { 4_000 }),
            from,
            entrance,
            command,
            name,
            host,
            port,
            is_socks5,
            is_mapped: random.chance(40),
            user: if is_socks5 { "" } else { random.pick(&["", "bob", "bob", "eve"]) },
            login: (is_socks5 && (guesses || random.chance(fashion.passwords)))
                .then(|| credentials(random, fashion.right)),
            request: Vec::new(),
            ends: Vec::new(),
            is_in_turn: random.chance(50),
            delay_ms: if random.chance(15) { random.below(2_000) } else { 0 },
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
            burst: random.chance(6).then(|| random.below(400)),
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
        plan.write_request(random);
        plan.urgent = urgent(random, plan.request.len() as u64, up);
        let head = plan.request.len() as u64;
        plan.end = match random.below(20) {
            // It may be half-closed, or leave.
            0 => (Ending::Fin, head),
            1 | 2 => (
                random.pick(&[
                    Ending::Fin,
                    Ending::Close,
                    Ending::Reset,
                    Ending::Hold,
                    Ending::Vanish,
                ]),
                random.within(0, plan.request.len() as u64),
            ),
            3..=9 => (Ending::Fin, u64::MAX),
            _ => {
                let (end, at) = ending(random, up);
                (end, at.saturating_add(plan.request.len() as u64))
            }
        };
        plan
    }

    /// BIND for any peer.
    pub fn is_open_bind(&self) -> bool {
        self.command == BIND && self.name.is_none() && self.host.is_unspecified()
    }

    /// The peer that the client expects: any that is told to come to an address of this family.
    pub fn right_peer(&self, is_v6: bool) -> IpAddr {
        let known = |name| hosted(HOSTS[0], name).or(addresses_of(name, 0)).unwrap_or_default();
        let addresses = self.name.map_or(vec![self.host], known);
        let alike = addresses.iter().rfind(|address| address.is_ipv6() == is_v6);
        match alike.or(addresses.last()) {
            Some(address) if !address.is_unspecified() => *address,
            _ => address(is_v6, TARGETS, 0, 1),
        }
    }
}
