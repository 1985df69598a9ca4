//! Fixed buffers, lent while bytes are in transit.
//!
//! Two sizes: small ones for requests and replies, so that slow clients cannot take relay
//! buffers, and large ones for relaying. The free lists are last in, first out: one hot buffer
//! serves every session in turn. When the large ones lent reach their budget, small ones are
//! lent in their place, so stalled sessions slow down instead of taking all memory.

/// Size of a small buffer: the longest request and the replies fit.
pub const SMALL_BYTES: usize = 1024;
/// Most bytes lent as large buffers.
pub const LARGE_BUDGET_BYTES: usize = 64 << 20;
/// Most free bytes that each list keeps for later.
const SPARE_BYTES: usize = 1 << 20;

/// A lent buffer and the bytes in it.
pub struct Buffer {
    bytes: Box<[u8]>,
    start: u32,
    end: u32,
}

impl Buffer {
    /// The bytes held.
    pub fn held(&self) -> &[u8] {
        &self.bytes[self.start as usize..self.end as usize]
    }

    /// The room behind them.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.end as usize..]
    }

    /// Counts `n` bytes written into [`Buffer::room`] as held.
    pub fn filled(&mut self, n: usize) {
        self.end += n as u32;
        assert!(self.end as usize <= self.bytes.len());
    }

    /// Drops the first `n` bytes held.
    pub fn consume(&mut self, n: usize) {
        self.start += n as u32;
        assert!(self.start <= self.end);
    }
}

/// The free buffers of both sizes.
pub struct Pool {
    small: Vec<Box<[u8]>>,
    large: Vec<Box<[u8]>>,
    large_bytes: usize,
    lent_small: usize,
    lent_large: usize,
}

impl Pool {
    /// A pool whose large buffers have `large_bytes` bytes each.
    pub fn new(large_bytes: usize) -> Pool {
        assert!((SMALL_BYTES..=u32::MAX as usize).contains(&large_bytes));
        Pool { small: Vec::new(), large: Vec::new(), large_bytes, lent_small: 0, lent_large: 0 }
    }

    /// Lends an empty small buffer.
    pub fn lend_small(&mut self) -> Buffer {
        self.lent_small += 1;
        let bytes = self.small.pop().unwrap_or_else(|| vec![0; SMALL_BYTES].into());
        Buffer { bytes, start: 0, end: 0 }
    }

    /// Lends an empty large buffer, or a small one when the budget is spent.
    pub fn lend(&mut self) -> Buffer {
        if self.large_bytes == SMALL_BYTES
            || (self.lent_large + 1) * self.large_bytes > LARGE_BUDGET_BYTES
        {
            return self.lend_small();
        }
        self.lent_large += 1;
        let bytes = self.large.pop().unwrap_or_else(|| vec![0; self.large_bytes].into());
        Buffer { bytes, start: 0, end: 0 }
    }

    /// Takes a buffer back; what it held is gone.
    pub fn give_back(&mut self, buffer: Buffer) {
        let (free, lent) = if buffer.bytes.len() == SMALL_BYTES {
            (&mut self.small, &mut self.lent_small)
        } else {
            (&mut self.large, &mut self.lent_large)
        };
        *lent -= 1;
        if free.len() * buffer.bytes.len() < SPARE_BYTES {
            free.push(buffer.bytes);
        }
    }

    /// How many buffers are lent: small, large.
    pub fn lent(&self) -> (usize, usize) {
        (self.lent_small, self.lent_large)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_returned_is_the_first_lent() {
        let mut pool = Pool::new(4096);
        let (first, second) = (pool.lend(), pool.lend());
        let address = second.bytes.as_ptr();
        pool.give_back(first);
        pool.give_back(second);
        assert_eq!(pool.lend().bytes.as_ptr(), address);
        assert_eq!(pool.lent(), (0, 1));
    }

    #[test]
    fn beyond_the_budget_small_ones_are_lent_and_the_lists_stay_bounded() {
        let large_bytes = 8 << 20;
        let mut pool = Pool::new(large_bytes);
        let lent: Vec<_> = (0..12).map(|_| pool.lend()).collect();
        assert_eq!(pool.lent(), (4, 8));
        lent.into_iter().for_each(|buffer| pool.give_back(buffer));
        assert_eq!(pool.lent(), (0, 0));
        assert_eq!((pool.small.len(), pool.large.len()), (4, 1));
    }

    #[test]
    fn a_buffer_holds_what_was_filled_and_not_consumed() {
        let mut buffer = Pool::new(4096).lend_small();
        buffer.room()[..5].copy_from_slice(b"hello");
        buffer.filled(5);
        buffer.consume(2);
        assert_eq!(buffer.held(), b"llo");
        assert_eq!(buffer.room().len(), SMALL_BYTES - 5);
    }
}
