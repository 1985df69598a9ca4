//! The proxy as a whole: sockets, files, signals and the loop, for programs that embed it.
//!
//! [`Builder`] has the settings, [`Server`] listens and serves, and a [`Handle`] stops it or makes
//! it read its files again, from any thread.
//!
//! ```
//! use socku::server::Builder;
//! use std::error::Error;
//! use std::thread;
//!
//! fn main() -> Result<(), Box<dyn Error>> {
//!     let server = Builder::with_rules("permit c 127.*.*.*")
//!         .listen("127.0.0.1:0".parse()?)
//!         .start()?;
//!     println!("listening on {}", server.addresses()[0]);
//!     let handle = server.handle();
//!     let running = thread::spawn(move || server.run());
//!     // Later, from any thread:
//!     handle.stop();
//!     running.join().expect("the server does not panic")?;
//!     Ok(())
//! }
//! ```
//!
//! A server is one thread: the one that calls [`Server::run`]. It writes its log through the crate
//! `log`, and installs no logger. PIPE must be ignored, as it is in every Rust program.

mod builder;
pub(crate) mod check;
mod error;
mod handle;
mod names;
mod pages;
pub(crate) mod question;
pub(crate) mod rule_source;
mod start;
pub(crate) mod user_source;

pub use crate::config::SettingError;
pub use builder::Builder;
pub use error::{Error, RulesError, Step, UsersError};
pub use handle::Handle;

use crate::config::Config;
use crate::dns::QUERIES_MAX;
use crate::limits;
use crate::logging;
use crate::net::MioNet;
use crate::pool::{LARGE_BUDGET_BYTES, PIPES_MAX, SPARE_PIPES_MAX};
use crate::privileges;
use crate::reactor::{Dump, Reactor};
use crate::reload::{Loaded, Reload, Source};
use crate::settings::{Durations, SESSION_BYTES_MAX, Settings};
use crate::signals::{Control, Signals};
use crate::status::CLIENTS_MAX;
use crate::time::Millis;
use crate::token::FIRST_USER_TOKEN;
use log::{debug, error, info, warn};
use mio::unix::SourceFd;
use mio::{Interest, Token};
use names::{HOSTS, RESOLV_CONF, resolv_conf_settings};
use pages::Pages;
use rule_source::RuleSource;
use start::{check_outbound, counted, is_beyond_loopback, start_line};
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::path::PathBuf;
use user_source::UserSource;

/// Descriptors kept for other uses than sessions: standard input and the like, poll, signals, the
/// waker, the rule file, and a third one that some sessions need for a moment. Listeners are added.
const RESERVED_DESCRIPTORS: u64 = 24;
/// Effectively unlimited; the links of sessions are counted in 32 bits.
const SESSIONS_MAX: u64 = 1 << 20;
/// Most attempts to connect beside the first of each session. They take descriptors from no session.
const EXTRA_ATTEMPTS_MAX: usize = 256;
/// A client that closed its side while its target is being reached may have half-closed: it has
/// longer than a lost SYN or two take.
const LEAVE_MS: Millis = 10_000;
/// A refused client has this long to close its side.
const LINGER_MS: Millis = 2000;

/// How often to look whether everything before a reset has arrived: at first, and later.
const RESET_POLL_MS: Millis = 20;
const SLOW_RESET_POLL_MS: Millis = 500;

/// A relay that is idle for so long has its target's connection probed from then on.
const KEEPALIVE_MS: Millis = 300_000;

/// How long after an attempt the next address of a name is tried beside it (RFC 8305, section 8).
const ATTEMPT_DELAY_MS: Millis = 250;

/// The resolver's own deadline comes first; this is for the case that it does not.
const RESOLVE_SLACK_MS: Millis = 1000;

// The sources besides sockets that wake the loop.
const SIGNALS: usize = 0;
const FILES: usize = 1;
const LOG: usize = 2;
const HANDLE: usize = 3;

/// A proxy that listens. [`Builder::start`] makes one, [`Server::run`] serves.
///
/// Dropping it closes its sockets.
pub struct Server {
    reactor: Reactor<MioNet>,
    handle: Handle,
    signals: Option<Signals>,
    reload: Reload,
    /// The file, as messages about the rules name it.
    rules_name: String,
    /// The same of the users.
    users_name: String,
    dns_timeout_ms: Millis,
    addresses: Vec<SocketAddr>,
    /// Standard error, while the loop watches it for room.
    watched_log: Option<RawFd>,
    /// USR1 has asked for a dump that has not begun.
    dump_requested: bool,
    dump: Option<Dump>,
    pages: Pages,
}

