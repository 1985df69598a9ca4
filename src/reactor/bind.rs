//! BIND: the listener, and whoever comes to it.

use super::accept::lacks_resources;
use super::{Reactor, Target, token_of_target, with_env};
use crate::net::Net;
use crate::reason::CloseReason;
use crate::relay::Side;
use crate::session::Action;
use log::{debug, warn};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddrV4};

/// One peer is taken; the kernel need not keep others.
const BACKLOG: i32 = 1;

impl<N: Net> Reactor<N> {
    /// Listens for the peer of a BIND; says what the session answers.
    pub(super) fn open_bind(&mut self, slot: usize, facing: Option<Ipv4Addr>) -> Action {
        match self.try_open_bind(slot, facing) {
            Ok(told) => self.entries[slot].session.handle_listening(told),
            Err(error) => {
                warn!("id={} listening for a peer: {error}", self.entries[slot].session.id);
                let lacking = lacks_resources(&error);
                self.entries[slot].session.handle_failed(match lacking {
                    true => CloseReason::NoResources,
                    false => CloseReason::BindFailed,
                })
            }
        }
    }

    /// The address to tell the client. Loopback and the like included, it is the one that faces
    /// the peer, since some clients pass it on as it is.
    fn try_open_bind(&mut self, slot: usize, facing: Option<Ipv4Addr>) -> io::Result<SocketAddrV4> {
        let at = match (self.settings.outbound, facing) {
            (Some(outbound), _) => outbound,
            (None, Some(peer)) => self.net.facing(peer)?,
            (None, None) => *self.net.local(&self.entries[slot].client.stream)?.ip(),
        };
        let listener = self.listen_in_range(at, token_of_target(slot))?;
        let address = self.net.listening_on(&listener)?;
        self.entries[slot].target = Target::Listener { listener, ready: false };
        let told = self.settings.bind_address.unwrap_or(*address.ip());
        Ok(SocketAddrV4::new(told, address.port()))
    }

    /// Listens on the next free port of --bind-ports, or on one that the kernel chooses.
    fn listen_in_range(&mut self, at: Ipv4Addr, token: usize) -> io::Result<N::Listener> {
        let Some(ports) = self.settings.bind_ports.clone() else {
            return self.net.listen(SocketAddrV4::new(at, 0), BACKLOG, token);
        };
        for _ in ports.clone() {
            let port = self.next_bind_port;
            self.next_bind_port = if port == *ports.end() { *ports.start() } else { port + 1 };
            match self.net.listen(SocketAddrV4::new(at, port), BACKLOG, token) {
                Err(error) if error.kind() == ErrorKind::AddrInUse => {}
                other => return other,
            }
        }
        let (low, high) = ports.into_inner();
        Err(io::Error::new(ErrorKind::AddrInUse, format!("all ports of {low}-{high} are in use")))
    }

    /// Takes the one peer, if it has come, and closes the listener.
    pub(super) fn take_peer(&mut self, slot: usize) -> Action {
        let entry = &mut self.entries[slot];
        let Target::Listener { listener, ready } = &mut entry.target else { return Action::Wait };
        if !*ready {
            return Action::Wait;
        }
        let (mut stream, peer) = match self.net.accept(listener) {
            Ok(taken) => taken,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                *ready = false;
                return Action::Wait;
            }
            Err(error) if lacks_resources(&error) => {
                return entry.session.handle_failed(CloseReason::NoResources);
            }
            Err(error) => {
                // That connection is gone; another try may come, but not in this turn.
                debug!("id={} taking the peer: {error}", entry.session.id);
                self.enqueue(slot);
                return Action::Wait;
            }
        };
        if self.net.watch(&mut stream, token_of_target(slot)).is_err() {
            return entry.session.handle_failed(CloseReason::NoResources);
        }
        entry.target = Target::Stream(Side::new(stream));
        with_env(&self.net, &self.entrances, &self.rules, |env| {
            entry.session.handle_peer(peer, env)
        })
    }
}
