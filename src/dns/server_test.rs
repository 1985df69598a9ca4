//! The messages of a DNS server, built octet by octet, independently of crate `domain`.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::family::Family;
use crate::name::{Classified, Name, classify};

pub const QR: u16 = 0x8000;
pub const AA: u16 = 0x0400;
pub const TC: u16 = 0x0200;
pub const RD: u16 = 0x0100;
pub const RA: u16 = 0x0080;
pub const FORMERR: u16 = 1;
pub const SERVFAIL: u16 = 2;
pub const NXDOMAIN: u16 = 3;
pub const NOTIMP: u16 = 4;
pub const REFUSED: u16 = 5;

pub fn name(text: &str) -> Name {
    match classify(text.as_bytes()) {
        Ok(Classified::Name(name)) => name,
        other => panic!("{text}: {other:?}"),
    }
}

/// A name as labels; `&` stands for a pointer to the question.
pub fn wire(name: &str) -> Vec<u8> {
    if name == "&" {
        return vec![0xc0, 12];
    }
    let mut wire = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        wire.push(label.len() as u8);
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    wire
}

pub fn record(owner: &str, kind: u16, class: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = wire(owner);
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&class.to_be_bytes());
    bytes.extend_from_slice(&ttl.to_be_bytes());
    bytes.extend_from_slice(&(data.len() as u16).to_be_bytes());
    bytes.extend_from_slice(data);
    bytes
}

pub fn a(owner: &str, ttl: u32, address: [u8; 4]) -> Vec<u8> {
    record(owner, 1, 1, ttl, &address)
}

pub fn aaaa(owner: &str, ttl: u32, address: &str) -> Vec<u8> {
    record(owner, 28, 1, ttl, &address.parse::<Ipv6Addr>().unwrap().octets())
}

pub fn cname(owner: &str, ttl: u32, target: &str) -> Vec<u8> {
    record(owner, 5, 1, ttl, &wire(target))
}

pub fn soa(owner: &str, ttl: u32, minimum: u32) -> Vec<u8> {
    let mut data = [wire("ns.example"), wire("root.example")].concat();
    for number in [1, 3600, 600, 86400, minimum] {
        data.extend_from_slice(&number.to_be_bytes());
    }
    record(owner, 6, 1, ttl, &data)
}

/// A query as a server reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub id: u16,
    pub name: String,
    pub family: Family,
    pub edns: bool,
}

/// Reads a query strictly: one question for an A or AAAA record of class IN, at most an OPT record.
pub fn see(query: &[u8]) -> Seen {
    assert_eq!(&query[2..10], &[1, 0, 0, 1, 0, 0, 0, 0], "a plain question with recursion desired");
    let (mut at, mut labels) = (12, Vec::new());
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8(query[at + 1..end].to_vec()).unwrap());
        at = end;
    }
    let family = match query[at + 1..at + 5] {
        [0, 1, 0, 1] => Family::V4,
        [0, 28, 0, 1] => Family::V6,
        ref other => panic!("neither A nor AAAA of class IN: {other:?}"),
    };
    let rest = &query[at + 5..];
    let edns = query[10..12] == [0, 1];
    let expected: &[u8] = if edns { &[0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0] } else { &[] };
    assert_eq!(rest, expected, "an OPT record for 1232 octets or nothing");
    let id = u16::from_be_bytes([query[0], query[1]]);
    Seen { id, name: labels.join("."), family, edns }
}

/// An answer to `query`: its id and question, these flags (QR is added), these records.
pub fn reply(query: &[u8], flags: u16, answers: &[Vec<u8>], authority: &[Vec<u8>]) -> Vec<u8> {
    let seen = see(query);
    let mut bytes = seen.id.to_be_bytes().to_vec();
    for number in [QR | RD | flags, 1, answers.len() as u16, authority.len() as u16, 0] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes.extend_from_slice(&wire(&seen.name));
    let kind = if seen.family == Family::V6 { 28 } else { 1 };
    bytes.extend_from_slice(&[0, kind, 0, 1]);
    for record in answers.iter().chain(authority) {
        bytes.extend_from_slice(record);
    }
    bytes
}

/// `message` as sent over TCP.
pub fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

pub fn addresses(list: &[[u8; 4]]) -> super::Addresses {
    list.iter().map(|octets| Ipv4Addr::from(*octets).into()).collect()
}

/// The same for addresses of both families.
pub fn addresses_at(list: &[&str]) -> super::Addresses {
    list.iter().map(|text| text.parse().unwrap()).collect()
}
