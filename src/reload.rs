//! Reloads rule file, users, hosts and resolv.conf, a piece a turn, so that a long file delays no
//! session.

mod checked;

pub use checked::{Checked, check_rules, check_users};

use crate::dns::{Hosts, HostsParser};
use crate::files::Reader;
use crate::lines::ParseError;
use crate::rules::{self, RuleSet};
use crate::users::{self, Users};
use crate::watch::FileWatch;
use log::warn;
use mio::Registry;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::mem::take;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Largest rule file.
const RULES_BYTES_MAX: u64 = 16 << 20;
/// Largest users file.
const USERS_BYTES_MAX: u64 = 16 << 20;
/// Largest hosts file: block lists have several MiB.
const HOSTS_BYTES_MAX: u64 = 16 << 20;
/// Largest resolv.conf.
const RESOLV_CONF_BYTES_MAX: u64 = 64 << 10;
/// Most bytes read and parsed per turn: some thousand rules, about a millisecond.
const BYTES_PER_TURN: usize = 16 << 10;

/// A file that the proxy reloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The rule file.
    Rules,
    /// The users file.
    Users,
    /// /etc/hosts.
    Hosts,
    /// /etc/resolv.conf.
    ResolvConf,
}

impl Source {
    /// Whether the file may be missing, and then counts as empty.
    fn is_optional(self) -> bool {
        matches!(self, Source::Hosts | Source::ResolvConf)
    }

    /// The name of a line of the file in messages.
    fn line(self) -> &'static str {
        match self {
            Source::Rules => "rule",
            Source::Users => "user",
            Source::Hosts | Source::ResolvConf => "line",
        }
    }
}

/// The content of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Loaded {
    /// The rules, all of them valid.
    Rules(RuleSet),
    /// The users, none of whose lines is wrong.
    Users(Users),
    /// The hosts file; empty when there is none.
    Hosts(Hosts),
    /// The text of resolv.conf; empty when there is none.
    ResolvConf(Vec<u8>),
}

/// The files, watched and reloaded when they change: one after another, so one spare descriptor is
/// enough for all.
pub struct Reload {
    files: Vec<(Source, PathBuf)>,
    watch: Option<FileWatch>,
    waiting: VecDeque<Source>,
    current: Option<(Source, Load)>,
    /// Closed while a file is read, so that there is a descriptor for it even when sessions use all
    /// others.
    spare: Option<OwnedFd>,
}

impl Reload {
    /// Watches these files; changes wake the loop with `token`. Nothing is requested yet. If files
    /// cannot be watched, they are reloaded by [`Reload::request_all`] only.
    pub fn new(files: Vec<(Source, PathBuf)>, registry: &Registry, token: usize) -> Reload {
        let paths = files.iter().map(|(_, path)| path.clone()).collect();
        let watch = FileWatch::new(registry, token, paths)
            .inspect_err(|error| warn!("changes of files are not detected before SIGHUP: {error}"));
        let (watch, waiting, spare) = (watch.ok(), VecDeque::new(), spare_descriptor());
        Reload { files, watch, waiting, current: None, spare }
    }

    /// Requests the files that have changed; to be called when the loop was woken.
    pub fn request_changed(&mut self) {
        let changed = self.watch.as_mut().map(FileWatch::changes).unwrap_or_default();
        for number in changed {
            self.request(self.files[number].0);
        }
    }

