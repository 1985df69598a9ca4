//! The status listener of a server that is built without it.

use super::announcer::Announcer;
use super::error::Error;
use super::record::ServerRecord;
use crate::net::MioNet;
use crate::reactor::Reactor;
use crate::time::Millis;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};

/// The status listener: there is none, and nothing is counted for it.
pub struct Pages;

impl Pages {
    /// Nothing is listened on: the settings of this build have no address for it.
    pub fn listen(_: &mut Reactor<MioNet>, _: Option<SocketAddr>) -> Result<Pages, Error> {
        Ok(Pages)
    }

    /// Where the status listener listens.
    pub fn address(&self) -> Option<SocketAddr> {
        None
    }

    /// Says where the pages are.
    pub fn announce(&self) {}

    /// A file was read again.
    pub fn note_reload(&mut self, _is_good: bool) {}

    /// Something has changed besides sessions.
    pub fn note_change(&mut self) {}

    /// When [`Pages::serve`] has to be called at the latest.
    pub fn wake_at(&self, _: &Reactor<MioNet>) -> Option<Millis> {
        None
    }

    /// Serves the clients of the status listener after a turn.
    pub fn serve(&mut self, _: &mut Reactor<MioNet>, _woken: u32, _: &Announcer) {}
}

/// What an upgrade needs: nothing is handed over.
impl Pages {
    /// Goes on after an upgrade.
    pub fn resume(
        reactor: &mut Reactor<MioNet>,
        at: Option<SocketAddr>,
        _: &ServerRecord,
        _: Option<OwnedFd>,
    ) -> Result<Pages, Error> {
        Pages::listen(reactor, at)
    }

    /// Puts into a record what [`Pages::resume`] goes on with.
    pub fn export(&self, _: &mut ServerRecord) {}

    /// The listener, to be handed over.
    pub fn listener(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
