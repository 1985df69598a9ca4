//! A TCP connection as Linux shows it: two ends, each with bounded buffers.
//!
//! Bytes that an end has written wait in its `send` until the wire carries them into the other
//! end's `recv`. A FIN follows them; a reset overtakes those that were not carried yet.
//!
//! An urgent byte has its place among them (SO_OOBINLINE). The wire announces it with the byte or
//! ahead of it, and the newest that was announced is the only one that an end knows.

use rustix::io::Errno;
use std::collections::{BTreeSet, VecDeque};

/// The proxy's end of a connection; the other is [`FAR`].
pub const NEAR: usize = 0;
pub const FAR: usize = 1;

#[derive(Default)]
pub struct End {
    pub recv: VecDeque<u8>,
    pub recv_capacity: usize,
    pub send: VecDeque<u8>,
    pub send_capacity: usize,
    /// FIN goes out behind what is in `send`.
    pub finished: bool,
    /// The other's FIN is behind what is in `recv`.
    pub fin_arrived: bool,
    pub fin_at: u64,
    /// `read` has shown that FIN.
    pub fin_read: bool,
    /// Told once, to the first call that asks.
    pub error: Option<Errno>,
    /// Reset by the other end, or given up.
    pub dead: bool,
    /// This kernel has given it up: the other end has vanished.
    pub given_up: bool,
    /// `read` or `write` has told of that.
    pub dead_told: bool,
    /// Nobody holds this end any more.
    pub closed: bool,
    /// It was closed with a reset.
    pub reset: bool,
    /// A carry of `send` is on its way.
    pub carrying: bool,
    /// When bytes were last written into `send` or carried from there.
    pub moved_at: u64,
    /// Which of the bytes written are urgent and not announced to the other end yet.
    pub marks: VecDeque<u64>,
    /// Which of the bytes that arrive is urgent; not known any more once it is read.
    pub urgent: Option<u64>,
    /// The one of which an event has told.
    pub urgent_told: Option<u64>,
    /// The one that was there when the last call to read ended.
    pub urgent_met: Option<u64>,
    /// All that ever were announced.
    pub announced: BTreeSet<u64>,
    /// Those that were still urgent when the proxy read them, and of which it could know.
    pub urgent_due: BTreeSet<u64>,
    /// Bytes that came into `recv`, were read from it, and were written into `send`.
    pub arrived: u64,
    pub taken: u64,
    pub given: u64,
}

impl End {
    pub fn new(recv_capacity: usize, send_capacity: usize) -> End {
        End { recv_capacity, send_capacity, ..End::default() }
    }

    /// Reads at most `most` bytes into `into`. Bytes first, then the error, then the end.
    pub fn read(&mut self, into: &mut Vec<u8>, most: usize) -> Result<usize, Errno> {
        if !self.recv.is_empty() {
            return Ok(self.take(into, most));
        }
        // Linux: a FIN that came before a reset keeps its place.
        if self.fin_arrived {
            self.fin_read = true;
            return Ok(0);
        }
        if let Some(error) = self.error.take() {
            self.dead_told = true;
            return Err(error);
        }
        if self.dead { Ok(0) } else { Err(Errno::AGAIN) }
    }

    /// Reads the way splice does, which finds nothing, or the end, in front of an urgent byte.
    pub fn read_to_pipe(&mut self, into: &mut Vec<u8>, most: usize) -> Result<usize, Errno> {
        if !self.is_at_mark() || self.recv.is_empty() {
            return self.read(into, most);
        }
        if self.fin_arrived {
            return Ok(0);
        }
        if let Some(error) = self.error.take() {
            self.dead_told = true;
            return Err(error);
        }
        if self.dead { Ok(0) } else { Err(Errno::AGAIN) }
    }

    /// Takes bytes, but none from an urgent one on unless that is the first.
    fn take(&mut self, into: &mut Vec<u8>, most: usize) -> usize {
        let before_mark = self.urgent.map_or(0, |mark| (mark - self.taken) as usize);
        let most = if before_mark == 0 { most } else { most.min(before_mark) };
        let n = most.min(self.recv.len());
        into.extend(self.recv.drain(..n));
        self.taken += n as u64;
        if let Some(mark) = self.urgent.take_if(|mark| *mark < self.taken)
            && [self.urgent_told, self.urgent_met].contains(&Some(mark))
        {
            self.urgent_due.insert(mark);
        }
        n
    }

    /// The next byte to be read is the urgent one.
    pub fn is_at_mark(&self) -> bool {
        self.urgent == Some(self.taken)
    }

    /// The next byte is the urgent one, and there.
    pub fn stops_at_mark(&self) -> bool {
        self.is_at_mark() && self.has_urgent()
    }

    /// A call to read has ended.
    pub fn note_urgent(&mut self) {
        self.urgent_met = self.urgent.filter(|_| self.has_urgent());
    }

    /// An urgent byte is there to be read.
    pub fn has_urgent(&self) -> bool {
        self.urgent.is_some_and(|mark| mark < self.arrived)
    }

    /// Writes what there is room for, at most `most`.
    pub fn write(&mut self, bytes: &[u8], most: usize) -> Result<usize, Errno> {
        if let Some(error) = self.error.take() {
            self.dead_told = true;
            return Err(error);
        }
        if self.dead {
            return Err(Errno::PIPE);
        }
        let n = self.room().min(bytes.len()).min(most);
        if n == 0 {
            return Err(Errno::AGAIN);
        }
        self.send.extend(&bytes[..n]);
        self.given += n as u64;
        Ok(n)
    }

    /// Nothing will come any more.
    pub fn is_ended(&self) -> bool {
        self.fin_arrived || self.dead
    }

    pub fn room(&self) -> usize {
        self.send_capacity.saturating_sub(self.send.len())
    }

    pub fn is_readable(&self) -> bool {
        !self.recv.is_empty() || self.fin_arrived || self.dead
    }

    /// Linux tells a third of the buffer free, not the first byte.
    pub fn has_room(&self) -> bool {
        self.room() * 3 >= self.send_capacity.max(1)
    }

    /// Has something for the wire.
    pub fn is_laden(&self) -> bool {
        !self.send.is_empty() || self.finished
    }

    pub fn is_alive(&self) -> bool {
        !self.dead && !self.closed
    }
}
