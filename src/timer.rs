//! Deadlines: at most one per slot, the earliest first.
//!
//! A deadline follows from the state of its connection and moves with every byte, so it is set far
//! more often than it expires. One that moves to a later time stays armed at the earlier one: when
//! that comes, the connection is armed again with its current deadline. This costs one wake-up if
//! nothing happens in between, and nothing otherwise.

use crate::time::Millis;

/// The position of a slot without an armed deadline.
const UNARMED: u32 = u32::MAX;

/// The deadlines of all slots: a binary heap with the position of each slot in it.
#[derive(Default)]
pub struct Timers {
    /// The time and the slot; none is before its parent, which is at half its index.
    heap: Vec<(Millis, u32)>,
    /// The position of each slot in the heap.
    positions: Vec<u32>,
}

impl Timers {
    /// Ensures that `slot` expires at `at`, or earlier if an earlier time is armed already.
    pub fn set(&mut self, slot: usize, at: Millis) {
        if self.positions.len() <= slot {
            self.positions.resize(slot + 1, UNARMED);
        }
        match self.positions[slot] {
            UNARMED => {
                self.heap.push((at, slot as u32));
                self.move_up(self.heap.len() - 1);
            }
            position if at < self.heap[position as usize].0 => {
                self.heap[position as usize].0 = at;
                self.move_up(position as usize);
            }
            _ => {}
        }
    }

    /// Disarms the deadline of `slot`, if it has one.
    pub fn clear(&mut self, slot: usize) {
        let position = self.positions.get(slot).copied().unwrap_or(UNARMED);
        if position != UNARMED {
            self.remove(position as usize);
        }
    }

    /// The earliest armed time.
    pub fn next(&self) -> Option<Millis> {
        self.heap.first().map(|&(at, _)| at)
    }

    /// Takes one slot whose time has come, and disarms it.
    pub fn expired(&mut self, now: Millis) -> Option<usize> {
        let &(at, slot) = self.heap.first()?;
        (at <= now).then(|| {
            self.remove(0);
            slot as usize
        })
    }

    fn remove(&mut self, position: usize) {
        let (_, slot) = self.heap.swap_remove(position);
        self.positions[slot as usize] = UNARMED;
        if position < self.heap.len() {
            // The last one is here now, and may belong further up or down.
            self.move_up(position);
            self.move_down(position);
        }
    }

    fn move_up(&mut self, mut position: usize) {
        while position > 0 {
            let parent = (position - 1) / 2;
            if self.heap[parent].0 <= self.heap[position].0 {
                break;
            }
            self.swap(parent, position);
            position = parent;
        }
        self.place(position);
    }

    fn move_down(&mut self, mut position: usize) {
        loop {
            let children = 2 * position + 1..(2 * position + 3).min(self.heap.len());
            let Some(child) = children.min_by_key(|&child| self.heap[child].0) else { break };
            if self.heap[position].0 <= self.heap[child].0 {
                break;
            }
            self.swap(child, position);
            position = child;
        }
        self.place(position);
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.heap.swap(one, other);
        self.place(one);
        self.place(other);
    }

    fn place(&mut self, position: usize) {
        self.positions[self.heap[position].1 as usize] = position as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn deadlines_expire_in_order_on_time_and_once() {
        let mut timers = Timers::default();
        timers.set(3, 100);
        timers.set(1, 40);
        timers.set(2, 41);
        assert_eq!(timers.next(), Some(40));
        assert_eq!(timers.expired(39), None, "not early");
        assert_eq!(timers.expired(40), Some(1), "not late");
        assert_eq!(timers.expired(40), None, "once");
        assert_eq!(timers.expired(1000), Some(2));
        assert_eq!(timers.expired(1000), Some(3));
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn a_later_time_leaves_the_armed_one_and_an_earlier_time_replaces_it() {
        let mut timers = Timers::default();
        timers.set(0, 50);
        timers.set(0, 90);
        assert_eq!(timers.next(), Some(50));
        timers.set(0, 20);
        assert_eq!(timers.next(), Some(20));
        assert_eq!(timers.expired(20), Some(0));
        timers.set(0, 90);
        assert_eq!(timers.next(), Some(90));
        timers.clear(0);
        timers.clear(7);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn one_that_takes_the_place_of_a_cleared_one_comes_in_its_turn() {
        let mut timers = Timers::default();
        for (slot, at) in [1, 10, 2, 11, 12, 3, 4].into_iter().enumerate() {
            timers.set(slot, at);
        }
        // 4 is the last; in the place of 11 it stands under 10.
        timers.clear(3);
        timers.set(7, 13);
        timers.set(8, 14);
        let next = || Some((timers.next()?, timers.expired(Millis::MAX)?).0);
        let order: Vec<Millis> = std::iter::from_fn(next).collect();
        assert_eq!(order, [1, 2, 3, 4, 10, 12, 13, 14]);
    }

    proptest::proptest! {
        /// Compared with a plain list of deadlines.
        #[test]
        fn deadlines_equal_those_of_a_plain_model(
            steps in proptest::collection::vec((0usize..9, 0u8..4, 0u64..90), 0..300),
        ) {
            let (mut timers, mut model) = (Timers::default(), BTreeMap::new());
            let mut now = 0;
            for (slot, what, time) in steps {
                match what {
                    0 | 1 => {
                        timers.set(slot, now + time);
                        let at = model.entry(slot).or_insert(now + time);
                        *at = now + time.min(*at - now);
                    }
                    2 => {
                        timers.clear(slot);
                        model.remove(&slot);
                    }
                    _ => {
                        now += time;
                        while let Some(slot) = timers.expired(now) {
                            let at = model.remove(&slot).unwrap();
                            assert!(at <= now && model.values().all(|&other| other >= at));
                        }
                    }
                }
                assert_eq!(timers.next(), model.values().copied().min());
                assert_eq!(timers.heap.len(), model.len());
            }
        }
    }
}
