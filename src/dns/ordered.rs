//! Maps in the order of their keys, which share one B-tree.
//!
//! Rust compiles its B-tree anew for each type of key or value: 5 KB each time, even where it
//! optimizes for size. The resolver has a dozen maps. Here each key is a number, and the values are
//! beside the tree.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use slab::Slab;

/// The tree: a number for each key.
pub type Order = BTreeMap<u128, u64>;

/// A key in the order of `first`, and of `second` where that is equal.
pub fn pair(first: u64, second: u64) -> u128 {
    u128::from(first) << 64 | u128::from(second)
}

/// The first half of the key that [`pair`] has made.
pub fn first_of(pair: u128) -> u64 {
    (pair >> 64) as u64
}

/// The key of an address. An IPv4 address written as IPv6 has the same as that address.
pub fn key_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The address that has this key.
pub fn address_of(key: u128) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from_bits(key)).to_canonical()
}

/// A map in the order of its keys. Every step costs O(log n).
#[derive(Debug)]
pub struct Ordered<T> {
    /// The place of each value.
    order: Order,
    values: Slab<T>,
}

impl<T> Default for Ordered<T> {
    fn default() -> Ordered<T> {
        Ordered { order: Order::new(), values: Slab::new() }
    }
}

impl<T> Ordered<T> {
    /// Adds a value, in place of the one that has this key.
    pub fn insert(&mut self, key: impl Into<u128>, value: T) {
        let place = self.values.insert(value) as u64;
        if let Some(old) = self.order.insert(key.into(), place) {
            self.values.remove(old as usize);
        }
    }

    /// The value of a key.
    pub fn get(&self, key: impl Into<u128>) -> Option<&T> {
        self.values.get(*self.order.get(&key.into())? as usize)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, key: impl Into<u128>) -> Option<&mut T> {
        self.values.get_mut(*self.order.get(&key.into())? as usize)
    }

    /// Whether a value has this key.
    pub fn contains(&self, key: impl Into<u128>) -> bool {
        self.order.contains_key(&key.into())
    }

    /// Takes the value of a key.
    pub fn remove(&mut self, key: impl Into<u128>) -> Option<T> {
        let place = self.order.remove(&key.into())?;
        Some(self.take(place))
    }

    /// The lowest key, and its value.
    pub fn first(&self) -> Option<(u128, &T)> {
        let (key, place) = self.order.first_key_value()?;
        Some((*key, self.values.get(*place as usize)?))
    }

    /// Takes the value of the lowest key.
    pub fn pop_first(&mut self) -> Option<T> {
        let (_, place) = self.order.pop_first()?;
        Some(self.take(place))
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The values, in any order.
    #[cfg(test)]
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.values.iter().map(|(_, value)| value)
    }

    fn take(&mut self, place: u64) -> T {
        let value = self.values.remove(place as usize);
        // An empty map has no memory, as an empty tree has none.
        if self.values.is_empty() {
            self.values = Slab::new();
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_pair_is_in_the_order_of_its_halves() {
        let (low, high) = (pair(1, u64::MAX), pair(2, 0));
        assert!(low < high && high < pair(2, 1));
        assert_eq!((first_of(low), first_of(high)), (1, 2));
    }

    #[test]
    fn an_address_is_found_again_by_its_key() {
        for text in ["0.0.0.0", "192.0.2.1", "255.255.255.255", "::", "::1", "2001:db8::1"] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(address_of(key_of(address)), address);
        }
    }

    #[test]
    fn an_empty_map_has_no_memory() {
        let mut map = Ordered::default();
        (0..100u64).for_each(|key| map.insert(key, key));
        (0..99u64).for_each(|key| assert_eq!(map.remove(key), Some(key)));
        assert!(map.values.capacity() >= 100 && !map.is_empty());
        assert_eq!((map.pop_first(), map.values.capacity()), (Some(99), 0));
    }

    proptest! {
        #[test]
        fn it_is_a_map_of_the_standard_library(
            steps in proptest::collection::vec((0u8..4, 0u64..12, any::<u32>()), 0..200),
        ) {
            let (mut map, mut model) = (Ordered::default(), BTreeMap::new());
            for (step, key, value) in steps {
                match step {
                    0 | 1 => {
                        map.insert(key, value);
                        model.insert(u128::from(key), value);
                    }
                    2 => assert_eq!(map.remove(key), model.remove(&u128::from(key))),
                    _ => assert_eq!(map.pop_first(), model.pop_first().map(|(_, value)| value)),
                }
                let key = u128::from(key);
                assert_eq!(map.get(key), model.get(&key));
                assert_eq!(map.get_mut(key), model.get_mut(&key));
                assert_eq!(map.contains(key), model.contains_key(&key));
                assert_eq!(map.first(), model.first_key_value().map(|(key, value)| (*key, value)));
                assert!(map.order.keys().eq(model.keys()));
                assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
            }
        }
    }
}