impl Server {
    /// Listens, then gives up root if asked to.
    pub(crate) fn start(
        config: &Config,
        source: RuleSource,
        user_source: UserSource,
    ) -> Result<Server, Error> {
        let (rules, users) = (source.read()?, user_source.read()?);
        check_outbound(config)?;
        let descriptors = limits::raise_descriptor_limit();
        let identity = config.user.as_deref().map(privileges::find_identity).transpose();
        let identity = identity.map_err(|error| Error::step(Step::User, error))?;
        let net = MioNet::new().map_err(|error| Error::step(Step::EventLoop, error))?;
        let token = |which| FIRST_USER_TOKEN + which;
        let handle = Handle::new(net.registry(), token(HANDLE))
            .map_err(|error| Error::step(Step::EventLoop, error))?;
        let signals = config.signals.then(|| Signals::new(net.registry(), token(SIGNALS)));
        let signals = signals.transpose().map_err(|error| Error::step(Step::Signals, error))?;
        let files = files(config, &source, &user_source);
        let reload = Reload::new(files, net.registry(), token(FILES));
        let (mut resolver, mut warnings) = names::resolver(config);
        resolver.set_queries_max(queries_max(descriptors));
        let (settings, lowered) = settings(config, descriptors);
        warnings.extend(lowered);
        warnings.iter().for_each(|warning| warn!("{warning}"));
        let (max_sessions, max_bytes) = (settings.max_sessions, settings.memory_max_bytes());
        let start_line = start_line(&source, &rules, &user_source, users.as_ref(), max_sessions);
        let mut reactor = Reactor::new(net, settings, rules, resolver);
        if let Some(users) = users {
            reactor.set_users(users);
        }
        let addresses = config.listen.iter().map(|&address| {
            reactor.listen(address).map_err(|source| Error::Listen { address, source })
        });
        let addresses = addresses.collect::<Result<_, _>>()?;
        let now = reactor.now();
        let pages = Pages::new(reactor.net().registry(), config.status, now)
            .map_err(|error| Error::step(Step::Status, error))?;
        if let Some(address) = pages.address() {
            reactor.refuse_as_target(address);
            reactor.keep_refusals();
        }
        if let Some(identity) = identity {
            privileges::drop_to(identity).map_err(|error| Error::step(Step::User, error))?;
            let unreadable = source.unreadable().into_iter().chain(user_source.unreadable());
            unreadable.for_each(|warning| warn!("{warning}"));
        }
        let server = Server {
            reactor,
            handle,
            signals,
            reload,
            rules_name: source.name(),
            users_name: user_source.name(),
            dns_timeout_ms: config.dns_timeout_ms,
            addresses,
            watched_log: None,
            dump_requested: false,
            dump: None,
            pages,
        };
        info!("{start_line}");
        log_limits(max_sessions, max_bytes);
        server.warn_about_rules();
        Ok(server)
    }

    /// The addresses listened on, in the order of [`Builder::listen`], with the ports that the
    /// kernel chose in place of 0.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where the status listener of [`Builder::status`] listens, with the port that the kernel chose
    /// in place of 0.
    pub fn status_address(&self) -> Option<SocketAddr> {
        self.pages.address()
    }

    /// A handle to stop and reload this server from any thread.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves in this thread until a [`Handle`], or a signal if [`Builder::signals`] is on, stops
    /// it and every session has ended.
    ///
    /// # Errors
    ///
    /// [`Error::Step`] with [`Step::Wait`], when the system fails to wait for events. All sessions
    /// have ended then.
    pub fn run(mut self) -> Result<(), Error> {
        for address in &self.addresses {
            info!("listening on {address}");
        }
        self.pages.announce();
        self.write_log();
        while !self.reactor.is_drained() {
            let wake_at = self.pages.wake_at(&self.reactor);
            let woken =
                self.reactor.turn(wake_at).map_err(|error| Error::step(Step::Wait, error))?;
            if woken & (1 << SIGNALS | 1 << HANDLE) != 0 {
                self.handle_requests();
            }
            if woken & 1 << FILES != 0 {
                self.reload.request_changed();
                self.reactor.note_progress();
            }
            self.read_on();
            if self.reactor.is_drain_over() {
                self.stop();
            }
            self.write_log();
            self.pages.serve(&mut self.reactor, woken);
        }
        info!("stopped");
        logging::finish();
        Ok(())
    }

