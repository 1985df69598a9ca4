//! The names that clients ask for, and the truth about them.

use crate::addresses::{TARGETS, loopback, v4, v6};
use std::net::IpAddr;

pub const NAMES: [&str; 15] = [
    "one.example",
    "many.example",
    "slow.example",
    "long.example",
    "both.example",
    "inner.example",
    "four.example",
    "six.example",
    "nx.example",
    "empty.example",
    "hosted",
    "10.2.0.2",
    "fd00:2::2",
    "::ffff:10.2.0.3",
    "ONE.Example",
];

/// The hosts files that there may be.
pub const HOSTS: [&[u8]; 3] = [
    b"10.2.0.3 hosted\nfd00:2::1 hosted\n",
    b"fd00:2::2 hosted\n10.2.0.2 hosted\n10.2.0.1 many.example\n",
    b"",
];

/// The truth about names, as the name servers of a generation know it: `None` is a name that does
/// not exist.
pub fn addresses_of(name: &str, generation: usize) -> Option<Vec<IpAddr>> {
    let four = |last| v4(TARGETS, 0, last);
    let six = |last| v6(TARGETS, 0, last);
    let name = name.to_ascii_lowercase();
    if generation % 2 == 1 {
        match name.as_str() {
            "many.example" => return Some(vec![four(5), four(3), six(5)]),
            "slow.example" | "empty.example" => return Some(vec![four(2)]),
            "both.example" => return None,
            "nx.example" => return Some(vec![]),
            _ => {}
        }
    }
    let here = 1 + generation as u8 % 3;
    Some(match name.as_str() {
        "one.example" => vec![four(here), six(here)],
        "many.example" => vec![four(6), six(5), four(5), six(8), four(8), four(2)],
        "slow.example" => vec![six(4), four(4), four(2)],
        "long.example" => {
            let dropped = (0..5).map(|sub| v4(TARGETS, sub, 6));
            let dropped = dropped.chain((0..3).map(|sub| v6(TARGETS, sub, 6)));
            dropped.chain([six(9), four(4), four(1), six(3)]).collect()
        }
        "both.example" => {
            let outer = [v4(TARGETS, 1, 3), v6(TARGETS, 1, 3), four(1)];
            [loopback(false), loopback(true)].into_iter().chain(outer).collect()
        }
        "inner.example" => vec![loopback(false), loopback(true)],
        "four.example" => vec![four(1)],
        "six.example" => vec![six(5), six(2)],
        "empty.example" => vec![],
        "10.2.0.2" => vec![four(2)],
        "fd00:2::2" => vec![six(2)],
        "::ffff:10.2.0.3" => vec![four(3)],
        _ => return None,
    })
}

/// The addresses of a name in a hosts file, whose lines have one address and one name each.
pub fn hosted(file: &[u8], name: &str) -> Option<Vec<IpAddr>> {
    let text = std::str::from_utf8(file).expect("names in ASCII");
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    let listed = lines.filter(|(_, listed)| listed.eq_ignore_ascii_case(name));
    let addresses: Vec<_> = listed.map(|(one, _)| one.parse().expect("an address")).collect();
    (!addresses.is_empty()).then_some(addresses)
}

/// The orders in which the addresses that name servers have may be tried: they alternate between
/// the families, and either may begin (RFC 8305 section 4). IPv6 may come too late to count, and
/// IPv4 as well if `may_fail`.
pub fn orders(addresses: &[IpAddr], may_fail: bool) -> Vec<Vec<IpAddr>> {
    let (six, four): (Vec<_>, Vec<_>) = addresses.iter().copied().partition(IpAddr::is_ipv6);
    if six.is_empty() || four.is_empty() {
        return vec![addresses.to_vec()];
    }
    let mut orders = vec![in_turn(&six, &four), in_turn(&four, &six), four];
    if may_fail {
        orders.push(six);
    }
    orders
}

fn in_turn(first: &[IpAddr], second: &[IpAddr]) -> Vec<IpAddr> {
    let places = 0..first.len().max(second.len());
    places.flat_map(|n| first.get(n).into_iter().chain(second.get(n)).copied()).collect()
}
