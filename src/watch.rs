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
use std::path::{Path, PathBuf};

/// Room for the events of one read; each takes at most 16 bytes and a name of 255.
const EVENT_BYTES: usize = 4096;

/// Watches files by the directories that they are in: editors replace a file, and a watch on the
/// file itself would stay with the old one. Where a path leads through a link, its end is watched
/// the same way; and the file itself is, for one that is mounted is written to where its
/// directory does not see it.
pub struct FileWatch {
    inotify: OwnedFd,
    files: Vec<PathBuf>,
    watches: Vec<Watch>,
}

struct Watch {
    descriptor: i32,
    /// The name in a watched directory; `None` for a file itself.
    name: Option<OsString>,
    /// Whose watch it is, by the number of the file.
    file: usize,
}

impl FileWatch {
    /// Watches nothing yet; changes will wake the loop with `token`.
    pub fn new(registry: &Registry, token: usize) -> io::Result<FileWatch> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let mut source = SourceFd(&inotify.as_raw_fd());
        registry.register(&mut source, Token(token), Interest::READABLE)?;
        Ok(FileWatch { inotify, files: Vec::new(), watches: Vec::new() })
    }

    /// Watches this file, too.
    pub fn add(&mut self, file: &Path) -> io::Result<()> {
        self.files.push(file.to_path_buf());
        self.renew(self.files.len() - 1)
    }

    /// Watches what the path of a file leads to now.
    fn renew(&mut self, file: usize) -> io::Result<()> {
        let (old, kept) = self.watches.drain(..).partition(|watch| watch.file == file);
        self.watches = kept;
        for itself in old.into_iter().filter(|watch: &Watch| watch.name.is_none()) {
            // It fails when that file is gone, and its watch with it.
            let _ = inotify::remove_watch(&self.inotify, itself.descriptor);
        }
        let path = self.files[file].clone();
        if let Ok(end) = path.canonicalize() {
            let _ = self.watch_name(file, &end);
        }
        if let Ok(descriptor) = inotify::add_watch(&self.inotify, &path, WatchFlags::CLOSE_WRITE) {
            self.watches.push(Watch { descriptor, name: None, file });
        }
        self.watch_name(file, &path)
    }

    fn watch_name(&mut self, file: usize, path: &Path) -> io::Result<()> {
        let name = Some(path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_os_string());
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let what = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO;
        let descriptor = inotify::add_watch(&self.inotify, directory, what)?;
        self.watches.push(Watch { descriptor, name, file });
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
                    for watch in &self.watches {
                        let is_it = watch.descriptor == event.wd()
                            && watch.name.as_ref().map(|name| name.as_bytes()) == name
                            && !event.events().contains(ReadFlags::IGNORED);
                        found[watch.file] |= is_lost || is_it;
                    }
                }
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        for (file, _) in found.into_iter().enumerate().filter(|(_, found)| *found) {
            // A link may lead elsewhere now. What happens from here on is told the next time.
            let _ = self.renew(file);
            changed(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_file_is_noticed_when_written_replaced_or_behind_a_link_that_moves() {
        let place = std::env::temp_dir().join(format!("socku-watch-{}", std::process::id()));
        fs::create_dir_all(place.join("other")).unwrap();
        let at = |name: &str| place.join(name);
        for name in ["plain", "end", "away", "other/first", "other/second"] {
            fs::write(at(name), "1").unwrap();
        }
        symlink("other/first", at("link")).unwrap();
        fs::hard_link(at("end"), at("other/alias")).unwrap();
        let poll = mio::Poll::new().unwrap();
        let mut watch = FileWatch::new(poll.registry(), 0).unwrap();
        ["plain", "link", "end"].iter().for_each(|name| watch.add(&at(name)).unwrap());
        let mut seen = |what: &str, expected: &[usize]| {
            let mut changed = Vec::new();
            watch.changes(|file| changed.push(file));
            assert_eq!(changed, expected, "{what}");
        };
        seen("nothing", &[]);
        fs::write(at("away"), "2").unwrap();
        seen("another file", &[]);
        for round in 0..2 {
            fs::write(at("plain"), "2").unwrap();
            seen("written", &[0]);
            fs::write(at("new"), "3").unwrap();
            fs::rename(at("new"), at("plain")).unwrap();
            seen("replaced", &[0]);
            fs::write(at("other/alias"), "4").unwrap();
            seen("written under another name, as a mounted file is", &[2]);
            let end = if round == 0 { "other/first" } else { "other/second" };
            fs::write(at("other/new"), "5").unwrap();
            fs::rename(at("other/new"), at(end)).unwrap();
            seen("replaced behind a link", &[1]);
            symlink("other/second", at("link2")).unwrap();
            fs::rename(at("link2"), at("link")).unwrap();
            seen("the link leads elsewhere", &[1]);
        }
        fs::remove_dir_all(&place).unwrap();
    }
}
