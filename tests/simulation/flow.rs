//! What one far end of a connection sends and reads, step by step.

use crate::kernel::Kernel;
use crate::plan::Ending;
use crate::random::pattern;
use crate::tcp::FAR;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ops::Range;

/// How many of the first bytes that it reads are kept: all that may be answers.
const FIRST_BYTES: usize = 64;

/// What one far end sends, reads, and how it ends.
pub struct Flow {
    key: u64,
    head: Vec<u8>,
    /// No more than this before the relay has begun.
    pub hold: u64,
    total: u64,
    end: (Ending, u64),
    reads: u64,
    /// Which bytes are urgent that have not been sent.
    pub urgent: VecDeque<u64>,
    pub sent: u64,
    pub got: u64,
    pub first: Vec<u8>,
    pub heard_fin: bool,
    pub heard_reset: bool,
    pub ended: Option<Ending>,
    /// It went away by itself, and may have missed what came then.
    pub left: bool,
    patience: u64,
}

impl Flow {
    pub fn new(
        key: u64,
        head: Vec<u8>,
        hold: u64,
        total: u64,
        end: (Ending, u64),
        reads: u64,
    ) -> Flow {
        Flow {
            key,
            total: total + head.len() as u64,
            head,
            hold,
            end,
            reads,
            urgent: VecDeque::new(),
            sent: 0,
            got: 0,
            first: Vec::new(),
            heard_fin: false,
            heard_reset: false,
            ended: None,
            left: false,
            patience: 0,
        }
    }

    /// Some bytes at the start, which have not been sent, never are.
    pub fn leave_out(&mut self, range: Range<usize>) {
        assert!(self.sent <= range.start as u64, "it has been sent");
        self.total -= range.len() as u64;
        self.head.drain(range);
    }

    /// Reads some, writes some, ends; after how long to go on, if at all.
    pub fn wake(&mut self, kernel: &mut Kernel, conn: usize, may_go: bool) -> Option<u64> {
        let before = (self.sent, self.got, self.ended, self.heard_fin);
        self.read(kernel, conn);
        let limit = if may_go { self.total } else { self.total.min(self.hold) };
        let limit = limit.min(self.end.1);
        if self.ended.is_none() && !self.heard_reset {
            let before = self.urgent.len();
            self.write(kernel, conn, limit);
            // What comes before and after an urgent byte often goes out with it.
            if self.urgent.front() == Some(&self.sent) || self.urgent.len() < before {
                self.write(kernel, conn, limit);
                self.write(kernel, conn, limit);
            }
        }
        // Whoever has heard FIN has no reason to wait for more than its own end.
        let done = self.sent >= self.total || (self.heard_fin && !may_go);
        if self.ended.is_none() && (self.sent >= self.end.1 || done) {
            self.finish(
                kernel,
                conn,
                if self.sent >= self.end.1 { self.end.0 } else { Ending::Fin },
            );
        }
        if self.heard_reset || (self.heard_fin && self.ended == Some(Ending::Fin)) {
            kernel.close(conn, FAR);
            self.ended = Some(Ending::Close);
        }
        if matches!(self.ended, Some(Ending::Close | Ending::Reset | Ending::Vanish)) {
            return None;
        }
        let changed = before != (self.sent, self.got, self.ended, self.heard_fin);
        self.patience = if changed { 0 } else { self.patience + 1 };
        let most = 1 + (5 << self.patience.min(8));
        (self.patience < 40).then(|| kernel.random.within(1, most))
    }

    fn read(&mut self, kernel: &mut Kernel, conn: usize) {
        for _ in 0..4 {
            let most = kernel.random.pick(&[5_000, 100_000]);
            let most = kernel.random.within(1, most).min(self.reads - self.got.min(self.reads));
            if most == 0 || self.heard_fin || self.heard_reset {
                return;
            }
            let mut bytes = Vec::new();
            match kernel.read(conn, FAR, &mut bytes, most as usize) {
                Ok(0) => self.heard_fin = true,
                Ok(n) => {
                    self.got += n as u64;
                    let wanted = bytes.len().min(FIRST_BYTES - self.first.len());
                    self.first.extend_from_slice(&bytes[..wanted]);
                }
                Err(Errno::AGAIN) => return,
                Err(_) => self.heard_reset = true,
            }
        }
    }

    fn write(&mut self, kernel: &mut Kernel, conn: usize, limit: u64) {
        let mosts = if kernel.mood.is_wide { [200_000; 3] } else { [10, 8_000, 200_000] };
        let most = kernel.random.pick(&mosts);
        let most = kernel.random.within(1, most).min(limit.saturating_sub(self.sent));
        if most == 0 {
            return;
        }
        // An urgent byte goes out alone.
        let is_urgent = self.urgent.front() == Some(&self.sent);
        let before_next = self.urgent.front().map_or(u64::MAX, |next| next - self.sent);
        let most = if is_urgent { 1 } else { most.min(before_next) };
        let head = self.head.get(self.sent as usize..).unwrap_or_default();
        let mut bytes = head[..head.len().min(most as usize)].to_vec();
        if (bytes.len() as u64) < most {
            let at = self.sent + bytes.len() as u64 - self.head.len() as u64;
            bytes.extend(pattern(self.key, at, most as usize - bytes.len()));
        }
        match kernel.write(conn, FAR, &bytes, bytes.len()) {
            Ok(n) => {
                self.sent += n as u64;
                if is_urgent {
                    self.urgent.pop_front();
                    kernel.mark(conn, FAR);
                }
            }
            Err(Errno::AGAIN) => {}
            Err(_) => self.heard_reset = true,
        }
    }

    fn finish(&mut self, kernel: &mut Kernel, conn: usize, ending: Ending) {
        kernel.say(|| format!("far end of {conn}: {ending:?} after {} bytes", self.sent));
        match ending {
            Ending::Fin => kernel.finish(conn, FAR),
            Ending::Close => kernel.close(conn, FAR),
            Ending::Reset => kernel.reset(conn, FAR),
            Ending::Hold => {}
            Ending::Vanish => kernel.vanish(conn),
        }
        self.left = matches!(ending, Ending::Close | Ending::Reset | Ending::Vanish);
        self.ended = Some(ending);
    }
}
