//! The resolver and its sockets on the loop: a new socket for each query.

use super::spare::Spare;
use crate::dns::{
    DATAGRAM_BYTES_MAX, DnsError, Lookup, QUERIES_MAX, Resolved, Resolver, Transmit, Transport,
};
use crate::name::Name;
use crate::net::{Event, Net, lacks_resources};
use crate::relay::Endpoint;
use crate::time::Millis;
use crate::token::Token;
use log::debug;
use slab::Slab;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::IpAddr;

/// Most datagrams or pieces of an answer read from one socket per turn.
const READS_PER_TURN: u32 = 8;
// The ready set has one bit per query.
const _: () = assert!(QUERIES_MAX <= 64);
/// A waiter's number has its slot in the low bits and its session's id above.
const SLOT_BITS: u32 = 20;

/// A session that is waiting for a name, identified so that a late answer does not reach the next
/// session in its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaiterId {
    /// The slot of its connection.
    pub slot: usize,
    /// Its session's id.
    pub id: u64,
}

impl WaiterId {
    fn number(self) -> u64 {
        self.id << SLOT_BITS | self.slot as u64
    }

    fn of(number: u64) -> WaiterId {
        WaiterId { slot: (number & ((1 << SLOT_BITS) - 1)) as usize, id: number >> SLOT_BITS }
    }
}

/// A query's socket.
enum Socket<N: Net> {
    Datagram(N::Datagram),
    /// A TCP connection, and the unsent part of the question.
    Stream(Endpoint<N::Stream>, Vec<u8>),
}

struct OpenQuery<N: Net> {
    key: u64,
    socket: Socket<N>,
}

/// The resolver and the sockets of its queries.
pub struct DnsDriver<N: Net> {
    resolver: Resolver,
    queries: Slab<OpenQuery<N>>,
    /// One bit for each query that may have something to read: a turn without any costs next to
    /// nothing.
    ready: u64,
    /// Questions for which there was no descriptor.
    unsent: VecDeque<Transmit>,
    /// Waiters have come or gone: there may be sockets to open or close.
    stale: bool,
    /// How many calls have moved bytes.
    moves: u64,
}

impl<N: Net> DnsDriver<N> {
    /// A driver without any open query.
    pub fn new(resolver: Resolver) -> DnsDriver<N> {
        DnsDriver {
            resolver,
            queries: Slab::new(),
            ready: 0,
            unsent: VecDeque::new(),
            stale: false,
            moves: 0,
        }
    }

    /// The resolver, for new settings.
    pub fn resolver(&mut self) -> &mut Resolver {
        &mut self.resolver
    }

    /// A number that grows whenever something has come of a turn.
    pub fn activity(&self) -> u64 {
        let counters = self.resolver.counters();
        self.moves + counters.sent + counters.failed + counters.timed_out
    }

    /// The resolver, to see what it knows and has counted.
    pub fn known_names(&self) -> &Resolver {
        &self.resolver
    }

    /// Takes how many names were asked for while others waited for a query.
    pub fn take_delayed(&mut self) -> u64 {
        self.resolver.take_delayed()
    }

    /// Most queries in flight.
    pub fn queries_max(&self) -> usize {
        self.resolver.queries_max()
    }

    /// The names that a requested name may stand for.
    pub fn possible_names(&self, name: &Name) -> Vec<Name> {
        self.resolver.possible_names(name)
    }

    /// Looks up the addresses of a name, of both families, for a client of this source.
    pub fn resolve(
        &mut self,
        now: Millis,
        name: &Name,
        source: IpAddr,
        waiter: WaiterId,
    ) -> Lookup {
        let lookup = self.resolver.resolve(now, name, source, waiter.number());
        self.stale |= matches!(lookup, Lookup::Waiting);
        lookup
    }

    /// An answer that has arrived, and its waiter.
    pub fn poll_answer(&mut self) -> Option<(WaiterId, Result<Resolved, DnsError>)> {
        let (waiter, answer) = self.resolver.poll_answer()?;
        Some((WaiterId::of(waiter), answer))
    }

