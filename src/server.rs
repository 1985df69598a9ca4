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

mod announcer;
mod builder;
pub(crate) mod check;
mod conflict;
mod error;
mod handle;
#[cfg_attr(not(feature = "health"), path = "server/health/absent.rs")]
pub(crate) mod health;
mod names;
mod origin;
#[cfg_attr(not(feature = "status"), path = "server/pages/absent.rs")]
mod pages;
#[cfg_attr(not(feature = "explain"), path = "server/question/absent.rs")]
pub(crate) mod question;
mod record;
pub(crate) mod rule_source;
mod settings;
mod sockets;
mod start;
#[cfg(feature = "upgrade")]
mod taking_over;
#[cfg_attr(not(feature = "upgrade"), path = "server/upgrading/absent.rs")]
pub(crate) mod upgrading;
pub(crate) mod user_source;
mod writing;

pub use crate::config::SettingError;
pub use crate::settings::LogFormat;
pub use builder::Builder;
pub use error::{Error, RulesError, Step, UsersError};
pub use handle::Handle;

use crate::config::{Config, built_without};
use crate::limits;
use crate::logging;
use crate::net::MioNet;
use crate::privileges;
use crate::reactor::{Dump, Reactor};
use crate::reload::{Loaded, Reload, Source};
use crate::rules::RuleSet;
use crate::service::Notifier;
use crate::signals::{Control, Signals};
use crate::time::Millis;
use crate::token::FIRST_USER_TOKEN;
use crate::upgrade::Upgrading;
use crate::users::Users;
use announcer::Announcer;
use log::{debug, error, info, warn};
use names::{HOSTS, RESOLV_CONF, resolv_conf_settings};
use origin::{Origin, Parts};
use pages::Pages;
use rule_source::RuleSource;
use settings::queries_max;
use sockets::Sockets;
use start::{check_outbound, counted, is_beyond_loopback, start_line};
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::path::PathBuf;
use user_source::UserSource;

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
    announcer: Announcer,
    /// The rule file in use, if there is one.
    rule_file: Option<PathBuf>,
    /// The file, as messages about the rules name it.
    rules_name: String,
    /// The same of the users.
    users_name: String,
    dns_timeout_ms: Millis,
    drain_timeout_ms: Millis,
    addresses: Vec<SocketAddr>,
    /// Standard error, while the loop watches it for room.
    watched_log: Option<RawFd>,
    /// USR1 has asked for a dump that has not begun.
    dump_requested: bool,
    dump: Option<Dump>,
    /// Writes to the log by the end of the last turn.
    log_writes: u64,
    pages: Pages,
    /// The program to become at USR2; `None` in a program that embeds the server.
    upgrading: Option<Upgrading>,
}

impl Server {
    /// Listens, then gives up root if asked to.
    pub(crate) fn start(
        config: &Config,
        source: RuleSource,
        user_source: UserSource,
        upgrading: Option<Upgrading>,
    ) -> Result<Server, Error> {
        let sockets = Sockets::find(config)?;
        // Before this process becomes another user, who may not reach the manager.
        let notifier = if config.service { Notifier::from_env() } else { Notifier::default() };
        let (rules, users) = (source.read()?, user_source.read()?);
        check_outbound(config)?;
        let origin = Box::new(sockets);
        Server::build(config, (source, rules), (user_source, users), notifier, upgrading, origin)
    }

