//! The status listener of a server: what it is told of the server, and when.

use super::announcer::Announcer;
use super::error::Error;
use super::record::ServerRecord;
use crate::limits;
use crate::logging;
use crate::net::MioNet;
use crate::reactor::Reactor;
use crate::status::Status;
use crate::status::view::{Process, Reloads};
use crate::time::Millis;
use crate::token::FIRST_USER_TOKEN;
use log::{error, info};
use rustix::system::uname;
use std::mem::replace;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::SystemTime;

/// The status listener, if there is one, and what it shows of the server.
pub struct Pages {
    status: Option<Box<Status>>,
    /// When the server was started, in milliseconds since 1970 and by the clock of the loop.
    started_unix_ms: u64,
    started: Millis,
    /// Files read again.
    reloads: Reloads,
    /// Changes besides those of sessions.
    changes: u64,
    /// Lines of the log dropped by the end of the last turn, and when the last of them was.
    log_dropped: u64,
    log_dropped_at: Option<Millis>,
    /// The addresses for clients. While sessions may finish, nothing listens there any more.
    listening: Vec<SocketAddr>,
}

impl Pages {
    /// Listens, if an address is given.
    pub fn listen(reactor: &mut Reactor<MioNet>, at: Option<SocketAddr>) -> Result<Pages, Error> {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let mut pages = Pages {
            status: None,
            started_unix_ms: since_1970.map_or(0, |time| time.as_millis() as u64),
            started: reactor.now(),
            reloads: Reloads::default(),
            changes: 0,
            log_dropped: logging::counters().dropped,
            log_dropped_at: None,
            listening: reactor.listening(),
        };
        if let Some(address) = at {
            let listening = Status::listen(reactor.net().registry(), address, FIRST_USER_TOKEN);
            let error = |source| Error::Listen { flag: "status", address, source };
            pages.attach(listening.map_err(error)?, reactor);
        }
        Ok(pages)
    }

    /// Goes on after an upgrade: with the listener that was handed over, and from the same start.
    /// Its clients were not handed over; they come again. Without a listener, sessions go on.
    pub fn resume(
        reactor: &mut Reactor<MioNet>,
        at: Option<SocketAddr>,
        record: &ServerRecord,
        listener: Option<OwnedFd>,
    ) -> Result<Pages, Error> {
        let mut pages = Pages::listen(reactor, None)?;
        pages.started_unix_ms = record.started_unix_ms.unwrap_or(pages.started_unix_ms);
        pages.started = record.started.unwrap_or(pages.started).min(pages.started);
        pages.reloads = Reloads { good: record.reloads_good, failed: record.reloads_failed };
        let registry = reactor.net().registry();
        let status = match (listener, at) {
            (Some(listener), Some(_)) => Status::adopt(registry, listener.into(), FIRST_USER_TOKEN),
            (None, Some(at)) => Status::listen(registry, at, FIRST_USER_TOKEN),
            (_, None) => return Ok(pages),
        };
        match status {
            Ok(status) => pages.attach(status, reactor),
            Err(error) => error!("--status: {error}; the server goes on without it"),
        }
        Ok(pages)
    }

    fn attach(&mut self, status: Status, reactor: &mut Reactor<MioNet>) {
        reactor.refuse_as_target(status.address());
        reactor.keep_refusals();
        self.status = Some(Box::new(status));
    }

    /// Puts into a record what [`Pages::resume`] goes on with, except for the listener.
    pub fn export(&self, record: &mut ServerRecord) {
        record.started = Some(self.started);
        record.started_unix_ms = Some(self.started_unix_ms);
        (record.reloads_good, record.reloads_failed) = (self.reloads.good, self.reloads.failed);
    }

    /// The listener, to be handed over.
    pub fn listener(&self) -> Option<BorrowedFd<'_>> {
        self.status.as_ref().map(|status| status.listener())
    }

    /// Where the status listener listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.status.as_ref().map(|status| status.address())
    }

    /// Says where the pages are.
    pub fn announce(&self) {
        if let Some(address) = self.address() {
            info!("status page at http://{address}/");
        }
    }

    /// A file was read again, and is in force or not.
    pub fn note_reload(&mut self, is_good: bool) {
        let count = if is_good { &mut self.reloads.good } else { &mut self.reloads.failed };
        *count += 1;
        self.note_change();
    }

    /// Something has changed besides sessions.
    pub fn note_change(&mut self) {
        self.changes += 1;
    }

    fn process(&self, bad_files: Vec<String>) -> Process {
        let log = logging::counters();
        Process {
            // It may change while the process runs.
            host: uname().nodename().to_bytes().to_vec(),
            listening: self.listening.clone(),
            started_unix_ms: self.started_unix_ms,
            resident_bytes: limits::resident_bytes(),
            cpu_ms: limits::cpu_ms(),
            descriptors: limits::descriptors_open(),
            descriptors_max: limits::descriptors_max(),
            log_waiting_bytes: log.waiting_bytes,
            log_dropped: log.dropped,
            log_dropped_at: self.log_dropped_at,
            reloads: self.reloads,
            bad_files,
        }
    }
}

/// On the loop.
impl Pages {
    /// When [`Pages::serve`] has to be called at the latest.
    pub fn wake_at(&self, reactor: &Reactor<MioNet>) -> Option<Millis> {
        self.status.as_ref()?.wake_at(reactor.now(), self.changes(reactor))
    }

    /// Serves the clients of the status listener after a turn, and tells the loop what the turn was
    /// good for. `woken` has the embedder's sources that had an event; `announcer` knows the files
    /// that are bad.
    pub fn serve(&mut self, reactor: &mut Reactor<MioNet>, woken: u32, announcer: &Announcer) {
        let now = reactor.now();
        let log = logging::counters();
        if log.dropped != replace(&mut self.log_dropped, log.dropped) {
            self.log_dropped_at = Some(now);
            self.changes += 1;
        }
        let changes = self.changes(reactor);
        if let Some(mut status) = self.status.take() {
            let accepted = status.accept(reactor.net().registry(), woken, now);
            let bad_files = || announcer.errors().map(String::from).collect();
            let view = || reactor.view(now - self.started, self.process(bad_files()));
            let moved = status.serve(woken, now, changes, &view);
            self.status = Some(status);
            if accepted || moved {
                reactor.note_progress();
            }
        }
    }

    fn changes(&self, reactor: &Reactor<MioNet>) -> u64 {
        reactor.activity() + self.changes
    }
}
