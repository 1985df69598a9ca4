//! The resolver's sockets, on the loop: a fresh one for each query.

use super::{FIRST_QUERY_TOKEN, Reactor, with_env};
use crate::dns::{DATAGRAM_BYTES_MAX, Outcome, QUERIES_MAX, Resolver, Transmit, Transport};
use crate::name::Name;
use crate::net::{Event, Net};
use crate::relay::Side;
use crate::session::Action;
use crate::timer::Millis;
use log::debug;
use slab::Slab;
use std::io::{self, ErrorKind};
use std::net::IpAddr;

/// Most datagrams or pieces of an answer read from one socket in a turn.
const READS_PER_TURN: u32 = 8;
/// Most answers handed out in a turn: each may make a connection, and thousands may have waited
/// for the same name.
const ANSWERS_PER_TURN: usize = 64;
/// A bit for each query says whether it is ready.
const _: () = assert!(QUERIES_MAX <= 64);
/// A waiter is named by its slot in the low bits and its session's id above: what is answered
/// late does not reach the next session in the slot.
const SLOT_BITS: u32 = 20;

fn waiter(slot: usize, id: u64) -> u64 {
    id << SLOT_BITS | slot as u64
}

/// A query's socket.
enum Socket<N: Net> {
    Datagram(N::Datagram),
    /// A TCP connection, and what of the question is not sent yet.
    Stream(Side<N::Stream>, Vec<u8>),
}

struct Query<N: Net> {
    key: u64,
    socket: Socket<N>,
}

/// The resolver and the sockets of its queries.
pub(super) struct Names<N: Net> {
    pub(super) resolver: Resolver,
    queries: Slab<Query<N>>,
    /// Which of them may have something to be read, a bit each: next to nothing is to be looked
    /// at in a turn without any.
    ready: u64,
    /// A waiter was cancelled: there may be sockets to close, and others to open.
    stale: bool,
}

impl<N: Net> Names<N> {
    pub(super) fn new(resolver: Resolver) -> Names<N> {
        Names { resolver, queries: Slab::new(), ready: 0, stale: false }
    }

    pub(super) fn deadline(&self) -> Option<Millis> {
        self.resolver.deadline()
    }

    /// Takes in an event of a query's socket.
    pub(super) fn fold(&mut self, place: usize, event: &Event) {
        let Some(query) = self.queries.get_mut(place) else { return };
        self.ready |= 1 << place;
        if let Socket::Stream(side, _) = &mut query.socket {
            side.fold(event);
        }
    }

    /// Forgets a session that waits for a name, if it does.
    pub(super) fn cancel(&mut self, now: Millis, slot: usize, id: u64) {
        let waiters = self.resolver.waiters();
        if waiters > 0 {
            self.resolver.cancel(now, waiter(slot, id));
            self.stale |= self.resolver.waiters() < waiters;
        }
    }