    /// When [`DnsDriver::drive`] has to be called without an event.
    pub fn deadline(&self) -> Option<Millis> {
        self.resolver.deadline()
    }

    /// Handles an event of a query's socket.
    pub fn update_readiness(&mut self, place: usize, event: &Event) {
        let Some(query) = self.queries.get_mut(place) else { return };
        self.ready |= 1 << place;
        if let Socket::Stream(endpoint, _) = &mut query.socket {
            endpoint.update_readiness(event);
        }
    }

    /// Removes a session from the waiters, if it is one.
    pub fn cancel(&mut self, now: Millis, waiter: WaiterId) {
        let waiters = self.resolver.waiters();
        if waiters > 0 {
            self.resolver.cancel(now, waiter.number());
            self.stale |= self.resolver.waiters() < waiters;
        }
    }

    /// Reads answers, handles time-outs, and opens and closes sockets for the resolver. Returns
    /// whether a question found no descriptor: it is sent by a later call.
    pub fn drive(&mut self, net: &mut N, spare: &mut Spare<N>, now: Millis) -> bool {
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
            let unsent = self.unsent.pop_front();
            let Some(transmit) = unsent.or_else(|| self.resolver.poll_transmit()) else {
                return false;
            };
            let Err(error) = self.open(net, spare, &transmit) else { continue };
            debug!("querying name server {}: {error}", transmit.server);
            if lacks_resources(&error) {
                self.unsent.push_front(transmit);
                return true;
            }
            self.resolver.handle_error(now, transmit.key);
        }
    }

    fn open(&mut self, net: &mut N, spare: &mut Spare<N>, transmit: &Transmit) -> io::Result<()> {
        let token = Token::Query(self.queries.vacant_key());
        let socket = match transmit.transport {
            Transport::Udp => {
                let open = |net: &mut N| net.open_datagram(transmit.server, token.number());
                let socket = spare.lend(net, open)?;
                net.send_datagram(&socket, &transmit.bytes)?;
                Socket::Datagram(socket)
            }
            Transport::Tcp => {
                let open = |net: &mut N| net.connect(transmit.server, None, token.number());
                let stream = spare.lend(net, open)?;
                Socket::Stream(Endpoint::connecting(stream, token), transmit.bytes.to_vec())
            }
        };
        self.queries.insert(OpenQuery { key: transmit.key, socket });
        Ok(())
    }

    fn close(&mut self, key: u64) {
        self.unsent.retain(|transmit| transmit.key != key);
        if let Some((place, _)) = self.queries.iter().find(|(_, query)| query.key == key) {
            self.queries.remove(place);
            // The next socket in this place must not inherit the ready bit.
            self.ready &= !(1 << place);
        }
    }

    /// Reads from one socket.
    fn run(&mut self, net: &mut N, now: Millis, place: usize) {
        let mut bytes = [0; DATAGRAM_BYTES_MAX];
        for _ in 0..READS_PER_TURN {
            // A valid answer ends the query, and its key is no longer known.
            let Some(query) = self.queries.get_mut(place) else { return };
            let read = match &mut query.socket {
                Socket::Datagram(socket) => net.recv_datagram(socket, &mut bytes),
                Socket::Stream(endpoint, question) => exchange(net, endpoint, question, &mut bytes),
            };
            self.moves += u64::from(read.is_ok());
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
    pub fn is_ready(&self) -> bool {
        self.stale || self.ready != 0 || self.resolver.answers() > 0
    }
}

/// Sends the rest of the question, or reads the next piece of the answer.
fn exchange<N: Net>(
    net: &mut N,
    endpoint: &mut Endpoint<N::Stream>,
    question: &mut Vec<u8>,
    bytes: &mut [u8],
) -> io::Result<usize> {
    while !question.is_empty() {
        if !endpoint.writable {
            return Err(ErrorKind::WouldBlock.into());
        }
        match net.send(&endpoint.stream, question) {
            Ok(sent) => drop(question.drain(..sent)),
            Err(error) => {
                endpoint.writable &= error.kind() != ErrorKind::WouldBlock;
                return Err(error);
            }
        }
    }
    net.recv(&endpoint.stream, bytes)
}