    /// Requests all files, and watches them again.
    pub fn request_all(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.renew();
        }
        for number in 0..self.files.len() {
            self.request(self.files[number].0);
        }
    }

    /// Requests a file from its start, even if it is being read.
    fn request(&mut self, source: Source) {
        self.current.take_if(|(current, _)| *current == source);
        if !self.waiting.contains(&source) {
            self.waiting.push_back(source);
        }
    }

    fn path(&self, source: Source) -> &Path {
        let file = self.files.iter().find(|(known, _)| *known == source);
        &file.expect("only known files are read").1
    }

    /// Whether there is more to read.
    pub fn has_more(&self) -> bool {
        self.current.is_some() || !self.waiting.is_empty()
    }

    /// Reads for one turn; returns a file once it is complete. The error is one line with the file,
    /// and its line if it has one.
    pub fn step(&mut self) -> Option<(Source, Result<Loaded, String>)> {
        if self.current.is_none() {
            let source = self.waiting.pop_front()?;
            self.spare = None;
            match Load::begin(source, self.path(source)) {
                Ok(load) => self.current = Some((source, load)),
                Err(error) => return Some((source, self.end(Err(error)))),
            }
        }
        let (source, load) = self.current.as_mut()?;
        let (source, mut loaded) = (*source, load.step().transpose()?);
        if loaded.is_ok() && load.is_torn() {
            loaded = Err(load.torn());
        }
        Some((source, self.end(loaded)))
    }

    fn end<T>(&mut self, loaded: T) -> T {
        self.current = None;
        self.spare = spare_descriptor();
        loaded
    }
}

/// Any descriptor will do; standard error can be copied without opening a file.
fn spare_descriptor() -> Option<OwnedFd> {
    io::stderr().as_fd().try_clone_to_owned().ok()
}

/// Reads and parses a rule file at once. The error is one line with the file, and its line if it
/// has one.
pub fn read_rules(file: &Path) -> Result<RuleSet, String> {
    match Load::begin(Source::Rules, file)?.finish()? {
        Loaded::Rules(rules) => Ok(rules),
        _ => unreachable!("a rule file was asked for"),
    }
}

/// Reads and parses a users file at once. The error is one line with the file, and its line if it
/// has one.
pub fn read_users(file: &Path) -> Result<Users, String> {
    match Load::begin(Source::Users, file)?.finish()? {
        Loaded::Users(users) => Ok(users),
        _ => unreachable!("a users file was asked for"),
    }
}

/// Reads the hosts file at once; empty if there is none.
pub fn read_hosts(file: &Path) -> Result<Hosts, String> {
    match Load::begin(Source::Hosts, file)?.finish()? {
        Loaded::Hosts(hosts) => Ok(hosts),
        _ => unreachable!("a hosts file was asked for"),
    }
}

/// Reads the text of resolv.conf at once; empty if there is none.
pub fn read_resolv_conf(file: &Path) -> Result<Vec<u8>, String> {
    match Load::begin(Source::ResolvConf, file)?.finish()? {
        Loaded::ResolvConf(text) => Ok(text),
        _ => unreachable!("resolv.conf was asked for"),
    }
}

fn torn(source: Source, path: &Path) -> String {
    let (path, line) = (path.display(), source.line());
    format!("{path}: found a last line without a newline, expected one after every {line}")
}

/// Whether a rule file can be opened.
pub fn open_rules(file: &Path) -> Result<(), String> {
    Load::begin(Source::Rules, file).map(drop)
}

/// Whether a users file can be opened.
pub fn open_users(file: &Path) -> Result<(), String> {
    Load::begin(Source::Users, file).map(drop)
}

/// Passwords are for the proxy and those who manage it: nobody else may read or write their file.
/// The descriptor is asked, so that it is the file that is read.
fn check_private(path: &Path, reader: &Reader) -> Result<(), String> {
    let (path, mode) = (path.display(), reader.mode());
    if mode & 0o006 == 0 {
        return Ok(());
    }
    let expected = format!("one that keeps others out, for example: chmod 640 {path}");
    Err(format!("{path}: its mode is {mode:04o}, expected {expected}"))
}

/// A file that is being read.
struct Load {
    source: Source,
    path: PathBuf,
    /// `None` when an optional file does not exist.
    reader: Option<Reader>,
    /// Parses a rule file.
    rules: rules::Parser,
    /// Parses a users file.
    users: users::Parser,
    /// Parses a hosts file.
    hosts: HostsParser,
    /// The text of resolv.conf read so far.
    text: Vec<u8>,
    /// The last byte read.
    last: u8,
}

