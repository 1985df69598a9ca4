//! Notices that files have changed, whatever way their paths lead to them.
//!
//! Each inode on the way to a file is watched: directories for being moved or removed, symbolic
//! links for being replaced, the file itself for being written, replaced or removed. None of that
//! is an event of a neighbour, so what else happens in a directory does not wake the loop. Only
//! while a path leads nowhere are its directories watched for the names that are missing. After
//! each event the way is walked again. A file system that is mounted over the way causes no event;
//! [`FileWatch::renew`] finds the new way.

use log::warn;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{FileType, lstat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::mem::{MaybeUninit, take};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::{fs, io};

/// Room for the events of one read; each takes at most 16 bytes and a name of 255.
const EVENT_BYTES: usize = 4096;
/// Most symbolic links on the way to a file, as in the kernel.
const LINKS_MAX: usize = 40;
/// How often a way is walked that changes while it is walked; its events tell of the rest.
const WALKS_MAX: usize = 8;

/// A directory on the way. With more flags there would be events of what is in it.
const DIRECTORY: WatchFlags = WatchFlags::MOVE_SELF.union(WatchFlags::DELETE_SELF);
/// A symbolic link. An inode that loses one of several names has an attribute changed.
const LINK: WatchFlags = DIRECTORY.union(WatchFlags::ATTRIB);
/// The file, or what is found in its place.
const FILE: WatchFlags = LINK.union(WatchFlags::CLOSE_WRITE);
/// A directory in which a name is missing.
const MISSING: WatchFlags = WatchFlags::CREATE.union(WatchFlags::MOVED_TO);

/// Watches the ways to some files.
pub struct FileWatch {
    inotify: OwnedFd,
    files: Vec<WatchedFile>,
    /// By the kernel's number. Ways meet: all that is wanted of an inode is in one watch.
    watches: BTreeMap<i32, Watch>,
}

struct WatchedFile {
    path: PathBuf,
    /// What keeps changes from being noticed.
    failure: Option<Errno>,
}

struct Watch {
    path: PathBuf,
    flags: WatchFlags,
    /// Which files want it, each for the inode itself or for a name in it.
    wanted: Vec<(usize, Option<OsString>)>,
}

impl FileWatch {
    /// Watches these files; changes will wake the loop with `token`. The log says which of them
    /// cannot be watched.
    pub fn new(registry: &Registry, token: usize, files: Vec<PathBuf>) -> io::Result<FileWatch> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let mut source = SourceFd(&inotify.as_raw_fd());
        registry.register(&mut source, Token(token), Interest::READABLE)?;
        let files = files.into_iter().map(|path| WatchedFile { path, failure: None });
        let mut watch = FileWatch { inotify, files: files.collect(), watches: BTreeMap::new() };
        watch.renew();
        Ok(watch)
    }

    /// The numbers of the files, in the order they were given, that may have changed since the
    /// last call. Their ways are watched anew before this returns: what is read after that is
    /// what is there now, or there will be another event.
    pub fn changes(&mut self) -> Vec<usize> {
        let mut changed = vec![false; self.files.len()];
        let mut space = [MaybeUninit::uninit(); EVENT_BYTES];
        let mut reader = inotify::Reader::new(&self.inotify, &mut space);
        loop {
            match reader.next() {
                // The kernel's queue has overflowed: anything may have changed.
                Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => {
                    changed.fill(true);
                }
                Ok(event) => {
                    // What is no longer watched may still have had an event.
                    let Some(watch) = self.watches.get(&event.wd()) else { continue };
                    let name = event.file_name().map(|name| name.to_bytes());
                    for (file, wanted) in &watch.wanted {
                        changed[*file] |= wanted.as_deref().map(OsStr::as_bytes) == name;
                    }
                }
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        if changed.contains(&true) {
            self.renew().into_iter().for_each(|file| changed[file] = true);
        }
        (0..self.files.len()).filter(|&file| changed[file]).collect()
    }

    /// Walks all ways again and watches what is there now. Returns the numbers of the files whose
    /// way has become another; the events that say so, if any, are not waited for.
    pub fn renew(&mut self) -> Vec<usize> {
        let before = take(&mut self.watches);
        for file in 0..self.files.len() {
            let known = self.files[file].failure.take();
            for _ in 0..WALKS_MAX {
                if self.walk(file) {
                    break;
                }
            }
            let WatchedFile { path, failure } = &self.files[file];
            if let Some(error) = failure.filter(|_| *failure != known) {
                warn!("{}: changes may not be noticed before SIGHUP: {error}", path.display());
            }
        }
        for (&number, old) in &before {
            match self.watches.get(&number) {
                // It fails when the inode is gone, and its watch with it.
                None => drop(inotify::remove_watch(&self.inotify, number)),
                Some(watch) if watch.flags != old.flags => self.reduce(number, watch),
                Some(_) => {}
            }
        }
        let is_other = |&file: &usize| way(&before, file).ne(way(&self.watches, file));
        (0..self.files.len()).filter(is_other).collect()
    }

    /// Drops the flags of an old watch that are no longer wanted.
    fn reduce(&self, number: i32, watch: &Watch) {
        let flags = watch.flags | WatchFlags::DONT_FOLLOW;
        match inotify::add_watch(&self.inotify, &watch.path, flags) {
            // Something else is there by now, and the event that says so is waiting.
            Ok(other) if other != number && !self.watches.contains_key(&other) => {
                let _ = inotify::remove_watch(&self.inotify, other);
            }
            _ => {}
        }
    }

    /// Goes the way of a path as the kernel does, and watches each inode before it looks where
    /// that leads: what changes from then on is an event. Says whether what was watched is what
    /// was found; it may have been replaced in between.
    fn walk(&mut self, file: usize) -> bool {
        let mut at = start(&self.files[file].path).unwrap_or(PathBuf::from("."));
        let mut rest = names(&self.files[file].path);
        let (mut passed, mut links) = (Vec::new(), 0);
        while let Some(name) = rest.pop() {
            let step = at.join(&name);
            passed.push((at.clone(), name));
            let found = kind(&step);
            match found {
                None => {
                    self.await_names(file, passed);
                    return kind(&step).is_none();
                }
                Some(FileType::Directory) => self.watch(file, &step, DIRECTORY, None),
                Some(FileType::Symlink) => self.watch(file, &step, LINK, None),
                Some(_) => self.watch(file, &step, FILE, None),
            }
            if kind(&step) != found {
                return false;
            }
            match found {
                Some(FileType::Directory) => at = step,
                Some(FileType::Symlink) if links < LINKS_MAX => {
                    let Ok(target) = fs::read_link(&step) else { return false };
                    at = start(&target).unwrap_or(at);
                    rest.extend(names(&target));
                    links += 1;
                }
                // The file, or what is in its way.
                _ => {
                    // One that has no name left was found at the last moment of its removal.
                    if lstat(&step).is_ok_and(|stat| stat.st_nlink == 0) {
                        self.await_names(file, passed);
                    }
                    return true;
                }
            }
        }
        true
    }

    /// Watches for what is missing, in every directory on the way: one in which some program
    /// works is removed without an event of its own, and may be put back.
    fn await_names(&mut self, file: usize, passed: Vec<(PathBuf, OsString)>) {
        for (directory, name) in passed {
            self.watch(file, &directory, MISSING, Some(name));
        }
    }

    /// Adds to what is watched of one inode.
    fn watch(&mut self, file: usize, path: &Path, flags: WatchFlags, name: Option<OsString>) {
        let what = flags | WatchFlags::DONT_FOLLOW | WatchFlags::MASK_ADD;
        match inotify::add_watch(&self.inotify, path, what) {
            Ok(number) => {
                let new = || Watch { path: path.into(), flags, wanted: Vec::new() };
                let watch = self.watches.entry(number).or_insert_with(new);
                watch.flags |= flags;
                watch.wanted.push((file, name));
            }
            // It has gone, which is seen next.
            Err(Errno::NOENT) => {}
            Err(error) => drop(self.files[file].failure.get_or_insert(error)),
        }
    }
}

/// The watches on the way to a file.
fn way(watches: &BTreeMap<i32, Watch>, file: usize) -> impl Iterator<Item = i32> {
    let is_on_it = move |watch: &Watch| watch.wanted.iter().any(|(wanted, _)| *wanted == file);
    watches.iter().filter(move |(_, watch)| is_on_it(watch)).map(|(&number, _)| number)
}

/// Where an absolute path starts.
fn start(path: &Path) -> Option<PathBuf> {
    path.is_absolute().then(|| PathBuf::from("/"))
}

/// The names of a path, the first one last.
fn names(path: &Path) -> Vec<OsString> {
    let names = path.components().filter(|part| *part != Component::RootDir);
    names.rev().map(|part| part.as_os_str().to_os_string()).collect()
}

/// What is at a path, links not followed.
fn kind(path: &Path) -> Option<FileType> {
    lstat(path).ok().map(|stat| FileType::from_raw_mode(stat.st_mode))
}

#[cfg(test)]
#[path = "watch/watch_test.rs"]
mod tests;