    fn handle_requests(&mut self) {
        self.reactor.note_progress();
        let mut requests = self.handle.pending();
        requests.extend(self.signals.iter_mut().flat_map(Signals::pending));
        for request in requests {
            self.pages.changes += 1;
            match request {
                Control::Reload => self.reload.request_all(),
                Control::Dump => self.dump_requested = true,
                Control::Stop if self.reactor.is_draining() => self.stop(),
                Control::Stop => {
                    info!("stopping; {} sessions may finish", self.reactor.session_count());
                    self.reactor.drain();
                }
            }
        }
    }

    /// Ends every session. They may be thousands, with a line each. No session is left that the log
    /// could block.
    fn stop(&mut self) {
        logging::hold_for_reader();
        self.reactor.stop();
    }

    /// Writes the lines logged in this turn. Those that the log's reader has no room for wait, and
    /// so does the rest of a dump. The loop wakes as soon as the reader makes room.
    fn write_log(&mut self) {
        logging::flush();
        self.continue_dump();
        let registry = self.reactor.net().registry();
        match (logging::waiting(), self.watched_log) {
            (Some(log), None) => {
                let token = Token(FIRST_USER_TOKEN + LOG);
                // Should it fail, the lines go out with the next event.
                let watched = registry.register(&mut SourceFd(&log), token, Interest::WRITABLE);
                self.watched_log = watched.is_ok().then_some(log);
            }
            (None, Some(log)) => {
                // A closed pipe would always be ready.
                let _ = registry.deregister(&mut SourceFd(&log));
                self.watched_log = None;
            }
            _ => {}
        }
    }

    /// Writes the next piece of a dump if the log has room for it. Requests that come during a
    /// dump are answered by one more after it.
    fn continue_dump(&mut self) {
        if self.dump.is_none() && self.dump_requested && logging::has_room_for_dump() {
            self.dump_requested = false;
            self.dump = Some(self.reactor.start_dump());
        }
        let Some(dump) = &mut self.dump else { return };
        if self.reactor.continue_dump(dump, logging::has_room_for_dump) {
            self.dump = None;
        }
        logging::flush();
        if (self.dump.is_some() || self.dump_requested) && logging::has_room_for_dump() {
            self.reactor.skip_wait();
        }
    }

    /// Goes on with the files that are to be read again, a piece a turn.
    fn read_on(&mut self) {
        let step = self.reload.step();
        if let Some((_, result)) = &step {
            self.pages.changes += 1;
            match result {
                Ok(_) => self.pages.reloads.good += 1,
                Err(_) => self.pages.reloads.failed += 1,
            }
        }
        match step {
            Some((_, Ok(loaded))) => self.put_in_force(loaded),
            Some((Source::Rules, Err(error))) => error!("{error}; the rules in force stay"),
            Some((Source::Users, Err(error))) => error!("{error}; the users in force stay"),
            Some((_, Err(error))) => error!("{error}; what was read before stays in force"),
            None => {}
        }
        if self.reload.has_more() {
            self.reactor.skip_wait();
        }
    }

    fn put_in_force(&mut self, loaded: Loaded) {
        match loaded {
            Loaded::Rules(rules) => {
                info!("{}: {} in force", self.rules_name, counted(rules.rules().len(), "rule"));
                self.reactor.set_rules(rules);
                self.warn_about_rules();
            }
            Loaded::Users(users) => {
                info!("{}: {} in force", self.users_name, counted(users.count(), "user"));
                self.reactor.set_users(users);
            }
            Loaded::Hosts(hosts) => {
                info!("{HOSTS}: read again");
                self.reactor.resolver().set_hosts(hosts);
            }
            Loaded::ResolvConf(text) => {
                info!("{RESOLV_CONF}: read again");
                let settings = resolv_conf_settings(&text, self.dns_timeout_ms);
                self.reactor.resolver().set_settings(settings);
            }
        }
    }

