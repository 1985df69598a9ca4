//! The few greatest of many, in the memory of the few.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Those values of all that were offered that have the greatest keys.
pub struct Top<K, T> {
    most: usize,
    /// The least of them is at its head, to be replaced.
    heap: BinaryHeap<Reverse<Ranked<K, T>>>,
}

/// A value with its rank.
struct Ranked<K, T> {
    key: K,
    value: T,
}

impl<K: Ord, T> Top<K, T> {
    /// Keeps at most so many.
    pub fn new(most: usize) -> Top<K, T> {
        Top { most, heap: BinaryHeap::with_capacity(most) }
    }

    /// Offers a value; of equal keys the one that came first is kept.
    pub fn offer(&mut self, key: K, value: T) {
        if self.heap.len() < self.most {
            self.heap.push(Reverse(Ranked { key, value }));
        } else if let Some(mut least) = self.heap.peek_mut()
            && key > least.0.key
        {
            *least = Reverse(Ranked { key, value });
        }
    }

    /// Those kept, the greatest first.
    pub fn into_sorted(self) -> impl Iterator<Item = T> {
        self.heap.into_sorted_vec().into_iter().map(|ranked| ranked.0.value)
    }
}

impl<K: Ord, T> Ord for Ranked<K, T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

impl<K: Ord, T> PartialOrd for Ranked<K, T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Ord, T> PartialEq for Ranked<K, T> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl<K: Ord, T> Eq for Ranked<K, T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_are_kept_in_order_whatever_order_they_come_in() {
        for step in [1, 7, 99] {
            let mut top = Top::new(3);
            // Every number below 100, each once: no step has a factor in common with 101.
            (1..101).for_each(|n| top.offer(n * step % 101, n * step % 101 * 2));
            assert_eq!(top.into_sorted().collect::<Vec<_>>(), [200, 198, 196]);
        }
    }

    #[test]
    fn fewer_than_the_most_are_all_kept_and_none_of_none() {
        let mut top = Top::new(3);
        [5, 9].into_iter().for_each(|n| top.offer(n, n));
        assert_eq!(top.into_sorted().collect::<Vec<_>>(), [9, 5]);
        let mut none = Top::new(0);
        none.offer(1, 1);
        assert_eq!(none.into_sorted().count(), 0);
    }
}