    /// Reads what has come, lets time pass, and opens and closes sockets as the resolver wants.
    fn drive(&mut self, net: &mut N, now: Millis) {
        let mut ready = self.ready;
        while ready != 0 {
            self.run(net, now, ready.trailing_zeros() as usize);
            ready &= ready - 1;
        }
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.resolver.handle_timeout(now);
        }
        self.stale = false;
        loop {
            while let Some(key) = self.resolver.poll_close() {
                self.close(key);
            }
            let Some(transmit) = self.resolver.poll_transmit() else { return };
            if let Err(error) = self.open(net, &transmit) {
                debug!("asking name server {}: {error}", transmit.server);
                self.resolver.handle_error(now, transmit.key);
            }
        }
    }

    fn open(&mut self, net: &mut N, transmit: &Transmit) -> io::Result<()> {
        let token = FIRST_QUERY_TOKEN + self.queries.vacant_key();
        let socket = match transmit.transport {
            Transport::Udp => {
                let socket = net.open_datagram(transmit.server, token)?;
                net.send_datagram(&socket, &transmit.bytes)?;
                Socket::Datagram(socket)
            }
            Transport::Tcp => {
                let stream = net.connect(transmit.server, None, token)?;
                Socket::Stream(Side::new(stream), transmit.bytes.to_vec())
            }
        };
        self.queries.insert(Query { key: transmit.key, socket });
        Ok(())
    }

    fn close(&mut self, key: u64) {
        if let Some((place, _)) = self.queries.iter().find(|(_, query)| query.key == key) {
            self.queries.remove(place);
            // The next socket in this place is not ready because this one was.
            self.ready &= !(1 << place);
        }
    }

    /// Reads what one socket has.
    fn run(&mut self, net: &mut N, now: Millis, place: usize) {
        let mut bytes = [0; DATAGRAM_BYTES_MAX];
        for _ in 0..READS_PER_TURN {
            // An answer that is right ends the query, and its key is known no more.
            let Some(query) = self.queries.get_mut(place) else { return };
            let read = match &mut query.socket {
                Socket::Datagram(socket) => net.recv_datagram(socket, &mut bytes),
                Socket::Stream(side, question) => exchange(net, side, question, &mut bytes),
            };
            match (read, &query.socket) {
                (Ok(n), Socket::Datagram(_)) => {
                    self.resolver.handle_datagram(now, query.key, &bytes[..n]);
                }
                (Ok(n), Socket::Stream(..)) if n > 0 => {
                    self.resolver.handle_stream_bytes(now, query.key, &bytes[..n]);
                }
                (Err(error), _) if error.kind() == ErrorKind::Interrupted => {}
                (Err(error), _) if error.kind() == ErrorKind::WouldBlock => {
                    self.ready &= !(1 << place);
                    return;
                }
                _ => {
                    self.ready &= !(1 << place);
                    return self.resolver.handle_error(now, query.key);
                }
            }
        }
    }

    /// Whether there is something to do without an event.
    pub(super) fn is_ready(&self) -> bool {
        self.stale || self.ready != 0 || self.resolver.answers() > 0
    }
}

/// Sends the rest of the question, or reads of the answer.
fn exchange<N: Net>(
    net: &mut N,
    side: &mut Side<N::Stream>,
    question: &mut Vec<u8>,
    bytes: &mut [u8],
) -> io::Result<usize> {
    while !question.is_empty() {
        if !side.writable {
            return Err(ErrorKind::WouldBlock.into());
        }
        let sent = net.send(&side.stream, question).inspect_err(|_| side.writable = false)?;
        question.drain(..sent);
    }
    net.recv(&side.stream, bytes)
}

impl<N: Net> Reactor<N> {
    /// Asks for the addresses of a name; says what the session makes of them if they are known.
    pub(super) fn resolve(&mut self, slot: usize, name: &Name) -> Action {
        let id = self.entries[slot].session.id;
        let source = IpAddr::V4(*self.entries[slot].session.client.ip());
        match self.names.resolver.resolve(self.now, name, source, waiter(slot, id)) {
            Outcome::Waiting => Action::Wait,
            Outcome::Done(answer) => {
                let session = &mut self.entries[slot].session;
                let answer = answer.as_ref().map_err(|&error| error);
                with_env(&self.net, &self.entrances, &self.rules, &self.names, |env| {
                    session.handle_resolved(answer, env)
                })
            }
        }
    }

    /// Drives the resolver and hands its answers to the sessions that wait for them; those that
    /// are left go out in the next turn.
    pub(super) fn answer_names(&mut self) {
        self.names.drive(&mut self.net, self.now);
        for _ in 0..ANSWERS_PER_TURN {
            let Some((waiter, answer)) = self.names.resolver.poll_answer() else { return };
            let (slot, id) = ((waiter & ((1 << SLOT_BITS) - 1)) as usize, waiter >> SLOT_BITS);
            let Some(entry) = self.entries.get_mut(slot) else { continue };
            if entry.session.id != id {
                continue;
            }
            let answer = answer.as_ref().map_err(|&error| error);
            let action = with_env(&self.net, &self.entrances, &self.rules, &self.names, |env| {
                entry.session.handle_resolved(answer, env)
            });
            self.set_deadline(slot);
            self.perform(slot, action);
        }
    }
}
