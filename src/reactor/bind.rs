//! BIND: the listener, and whoever comes to it.

use super::steps::reason_of;
use super::{Reactor, Target, token_of_target, with_env};
use crate::net::{Net, lacks_resources};
use crate::reason::CloseReason;
use crate::relay::Side;
use crate::session::{Action, State};
use crate::wire::Command;
use log::{debug, warn};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;

/// One peer is taken; the kernel need not keep others.
const BACKLOG: i32 = 1;
/// Most ports of --bind-ports that one BIND tries.
const TRIES_MAX: usize = 64;

/// The ports of --bind-ports that no BIND listens on, the one that has rested longest first.
pub(super) struct FreePorts {
    /// `None`: the kernel chooses.
    ports: Option<VecDeque<u16>>,
}

impl FreePorts {
    pub(super) fn new(range: Option<RangeInclusive<u16>>) -> FreePorts {
        FreePorts { ports: range.map(Iterator::collect) }
    }

    /// Calls `listen` with one port after the other until it listens. Those in use by other
    /// programs are tried again later; a few at a time, for each costs some calls.
    fn lend<T>(&mut self, mut listen: impl FnMut(u16) -> io::Result<T>) -> io::Result<T> {
        let Some(ports) = &mut self.ports else { return listen(0) };
        for _ in 0..ports.len().min(TRIES_MAX) {
            let Some(port) = ports.pop_front() else { break };
            match listen(port) {
                Ok(listener) => return Ok(listener),
                Err(error) => {
                    ports.push_back(port);
                    if error.kind() != ErrorKind::AddrInUse {
                        return Err(error);
                    }
                }
            }
        }
        Err(io::Error::new(ErrorKind::AddrInUse, "no port of --bind-ports is free"))
    }

    /// Takes a port back that `lend` gave.
    pub(super) fn give_back(&mut self, port: u16) {
        if let Some(ports) = &mut self.ports {
            ports.push_back(port);
        }
    }
}

impl<N: Net> Reactor<N> {
    /// Listens for the peer of a BIND; says what the session answers.
    pub(super) fn open_bind(&mut self, slot: usize, facing: Option<Ipv4Addr>) -> Action {
        match self.try_open_bind(slot, facing) {
            Ok(told) => self.entries[slot].session.handle_listening(told),
            Err(error) => {
                warn!("id={} listening for a peer: {error}", self.entries[slot].session.id);
                self.is_short |= lacks_resources(&error);
                self.entries[slot].session.handle_failed(match reason_of(&error) {
                    // It is no connection that failed.
                    CloseReason::ConnectFailed | CloseReason::Refused => CloseReason::BindFailed,
                    reason => reason,
                })
            }
        }
    }

    /// Listens, and says which address to tell the client. Loopback and the like included, it is
    /// a real one, since some clients pass it on as it is.
    fn try_open_bind(&mut self, slot: usize, facing: Option<Ipv4Addr>) -> io::Result<SocketAddrV4> {
        let at = match (self.settings.outbound, facing) {
            (Some(outbound), _) => outbound,
            (None, Some(peer)) => self.net.facing(peer)?,
            // Anybody may come, from whichever network.
            (None, None) => Ipv4Addr::UNSPECIFIED,
        };
        let (listener, port) = self.listen_in_range(at, token_of_target(slot))?;
        self.entries[slot].target = Target::Listener { listener, port, ready: false };
        let told = match self.settings.bind_address {
            Some(address) => address,
            None if at.is_unspecified() => self.address_for_anybody(slot)?,
            None => at,
        };
        Ok(SocketAddrV4::new(told, port))
    }

    /// Where a peer that was not named will probably come to: FTP's server, for one, knows the
    /// address from which the client's latest CONNECT reaches it. Without such a connection it is
    /// the address that the client itself has come to.
    fn address_for_anybody(&self, slot: usize) -> io::Result<Ipv4Addr> {
        let asking = &self.entries[slot];
        let primary = self.entries.iter().map(|(_, entry)| entry).filter(|entry| {
            entry.session.client.ip() == asking.session.client.ip()
                && entry.session.command() == Some(Command::Connect)
                && entry.session.state() == State::Relaying
        });
        let stream = match primary.max_by_key(|entry| entry.session.id).map(|entry| &entry.target) {
            Some(Target::Stream(target)) => &target.stream,
            _ => &asking.client.stream,
        };
        Ok(*self.net.local(stream)?.ip())
    }

    /// Listens on a free port of --bind-ports, or on one that the kernel chooses.
    fn listen_in_range(&mut self, at: Ipv4Addr, token: usize) -> io::Result<(N::Listener, u16)> {
        let net = &mut self.net;
        self.bind_ports.lend(|port| {
            let listener = net.listen(SocketAddrV4::new(at, port), BACKLOG, token)?;
            let port = net.listening_on(&listener)?.port();
            Ok((listener, port))
        })
    }

    /// Takes the one peer, if it has come, and closes the listener.
    pub(super) fn take_peer(&mut self, slot: usize) -> Action {
        let entry = &mut self.entries[slot];
        let Target::Listener { listener, ready, .. } = &mut entry.target else {
            return Action::Wait;
        };
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
        self.close_target(slot);
        let entry = &mut self.entries[slot];
        entry.target = Target::Stream(Side::new(stream));
        with_env(&self.net, &self.entrances, &self.rules, &self.names, |env| {
            entry.session.handle_peer(peer, env)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn in_use() -> io::Error {
        ErrorKind::AddrInUse.into()
    }

    #[test]
    fn ports_that_are_lent_are_not_tried_and_come_back() {
        let mut ports = FreePorts::new(Some(40_000..=40_001));
        assert_eq!(ports.lend(Ok).unwrap(), 40_000);
        assert_eq!(ports.lend(Ok).unwrap(), 40_001);
        let none = ports.lend(|_| -> io::Result<u16> { unreachable!("all are lent") });
        assert_eq!(none.unwrap_err().kind(), ErrorKind::AddrInUse);
        ports.give_back(40_001);
        assert_eq!(ports.lend(Ok).unwrap(), 40_001);
        let other = ErrorKind::PermissionDenied;
        ports.give_back(40_000);
        assert_eq!(ports.lend(|_| Err::<u16, _>(other.into())).unwrap_err().kind(), other);
        assert_eq!(ports.lend(Ok).unwrap(), 40_000, "that error used up no port");
    }

    #[test]
    fn of_ports_that_others_use_a_few_are_tried_at_a_time_and_all_in_turn() {
        let mut ports = FreePorts::new(Some(40_000..=41_999));
        let mut tried = BTreeSet::new();
        for _ in 0..2000 / TRIES_MAX + 1 {
            let mut tries = 0;
            let error = ports.lend(|port| {
                tries += 1;
                tried.insert(port);
                Err::<u16, _>(in_use())
            });
            assert_eq!((tries, error.unwrap_err().kind()), (TRIES_MAX, ErrorKind::AddrInUse));
        }
        assert_eq!(tried.len(), 2000);
    }

    #[test]
    fn without_a_range_the_kernel_chooses() {
        let mut ports = FreePorts::new(None);
        assert_eq!(ports.lend(Ok).unwrap(), 0);
        ports.give_back(5);
        assert_eq!(ports.lend(Ok).unwrap(), 0);
    }
}
