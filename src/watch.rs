//! Notices that files have changed.

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Room for the events of one read; each takes at most 16 bytes and a name of 255.
const EVENT_BYTES: usize = 4096;

/// Watches the directories of files: editors replace a file, and a watch on the file itself
/// would stay with the old one.
pub struct FileWatch {
    inotify: OwnedFd,
    /// The watched directory of each file, and its name there.
    files: Vec<(i32, OsString)>,
}

impl FileWatch {
    /// Watches nothing yet; changes will wake the loop with `token`.
    pub fn new(registry: &Registry, token: usize) -> io::Result<FileWatch> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let mut source = SourceFd(&inotify.as_raw_fd());
        registry.register(&mut source, Token(token), Interest::READABLE)?;
        Ok(FileWatch { inotify, files: Vec::new() })
    }

    /// Watches this file, too.
    pub fn add(&mut self, file: &Path) -> io::Result<()> {
        let name = file.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_os_string();
        let directory = match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let what = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO;
        let watch = inotify::add_watch(&self.inotify, directory, what)?;
        self.files.push((watch, name));
        Ok(())
    }

    /// Calls `changed` with the number of each file, in the order they were added, that has been
    /// written or replaced since the last call.
    pub fn changes(&mut self, mut changed: impl FnMut(usize)) {
        let mut found = vec![false; self.files.len()];
        let mut space = [MaybeUninit::uninit(); EVENT_BYTES];
        let mut reader = inotify::Reader::new(&self.inotify, &mut space);
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| name.to_bytes());
                    // When the kernel's queue has overflowed, anything may have changed.
                    let is_lost = event.events().contains(ReadFlags::QUEUE_OVERFLOW);
                    for ((watch, file), found) in self.files.iter().zip(&mut found) {
                        let is_it = *watch == event.wd() && name == Some(file.as_bytes());
                        *found |= is_lost || is_it;
                    }
                }
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        found.iter().enumerate().filter(|(_, found)| **found).for_each(|(file, _)| changed(file));
    }
}
