//! USR2: the server tries the program that is now on disk, and becomes it.

pub use super::taking_over::answer_trial;

use super::Server;
use super::record::ServerRecord;
use crate::handover::{FORMAT, Handover};
use crate::limits;
use crate::logging;
use crate::net::Net;
use crate::reactor::Export;
use crate::signals::Control;
use crate::signals::held::{hold_requests, release_requests};
use crate::time::Millis;
use crate::upgrade::{self, Memory, Trial, Upgrading};
use log::{error, info, warn};
use rustix::stdio::{dup2_stdin, stdin};
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

/// Most memory that the record of a session takes in this program, while it is written.
const RECORD_BYTES_MAX: usize = 2048;

impl Server {
    /// Starts a trial of the program.
    pub(super) fn request_upgrade(&mut self) {
        let record = self.record().encode();
        let Some(Upgrading { program, trial }) = &mut self.upgrading else { return };
        if self.reactor.is_draining() {
            return warn!("no upgrade: stopping");
        }
        if trial.is_some() {
            return warn!("no upgrade: a program is being tried already");
        }
        let program = match program {
            Ok(program) => program,
            Err(error) => return error!("no upgrade: the path of this program: {error}"),
        };
        // To lack memory in the middle of it would end the process.
        let needed = self.reactor.session_count().saturating_mul(RECORD_BYTES_MAX);
        if let Err(error) = limits::check_memory(needed) {
            return error!("no upgrade: {error}");
        }
        info!("upgrade: trying {}", program.path().display());
        let Export { mut handover, descriptors } = self.reactor.export();
        handover.embedder = Some(record.as_slice().into());
        let (memory, count) = (written(&handover), descriptors.len());
        let now = self.reactor.net().now();
        let started = memory.and_then(|memory| Trial::start(program, (memory, count), FORMAT, now));
        match started {
            Ok(started) => *trial = Some(started),
            Err(error) => error!("no upgrade: {}: {error}", program.path().display()),
        }
    }

    /// What the server itself hands over, without descriptors and what waits for the log's reader.
    fn record(&self) -> ServerRecord {
        let mut record = ServerRecord {
            log_dropped: logging::counters().dropped,
            rule_file: self.rule_file.as_ref().map(|path| path.as_os_str().as_bytes().to_vec()),
            ..ServerRecord::default()
        };
        self.pages.export(&mut record);
        record
    }

    /// When [`Server::step_upgrade`] has to look at the program that is tried.
    pub(super) fn upgrade_at(&self) -> Option<Millis> {
        Some(self.upgrading.as_ref()?.trial.as_ref()?.look_at())
    }

    /// Looks at the program that is tried, and becomes it if it accepts.
    pub(super) fn step_upgrade(&mut self) {
        let Some(Upgrading { program: Ok(program), trial }) = &mut self.upgrading else { return };
        let Some(started) = trial else { return };
        let is_draining = self.reactor.is_draining();
        if is_draining {
            started.stop();
        }
        let Some(verdict) = started.step(self.reactor.net().now()) else { return };
        *trial = None;
        let path = program.path().display().to_string();
        match verdict {
            _ if is_draining => warn!("no upgrade: stopping"),
            Err(reason) => error!("no upgrade: {path}: {reason}"),
            Ok(version) => {
                info!("upgrade: becoming socku {version}");
                self.become_program(&path);
            }
        }
    }

    /// Becomes the program. If that fails, everything goes on as before. Requests that come from
    /// now on are left to the program.
    fn become_program(&mut self, path: &str) {
        if let Err(error) = hold_requests() {
            return error!("no upgrade: holding signals: {error}");
        }
        let requests = self.requests();
        if requests.contains(&Control::Stop) {
            warn!("no upgrade: stopping");
        } else {
            // A program that starts reads all files anyway.
            let Err(error) = self.hand_over(requests.contains(&Control::Dump));
            error!("no upgrade: {path}: {error}");
        }
        if let Err(error) = release_requests() {
            error!("signals stay blocked: {error}");
        }
        // An upgrade that was asked for in between has just been tried.
        for request in requests.into_iter().filter(|one| *one != Control::Upgrade) {
            self.handle_request(request);
        }
    }

    /// Puts everything into sockets and executes the program. Returns only if something fails, and
    /// nothing has been given up then.
    fn hand_over(&mut self, is_dump: bool) -> io::Result<Infallible> {
        let Some(Upgrading { program: Ok(program), .. }) = &self.upgrading else {
            return Err(ErrorKind::Unsupported.into());
        };
        let (log, log_descriptor) = logging::unfinished()?;
        let Export { mut handover, mut descriptors } = self.reactor.export();
        let record = ServerRecord {
            log,
            log_descriptor: log_descriptor.as_ref().map(|own| push(&mut descriptors, own.as_fd())),
            dump_requested: is_dump || self.dump_requested || self.dump.is_some(),
            status_listener: self.pages.listener().map(|own| push(&mut descriptors, own)),
            notifier: self.announcer.socket().map(|own| push(&mut descriptors, own)),
            ..self.record()
        };
        let record = record.encode();
        handover.embedder = Some(record.as_slice().into());
        let receiver = upgrade::send(&written(&handover)?, &descriptors)?;
        let before = stdin().try_clone_to_owned()?;
        dup2_stdin(&receiver)?;
        let error = program.exec();
        dup2_stdin(&before)?;
        Err(error)
    }
}

/// A record in a file in memory.
fn written(handover: &Handover<'_>) -> io::Result<File> {
    let mut memory = Memory::new()?;
    handover.write_to(&mut memory).map_err(|error| io::Error::other(error.to_string()))?;
    memory.into_file()
}

/// Appends a descriptor; returns its index.
fn push<'fd>(descriptors: &mut Vec<BorrowedFd<'fd>>, fd: BorrowedFd<'fd>) -> u32 {
    descriptors.push(fd);
    descriptors.len() as u32 - 1
}