impl Load {
    fn begin(source: Source, path: &Path) -> Result<Load, String> {
        let reader = open(source, path)?;
        if let Some(reader) = reader.as_ref().filter(|_| source == Source::Users) {
            check_private(path, reader)?;
        }
        let (rules, users) = (rules::Parser::default(), users::Parser::default());
        let (hosts, text) = (HostsParser::default(), Vec::new());
        Ok(Load { source, path: path.into(), reader, rules, users, hosts, text, last: b'\n' })
    }

    /// Reads for one turn; returns the content once it is complete.
    fn step(&mut self) -> Result<Option<Loaded>, String> {
        let (mut piece, mut left) = ([0; BYTES_PER_TURN], BYTES_PER_TURN);
        while left > 0 {
            let reader = self.reader.as_mut();
            let read = reader.map_or(Ok(0), |reader| reader.read(&mut piece[..left]));
            let read = read.map_err(|error| format!("{}: {error}", self.path.display()))?;
            if read == 0 {
                return self.complete().map(Some);
            }
            match self.source {
                Source::Rules => self.rules.feed(&piece[..read]).map_err(|e| self.place(&e))?,
                Source::Users => self.users.feed(&piece[..read]).map_err(|e| self.place(&e))?,
                Source::Hosts => self.hosts.feed(&piece[..read]),
                Source::ResolvConf => self.text.extend_from_slice(&piece[..read]),
            }
            self.last = piece[read - 1];
            left -= read;
        }
        Ok(None)
    }

    fn complete(&mut self) -> Result<Loaded, String> {
        match self.source {
            Source::Rules => {
                let rules = take(&mut self.rules).finish();
                rules.map(Loaded::Rules).map_err(|error| self.place(&error))
            }
            Source::Users => {
                let users = take(&mut self.users).finish();
                users.map(Loaded::Users).map_err(|error| self.place(&error))
            }
            Source::Hosts => Ok(Loaded::Hosts(take(&mut self.hosts).finish())),
            Source::ResolvConf => Ok(Loaded::ResolvConf(take(&mut self.text))),
        }
    }

    /// A file that changes while the proxy runs may be cut off within a line, by a full disk or a
    /// writer that is not done. A part of a rule may permit more than the whole, and a part of a
    /// password is easier to guess.
    fn is_torn(&self) -> bool {
        matches!(self.source, Source::Rules | Source::Users) && self.last != b'\n'
    }

    fn torn(&self) -> String {
        torn(self.source, &self.path)
    }

    /// Reads the whole file.
    fn finish(mut self) -> Result<Loaded, String> {
        loop {
            if let Some(loaded) = self.step()? {
                return Ok(loaded);
            }
        }
    }

    /// An error with its place.
    fn place(&self, error: &ParseError) -> String {
        place(&self.path, error)
    }
}

/// Opens a file; `None` when an optional one does not exist.
fn open(source: Source, path: &Path) -> Result<Option<Reader>, String> {
    let bytes_max = match source {
        Source::Rules => RULES_BYTES_MAX,
        Source::Users => USERS_BYTES_MAX,
        Source::Hosts => HOSTS_BYTES_MAX,
        Source::ResolvConf => RESOLV_CONF_BYTES_MAX,
    };
    match Reader::open(path, bytes_max) {
        Ok(reader) => Ok(Some(reader)),
        Err(error) if source.is_optional() && error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let kind = if source == Source::Users { "users" } else { "rule" };
            Err(format!("{}: no such file, expected a {kind} file", path.display()))
        }
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// An error in a file with its place.
fn place(path: &Path, error: &ParseError) -> String {
    let (path, message) = (path.display(), &error.message);
    match error.line {
        Some(line) => format!("{path}:{line}: {message}"),
        None => format!("{path}: {message}"),
    }
}

#[cfg(test)]
#[path = "reload/reload_test.rs"]
mod tests;
