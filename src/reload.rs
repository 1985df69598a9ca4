//! Reloads rule file, hosts and resolv.conf, a piece a turn, so that a long file delays no session.

use crate::dns::{Hosts, HostsParser};
use crate::files::Reader;
use crate::rules::{ParseError, Parser, RuleSet};
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
    /// /etc/hosts.
    Hosts,
    /// /etc/resolv.conf.
    ResolvConf,
}

/// The content of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Loaded {
    /// The rules, all of them valid.
    Rules(RuleSet),
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
        if loaded.is_ok() && source == Source::Rules && load.last != b'\n' {
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
        other => unreachable!("{other:?} of a rule file"),
    }
}

/// Reads the hosts file at once; empty if there is none.
pub fn read_hosts(file: &Path) -> Result<Hosts, String> {
    match Load::begin(Source::Hosts, file)?.finish()? {
        Loaded::Hosts(hosts) => Ok(hosts),
        other => unreachable!("{other:?} of a hosts file"),
    }
}

/// Reads the text of resolv.conf at once; empty if there is none.
pub fn read_resolv_conf(file: &Path) -> Result<Vec<u8>, String> {
    match Load::begin(Source::ResolvConf, file)?.finish()? {
        Loaded::ResolvConf(text) => Ok(text),
        other => unreachable!("{other:?} of resolv.conf"),
    }
}

/// Whether a rule file can be opened.
pub fn open_rules(file: &Path) -> Result<(), String> {
    Load::begin(Source::Rules, file).map(drop)
}

/// A file that is being read.
struct Load {
    source: Source,
    path: PathBuf,
    /// `None` when an optional file does not exist.
    reader: Option<Reader>,
    /// Parses a rule file.
    parser: Parser,
    /// Parses a hosts file.
    hosts: HostsParser,
    /// The text of resolv.conf read so far.
    text: Vec<u8>,
    /// The last byte read.
    last: u8,
}

