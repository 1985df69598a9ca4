//! Clients behind a load balancer: the header that names them.

use super::details::Balancer;
use super::{Action, Foreign, Session, State};
use crate::address::IpPort;
use crate::proxy_header::{self, Header};
use crate::reason::CloseReason;
use crate::time::Millis;
use crate::wire::{self, Parsed, Stage};
use log::debug;
use std::mem::replace;

impl Session {
    /// A session that is waiting for the header of a load balancer.
    pub fn behind_balancer(id: u64, balancer: IpPort, started: Millis) -> Session {
        Session { state: State::ReadingProxyHeader, ..Session::new(id, balancer, started) }
    }

    /// The load balancer that passed the client's connection on, once its header has told so.
    pub fn balancer(&self) -> Option<Balancer> {
        self.details.as_ref()?.balancer
    }

    /// The header of a load balancer, as far as it has come. The time for the request runs on.
    pub(super) fn handle_header(&mut self, bytes: &[u8], now: Millis) -> (usize, Action) {
        match proxy_header::parse(bytes) {
            Ok(Parsed::More) => (0, Action::Wait),
            Ok(Parsed::Done(Header::Direct, length)) => {
                self.expect(Stage::First);
                (length, Action::Wait)
            }
            Ok(Parsed::Done(Header::Proxied { client, destination }, length)) => {
                self.set_client(client, destination);
                self.expect(Stage::First);
                (length, Action::Admit)
            }
            Err(proxy_header::Malformed) => {
                // A SOCKS client whose balancer sends no header: a password may follow.
                let is_socks = wire::first_protocol(bytes).is_some();
                let kept = if is_socks { &bytes[..1] } else { bytes };
                let foreign = Foreign::new(Stage::First, kept);
                self.details.get_or_insert_default().foreign = Some(foreign);
                (0, self.close(CloseReason::BadProxyHeader, now))
            }
        }
    }

    fn set_client(&mut self, client: IpPort, destination: IpPort) {
        debug!(
            "id={} {} passes on {client}, which connected to {destination}",
            self.id, self.client
        );
        let address = replace(&mut self.client, client);
        self.details.get_or_insert_default().balancer = Some(Balancer { address, destination });
    }

    /// The client that a header named has too many sessions: see [`Session::unwelcome`].
    pub fn handle_unwelcome(&mut self, now: Millis) {
        self.enter(State::ReadingRequest { stage: Stage::First, is_welcome: false }, now);
    }
}
