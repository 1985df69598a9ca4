//! Taking clients in.

use super::{Entrance, Entry, LISTENERS_MAX, Reactor, Target, token_of_client};
use crate::net::{Net, lacks_resources};
use crate::reason::CloseReason;
use crate::relay::{Relay, Side};
use crate::session::Session;
use crate::timer::Millis;
use crate::wire::{Code, Reply};
use log::error;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddrV4};

/// Most tries to take a connection in one turn.
const ACCEPTS_PER_TURN: usize = 64;
/// After accept failed for want of something, it is tried again this much later.
const ACCEPT_RETRY_MS: Millis = 200;
/// At most one complaint in this time.
const COMPLAIN_EVERY_MS: Millis = 1000;
/// As many as the system's own limit (net.core.somaxconn) lets wait.
const BACKLOG: i32 = 4096;

/// A connection, its peer, and what is set aside for its target.
type Accepted<N> = (<N as Net>::Stream, SocketAddrV4, Option<<N as Net>::Reserve>);

impl<N: Net> Reactor<N> {
    /// Listens for clients; returns the address, with the port that was chosen.
    pub fn listen(&mut self, at: SocketAddrV4) -> io::Result<SocketAddrV4> {
        if self.entrances.len() == LISTENERS_MAX {
            return Err(io::Error::new(ErrorKind::InvalidInput, "expected at most 32 addresses"));
        }
        let listener = self.net.listen(at, BACKLOG, self.entrances.len())?;
        let address = self.net.listening_on(&listener)?;
        self.entrances.push(Entrance { listener, address, ready: false });
        Ok(address)
    }

    /// Whether connections may be waiting and there is room for a session.
    pub(super) fn wants_accept(&self) -> bool {
        self.entries.len() < self.settings.max_sessions
            && self.entrances.iter().any(|entrance| entrance.ready)
    }

    /// Whether accept is to be called now.
    pub(super) fn may_accept(&self, now: Millis) -> bool {
        self.wants_accept() && self.accept_after.is_none_or(|after| after <= now)
    }

    /// Takes waiting connections, a few at a time and from each listener in turn.
    pub(super) fn accept(&mut self) {
        for _ in 0..ACCEPTS_PER_TURN {
            if !self.may_accept(self.now) {
                return;
            }
            // Each listener in turn, even where there is room for one client only.
            let (before, after) = self.entrances.split_at(self.next_entrance);
            let Some(step) = after.iter().chain(before).position(|e| e.ready) else { return };
            let place = (self.next_entrance + step) % self.entrances.len();
            self.next_entrance = (place + 1) % self.entrances.len();
            self.accept_one(place);
        }
    }

    fn accept_one(&mut self, place: usize) {
        let error = match self.try_accept(place) {
            Ok((stream, client, reserve)) => {
                self.accept_after = None;
                return self.admit(stream, client, reserve);
            }
            Err(error) => error,
        };
        match error.kind() {
            ErrorKind::WouldBlock => {
                self.entrances[place].ready = false;
                // Two descriptors were free just now, and nobody waits for them.
                self.is_short = false;
            }
            _ if lacks_resources(&error) => {
                self.is_short = true;
                self.stats.accept_failures += 1;
                self.accept_after = Some(self.now + ACCEPT_RETRY_MS);
                self.complain(&error);
            }
            // What a connection that is gone left behind; the next one may be well.
            _ => {}
        }
    }

    /// Takes a client. When descriptors are short it is taken only together with one that is set
    /// aside for its target: with the last one it could only be refused.
    fn try_accept(&mut self, place: usize) -> io::Result<Accepted<N>> {
        let reserve = self.is_short.then(|| self.net.reserve()).transpose()?;
        let (stream, client) = self.net.accept(&self.entrances[place].listener)?;
        Ok((stream, client, reserve))
    }

    fn complain(&mut self, error: &io::Error) {
        if self.complained.is_none_or(|at| at + COMPLAIN_EVERY_MS <= self.now) {
            self.complained = Some(self.now);
            error!(
                "accepting clients: {error}; {} sessions are open, others wait or are refused",
                self.entries.len()
            );
        }
    }

    fn admit(&mut self, mut stream: N::Stream, client: SocketAddrV4, reserve: Option<N::Reserve>) {
        let sessions = self.per_source.get(client.ip()).copied().unwrap_or(0);
        let limit = self.settings.max_per_source.unwrap_or(u32::MAX);
        if sessions >= limit.saturating_mul(2) {
            // As many refusals as sessions are on their way already.
            self.stats.shed += 1;
            return self.net.abort(stream);
        }
        let slot = self.entries.vacant_key();
        if let Err(error) = self.net.watch(&mut stream, token_of_client(slot)) {
            self.stats.accept_failures += 1;
            self.complain(&error);
            return self.refuse_unwatched(stream);
        }
        self.stats.opened += 1;
        let session = Session::new(self.stats.opened, client, self.now);
        if self.settings.max_per_source.is_some() {
            *self.per_source.entry(*client.ip()).or_insert(0) += 1;
        }
        self.entries.insert(Entry {
            session,
            client: Side::new(stream),
            target: reserve.map_or(Target::None, Target::Reserve),
            relay: Relay::default(),
            queued: false,
            kept_up: false,
            reset_pending: None,
            backlog: None,
        });
        self.set_deadline(slot);
        if sessions >= limit {
            let action = self.entries[slot].session.reject(CloseReason::TooManyFromSource);
            self.perform(slot, action);
        }
    }

    /// Answers a client without waiting for its request: nothing would tell that it has come.
    fn refuse_unwatched(&mut self, stream: N::Stream) {
        // Bytes that nobody has read would turn the close into a reset. Neither call waits.
        let _ = self.net.recv(&stream, &mut [0; 1024]);
        let reply = Reply::refused(Code::Rejected).encode();
        if !self.net.send(&stream, &reply).is_ok_and(|n| n == reply.len()) {
            // The client has gone, or would wait for the rest in vain.
            self.net.abort(stream);
        }
    }

    pub(super) fn forget_source(&mut self, client: Ipv4Addr) {
        if let Some(sessions) = self.per_source.get_mut(&client) {
            *sessions -= 1;
            if *sessions == 0 {
                self.per_source.remove(&client);
            }
        }
    }
}
