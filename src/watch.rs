//! Detects changes of files, through all directories and symbolic links of their paths.
//!
//! Each inode on the path of a file is watched: directories for being moved or removed, symbolic
//! links for being replaced, the file itself for being written, replaced or removed. Changes of
//! neighbours cause no such events, so they do not wake the loop. Directories are watched for
//! missing names only while the path leads nowhere. After each event the path is walked again. A
//! file system mounted over the path causes no event; [`FileWatch::renew`] finds the new path.

use log::warn;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{FileType, lstat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::mem::{MaybeUninit, take};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::{fs, io};

/// Room for the events of one read; each has at most 16 bytes and a name of 255.
const EVENT_BYTES: usize = 4096;
/// Most symbolic links on the path of a file, as in the kernel.
const LINKS_MAX: usize = 40;
/// How often a path is walked that changes meanwhile; later changes cause events.
const WALKS_MAX: usize = 8;

/// A directory on the path. More flags would cause events of its entries.
const DIRECTORY: WatchFlags = WatchFlags::MOVE_SELF.union(WatchFlags::DELETE_SELF);
/// A symbolic link. An inode that loses one of several names has a changed attribute.
const LINK: WatchFlags = DIRECTORY.union(WatchFlags::ATTRIB);
/// The file, or what is in its place.
const FILE: WatchFlags = LINK.union(WatchFlags::CLOSE_WRITE);
/// A directory in which a name is missing.
const MISSING: WatchFlags = WatchFlags::CREATE.union(WatchFlags::MOVED_TO);

/// Watches some files and their paths.
pub struct FileWatch {
    inotify: OwnedFd,
    files: Vec<WatchedFile>,
    /// A few, in the order of the kernel's numbers. Paths may share an inode, which has one watch for
    /// all of them.
    watches: Vec<Watch>,
}

struct WatchedFile {
    path: PathBuf,
    /// The error that keeps changes from being detected.
    failure: Option<Errno>,
}

struct Watch {
    /// The kernel's number.
    number: i32,
    path: PathBuf,
    flags: WatchFlags,
    /// The files that it is for, each with the missing name in this directory, if any.
    interests: Vec<(usize, Option<OsString>)>,
}

impl FileWatch {
    /// Watches these files; changes wake the loop with `token`. Files that cannot be watched are
    /// logged.
    pub fn new(registry: &Registry, token: usize, files: Vec<PathBuf>) -> io::Result<FileWatch> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let mut source = SourceFd(&inotify.as_raw_fd());
        registry.register(&mut source, Token(token), Interest::READABLE)?;
        let files = files.into_iter().map(|path| WatchedFile { path, failure: None });
        let mut watch = FileWatch { inotify, files: files.collect(), watches: Vec::new() };
        watch.renew();
        Ok(watch)
    }

    /// The numbers of the files, in the order given, that may have changed since the last call.
    /// Their paths are watched again before this returns: a later read finds the current content,
    /// or another event follows.
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
                    // A removed watch may still have a pending event.
                    let Some(watch) = find(&self.watches, event.wd()) else { continue };
                    let name = event.file_name().map(|name| name.to_bytes());
                    for (file, missing) in &watch.interests {
                        changed[*file] |= missing.as_deref().map(OsStr::as_bytes) == name;
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

    /// Walks all paths again and watches what is there now. Returns the numbers of the files whose
    /// path leads elsewhere; their events, if any, are not awaited.
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
                warn!("{}: changes may not be detected before SIGHUP: {error}", path.display());
            }
        }
        for old in &before {
            match find(&self.watches, old.number) {
                // This fails when the inode is gone, and its watch with it.
                None => drop(inotify::remove_watch(&self.inotify, old.number)),
                Some(watch) if watch.flags != old.flags => self.reduce(watch),
                Some(_) => {}
            }
        }
        let is_other =
            |&file: &usize| watches_of(&before, file).ne(watches_of(&self.watches, file));
        (0..self.files.len()).filter(is_other).collect()
    }

    /// Drops the flags of an old watch that are no longer needed.
    fn reduce(&self, watch: &Watch) {
        let flags = watch.flags | WatchFlags::DONT_FOLLOW;
        match inotify::add_watch(&self.inotify, &watch.path, flags) {
            // Another inode is there by now, and its event is pending.
            Ok(other) if find(&self.watches, other).is_none() => {
                let _ = inotify::remove_watch(&self.inotify, other);
            }
            _ => {}
        }
    }

    /// Walks a path as the kernel does, and watches each inode before it follows it: later changes
    /// cause events. Returns false if an inode was replaced between being found and being watched.
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
                // The file, or what is in its place.
                _ => {
                    // Without a name left, it is just being removed.
                    if lstat(&step).is_ok_and(|stat| stat.st_nlink == 0) {
                        self.await_names(file, passed);
                    }
                    return true;
                }
            }
        }
        true
    }

    /// Watches for missing names, in every directory on the path: a directory that a program has
    /// open is removed without an event of its own, and may be created again.
    fn await_names(&mut self, file: usize, passed: Vec<(PathBuf, OsString)>) {
        for (directory, name) in passed {
            self.watch(file, &directory, MISSING, Some(name));
        }
    }

    /// Adds an interest in one inode.
    fn watch(&mut self, file: usize, path: &Path, flags: WatchFlags, name: Option<OsString>) {
        let mask = flags | WatchFlags::DONT_FOLLOW | WatchFlags::MASK_ADD;
        match inotify::add_watch(&self.inotify, path, mask) {
            Ok(number) => {
                let place = self.watches.partition_point(|watch| watch.number < number);
                if self.watches.get(place).is_none_or(|watch| watch.number != number) {
                    let (path, interests) = (path.into(), Vec::new());
                    self.watches.insert(place, Watch { number, path, flags, interests });
                }
                let watch = &mut self.watches[place];
                watch.flags |= flags;
                watch.interests.push((file, name));
            }
            // It is gone, which is found next.
            Err(Errno::NOENT) => {}
            Err(error) => drop(self.files[file].failure.get_or_insert(error)),
        }
    }
}

/// The watches on the path of a file.
fn watches_of(watches: &[Watch], file: usize) -> impl Iterator<Item = i32> {
    let is_for_it = move |watch: &&Watch| watch.interests.iter().any(|(other, _)| *other == file);
    watches.iter().filter(is_for_it).map(|watch| watch.number)
}

/// The watch that has this number.
fn find(watches: &[Watch], number: i32) -> Option<&Watch> {
    watches.iter().find(|watch| watch.number == number)
}

/// The start of an absolute path.
fn start(path: &Path) -> Option<PathBuf> {
    path.is_absolute().then(|| PathBuf::from("/"))
}

/// The names of a path, the first one last.
fn names(path: &Path) -> Vec<OsString> {
    let names = path.components().filter(|part| *part != Component::RootDir);
    names.rev().map(|part| part.as_os_str().to_os_string()).collect()
}

/// The type of a path's inode, without following links.
fn kind(path: &Path) -> Option<FileType> {
    lstat(path).ok().map(|stat| FileType::from_raw_mode(stat.st_mode))
}

#[cfg(test)]
#[path = "watch/watch_test.rs"]
mod tests;
