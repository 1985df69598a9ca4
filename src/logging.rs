//! The program's log: lines are gathered over a turn of the loop and written together, and a
//! reader of the log that stalls holds up nobody.
//!
//! A busy proxy writes thousands of access lines a second; gathered, they cost one call a turn. At
//! debug each line is written as it happens, so that it stands where a trace expects it.

use env_logger::{Builder, Env, Target};
use log::LevelFilter;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, write};
use rustix::stdio::stderr;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most bytes kept for a reader that stalls. Lines beyond are lost, and counted.
const KEPT_BYTES_MAX: usize = 64 << 10;
/// A pipe that is writable takes so many bytes without blocking (PIPE_BUF of Linux).
const PIPE_BYTES: usize = 4096;

static GATHERED: Mutex<Gathered> =
    Mutex::new(Gathered { bytes: Vec::new(), lost: 0, never_blocks: false });

/// Lines that are not written yet.
struct Gathered {
    bytes: Vec<u8>,
    /// How many lines found no room.
    lost: u64,
    /// Standard error is a file.
    never_blocks: bool,
}

/// Logs to standard error what `RUST_LOG` chooses, by default info and above.
pub fn init() {
    let target = Target::Pipe(Box::new(Gatherer));
    Builder::from_env(Env::default().default_filter_or("info")).target(target).init();
    gathered().never_blocks = fstat(stderr())
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        flush();
        hook(panic);
    }));
}

/// Writes what has been gathered, as far as that is possible without waiting.
pub fn flush() {
    gathered().flush();
}

fn gathered() -> MutexGuard<'static, Gathered> {
    // What a thread that panicked had gathered is as good as any.
    GATHERED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a write to standard error would wait for a reader.
fn would_block() -> bool {
    let mut fds = [PollFd::from_borrowed_fd(stderr(), PollFlags::OUT)];
    poll(&mut fds, Some(&Timespec::default())) == Ok(0)
}

impl Gathered {
    fn flush(&mut self) {
        self.drain();
        if self.bytes.is_empty() && self.lost > 0 {
            let lost = std::mem::take(&mut self.lost);
            let _ = writeln!(self.bytes, "socku: {lost} lines of the log are lost: not read");
            self.drain();
        }
    }

    fn drain(&mut self) {
        let never_blocks = self.never_blocks;
        let written = self.write(|bytes| write(stderr(), bytes), || !never_blocks && would_block());
        self.bytes.drain(..written);
    }

    /// Keeps a line for later, if there is room.
    fn push(&mut self, line: &[u8]) {
        if self.bytes.len() + line.len() > KEPT_BYTES_MAX {
            self.lost += 1;
        } else {
            self.bytes.extend_from_slice(line);
        }
    }

    /// Writes piece by piece; how many bytes are done with. What cannot be written at all (the
    /// reader is gone, the disk is full) is given up: relaying goes on.
    fn write(
        &self,
        mut write: impl FnMut(&[u8]) -> Result<usize, Errno>,
        would_block: impl Fn() -> bool,
    ) -> usize {
        let mut written = 0;
        while written < self.bytes.len() && !would_block() {
            let rest = &self.bytes[written..];
            match write(&rest[..rest.len().min(PIPE_BYTES)]) {
                Ok(n) => written += n,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => return self.bytes.len(),
            }
        }
        written
    }
}

/// What the logger writes its lines to, one call each.
struct Gatherer;

impl Write for Gatherer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut gathered = gathered();
        if gathered.bytes.len() + line.len() > KEPT_BYTES_MAX {
            gathered.flush();
        }
        gathered.push(line);
        if log::max_level() >= LevelFilter::Debug {
            gathered.flush();
        }
        Ok(line.len())
    }

    /// The end of a line is not the end of a turn.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_counted_and_nothing_is_kept_in_part() {
        let mut gathered = Gathered { bytes: Vec::new(), lost: 0, never_blocks: false };
        let line = [b'x'; 1000];
        (0..100).for_each(|_| gathered.push(&line));
        assert_eq!(gathered.bytes.len(), 65_000);
        assert_eq!(gathered.lost, 35);
    }

    #[test]
    fn writing_stops_where_it_would_wait_and_gives_up_where_it_fails() {
        let gathered = Gathered { bytes: vec![b'x'; 10_000], lost: 0, never_blocks: false };
        let turns = std::cell::Cell::new(0);
        let full = || turns.replace(turns.get() + 1) == 2;
        assert_eq!(gathered.write(|bytes| Ok(bytes.len()), full), 2 * PIPE_BYTES);
        assert_eq!(gathered.write(|bytes| Ok(bytes.len().min(7)), || false), 10_000);
        assert_eq!(gathered.write(|_| Err(Errno::AGAIN), || false), 0);
        assert_eq!(gathered.write(|_| Err(Errno::PIPE), || false), 10_000);
    }
}
