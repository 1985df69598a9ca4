//! What is random in a run comes from its seed, and what a stream carries from its key.

use std::sync::OnceLock;

/// xorshift64*.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// From `low` to `high`, both included.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// A prime, so that no buffer size divides it.
const TABLE_BYTES: usize = 65_521;

fn table() -> &'static [u8] {
    static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut random = Random::new(0);
        (0..TABLE_BYTES).map(|_| random.next() as u8).collect()
    })
}

/// The bytes of the stream `key` from `offset` on: at most `most`, at least one.
pub fn pattern(key: u64, offset: u64, most: usize) -> &'static [u8] {
    let start = ((key * 7919 + offset) % TABLE_BYTES as u64) as usize;
    &table()[start..TABLE_BYTES.min(start + most)]
}

/// Whether `bytes` are those of the stream `key` at `offset`.
pub fn is_pattern(key: u64, mut offset: u64, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let expected = pattern(key, offset, bytes.len());
        if !bytes.starts_with(expected) {
            return false;
        }
        bytes = &bytes[expected.len()..];
        offset += expected.len() as u64;
    }
    true
}
