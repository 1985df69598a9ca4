//! Standard error, written to without ever blocking on its reader.
//!
//! Other processes share its open file description, so O_NONBLOCK must not be set there. A pipe or
//! a terminal is opened a second time, with our own description. Calling poll() first is not
//! enough: between poll and write another process may fill the pipe, and a terminal is writable as
//! soon as it has room for one byte.

use crate::net;
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::{Errno, write};
use rustix::net::{SendFlags, send};
use rustix::stdio::stderr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Opens standard error again. This fails if another user created the pipe, or without /proc.
const STDERR_PATH: &str = "/proc/self/fd/2";

/// The ways to write to standard error.
pub enum Output {
    /// A file: each write succeeds or fails at once.
    File,
    /// A pipe, a terminal or another device, opened again without blocking.
    Own(OwnedFd),
    /// A socket, as under systemd: each call has a flag not to block.
    Socket,
    /// A pipe that cannot be opened again: poll() first, then at most [`PIPE_BYTES`].
    ///
    /// [`PIPE_BYTES`]: super::PIPE_BYTES
    Shared,
}

impl Output {
    /// Determines how to write to standard error.
    pub fn open() -> Output {
        match fstat(stderr()).map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            // Opened again, it would be overwritten from the start.
            Ok(FileType::RegularFile | FileType::BlockDevice) => Output::File,
            Ok(FileType::Socket) => Output::Socket,
            _ => {
                let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
                open(STDERR_PATH, flags, Mode::empty()).map_or(Output::Shared, Output::Own)
            }
        }
    }

    /// Writes as much as there is room for; `AGAIN` when there is none.
    pub fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        match self {
            Output::Socket => send(stderr(), bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL),
            Output::Shared if !self.is_writable_within(Duration::ZERO) => Err(Errno::AGAIN),
            Output::File | Output::Shared | Output::Own(_) => write(self, bytes),
        }
    }

    /// Waits for room, and subtracts the time from `patience`. False when that is used up.
    pub fn wait(&self, patience: &mut Duration) -> bool {
        let start = Instant::now();
        let is_writable = !patience.is_zero() && self.is_writable_within(*patience);
        *patience = patience.saturating_sub(start.elapsed());
        is_writable
    }

    fn is_writable_within(&self, time: Duration) -> bool {
        // An error of the descriptor is reported by the write.
        net::is_writable_within(self, time)
    }
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Output::Own(own) => own.as_fd(),
            Output::File | Output::Socket | Output::Shared => stderr(),
        }
    }
}
