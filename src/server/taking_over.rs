//! The start of a server that goes on where the program that this process was has stopped.

use super::record::ServerRecord;
use super::rule_source::RuleSource;
use super::settings::RESERVED_DESCRIPTORS;
use super::start::counted;
use super::user_source::UserSource;
use super::{Error, Origin, RulesError, Server, Step};
use crate::config::Config;
use crate::handover::{FORMAT, Handover, HandoverError, Header};
use crate::rules::RuleSet;
use crate::service::Notifier;
use crate::settings::SESSION_BYTES_MAX;
use crate::upgrade::{Parcel, Upgrading};
use crate::users::Users;
use crate::{limits, logging, signals};
use log::{error, info};
use std::fmt::Display;
use std::io::{self, Read};
use std::thread;
use std::time::Duration;

/// The rules while there are none.
const DENY_ALL: &[u8] = b"deny cb *\n";
/// How often a file is read that was good on trial, a moment ago, and the time between.
const READS_MAX: u32 = 20;
const READ_AGAIN_AFTER: Duration = Duration::from_millis(25);

/// What a server of this command line answers on trial, to one that would hand over the record on
/// standard input and so many descriptors. Reads all that taking over would read, and nothing else
/// happens.
pub fn answer_trial(config: &Config, descriptors: usize) -> Result<String, Error> {
    RuleSource::find(&config.rule_files())?.read()?;
    UserSource::find(config).read()?;
    // The limit may have been lowered since the start.
    let allowed = limits::raise_descriptor_limit().saturating_sub(RESERVED_DESCRIPTORS);
    if descriptors as u64 > allowed {
        let error = format!("{descriptors} descriptors, expected at most {allowed}");
        return Err(Error::step(Step::Upgrade, error));
    }
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes).map_err(|error| Error::step(Step::Upgrade, error))?;
    let handover = Handover::decode(&bytes, descriptors).map_err(damaged)?;
    server_record(&handover)?;
    // Sessions, and their bytes once more in buffers: to lack memory then would end them all.
    let needed = handover.connections.len() * SESSION_BYTES_MAX + bytes.len();
    limits::check_memory(needed).map_err(|error| Error::step(Step::Upgrade, error))?;
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
        let notifier = if config.service { Notifier::from_env() } else { Notifier::default() };
        let (source, rules) = rules(config);
        let (user_source, users) = users(config);
        let is_complete = rules.is_some() && users.is_some();
        let (sessions, listeners) = (handover.connections.len(), handover.listeners.len());
        let mut server = Server::build(
            config,
            (source, rules.map_or_else(deny_all, Ok)?),
            (user_source, users.flatten()),
            notifier,
            Some(Upgrading::new()),
            Origin::Handed {
                handover: Box::new(handover),
                descriptors,
                record: Box::new(record),
                status,
            },
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
        signals::release_requests().map_err(|error| Error::step(Step::Signals, error))?;
        Ok(server)
    }
}

fn damaged(error: HandoverError) -> Error {
    Error::step(Step::Upgrade, error)
}

fn server_record(handover: &Handover<'_>) -> Result<ServerRecord, Error> {
    let bytes = handover.embedder.map(|bytes| &**bytes);
    ServerRecord::decode(bytes).map_err(|error| Error::step(Step::Upgrade, error.to_string()))
}

/// The rules and where they are from; `None` if the file has become bad.
fn rules(config: &Config) -> (RuleSource, Option<RuleSet>) {
    let files = config.rule_files();
    let read = || {
        let source = RuleSource::find(&files)?;
        let rules = source.read()?;
        Ok::<_, RulesError>((source, rules))
    };
    match read_patiently(read, "everything new is denied") {
        Some((source, rules)) => (source, Some(rules)),
        None => (RuleSource::File(files.into_iter().next_back().unwrap_or_default()), None),
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
