//! The start of a server that goes on where the program that this process was has stopped.

use super::origin::{Origin, Parts};
use super::pages::Pages;
use super::record::ServerRecord;
use super::rule_source::RuleSource;
use super::settings::RESERVED_DESCRIPTORS;
use super::start::counted;
use super::user_source::UserSource;
use super::{Error, RulesError, Server, Step};
use crate::config::Config;
use crate::handover::{FORMAT, Handover, HandoverError, Header};
use crate::net::MioNet;
use crate::reactor::Reactor;
use crate::rules::RuleSet;
use crate::service::Notifier;
use crate::settings::SESSION_BYTES_MAX;
use crate::signals::held::release_requests;
use crate::upgrade::{Parcel, Upgrading};
use crate::users::Users;
use crate::{limits, logging};
use log::{error, info};
use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::thread;
use std::time::Duration;

/// The rules while there are none.
const DENY_ALL: &[u8] = b"deny cb *\n";
/// What a server takes besides its sessions, its files and the record, amply.
const SERVER_BYTES: usize = 2 << 20;
/// How often a file is read that was good on trial, a moment ago, and the time between.
const READS_MAX: u32 = 20;
const READ_AGAIN_AFTER: Duration = Duration::from_millis(25);

/// What a server of this command line answers on trial, to one that would hand over the record on
/// standard input and so many descriptors. Reads all that taking over would read, and nothing else
/// happens.
pub fn answer_trial(config: &Config, descriptors: usize) -> Result<String, Error> {
    // The limit may have been lowered since the start.
    let allowed = limits::raise_descriptor_limit().saturating_sub(RESERVED_DESCRIPTORS);
    if descriptors as u64 > allowed {
        let error = format!("{descriptors} descriptors, expected at most {allowed}");
        return Err(Error::step(Step::Upgrade, error));
    }
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes).map_err(|error| Error::step(Step::Upgrade, error))?;
    let handover = Handover::decode(&bytes, descriptors).map_err(damaged)?;
    let record = server_record(&handover)?;
    let rules = rule_source(config, &record)?.read()?;
    let users = UserSource::find(config).read()?;
    // Sessions, and their bytes once more in buffers, beside all that was read: to lack memory then
    // would end them all.
    let sessions = handover.connections.len().saturating_mul(SESSION_BYTES_MAX);
    let needed = sessions.saturating_add(SERVER_BYTES + bytes.len());
    limits::check_memory(needed).map_err(|error| Error::step(Step::Upgrade, error))?;
    drop((rules, users));
    Ok(format!("socku {} accepts hand-over {FORMAT}\n", env!("CARGO_PKG_VERSION")))
}

impl Server {
    /// A server with all that was handed over: its listeners in place of those of the command line,
    /// which are the same. The files were good on trial, and sessions must not end because one has
    /// become bad since; until it is good again, nobody is permitted anything new.
    pub(crate) fn take_over(config: &Config, parcel: Parcel) -> Result<Server, Error> {
        let Parcel { bytes, descriptors } = parcel;
        let handover = Handover::decode(&bytes, descriptors.len()).map_err(damaged)?;
        let (Header { version, .. }, _) = Header::read(&bytes).map_err(damaged)?;
        let mut record = server_record(&handover)?;
        let own = |index: Option<u32>| descriptors.get(index? as usize)?.try_clone().ok();
        let bytes = std::mem::take(&mut record.log);
        logging::resume(bytes, own(record.log_descriptor), record.log_dropped);
        let (status, dump_requested) = (own(record.status_listener), record.dump_requested);
        let notifier = own(record.notifier).map(Notifier::resume).unwrap_or_default();
        let (source, rules) = rules(config, &record);
        let (user_source, users) = users(config);
        let is_complete = rules.is_some() && users.is_some();
        let (sessions, listeners) = (handover.connections.len(), handover.listeners.len());
        let mut server = Server::build(
            config,
            (source, rules.map_or_else(deny_all, Ok)?),
            // Without a file that is right nobody can log in, but everybody with a password has to.
            (user_source, users.unwrap_or_else(|| Some(Users::default()))),
            notifier,
            Some(Upgrading::new()),
            Box::new(Handed { handover, descriptors, record, status }),
        )?;
        server.dump_requested = dump_requested;
        if !is_complete {
            server.reload.request_all();
            server.reactor.skip_wait();
        }
        info!(
            "upgraded from socku {version} to socku {}: {}, {} taken over",
            env!("CARGO_PKG_VERSION"),
            counted(sessions, "session"),
            counted(listeners, "listener"),
        );
        release_requests().map_err(|error| Error::step(Step::Signals, error))?;
        Ok(server)
    }
}

