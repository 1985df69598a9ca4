//! /etc/hosts: names that are known without a query.

use std::collections::HashMap;
use std::net::IpAddr;

use super::{ADDRESSES_MAX, Addresses};
use crate::name::{self, Classified};

/// The entries of a hosts file (`man 5 hosts`), of both families. Its size is the administrator's choice, so
/// the number of names has no cap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    names: HashMap<Box<str>, Addresses>,
}

impl Hosts {
    /// Parses the file. Lines that are not `ADDRESS NAME...` and names that no client could request
    /// are skipped: the file is not socku's own, and an odd line in it must not prevent the start.
    /// So are addresses with a zone (`fe80::1%eth0`): only this host knows it. A name on several
    /// lines has all their addresses in this order, at most [`ADDRESSES_MAX`].
    pub fn parse(text: &[u8]) -> Hosts {
        let mut parser = HostsParser::default();
        parser.feed(text);
        parser.finish()
    }

    /// The addresses of a name as [`Name::as_str`](crate::name::Name::as_str) spells it.
    pub fn lookup(&self, name: &str) -> Option<&Addresses> {
        self.names.get(name)
    }
}

/// Parses a hosts file in pieces, cut anywhere, so that a long file does not make a long turn.
#[derive(Default)]
pub struct HostsParser {
    hosts: Hosts,
    /// The start of an incomplete line.
    rest: Vec<u8>,
}

impl HostsParser {
    /// Parses the next piece of the file.
    pub fn feed(&mut self, piece: &[u8]) {
        let mut lines = piece.split(|&octet| octet == b'\n');
        self.rest.extend_from_slice(lines.next().unwrap_or_default());
        for line in lines {
            let complete = std::mem::replace(&mut self.rest, line.to_vec());
            self.hosts.add_line(&complete);
        }
    }

    /// The result, after the last piece.
    pub fn finish(mut self) -> Hosts {
        self.hosts.add_line(&self.rest);
        self.hosts
    }
}

impl Hosts {
    fn add_line(&mut self, line: &[u8]) {
        let line = line.split(|&octet| octet == b'#').next().unwrap_or_default();
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let Some(address) = words.next().and_then(address) else { return };
        for word in words {
            let Ok(Classified::Name(name)) = name::classify(word) else { continue };
            let known = self.names.entry(name.as_str().into()).or_default();
            if known.len() < ADDRESSES_MAX && !known.contains(&address) {
                *known = known.iter().copied().chain([address]).collect();
            }
        }
    }
}

/// An address as the resolver gives it: an IPv4 address written as IPv6 is IPv4.
fn address(word: &[u8]) -> Option<IpAddr> {
    let address: IpAddr = std::str::from_utf8(word).ok()?.parse().ok()?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: &[u8] = b"# comment\n\
        127.0.0.1\tlocalhost\n\
        ::1 localhost ip6-localhost\n\
        10.0.0.1 Gateway.Example.COM gw # the way out\r\n\
        10.0.0.2 gw\n\
        10.0.0.1 gw\n\
          10.0.0.3   leading.blanks\n\
        10.0.0.4\n\
        10.0.0.5 bad/name good-name final.dot.\n\
        127.1 short-form\n\
        0x7f.1 hex-form\n\
        gw 10.0.0.9\n\
        10.0.0.6 \xff\xfe after-bad-bytes\n\
        fe80::1%eth0 zone\n\
        2001:DB8::1 both\n\
        10.0.0.8 both\n\
        2001:db8:0::1 both\n\
        2001:db8::2 both\n\
        ::ffff:10.0.0.9 mapped\n\
        10.0.0.9 mapped\n\
        [::1] brackets\n\
        :: unspecified\n\
        10.0.0.7 last-line";

    #[test]
    fn listed_names_have_their_addresses() {
        let hosts = Hosts::parse(FILE);
        let list = |name: &str| -> Vec<String> {
            let found = hosts.lookup(name).map(|list| list.to_vec()).unwrap_or_default();
            found.iter().map(IpAddr::to_string).collect()
        };
        for (name, expected) in [
            ("localhost", vec!["127.0.0.1", "::1"]),
            ("gateway.example.com", vec!["10.0.0.1"]),
            ("gw", vec!["10.0.0.1", "10.0.0.2"]),
            ("leading.blanks", vec!["10.0.0.3"]),
            ("good-name", vec!["10.0.0.5"]),
            ("final.dot", vec!["10.0.0.5"]),
            ("after-bad-bytes", vec!["10.0.0.6"]),
            ("last-line", vec!["10.0.0.7"]),
            ("ip6-localhost", vec!["::1"]),
            ("both", vec!["2001:db8::1", "10.0.0.8", "2001:db8::2"]),
            ("mapped", vec!["10.0.0.9"]),
            ("unspecified", vec!["::"]),
            ("zone", vec![]),
            ("brackets", vec![]),
            ("short-form", vec![]),
            ("hex-form", vec![]),
            ("bad/name", vec![]),
            ("10.0.0.9", vec![]),
            ("the", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(list(name), expected, "{name}");
        }
    }

    #[test]
    fn the_addresses_of_a_name_are_limited() {
        let lines: String = (0..100).map(|last| format!("10.0.0.{last} many\n")).collect();
        let hosts = Hosts::parse(lines.as_bytes());
        assert_eq!(hosts.lookup("many").unwrap().len(), ADDRESSES_MAX);
    }

    proptest! {
        #[test]
        fn a_file_parses_the_same_in_pieces_as_whole(
            text in proptest::collection::vec(any::<u8>(), 0..400),
            lengths in proptest::collection::vec(1usize..50, 1..20),
        ) {
            let whole = [FILE, &text].concat();
            let (mut parser, mut left) = (HostsParser::default(), &whole[..]);
            for length in lengths.iter().cycle() {
                let (piece, later) = left.split_at(left.len().min(*length));
                parser.feed(piece);
                left = later;
                if left.is_empty() {
                    break;
                }
            }
            assert_eq!(parser.finish(), Hosts::parse(&whole));
        }
    }
}
