//! A second decoder of DNS answers, plain and without any crate, and the comparison with what
//! the resolver does.

use socku::internals::dns::{DnsError, Hosts, Resolver, ResolverSettings, Transport};
use socku::internals::name::{Classified, classify};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a message does to the query for one family of addresses of [`NAME`].
#[derive(Debug, PartialEq, Eq)]
enum Effect {
    /// None: the query waits on.
    Dropped,
    OverTcp,
    WithoutEdns,
    Answer(Result<Vec<IpAddr>, DnsError>),
}

/// What the query asks for.
pub const NAME: &str = "www.example.com";
/// Its id.
pub const ID: u16 = 0x1234;

const A: u16 = 1;
const AAAA: u16 = 28;

/// Resolver and second decoder must agree, whichever family was asked for.
pub fn answer(bytes: &[u8]) {
    // More does not fit into the socket's buffer.
    let bytes = &bytes[..bytes.len().min(1232)];
    for kind in [A, AAAA] {
        let expected = expected(bytes, kind).unwrap_or(Effect::Dropped);
        assert_eq!(actual(bytes, kind), expected, "{kind}: {bytes:02x?}");
    }
}

fn actual(bytes: &[u8], kind: u16) -> Effect {
    let options: &[u8] = match kind {
        A => b"options attempts:1 no-aaaa",
        _ => b"options attempts:1",
    };
    let settings = ResolverSettings::from_resolv_conf(options, |_| None);
    let mut resolver = Resolver::new(settings, Hosts::default(), Box::new(|| ID));
    let Ok(Classified::Name(name)) = classify(NAME.as_bytes()) else { unreachable!() };
    resolver.resolve(0, &name, Ipv4Addr::LOCALHOST.into(), 1);
    let query = resolver.poll_transmit().unwrap();
    if let Some(other) = resolver.poll_transmit() {
        // Without an IPv4 address, the answer to the AAAA query is the answer.
        let mut empty = other.bytes.clone();
        (empty[2], empty[3]) = (0x81, 0x80);
        resolver.handle_datagram(1, other.key, &empty);
    }
    resolver.handle_datagram(1, query.key, bytes);
    if let Some((_, answer)) = resolver.poll_answer() {
        return Effect::Answer(answer.map(|found| found.addresses.to_vec()));
    }
    match resolver.poll_transmit() {
        None => Effect::Dropped,
        Some(next) if next.transport == Transport::Tcp => Effect::OverTcp,
        Some(_) => Effect::WithoutEdns,
    }
}

struct Record {
    owner: Vec<u8>,
    kind: u16,
    class: u16,
    ttl: u32,
    data: usize,
}

/// `None`: not an answer.
fn expected(bytes: &[u8], wanted: u16) -> Option<Effect> {
    let failure = Effect::Answer(Err(DnsError::ServerFailure));
    let count = |place: usize| number(bytes, place).map(usize::from);
    let (questions, answers, authorities, additionals) =
        (count(4)?, count(6)?, count(8)?, count(10)?);
    let flags = number(bytes, 2)?;
    if number(bytes, 0)? != ID || flags & 0x8000 == 0 || flags & 0x7800 != 0 {
        return None;
    }
    if matches!(flags & 15, 1 | 4) && questions == 0 {
        return Some(Effect::WithoutEdns);
    }
    let (asked, mut at) = name(bytes, 12)?;
    if questions != 1
        || asked != plain(NAME)
        || number(bytes, at)? != wanted
        || number(bytes, at + 2)? != 1
    {
        return None;
    }
    at += 4;
    if flags & 0x0200 != 0 {
        return Some(Effect::OverTcp);
    }
    match flags & 15 | extended(bytes, at, answers + authorities, additionals) << 4 {
        0 => {}
        // The A query has said that the name exists.
        3 if wanted == AAAA => return Some(Effect::Answer(Err(DnsError::NoData))),
        3 => return Some(Effect::Answer(Err(DnsError::NotFound))),
        1 | 4 | 16 => return Some(Effect::WithoutEdns),
        _ => return Some(failure),
    }
    if answers > 256 {
        return Some(failure);
    }
    let mut aliases = Vec::new();
    let mut addresses = Vec::new();
    for _ in 0..answers {
        let (record, next) = record(bytes, at)?;
        at = next;
        match (record.class, record.kind) {
            (1, A) if wanted == A => {
                let octets: [u8; 4] = bytes[record.data..next].try_into().ok()?;
                addresses.push((record.owner, Ipv4Addr::from(octets).into()));
            }
            (1, AAAA) if wanted == AAAA => {
                let octets: [u8; 16] = bytes[record.data..next].try_into().ok()?;
                addresses.push((record.owner, unmapped(octets)));
            }
            (1, 5) => {
                let (target, end) = name(&bytes[..next], record.data)?;
                aliases.push((record.owner, (end == next).then_some(target)?));
            }
            _ => {}
        }
    }
    if answers == 0 && flags & 0x0480 == 0 {
        return Some(failure);
    }
    let mut owner = asked;
    for _ in 0..=16 {
        let mut found = Vec::new();
        for (_, address) in addresses.iter().filter(|(other, _)| *other == owner) {
            if found.len() < 16 && !found.contains(address) {
                found.push(*address);
            }
        }
        if !found.is_empty() {
            return Some(Effect::Answer(Ok(found)));
        }
        match aliases.iter().find(|(other, _)| *other == owner) {
            Some((_, target)) => owner = target.clone(),
            None => return Some(Effect::Answer(Err(DnsError::NoData))),
        }
    }
    Some(failure)
}

