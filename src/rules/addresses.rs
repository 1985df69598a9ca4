//! Sets of addresses, as rules name them: the only place of the rules that knows the families.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The bits that all IPv4 addresses written as IPv6 have in common: ::ffff:0:0/96 (RFC 4291
/// section 2.5.5.2).
const MAPPED_BITS: u32 = 96;

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    /// The bits of an address.
    const fn width(self) -> u32 {
        match self {
            Family::V4 => Ipv4Addr::BITS,
            Family::V6 => Ipv6Addr::BITS,
        }
    }

    /// The address with this number.
    fn address(self, number: u128) -> IpAddr {
        match self {
            Family::V4 => Ipv4Addr::from_bits(number as u32).into(),
            Family::V6 => Ipv6Addr::from_bits(number).into(),
        }
    }
}

/// An address as a number of its family; an IPv4 address written as IPv6 is IPv4.
const fn number(address: IpAddr) -> (Family, u128) {
    match address.to_canonical() {
        IpAddr::V4(address) => (Family::V4, address.to_bits() as u128),
        IpAddr::V6(address) => (Family::V6, address.to_bits()),
    }
}

/// Every address, or those of one family whose number equals `value` under `mask`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressPattern {
    /// `None`: both, and nothing is compared.
    family: Option<Family>,
    /// The bits that are compared; an IPv4 address has the lowest 32.
    mask: u128,
    /// Their value; no bit outside the mask is set.
    value: u128,
}

impl AddressPattern {
    /// Every address of both families.
    pub const ANY: AddressPattern = AddressPattern { family: None, mask: 0, value: 0 };

    /// This host itself: 127/8 and ::1.
    pub const LOOPBACK: [AddressPattern; 2] = [
        AddressPattern::network(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
        AddressPattern::network(IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
    ];

    /// The addresses that have the first `bits` bits of `address`: at most as many as it has. A
    /// network of IPv4 addresses written as IPv6 is one of IPv4.
    pub const fn network(address: IpAddr, bits: u32) -> AddressPattern {
        let (family, number) = match address {
            IpAddr::V6(address) if bits < MAPPED_BITS => (Family::V6, address.to_bits()),
            _ => number(address),
        };
        let is_mapped = address.is_ipv6() && matches!(family, Family::V4);
        let bits = if is_mapped { bits - MAPPED_BITS } else { bits };
        let mask = u128::MAX >> (u128::BITS - family.width());
        let mask = mask & u128::MAX.unbounded_shl(family.width() - bits);
        AddressPattern { family: Some(family), mask, value: number & mask }
    }

    /// The IPv4 addresses with these octets; `None` is any octet.
    pub fn octets(octets: [Option<u8>; 4]) -> AddressPattern {
        let number = |octets: [u8; 4]| u32::from_be_bytes(octets).into();
        let mask = number(octets.map(|octet| if octet.is_some() { 0xff } else { 0 }));
        let value = number(octets.map(Option::unwrap_or_default));
        AddressPattern { family: Some(Family::V4), mask, value }
    }

    /// The octets that [`AddressPattern::octets`] makes these addresses from, if it can.
    pub fn as_octets(self) -> Option<[Option<u8>; 4]> {
        if self.family != Some(Family::V4) {
            return None;
        }
        let [masks, values] = [self.mask, self.value].map(|number| (number as u32).to_be_bytes());
        let is_whole = masks.iter().all(|mask| matches!(mask, 0 | 0xff));
        let octet = |place: usize| (masks[place] != 0).then_some(values[place]);
        is_whole.then(|| [0, 1, 2, 3].map(octet))
    }

    /// The first address of a network, and how many of its bits the others have in common; `None`
    /// for every address, and for octets that are no network.
    pub fn as_network(self) -> Option<(IpAddr, u32)> {
        let family = self.family?;
        let first = family.address(self.value);
        let bits = self.mask.count_ones();
        (AddressPattern::network(first, bits) == self).then_some((first, bits))
    }

    /// Whether these are all addresses of a family, or of both.
    pub fn is_whole_family(self) -> bool {
        self.mask == 0
    }

    /// The same addresses, each pattern those of one family.
    pub fn families(self) -> impl Iterator<Item = AddressPattern> {
        let families = [Family::V4, Family::V6].map(Some).into_iter();
        let of_one = families.map(move |family| AddressPattern { family, ..self });
        of_one.filter(move |pattern| self.has_family(pattern.family))
    }

    /// Whether `address` is one of them. An IPv4 address written as IPv6 is IPv4.
    pub fn contains(self, address: IpAddr) -> bool {
        let (family, number) = number(address);
        self.has_family(Some(family)) && number & self.mask == self.value
    }

    /// Whether every address of `other` is one of them.
    pub fn covers(self, other: AddressPattern) -> bool {
        self.has_family(other.family)
            && self.mask & !other.mask == 0
            && other.value & self.mask == self.value
    }

    /// Whether some address is in both.
    pub fn overlaps(self, other: AddressPattern) -> bool {
        let both = self.mask & other.mask;
        (self.has_family(other.family) || other.has_family(self.family))
            && self.value & both == other.value & both
    }

    fn has_family(self, family: Option<Family>) -> bool {
        self.family.is_none() || self.family == family
    }
}