    fn warn_about_rules(&self) {
        for warning in self.reactor.rule_warnings(is_beyond_loopback(&self.addresses)) {
            warn!("{}: {warning}", self.rules_name);
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// The files that are watched, and read again when they change.
fn files(config: &Config, rules: &RuleSource, users: &UserSource) -> Vec<(Source, PathBuf)> {
    let mut files = vec![(Source::Hosts, HOSTS.into())];
    if let RuleSource::File(path) = rules {
        files.insert(0, (Source::Rules, path.clone()));
    }
    if let UserSource::File(path) = users {
        files.push((Source::Users, path.clone()));
    }
    if config.nameservers.is_empty() {
        files.push((Source::ResolvConf, RESOLV_CONF.into()));
    }
    files
}

fn log_limits(max_sessions: usize, (process_bytes, pipe_bytes): (usize, usize)) {
    debug!(
        "{max_sessions} sessions, which with what they hold take at most {} KiB, and {} KiB in \
         the kernel's pipes",
        process_bytes / 1024,
        pipe_bytes / 1024,
    );
}

/// Most questions to name servers in flight. Their sockets are not counted among those of the
/// sessions that wait for them, which may hold two others meanwhile: client and identd.
fn queries_max(descriptors: u64) -> usize {
    QUERIES_MAX.min(descriptors as usize / 16).max(2)
}

/// The settings of the loop, and a warning if they have less than was asked for.
fn settings(config: &Config, descriptors: u64) -> (Settings, Option<String>) {
    // With few descriptors, they are for sessions rather than for pipes.
    let pipes_max = if config.splice { PIPES_MAX.min(descriptors as usize / 32) } else { 0 };
    let pipe_ends = if config.splice { 2 * (pipes_max + SPARE_PIPES_MAX) } else { 0 };
    let extra_attempts_max = EXTRA_ATTEMPTS_MAX.min(descriptors as usize / 32);
    let status = config.status.map_or(0, |_| 1 + CLIENTS_MAX);
    let others = config.listen.len() + pipe_ends + queries_max(descriptors) + extra_attempts_max;
    let reserved = RESERVED_DESCRIPTORS + (others + status) as u64;
    let by_descriptors = descriptors.saturating_sub(reserved) / 2;
    let memory = limits::memory_left().unwrap_or(u64::MAX);
    // A quarter for relay buffers, half for everything else of sessions, and the rest is slack.
    let buffer_budget_bytes = (LARGE_BUDGET_BYTES as u64).min(memory / 4) as usize;
    let by_memory = memory / 2 / SESSION_BYTES_MAX as u64;
    let sessions_max = by_descriptors.min(by_memory).clamp(1, SESSIONS_MAX) as usize;
    let lowered = config.max_sessions.filter(|&sessions| sessions > sessions_max);
    let lowered = lowered.map(|sessions| {
        format!(
            "--max-sessions {sessions}: limited to {sessions_max}, which is what {descriptors} \
             open files and the memory limit allow"
        )
    });
    let settings = Settings {
        outbound: config.outbound,
        bind_address: config.bind_address,
        bind_ports: config.bind_ports.clone(),
        max_sessions: config.max_sessions.map_or(sessions_max, |n| n.min(sessions_max)),
        extra_attempts_max,
        max_per_source: config.max_per_source,
        buffer_bytes: config.buffer_bytes,
        buffer_budget_bytes,
        pipes_max,
        durations: durations(config),
        drain_timeout_ms: config.drain_timeout_ms,
    };
    (settings, lowered)
}

fn durations(config: &Config) -> Durations {
    Durations {
        request_ms: config.request_timeout_ms,
        ident_ms: config.ident_timeout_ms,
        resolve_ms: config.dns_timeout_ms + RESOLVE_SLACK_MS,
        connect_ms: config.connect_timeout_ms,
        attempt_delay_ms: ATTEMPT_DELAY_MS,
        leave_ms: LEAVE_MS,
        bind_ms: config.bind_timeout_ms,
        idle_ms: config.idle_timeout_ms,
        half_close_ms: config.half_close_timeout_ms,
        keepalive_ms: KEEPALIVE_MS,
        linger_ms: LINGER_MS,
        reset_poll_ms: RESET_POLL_MS,
        slow_reset_poll_ms: SLOW_RESET_POLL_MS,
    }
}