/// An IPv4 address written as IPv6 is IPv4.
fn unmapped(octets: [u8; 16]) -> IpAddr {
    match octets {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] => Ipv4Addr::new(a, b, c, d).into(),
        _ => Ipv6Addr::from(octets).into(),
    }
}

/// The upper bits of the code, from the OPT record if there is one that can be reached.
fn extended(bytes: &[u8], mut at: usize, before: usize, additionals: usize) -> u16 {
    for _ in 0..before {
        // Where these names point to is of no interest.
        let Some(behind) = name_end(bytes, at) else { return 0 };
        let Some(length) = number(bytes, behind + 8) else { return 0 };
        at = behind + 10 + usize::from(length);
        if at > bytes.len() {
            return 0;
        }
    }
    for _ in 0..additionals {
        let Some((record, next)) = record(bytes, at) else { return 0 };
        if record.kind == 41 {
            return if options(&bytes[record.data..next]) { (record.ttl >> 24) as u16 } else { 0 };
        }
        at = next;
    }
    0
}

/// Where a name ends, wherever it points to.
fn name_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    let start = at;
    loop {
        match usize::from(*bytes.get(at)?) {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + length,
            0xc0.. => return Some(at + 2),
            _ => return None,
        }
        if at - start >= 255 {
            return None;
        }
    }
}

/// Whether the data of an OPT record is a list of options.
fn options(mut data: &[u8]) -> bool {
    while let [_, _, high, low, rest @ ..] = data {
        let Some(rest) = rest.get(usize::from(u16::from_be_bytes([*high, *low]))..) else {
            return false;
        };
        data = rest;
    }
    data.is_empty()
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn record(bytes: &[u8], at: usize) -> Option<(Record, usize)> {
    let (owner, at) = name(bytes, at)?;
    let (kind, class) = (number(bytes, at)?, number(bytes, at + 2)?);
    let ttl = u32::from(number(bytes, at + 4)?) << 16 | u32::from(number(bytes, at + 6)?);
    let length = usize::from(number(bytes, at + 8)?);
    let data = at + 10;
    bytes.get(data..data + length)?;
    Some((Record { owner, kind, class, ttl, data }, data + length))
}

/// A name in lower case as it stands on the wire, and where it ends.
fn name(bytes: &[u8], mut at: usize) -> Option<(Vec<u8>, usize)> {
    let (mut name, mut end) = (Vec::new(), None);
    let mut hops = 0;
    loop {
        match usize::from(*bytes.get(at)?) {
            0 => {
                name.push(0);
                return (name.len() <= 255).then_some((name, end.unwrap_or(at + 1)));
            }
            length @ 1..=63 => {
                let label = bytes.get(at..=at + length)?;
                name.extend(label.iter().map(u8::to_ascii_lowercase));
                at += 1 + length;
            }
            0xc0.. => {
                // To a prior place only (RFC 1035 section 4.1.4).
                let target = usize::from(number(bytes, at)? & 0x3fff);
                if target >= at {
                    return None;
                }
                end = end.or(Some(at + 2));
                at = target;
                hops += 1;
            }
            _ => return None,
        }
        if name.len() > 255 || hops > 255 {
            return None;
        }
    }
}

fn plain(text: &str) -> Vec<u8> {
    let labels = text.split('.').flat_map(|l| [&[l.len() as u8], l.as_bytes()].concat());
    labels.chain([0]).collect()
}