impl Load {
    fn begin(source: Source, path: &Path) -> Result<Load, String> {
        let bytes_max = match source {
            Source::Rules => RULES_BYTES_MAX,
            Source::Hosts => HOSTS_BYTES_MAX,
            Source::ResolvConf => RESOLV_CONF_BYTES_MAX,
        };
        let reader = match Reader::open(path, bytes_max) {
            Ok(reader) => Some(reader),
            Err(error) if source != Source::Rules && error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        let (parser, hosts) = (Parser::default(), HostsParser::default());
        let (path, text, last) = (path.into(), Vec::new(), b'\n');
        Ok(Load { source, path, reader, parser, hosts, text, last })
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
                Source::Rules => self.parser.feed(&piece[..read]).map_err(|e| self.place(&e))?,
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
                let rules = take(&mut self.parser).finish();
                rules.map(Loaded::Rules).map_err(|error| self.place(&error))
            }
            Source::Hosts => Ok(Loaded::Hosts(take(&mut self.hosts).finish())),
            Source::ResolvConf => Ok(Loaded::ResolvConf(take(&mut self.text))),
        }
    }

    /// A rule file that changes while the proxy runs may be cut off within a rule, by a full disk
    /// or a writer that is not done. The part may permit more than the whole.
    fn torn(&self) -> String {
        let path = self.path.display();
        format!("{path}: found a last line without a newline, expected one after every rule")
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
        let (path, message) = (self.path.display(), &error.message);
        match error.line {
            Some(line) => format!("{path}:{line}: {message}"),
            None => format!("{path}: {message}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const RULES: usize = 20_000;

    /// A directory with a rule file and none of the others.
    fn reload(name: &str) -> (PathBuf, mio::Poll, Reload) {
        let place =
            std::env::temp_dir().join(format!("socku-reload-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&place);
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("rules"), "deny c 1.2.3.4\n".repeat(RULES)).unwrap();
        let poll = mio::Poll::new().unwrap();
        let files = vec![
            (Source::Rules, place.join("rules")),
            (Source::Hosts, place.join("hosts")),
            (Source::ResolvConf, place.join("resolv.conf")),
        ];
        let reload = Reload::new(files, poll.registry(), 0);
        (place, poll, reload)
    }

    /// How many turns return nothing, and then the file.
    fn next(reload: &mut Reload) -> (usize, Source, Result<Loaded, String>) {
        for turns in 0..1000 {
            assert!(reload.has_more());
            if let Some((source, loaded)) = reload.step() {
                return (turns, source, loaded);
            }
        }
        panic!("no file is complete");
    }

    fn count(loaded: Result<Loaded, String>) -> usize {
        match loaded {
            Ok(Loaded::Rules(rules)) => rules.rules().len(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn files_are_read_one_by_one_and_a_long_one_over_many_turns() {
        let (place, _poll, mut reload) = reload("turns");
        assert!(!reload.has_more() && reload.step().is_none());
        fs::create_dir(place.join("hosts")).unwrap();
        reload.request_all();
        let (turns, source, loaded) = next(&mut reload);
        assert_eq!((source, count(loaded)), (Source::Rules, RULES));
        let bytes = fs::metadata(place.join("rules")).unwrap().len() as usize;
        assert_eq!(turns, bytes / BYTES_PER_TURN);
        let (turns, source, loaded) = next(&mut reload);
        assert_eq!((turns, source), (0, Source::Hosts));
        assert!(loaded.unwrap_err().contains("hosts: found a directory, expected a regular file"));
        let missing = Ok(Loaded::ResolvConf(Vec::new()));
        assert_eq!(next(&mut reload), (0, Source::ResolvConf, missing));
        assert!(!reload.has_more() && reload.step().is_none());
        fs::remove_dir_all(place).unwrap();
    }

    #[test]
    fn a_long_hosts_file_is_read_over_many_turns() {
        const LINE: &str = "10.0.0.1 some.name.example\n";
        let (place, _poll, mut reload) = reload("hosts");
        let text = LINE.repeat(10 * BYTES_PER_TURN / LINE.len()) + "10.0.0.2 last.example\n";
        fs::write(place.join("hosts"), &text).unwrap();
        reload.request(Source::Hosts);
        let (turns, source, loaded) = next(&mut reload);
        assert_eq!((turns, source), (text.len() / BYTES_PER_TURN, Source::Hosts));
        assert_eq!(loaded, Ok(Loaded::Hosts(Hosts::parse(text.as_bytes()))));
        fs::remove_dir_all(place).unwrap();
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_is_read_again_from_the_start() {
        let (place, _poll, mut reload) = reload("again");
        reload.request_all();
        (0..3).for_each(|_| assert!(reload.step().is_none()));
        fs::write(place.join("new"), "deny c 1.2.3.4\n".repeat(RULES / 2)).unwrap();
        fs::rename(place.join("new"), place.join("rules")).unwrap();
        reload.request_changed();
        let (mut rules, mut others) = (Vec::new(), 0);
        while reload.has_more() {
            match next(&mut reload) {
                (_, Source::Rules, loaded) => rules.push(count(loaded)),
                _ => others += 1,
            }
        }
        assert_eq!((rules, others), (vec![RULES / 2], 2));
        fs::remove_dir_all(place).unwrap();
    }

    #[test]
    fn an_error_is_one_line_with_its_place() {
        let (place, _poll, mut reload) = reload("errors");
        for (text, expected) in [
            ("permit c 1.2.3.4\npermit q 1.2.3.4\n", "rules:2: found `q`"),
            ("# nothing\n", "rules: found no rule"),
        ] {
            fs::write(place.join("rules"), text).unwrap();
            reload.request_changed();
            let error = next(&mut reload).2.unwrap_err();
            assert!(error.contains(expected) && !error.contains('\n'), "{error}");
            assert_eq!(read_rules(&place.join("rules")), Err(error));
        }
        fs::remove_dir_all(place).unwrap();
    }
}