    /// Listens, or goes on with what was handed over.
    fn build(
        config: &Config,
        (source, rules): (RuleSource, RuleSet),
        (user_source, users): (UserSource, Option<Users>),
        notifier: Notifier,
        upgrading: Option<Upgrading>,
        origin: Box<dyn Origin + '_>,
    ) -> Result<Server, Error> {
        let descriptors = limits::raise_descriptor_limit();
        let user = config.user.as_deref().filter(|_| origin.is_start());
        let identity = user.map(privileges::find_identity).transpose();
        let identity = identity.map_err(|error| Error::step(Step::User, error))?;
        let (net, listeners) = (origin.net(), origin.listeners());
        let net = net.map_err(|error| Error::step(Step::EventLoop, error))?;
        let token = |which| FIRST_USER_TOKEN + which;
        let handle = Handle::new(net.registry(), token(HANDLE))
            .map_err(|error| Error::step(Step::EventLoop, error))?;
        let signals = config
            .signals
            .then(|| Signals::new(net.registry(), token(SIGNALS), upgrading.is_some()));
        let signals = signals.transpose().map_err(|error| Error::step(Step::Signals, error))?;
        let files = files(config, &source, &user_source);
        let reload = Reload::new(files, net.registry(), token(FILES));
        let (mut resolver, mut warnings) = names::resolver(config);
        resolver.set_queries_max(queries_max(descriptors));
        let (settings, more) = settings::settings(config, descriptors, listeners);
        warnings.extend(more);
        warnings.iter().for_each(|warning| warn!("{warning}"));
        let (max_sessions, max_bytes) = (settings.max_sessions, settings.memory_max_bytes());
        let start_line = start_line(&source, &rules, &user_source, users.as_ref(), max_sessions);
        let parts = Parts { net, settings, rules, resolver, users, status: config.status };
        let (reactor, pages) = origin.build(parts)?;
        if let Some(identity) = identity {
            privileges::drop_to(identity).map_err(|error| Error::step(Step::User, error))?;
            let unreadable = source.unreadable().into_iter().chain(user_source.unreadable());
            unreadable.for_each(|warning| warn!("{warning}"));
        }
        let addresses = reactor.listening();
        let server = Server {
            reactor,
            handle,
            signals,
            reload,
            announcer: Announcer::new(notifier),
            rule_file: source.file(),
            rules_name: source.name(),
            users_name: user_source.name(),
            dns_timeout_ms: config.dns_timeout_ms,
            drain_timeout_ms: config.drain_timeout_ms,
            addresses,
            watched_log: None,
            dump_requested: false,
            dump: None,
            log_writes: 0,
            pages,
            upgrading,
        };
        info!("{start_line}");
        built_without().iter().for_each(|line| info!("{line}"));
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
    #[cfg(feature = "status")]
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
        self.announcer.ready(&self.status());
        self.pages.announce();
        self.write_log();
        while !self.reactor.is_drained() {
            let wake_at = self.pages.wake_at(&self.reactor).into_iter().chain(self.upgrade_at());
            let wake_at = wake_at.min();
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
            self.step_upgrade();
            self.write_log();
            self.pages.serve(&mut self.reactor, woken, &self.announcer);
            self.note_log_writes();
        }
        info!("stopped");
        logging::finish();
        Ok(())
    }

    fn handle_requests(&mut self) {
        self.reactor.note_progress();
        for request in self.requests() {
            self.handle_request(request);
        }
    }

    /// The requests since the last call.
    fn requests(&mut self) -> Vec<Control> {
        let mut requests = self.handle.pending();
        requests.extend(self.signals.iter_mut().flat_map(Signals::pending));
        requests
    }

    fn handle_request(&mut self, request: Control) {
        self.pages.note_change();
        match request {
            Control::Reload => {
                self.announcer.reload_begins();
                self.reload.request_all();
            }
            Control::Dump => self.dump_requested = true,
            Control::Upgrade => self.request_upgrade(),
            Control::Stop if self.reactor.is_draining() => self.stop(),
            Control::Stop => {
                // First, since it may still accept some that were waiting.
                self.reactor.drain();
                let sessions = counted(self.reactor.session_count(), "session");
                let status = format!("stopping; {sessions} may finish");
                info!("{status}");
                self.announcer.stopping(&status, self.drain_timeout_ms);
            }
        }
    }

    /// Ends every session. They may be thousands, with a line each. No session is left that the log
    /// could block.
    fn stop(&mut self) {
        logging::hold_for_reader();
        self.reactor.stop();
    }

    /// Goes on with the files that are to be read again, a piece a turn.
    fn read_on(&mut self) {
        let read = self.reload.step();
        if let Some((source, read)) = &read {
            self.announcer.file_read(*source, read.as_ref().err());
            self.pages.note_reload(read.is_ok());
        }
        match read {
            Some((_, Ok(loaded))) => self.put_in_force(loaded),
            Some((Source::Rules, Err(error))) => error!("{error}; the rules in force stay"),
            Some((Source::Users, Err(error))) => error!("{error}; the users in force stay"),
            Some((_, Err(error))) => error!("{error}; what was read before stays in force"),
            None => {}
        }
        if self.reload.has_more() {
            self.reactor.skip_wait();
        } else if self.announcer.is_due() {
            self.announcer.reload_ends(&self.status());
        }
    }

    /// What the service manager shows, in one line.
    fn status(&self) -> String {
        let addresses: Vec<_> = self.addresses.iter().map(SocketAddr::to_string).collect();
        let rules = counted(self.reactor.rules().rules().len(), "rule");
        format!("listening on {}; {rules}", addresses.join(", "))
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
