//! The status listener of a server: what it is told of the server, and when.

use crate::limits;
use crate::logging;
use crate::net::MioNet;
use crate::reactor::Reactor;
use crate::status::Status;
use crate::status::view::{Process, Reloads};
use crate::time::Millis;
use crate::token::FIRST_USER_TOKEN;
use log::info;
use mio::Registry;
use std::mem::replace;
use std::net::SocketAddr;
use std::time::SystemTime;

/// The status listener, if there is one, and what it shows of the server.
pub struct Pages {
    status: Option<Box<Status>>,
    /// When the server was started, in milliseconds since 1970 and by the clock of the loop.
    started_unix_ms: u64,
    started: Millis,
    /// Files read again.
    pub reloads: Reloads,
    /// Changes besides those of sessions.
    pub changes: u64,
    /// Writes to the log by the end of the last turn.
    log_writes: u64,
}

impl Pages {
    /// Listens, if an address is given. The error names it.
    pub fn new(registry: &Registry, at: Option<SocketAddr>, now: Millis) -> Result<Pages, String> {
        let listen = |at| match Status::listen(registry, at, FIRST_USER_TOKEN) {
            Ok(status) => Ok(Box::new(status)),
            Err(error) => Err(format!("{at}: {error}")),
        };
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Ok(Pages {
            status: at.map(listen).transpose()?,
            started_unix_ms: since_1970.map_or(0, |time| time.as_millis() as u64),
            started: now,
            reloads: Reloads::default(),
            changes: 0,
            log_writes: 0,
        })
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

    fn process(&self) -> Process {
        let log = logging::counters();
        Process {
            started_unix_ms: self.started_unix_ms,
            resident_bytes: limits::resident_bytes(),
            cpu_ms: limits::cpu_ms(),
            descriptors: limits::descriptors_open(),
            descriptors_max: limits::descriptors_max(),
            log_waiting_bytes: log.waiting_bytes,
            log_dropped: log.dropped,
            reloads: self.reloads,
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
    /// good for. `woken` has the embedder's sources that had an event.
    pub fn serve(&mut self, reactor: &mut Reactor<MioNet>, woken: u32) {
        let (now, changes) = (reactor.now(), self.changes(reactor));
        if let Some(mut status) = self.status.take() {
            let accepted = status.accept(reactor.net().registry(), woken, now);
            let view = || reactor.view(now - self.started, self.process());
            let moved = status.serve(woken, now, changes, &view);
            self.status = Some(status);
            if accepted || moved {
                reactor.note_progress();
            }
        }
        let writes = logging::counters().writes;
        if writes != replace(&mut self.log_writes, writes) {
            reactor.note_progress();
        }
    }

    fn changes(&self, reactor: &Reactor<MioNet>) -> u64 {
        reactor.activity() + self.changes
    }
}
