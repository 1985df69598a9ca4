//! Notices that the rule file has changed.

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Room for the events of one read; each takes at most 16 bytes and a name of 255.
const EVENT_BYTES: usize = 4096;

/// Watches the directory of a file: editors replace the file, and a watch on the file itself
/// would stay with the old one.
pub struct FileWatch {
    inotify: OwnedFd,
    name: OsString,
}

impl FileWatch {
    /// Watches `file` and lets changes wake the loop with `token`.
    pub fn new(file: &Path, registry: &Registry, token: usize) -> io::Result<FileWatch> {
        let name = file.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_os_string();
        let directory = match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let what = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO;
        inotify::add_watch(&inotify, directory, what)?;
        registry.register(&mut SourceFd(&inotify.as_raw_fd()), Token(token), Interest::READABLE)?;
        Ok(FileWatch { inotify, name })
    }

    /// Whether the file has been written or replaced since the last call.
    pub fn has_changed(&mut self) -> bool {
        let mut changed = false;
        let mut space = [MaybeUninit::uninit(); EVENT_BYTES];
        let mut reader = inotify::Reader::new(&self.inotify, &mut space);
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| name.to_bytes());
                    // When the kernel's queue has overflowed, anything may have changed.
                    changed |= name.is_none_or(|name| name == self.name.as_bytes());
                }
                Err(Errno::INTR) => {}
                Err(_) => return changed,
            }
        }
    }
}
