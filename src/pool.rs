//! Fixed buffers, lent while bytes are in transit.
//!
//! Two sizes: small ones for requests and replies, so that slow clients cannot take relay buffers,
//! and large ones for relaying. The free lists are last in, first out: one hot buffer serves every
//! session in turn. When the lent large buffers reach their budget, small ones are lent instead, so
//! stalled sessions slow down instead of taking all memory. The same happens when the system has no
//! memory for a large one.
//!
//! Pipes carry sustained flows without copying. They are few: when all are lent, or the kernel
//! provides none, bytes go through buffers. A pipe is given back only when it is empty.

use crate::sizes::SMALL_BYTES;
use std::io;

/// Most bytes lent as large buffers, unless the process may have less memory.
pub const LARGE_BUDGET_BYTES: usize = 64 << 20;
/// Most free bytes that each list keeps.
const SPARE_BYTES: usize = 1 << 20;
/// Most pipes lent at a time. With 1 MiB each they add up to what Linux allows one unprivileged
/// user (fs.pipe-user-pages-soft: 16,384 pages).
pub const PIPES_MAX: usize = 64;
/// Most free pipes kept; each is two descriptors.
pub const SPARE_PIPES_MAX: usize = 4;

/// A lent buffer and the bytes in it.
pub struct Buffer {
    bytes: Box<[u8]>,
    start: u32,
    end: u32,
}

impl Buffer {
    /// No buffer: it has no memory, and is not given back.
    pub fn none() -> Buffer {
        Buffer { bytes: Box::default(), start: 0, end: 0 }
    }

