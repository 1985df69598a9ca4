//! Asking a client's identd, on the loop.

use super::{Reactor, Target, token_of_target};
use crate::ident::{self, Outcome, Ports};
use crate::net::{Net, lacks_resources};
use crate::pool::Pool;
use crate::reason::CloseReason;
use crate::relay::{Direction, Side};
use crate::session::Action;
use log::debug;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, SocketAddrV4};

/// A connection to an identd, the question on its way and what has come of the answer.
pub(super) struct Asking<N: Net> {
    pub(super) side: Side<N::Stream>,
    ports: Ports,
    question: Direction<N::Pipe>,
    answer: Direction<N::Pipe>,
}

impl<N: Net> Asking<N> {
    pub(super) fn discard(&mut self, pool: &mut Pool<N::Pipe>) {
        self.question.discard(pool);
        self.answer.discard(pool);
    }
}

impl<N: Net> Reactor<N> {
    /// Connects to the client's identd; says what the session makes of it when that fails.
    pub(super) fn ask_identd(&mut self, slot: usize) -> Action {
        match self.try_ask_identd(slot) {
            Ok(()) => Action::Wait,
            Err(error) => {
                self.is_short |= lacks_resources(&error);
                let session = &mut self.entries[slot].session;
                debug!("id={} asking identd: {error}", session.id);
                let has_no_port =
                    matches!(error.kind(), ErrorKind::AddrNotAvailable | ErrorKind::AddrInUse);
                // What this host lacks is no answer of the client's.
                if lacks_resources(&error) || has_no_port {
                    session.handle_failed(CloseReason::NoResources)
                } else {
                    session.handle_ident(Outcome::Missing)
                }
            }
        }
    }

    fn try_ask_identd(&mut self, slot: usize) -> io::Result<()> {
        let entry = &mut self.entries[slot];
        // RFC 1413: from the very address that the connection in question came to.
        let local = self.net.local(&entry.client.stream)?;
        let client = entry.session.client;
        let identd = SocketAddr::V4(SocketAddrV4::new(*client.ip(), ident::PORT));
        let stream = self.net.connect(identd, Some(*local.ip()), token_of_target(slot))?;
        let ports = Ports { client: client.port(), ours: local.port() };
        let mut question = Direction::default();
        question.push(&mut self.pool, ports.question().as_bytes());
        let (side, answer) = (Side::new(stream), Direction::default());
        entry.target = Target::Identd(Box::new(Asking { side, ports, question, answer }));
        Ok(())
    }

    /// Goes on asking; performs what the session makes of the outcome, once there is one.
    pub(super) fn run_identd(&mut self, slot: usize) {
        let entry = &mut self.entries[slot];
        let Target::Identd(asking) = &mut entry.target else { return };
        let Asking { side, ports, question, answer } = &mut **asking;
        question.flush(&mut self.net, side, &mut self.pool);
        while side.readable && !side.reset && !answer.has_ended() {
            answer.fill(&mut self.net, side, &mut self.pool, Pool::lend_small);
            if Outcome::read(answer.held(), *ports).is_some() {
                break;
            }
        }
        let ended = side.reset || answer.has_ended();
        let outcome = Outcome::read(answer.held(), *ports);
        if let Some(outcome) = outcome.or(ended.then_some(Outcome::Missing)) {
            let action = entry.session.handle_ident(outcome);
            self.close_identd(slot);
            self.set_deadline(slot);
            self.perform(slot, action);
        }
    }

    /// Closes the connection to the identd, if there is one.
    pub(super) fn close_identd(&mut self, slot: usize) {
        if matches!(self.entries[slot].target, Target::Identd(_)) {
            self.close_target(slot);
        }
    }
}