/// All that was handed over, with all sessions.
struct Handed<'a> {
    /// The record of the reactor.
    handover: Handover<'a>,
    /// The descriptors that it names.
    descriptors: Vec<OwnedFd>,
    /// The record of the server.
    record: ServerRecord,
    /// The status listener.
    status: Option<OwnedFd>,
}

impl Origin for Handed<'_> {
    fn is_start(&self) -> bool {
        false
    }

    fn listeners(&self) -> usize {
        self.handover.listeners.len()
    }

    fn net(&self) -> io::Result<MioNet> {
        MioNet::with_origin(self.handover.origin_ns)
    }

    fn build(self: Box<Self>, parts: Parts) -> Result<(Reactor<MioNet>, Pages), Error> {
        let Handed { handover, descriptors, record, status: listener } = *self;
        let Parts { net, settings, rules, resolver, users, status } = parts;
        let reactor = Reactor::import(net, settings, rules, resolver, users, handover, descriptors);
        let mut reactor = reactor.map_err(|error| Error::step(Step::Upgrade, error))?;
        let pages = Pages::resume(&mut reactor, status, &record, listener)?;
        Ok((reactor, pages))
    }
}

fn damaged(error: HandoverError) -> Error {
    Error::step(Step::Upgrade, error)
}

fn server_record(handover: &Handover<'_>) -> Result<ServerRecord, Error> {
    let bytes = handover.embedder.map(|bytes| &**bytes);
    ServerRecord::decode(bytes).map_err(|error| Error::step(Step::Upgrade, error.to_string()))
}

/// The rule file in use. Another one of those that are looked for must not take its place, should it
/// be missing at this moment.
fn rule_source(config: &Config, record: &ServerRecord) -> Result<RuleSource, RulesError> {
    match &record.rule_file {
        Some(path) if config.rule_file.is_none() => {
            Ok(RuleSource::File(OsStr::from_bytes(path).into()))
        }
        _ => RuleSource::find(&config.rule_files()),
    }
}

/// The rules and where they are from; `None` if the file has become bad.
fn rules(config: &Config, record: &ServerRecord) -> (RuleSource, Option<RuleSet>) {
    let read = || {
        let source = rule_source(config, record)?;
        let rules = source.read()?;
        Ok::<_, RulesError>((source, rules))
    };
    match read_patiently(read, "everything new is denied") {
        Some((source, rules)) => (source, Some(rules)),
        None => {
            let file = config.rule_files().into_iter().next_back().unwrap_or_default();
            (rule_source(config, record).unwrap_or(RuleSource::File(file)), None)
        }
    }
}

/// The users and where they are from; `None` if the file has become bad.
fn users(config: &Config) -> (UserSource, Option<Option<Users>>) {
    let source = UserSource::find(config);
    let users = read_patiently(|| source.read(), "nobody can log in");
    (source, users)
}

/// Reads a file that is being replaced, perhaps. Waiting is better than the consequence.
fn read_patiently<T, E: Display>(read: impl Fn() -> Result<T, E>, consequence: &str) -> Option<T> {
    for _ in 1..READS_MAX {
        if let Ok(value) = read() {
            return Some(value);
        }
        thread::sleep(READ_AGAIN_AFTER);
    }
    read().inspect_err(|error| error!("{error}; {consequence} until it is right")).ok()
}

fn deny_all() -> Result<RuleSet, RulesError> {
    RuleSet::parse(DENY_ALL).map_err(|error| RulesError::new(error.message))
}