    /// Whether this is [`Buffer::none`].
    pub fn is_none(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes held.
    pub fn held(&self) -> &[u8] {
        &self.bytes[self.start as usize..self.end as usize]
    }

    /// Whether there is no room after them.
    pub fn is_full(&self) -> bool {
        self.end as usize == self.bytes.len()
    }

    /// The room after them. They move to the front if there is none: messages of SOCKS5 that came
    /// together are taken one by one, and a part of the next may remain.
    pub fn room(&mut self) -> &mut [u8] {
        if self.is_full() && self.start > 0 {
            self.bytes.copy_within(self.start as usize.., 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
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

/// The free buffers of both sizes, and the free pipes (`P`).
pub struct Pool<P> {
    small: Vec<Box<[u8]>>,
    large: Vec<Box<[u8]>>,
    pipes: Vec<P>,
    large_bytes: usize,
    /// Most bytes lent as large buffers.
    budget_bytes: usize,
    pipes_max: usize,
    lent_small: usize,
    lent_large: usize,
    lent_pipes: usize,
    /// How often a small buffer was lent because the budget was spent; to be taken.
    pub buffers_lacking: u64,
    /// How often no pipe was left for a flow that could use one; to be taken.
    pub pipes_lacking: u64,
    /// How many calls have moved bytes in or out, by which a loop that does nothing shows.
    pub moves: u64,
}

impl<P> Pool<P> {
    /// A pool whose large buffers have `large_bytes` bytes each and come to at most
    /// `budget_bytes`, and that lends at most `pipes_max` pipes.
    pub fn new(large_bytes: usize, budget_bytes: usize, pipes_max: usize) -> Pool<P> {
        assert!((SMALL_BYTES..=u32::MAX as usize).contains(&large_bytes));
        Pool {
            small: Vec::new(),
            large: Vec::new(),
            pipes: Vec::new(),
            large_bytes,
            budget_bytes,
            pipes_max,
            lent_small: 0,
            lent_large: 0,
            lent_pipes: 0,
            buffers_lacking: 0,
            pipes_lacking: 0,
            moves: 0,
        }
    }

    /// Most bytes lent as large buffers.
    pub fn budget_bytes(&self) -> usize {
        self.budget_bytes
    }

    /// Whether a pipe may be lent to a flow that could use one.
    pub fn has_pipe(&mut self) -> bool {
        let has_pipe = self.lent_pipes < self.pipes_max;
        self.pipes_lacking += u64::from(!has_pipe && self.pipes_max > 0);
        has_pipe
    }

    /// Lends an empty pipe: a spare one, or one that `open` creates.
    pub fn lend_pipe(&mut self, open: impl FnOnce() -> io::Result<P>) -> Option<P> {
        if !self.has_pipe() {
            return None;
        }
        let pipe = self.pipes.pop().or_else(|| open().ok())?;
        self.lent_pipes += 1;
        Some(pipe)
    }

    /// Takes an empty pipe back.
    pub fn give_back_pipe(&mut self, pipe: P) {
        self.lent_pipes -= 1;
        if self.pipes.len() < SPARE_PIPES_MAX {
            self.pipes.push(pipe);
        }
    }

    /// Closes a lent pipe that still has bytes in it.
    pub fn drop_pipe(&mut self, pipe: P) {
        self.lent_pipes -= 1;
        drop(pipe);
    }

    /// The kernel does not move bytes through pipes: no more of them.
    pub fn forbid_pipes(&mut self) {
        self.pipes_max = 0;
    }

    /// Bytes of one large buffer, and most bytes lent as such.
    pub fn budget(&self) -> (usize, usize) {
        (self.large_bytes, self.budget_bytes)
    }

    /// Most pipes lent.
    pub fn pipes_max(&self) -> usize {
        self.pipes_max
    }

    /// How many pipes are lent, and how many are kept.
    pub fn pipes(&self) -> (usize, usize) {
        (self.lent_pipes, self.pipes.len())
    }

    /// Lends an empty small buffer.
    pub fn lend_small(&mut self) -> Buffer {
        self.lent_small += 1;
        let bytes = self.small.pop().unwrap_or_else(|| vec![0; SMALL_BYTES].into());
        Buffer { bytes, start: 0, end: 0 }
    }

    /// Lends an empty large buffer, or a small one when the budget is spent.
    pub fn lend(&mut self) -> Buffer {
        if self.large_bytes == SMALL_BYTES {
            return self.lend_small();
        }
        if (self.lent_large + 1).saturating_mul(self.large_bytes) > self.budget_bytes {
            self.buffers_lacking += 1;
            return self.lend_small();
        }
        let Some(bytes) = self.large.pop().or_else(|| allocate(self.large_bytes)) else {
            // There is no memory for more, and small ones need some as well.
            self.budget_bytes = (self.lent_large / 4 * 3).saturating_mul(self.large_bytes);
            self.buffers_lacking += 1;
            return self.lend_small();
        };
        self.lent_large += 1;
        Buffer { bytes, start: 0, end: 0 }
    }

    /// Lends a buffer that holds `bytes`, which an upgrade has handed over. It may be of another
    /// size than this pool's, and beyond the budget, since none of them may be lost; `None` when
    /// there is no memory.
    pub fn lend_with(&mut self, bytes: &[u8]) -> Option<Buffer> {
        let mut buffer = match bytes.len() {
            0 => return Some(Buffer::none()),
            1..=SMALL_BYTES => self.lend_small(),
            length => {
                let bytes = allocate(length.max(self.large_bytes))?;
                self.lent_large += 1;
                Buffer { bytes, start: 0, end: 0 }
            }
        };
        buffer.room()[..bytes.len()].copy_from_slice(bytes);
        buffer.filled(bytes.len());
        Some(buffer)
    }

    /// Counts a pipe that an upgrade has handed over as lent, be it one more than there may be.
    pub fn adopt_pipe(&mut self, pipe: P) -> P {
        self.lent_pipes += 1;
        pipe
    }

    /// Takes a buffer back; its contents are dropped.
    pub fn give_back(&mut self, buffer: Buffer) {
        let (free, lent) = if buffer.bytes.len() == SMALL_BYTES {
            (&mut self.small, &mut self.lent_small)
        } else {
            (&mut self.large, &mut self.lent_large)
        };
        *lent -= 1;
        let is_kept = match buffer.bytes.len() {
            SMALL_BYTES => true,
            // One that was handed over may be of another size.
            length => {
                let lent_bytes = self.lent_large * self.large_bytes;
                length == self.large_bytes && lent_bytes <= self.budget_bytes
            }
        };
        if is_kept && free.len() * buffer.bytes.len() < SPARE_BYTES {
            free.push(buffer.bytes);
        }
    }

    /// Bytes of the free buffers that are kept.
    pub fn kept_bytes(&self) -> usize {
        self.small.len() * SMALL_BYTES + self.large.len() * self.large_bytes
    }

    /// How many buffers are lent: small, large.
    pub fn lent(&self) -> (usize, usize) {
        (self.lent_small, self.lent_large)
    }
}

/// Zeroed bytes, if the system has memory for them.
fn allocate(length: usize) -> Option<Box<[u8]>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).ok()?;
    bytes.resize(length, 0);
    Some(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_returned_last_is_lent_first() {
        let mut pool = Pool::<()>::new(4096, LARGE_BUDGET_BYTES, 0);
        let (first, second) = (pool.lend(), pool.lend());
        let address = second.bytes.as_ptr();
        pool.give_back(first);
        pool.give_back(second);
        assert_eq!(pool.lend().bytes.as_ptr(), address);
        assert_eq!(pool.lent(), (0, 1));
    }

    #[test]
    fn beyond_the_budget_small_buffers_are_lent_and_the_free_lists_stay_bounded() {
        let large_bytes = 8 << 20;
        let mut pool = Pool::<()>::new(large_bytes, LARGE_BUDGET_BYTES, 0);
        let lent: Vec<_> = (0..12).map(|_| pool.lend()).collect();
        assert_eq!(pool.lent(), (4, 8));
        assert_eq!(pool.buffers_lacking, 4, "a small one in place of each further large one");
        lent.into_iter().for_each(|buffer| pool.give_back(buffer));
        assert_eq!(pool.lent(), (0, 0));
        assert_eq!((pool.small.len(), pool.large.len()), (4, 1));
    }

    #[test]
    fn a_failed_large_allocation_lowers_the_budget() {
        let mut pool = Pool::<()>::new(4096, LARGE_BUDGET_BYTES, 0);
        let lent: Vec<_> = (0..8).map(|_| pool.lend()).collect();
        // Larger than any address space, on 32-bit processors as well.
        pool.large_bytes = isize::MAX as usize + 1;
        pool.budget_bytes = usize::MAX;
        assert_eq!(pool.lend().room().len(), SMALL_BYTES);
        assert_eq!(pool.lent(), (1, 8));
        pool.large_bytes = 4096;
        pool.budget_bytes = 6 * 4096;
        assert_eq!(pool.lend().room().len(), SMALL_BYTES, "none beyond the lowered budget");
        lent.into_iter().for_each(|buffer| pool.give_back(buffer));
        assert_eq!(pool.large.len(), 7, "one returned beyond it is not kept");
        assert_eq!(pool.lend().room().len(), 4096);
    }

    #[test]
    fn a_buffer_holds_the_bytes_filled_and_not_consumed() {
        let mut buffer = Pool::<()>::new(4096, LARGE_BUDGET_BYTES, 0).lend_small();
        buffer.room()[..5].copy_from_slice(b"hello");
        buffer.filled(5);
        buffer.consume(2);
        assert_eq!(buffer.held(), b"llo");
        assert_eq!(buffer.room().len(), SMALL_BYTES - 5);
    }

    #[test]
    fn a_full_buffer_has_the_room_of_what_was_consumed() {
        let mut buffer = Pool::<()>::new(4096, LARGE_BUDGET_BYTES, 0).lend_small();
        let bytes: Vec<u8> = (0..SMALL_BYTES).map(|place| place as u8).collect();
        buffer.room().copy_from_slice(&bytes);
        buffer.filled(SMALL_BYTES);
        assert_eq!(buffer.room().len(), 0);
        buffer.consume(300);
        assert_eq!(buffer.room().len(), 300);
        assert_eq!(buffer.held(), &bytes[300..]);
        buffer.room()[..2].copy_from_slice(b"on");
        buffer.filled(2);
        assert_eq!(buffer.held(), [&bytes[300..], b"on"].concat());
    }

    #[test]
    fn bytes_that_were_handed_over_fit_whatever_their_number_and_other_sizes_are_not_kept() {
        let mut pool = Pool::<()>::new(4096, 4096, 0);
        let sizes = [0, 1, SMALL_BYTES, SMALL_BYTES + 1, 4096, 4097, 70_000];
        let held: Vec<Vec<u8>> = sizes.map(|size| vec![size as u8; size]).into();
        let lent: Vec<_> = held.iter().map(|bytes| pool.lend_with(bytes).unwrap()).collect();
        assert!(lent.iter().zip(&held).all(|(buffer, bytes)| buffer.held() == bytes));
        assert!(lent[0].is_none());
        assert_eq!(pool.lent(), (2, 4), "beyond the budget");
        assert_eq!(pool.lend().room().len(), SMALL_BYTES, "and it counts");
        lent.into_iter().skip(1).rev().for_each(|buffer| pool.give_back(buffer));
        assert_eq!((pool.lent(), pool.large.len()), ((1, 0), 2), "those of its size");
        assert!(pool.large.iter().all(|bytes| bytes.len() == 4096));
    }

    #[test]
    fn a_pipe_that_was_handed_over_counts_as_lent() {
        let mut pool = Pool::new(4096, LARGE_BUDGET_BYTES, 1);
        let pipes = [pool.adopt_pipe(1), pool.adopt_pipe(2)];
        assert_eq!((pool.pipes(), pool.has_pipe()), ((2, 0), false));
        pipes.into_iter().for_each(|pipe| pool.give_back_pipe(pipe));
        assert_eq!((pool.pipes(), pool.has_pipe()), ((0, 2), true));
    }

    #[test]
    fn lent_and_spare_pipes_have_separate_limits() {
        let mut pool = Pool::new(4096, LARGE_BUDGET_BYTES, 6);
        let mut opened = 0..;
        let lent: Vec<i32> =
            (0..8).filter_map(|_| pool.lend_pipe(|| Ok(opened.next().unwrap()))).collect();
        assert_eq!((lent.as_slice(), pool.pipes()), (&[0, 1, 2, 3, 4, 5][..], (6, 0)));
        assert_eq!(pool.pipes_lacking, 2);
        pool.drop_pipe(5);
        assert_eq!(pool.lend_pipe(|| Err(io::ErrorKind::Other.into())), None);
        assert_eq!(pool.pipes(), (5, 0), "a pipe that could not be opened is not lent");
        (0..5).for_each(|pipe| pool.give_back_pipe(pipe));
        assert_eq!(pool.pipes(), (0, SPARE_PIPES_MAX));
        assert_eq!(pool.lend_pipe(|| unreachable!("there are spare ones")), Some(3));
        pool.forbid_pipes();
        assert_eq!(pool.lend_pipe(|| Ok(9)), None);
        assert_eq!(pool.pipes_lacking, 2, "that they are forbidden is no limit reached by load");
    }
}
