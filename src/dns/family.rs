//! The two questions about a name: its IPv6 addresses and its IPv4 addresses.

use std::net::IpAddr;

use super::ADDRESSES_MAX;
use crate::name::Name;

/// The kind of address that a question asks for. IPv6 comes first, so that it is asked first (RFC
/// 8305 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// AAAA records.
    V6,
    /// A records.
    V4,
}

impl Family {
    /// Both, in the order in which they are asked.
    pub const BOTH: [Family; 2] = [Family::V6, Family::V4];

    pub fn other(self) -> Family {
        match self {
            Family::V6 => Family::V4,
            Family::V4 => Family::V6,
        }
    }
}

/// A question: a name and the family of the addresses wanted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QuestionKey {
    pub name: Name,
    pub family: Family,
}

impl QuestionKey {
    pub fn new(name: &Name, family: Family) -> QuestionKey {
        QuestionKey { name: name.clone(), family }
    }

    /// The other question about the name.
    pub fn other(&self) -> QuestionKey {
        QuestionKey::new(&self.name, self.family.other())
    }
}

/// The addresses of both families in turn, beginning with `first` (RFC 8305 section 4 with a first
/// address family count of 1), without duplicates, at most [`ADDRESSES_MAX`]: each family has at
/// least half of them, or all of its own.
pub fn alternate(first: &[IpAddr], second: &[IpAddr]) -> Vec<IpAddr> {
    let mut both = Vec::with_capacity((first.len() + second.len()).min(ADDRESSES_MAX));
    for place in 0..first.len().max(second.len()) {
        for address in [first.get(place), second.get(place)].into_iter().flatten() {
            if both.len() < ADDRESSES_MAX && !both.contains(address) {
                both.push(*address);
            }
        }
    }
    both
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn v4(count: u8) -> Vec<IpAddr> {
        (0..count).map(|last| Ipv4Addr::new(192, 0, 2, last).into()).collect()
    }

    fn v6(count: u8) -> Vec<IpAddr> {
        let address = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)).into();
        (0..count).map(address).collect()
    }

    #[test]
    fn the_families_alternate_and_the_rest_of_the_longer_follows() {
        let (four, six) = (v4(4), v6(4));
        assert_eq!(alternate(&six[..2], &four[..2]), [six[0], four[0], six[1], four[1]]);
        assert_eq!(alternate(&four[..1], &six[..3]), [four[0], six[0], six[1], six[2]]);
        assert_eq!(alternate(&four[..3], &six[..1]), [four[0], six[0], four[1], four[2]]);
        assert_eq!(alternate(&four, &[]), four);
        // An AAAA record may hold an IPv4 address.
        assert_eq!(alternate(&four[..2], &[four[1], four[0]]), [four[0], four[1]]);
    }

    #[test]
    fn both_families_have_their_share_of_the_limit() {
        let count = |first: &[IpAddr], second: &[IpAddr]| {
            let both = alternate(first, second);
            (both.iter().filter(|a| a.is_ipv6()).count(), both.len())
        };
        assert_eq!(count(&v6(16), &v4(16)), (8, 16));
        assert_eq!(count(&v6(16), &v4(1)), (15, 16));
        assert_eq!(count(&v4(16), &v6(3)), (3, 16));
    }
}
