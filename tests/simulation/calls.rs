//! The system calls as the kernel performs them for the proxy, and what must hold at each.

use crate::actors::Role;
use crate::addresses::own_facing;
use crate::kernel::{Conn, Kernel, Listener};
use crate::tcp::NEAR;
use rustix::io::Errno;
use socku::internals::net::Event;
use socku::internals::token::{CLIENT, FIRST_USER_TOKEN, LISTENERS_MAX, Token};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

/// Where identd listens.
pub const IDENT_PORT: u16 = 113;
/// Whatever goes on out there, the loop is told of something, or has a deadline.
const WAITS_MAX: u32 = 10_000;
/// Pieces that a pipe holds, whatever their size.
const PIECES_MAX: usize = 16;

impl Kernel {
    /// Whether a call is interrupted. The world goes on while the loop works, too.
    pub fn is_interrupted(&mut self) -> bool {
        let races = self.mood.races;
        if self.random.chance(races) {
            self.now += self.random.below(2);
            self.step();
        }
        let chance = self.mood.interrupts;
        self.random.chance(chance)
    }

    pub fn poll(&mut self, events: &mut Vec<Event>, timeout_ms: Option<u64>) {
        let calls = std::mem::take(&mut self.progress);
        let told = std::mem::take(&mut self.checks.events);
        let progressed = calls > 0 || told > 0;
        self.note_turn_begins(calls);
        let mut until = timeout_ms.map(|timeout_ms| self.now + timeout_ms);
        self.now += u64::from(self.random.chance(20));
        if self.mood.jump_at.is_some_and(|at| at <= self.now) {
            self.mood.jump_at = None;
            self.jumped = Some(self.now);
            self.now += self.random.within(1, 5) * 3_600_000;
            self.say(|| "the clock jumps".to_string());
        }
        if self.is_interrupted() {
            until = Some(self.now);
        }
        for waits in 0.. {
            assert!(waits < WAITS_MAX, "the loop waits for ever");
            self.step();
            self.tell(events);
            if !events.is_empty() {
                break;
            }
            let next = match (self.next_at(), until) {
                (Some(at), Some(until)) => at.min(until),
                (Some(at), None) => at,
                (None, Some(until)) => until,
                (None, None) => {
                    self.check_nothing_is_left_undone();
                    assert!(!self.clients_wait(), "a client waits for ever");
                    self.checks.asleep = true;
                    break;
                }
            };
            if until.is_some_and(|until| until <= self.now) {
                break;
            }
            self.check_nothing_is_left_undone();
            self.now = self.now.max(next);
        }
        self.checks.events = events.len();
        let idle = timeout_ms == Some(0) && !progressed && events.is_empty();
        self.checks.idle_turns = if idle { self.checks.idle_turns + 1 } else { 0 };
        assert!(self.checks.idle_turns < 8, "the loop spins");
        if let Some(timeout_ms) = timeout_ms {
            assert!(timeout_ms <= self.cast.longest_ms, "a wait of {timeout_ms} ms");
        }
    }

    /// Tells what has changed.
    fn tell(&mut self, events: &mut Vec<Event>) {
        if !self.reloads_due.is_empty() {
            events.push(Event { token: FIRST_USER_TOKEN, readable: true, ..Event::default() });
        }
        for listener in self.listeners.values_mut() {
            let spurious = self.random.below(1000) < self.mood.spurious;
            if std::mem::take(&mut listener.edge) || spurious {
                events.push(Event { token: listener.token, readable: true, ..Event::default() });
            }
        }
        for socket in self.datagrams.values_mut() {
            if std::mem::take(&mut socket.edge) {
                events.push(Event { token: socket.token, readable: true, ..Event::default() });
            }
        }
        let start = self.random.next() as usize % self.conns.len().max(1);
        let (low, high) = (self.held.range(..start), self.held.range(start..));
        for &conn in high.chain(low) {
            if events.len() >= self.mood.events_per_poll {
                break;
            }
            let c = &mut self.conns[conn];
            let Some(token) = c.watch.token else { continue };
            let (end, watch) = (&mut c.ends[NEAR], &mut c.watch);
            let readable = end.is_readable();
            let has_room = (c.established && end.has_room()) || end.dead;
            let writable = has_room && (watch.awaits_room || end.dead);
            let spurious = c.established && self.random.below(1000) < self.mood.spurious;
            let (reads, writes) = (watch.reads && readable, watch.writes && writable);
            if !(reads || writes || watch.changed || spurious) {
                continue;
            }
            let all = self.mood.full_masks || watch.changed;
            let event = Event {
                token,
                readable: (if all { readable } else { reads }) || spurious,
                writable: (if all { writable } else { writes }) || (spurious && watch.awaits_room),
                read_closed: end.fin_arrived || end.dead,
                failed: end.error.is_some(),
                urgent: end.has_urgent(),
            };
            watch.changed = false;
            watch.reads &= !event.readable;
            watch.writes &= !event.writable;
            if event.writable && c.established && !event.failed {
                watch.connected_in.get_or_insert(self.checks.turns);
            }
            if event.readable || event.writable {
                end.urgent_told = end.urgent.filter(|_| event.urgent).or(end.urgent_told);
                events.push(event);
            }
        }
    }

    pub fn listen(&mut self, at: SocketAddr, token: usize) -> Result<usize, Errno> {
        let client = self.client_of_target(token);
        client.inspect(|&place| self.note_act(place));
        if token >= LISTENERS_MAX {
            self.lacks(1)?;
        }
        let port = if at.port() == 0 { self.fresh_port() } else { at.port() };
        let address = SocketAddr::new(at.ip(), port);
        let is_everywhere = |l: &Listener| {
            let is_alike = l.address.is_ipv6() == at.is_ipv6();
            l.address.port() == port && is_alike && at.ip().is_unspecified()
        };
        if self.listeners.values().any(|l| l.is_at(address) || is_everywhere(l)) {
            return Err(Errno::ADDRINUSE);
        }
        self.check_listening(client, at.ip());
        let id = self.fresh_id();
        let queue = Default::default();
        let (edge, passed_over) = (false, 0);
        let listener = Listener { address, token, edge, queue, client, passed_over };
        self.listeners.insert(id, listener);
        self.progress += 1;
        Ok(id)
    }

    pub fn unlisten(&mut self, id: usize) {
        if let Some(listener) = self.listeners.remove(&id) {
            for (conn, _) in listener.queue {
                self.reset(conn, NEAR);
            }
        }
    }

    pub fn accept(&mut self, id: usize) -> Result<usize, Errno> {
        self.note_turn(id);
        if self.is_interrupted() {
            return Err(Errno::INTR);
        }
        if self.listeners[&id].queue.is_empty() {
            return Err(Errno::AGAIN);
        }
        self.lacks(1)?;
        let Some(listener) = self.listeners.get_mut(&id) else { panic!("closed") };
        let Some((conn, _)) = listener.queue.pop_front() else { panic!("not empty") };
        let listener_client = listener.client;
        self.checks.acceptable_since = None;
        self.progress += 1;
        if self.conns[conn].ends[NEAR].dead && self.random.chance(50) {
            return Err(Errno::CONNABORTED);
        }
        self.held.insert(conn);
        if let (None, Some(Role::Client(place))) = (listener_client, self.conns[conn].role) {
            self.note_rivals(place);
            // However long it has waited for others to end: its deadlines begin now.
            self.note_move(conn);
        }
        if let Some(client) = listener_client {
            self.cast.clients[client].target = Some(conn);
            self.cast.clients[client].attempts.winner = Some(conn);
            self.cast.clients[client].peer_by = Some(self.history.rules_now());
        }
        Ok(conn)
    }

    pub fn register(&mut self, conn: usize, token: usize) -> Result<(), Errno> {
        let lacks = self.lacks(0);
        self.note_registered(conn, lacks);
        lacks?;
        self.watch(conn, token);
        Ok(())
    }

    /// What the connection is ready for is told anew.
    pub fn await_room(&mut self, conn: usize, token: usize) {
        assert_eq!(self.conns[conn].watch.token, Some(token), "another token");
        self.watch(conn, token);
        self.conns[conn].watch.awaits_room = true;
        if !self.checks.adopting {
            self.check_awaited_room(conn);
        }
        self.say(|| format!("  connection {conn} awaits room"));
    }

    fn watch(&mut self, conn: usize, token: usize) {
        let Conn { ends: [near, _], watch, .. } = &mut self.conns[conn];
        watch.changed = near.is_readable() || near.dead;
        (watch.token, watch.reads, watch.writes) = (Some(token), true, true);
    }

    pub fn connect(
        &mut self,
        target: SocketAddr,
        source: Option<IpAddr>,
        token: usize,
    ) -> Result<usize, Errno> {
        let client = self.client_of_target(token);
        let place = client.filter(|_| target.port() != IDENT_PORT);
        if let Some(place) = place {
            self.note_act(place);
            self.note_attempt(place, target.ip());
        }
        let made = self.start_connecting(target, source, token, client);
        if let (Some(place), Err(error)) = (place, made) {
            self.note_attempt_failed(place, target.is_ipv6(), error);
        }
        made
    }

    fn start_connecting(
        &mut self,
        target: SocketAddr,
        source: Option<IpAddr>,
        token: usize,
        client: Option<usize>,
    ) -> Result<usize, Errno> {
        self.lacks(1)?;
        let from = source.unwrap_or(own_facing(target.ip()));
        assert_eq!(from.is_ipv6(), target.is_ipv6(), "a source of another family");
        self.check_source(target, source);
        let port = self.fresh_port();
        let conn = self.new_conn(SocketAddr::new(from, port), target);
        self.check_connecting(client, target);
        self.call_out(conn, client, target)?;
        self.held.insert(conn);
        let watch = &mut self.conns[conn].watch;
        (watch.token, watch.reads, watch.writes) = (Some(token), true, true);
        watch.awaits_room = true;
        self.progress += 1;
        self.say(|| {
            format!("the proxy connects to {target}: connection {conn} for client {client:?}")
        });
        Ok(conn)
    }

    /// How many of `most` bytes this call moves.
    fn cut(&mut self, most: usize) -> usize {
        let chance = self.mood.short;
        if most > 1 && self.random.chance(chance) {
            self.random.within(1, most as u64) as usize
        } else {
            most
        }
    }

    pub fn recv(&mut self, conn: usize, into: &mut [u8]) -> Result<usize, Errno> {
        assert!(!into.is_empty(), "a read of nothing");
        if self.is_interrupted() {
            return Err(Errno::INTR);
        }
        if !self.conns[conn].established && !self.conns[conn].ends[NEAR].dead {
            return Err(Errno::NOTCONN);
        }
        self.hasten(conn);
        self.hasten_end(conn);
        let most = self.cut(into.len());
        let mut bytes = Vec::new();
        let read = self.read(conn, NEAR, &mut bytes, most);
        self.conns[conn].ends[NEAR].note_urgent();
        into[..bytes.len()].copy_from_slice(&bytes);
        match read {
            Ok(n) if n == into.len() => {}
            Ok(0) => {}
            // What has been told of the end or of an urgent byte is not told again.
            Ok(_) => {
                let end = &self.conns[conn].ends[NEAR];
                self.conns[conn].watch.reads |= !end.is_ended() && !end.stops_at_mark();
            }
            Err(_) => self.conns[conn].watch.reads = true,
        }
        if read != Err(Errno::AGAIN) {
            self.progress += 1;
            self.note_move(conn);
        }
        if let Some(Role::Client(place)) = self.conns[conn].role
            && read.is_ok_and(|n| n > 0)
        {
            self.note_read(place, conn);
        }
        self.say(|| format!("  recv on {conn}: {read:?} of {}", into.len()));
        read
    }

    pub fn send(&mut self, conn: usize, bytes: &[u8]) -> Result<usize, Errno> {
        self.send_as(conn, bytes, false)
    }

    pub fn send_urgent(&mut self, conn: usize, bytes: &[u8]) -> Result<usize, Errno> {
        assert_eq!(bytes.len(), 1, "the last byte is the urgent one");
        let sent = self.send_as(conn, bytes, true)?;
        self.mark(conn, NEAR);
        self.seen.urgent += 1;
        Ok(sent)
    }

    fn send_as(&mut self, conn: usize, bytes: &[u8], is_urgent: bool) -> Result<usize, Errno> {
        assert!(!bytes.is_empty(), "a write of nothing");
        if let Some(Role::Client(place)) = self.conns[conn].role {
            let end = self.conns[conn].ends[NEAR].given + bytes.len() as u64;
            if end > self.client(place).login.answers.len() as u64 {
                self.note_act(place);
            }
        }
        if self.is_interrupted() {
            return Err(Errno::INTR);
        }
        assert!(!self.conns[conn].ends[NEAR].finished, "bytes after FIN");
        self.hasten_end(conn);
        let at = self.conns[conn].ends[NEAR].given;
        let most = self.cut(bytes.len());
        let sent = self.write(conn, NEAR, bytes, most);
        match sent {
            Ok(n) => {
                self.progress += 1;
                self.conns[conn].watch.writes |= n < bytes.len();
                self.conns[conn].watch.met_full |= n < bytes.len();
                self.note_move(conn);
                self.check_output(conn, at, &bytes[..n], is_urgent);
            }
            Err(error) => {
                self.conns[conn].watch.writes = true;
                self.conns[conn].watch.met_full |= error == Errno::AGAIN;
            }
        }
        self.say(|| {
            let how = if is_urgent { ", urgent" } else { "" };
            format!("  send on {conn}: {sent:?} of {}{how}", bytes.len())
        });
        sent
    }

    pub fn splice_in(
        &mut self,
        conn: usize,
        pieces: &mut VecDeque<Vec<u8>>,
        most: usize,
    ) -> Result<usize, Errno> {
        if self.is_interrupted() {
            return Err(Errno::INTR);
        }
        if self.mood.no_splice {
            return Err(Errno::INVAL);
        }
        self.hasten_urgent(conn);
        self.hasten(conn);
        self.hasten_end(conn);
        self.lacks_memory()?;
        let mut moved = 0;
        while pieces.len() < PIECES_MAX && moved < most {
            let piece = self.random.within(1, self.mood.piece_bytes).min((most - moved) as u64);
            let mut bytes = Vec::new();
            let end = &self.conns[conn].ends[NEAR];
            let is_at_mark = end.stops_at_mark();
            if moved > 0 && (end.recv.is_empty() || is_at_mark) {
                break;
            }
            self.seen.splices_at_mark += u64::from(is_at_mark);
            match self.read_to_pipe(conn, &mut bytes, piece as usize) {
                Ok(0) => break,
                Ok(n) => moved += n,
                Err(error) => {
                    self.conns[conn].watch.reads |= error == Errno::AGAIN && !is_at_mark;
                    return Err(error);
                }
            }
            pieces.push_back(bytes);
        }
        self.say(|| format!("  splice from {conn}: {moved} in {} pieces", pieces.len()));
        if moved == 0 && pieces.len() == PIECES_MAX {
            return Err(Errno::AGAIN);
        }
        self.conns[conn].ends[NEAR].note_urgent();
        self.spliced += moved as u64;
        self.piped += moved;
        self.progress += 1;
        self.note_move(conn);
        Ok(moved)
    }

    pub fn splice_out(
        &mut self,
        pieces: &mut VecDeque<Vec<u8>>,
        conn: usize,
        most: usize,
    ) -> Result<usize, Errno> {
        self.lacks_memory()?;
        let bytes: Vec<u8> = pieces.iter().flatten().copied().take(most).collect();
        let mut sent = self.send(conn, &bytes)?;
        let moved = sent;
        self.piped -= moved;
        while sent > 0 {
            let Some(piece) = pieces.front_mut() else { panic!("sent what was not there") };
            let n = sent.min(piece.len());
            piece.drain(..n);
            sent -= n;
            if piece.is_empty() {
                pieces.pop_front();
            }
        }
        Ok(moved)
    }

    pub fn finish_near(&mut self, conn: usize) -> Result<(), Errno> {
        self.hasten_end(conn);
        if self.conns[conn].ends[NEAR].dead {
            return Err(Errno::NOTCONN);
        }
        assert!(!self.conns[conn].ends[NEAR].finished, "two FINs");
        self.say(|| format!("  FIN on {conn}"));
        self.progress += 1;
        self.check_fin(conn);
        self.finish(conn, NEAR);
        Ok(())
    }

    pub fn abort(&mut self, conn: usize) {
        self.say(|| format!("  abort {conn}"));
        self.progress += 1;
        self.check_shed(conn);
        self.note_abort(conn);
        self.held.remove(&conn);
        self.reset(conn, NEAR);
    }

    pub fn let_go(&mut self, conn: usize) {
        if self.held.remove(&conn) {
            self.say(|| format!("  close {conn}"));
            self.progress += 1;
            if self.conns[conn].ends[NEAR].is_alive() {
                self.check_close(conn);
            }
            self.close(conn, NEAR);
        }
    }

    /// The client whose target has this token.
    pub fn client_of_target(&self, token: usize) -> Option<usize> {
        let Token::Connection { slot, .. } = Token::of(token) else { return None };
        let client = Token::Connection { slot, place: CLIENT }.number();
        let mut held = self.held.iter();
        let conn = held.find(|&&conn| self.conns[conn].watch.token == Some(client))?;
        self.conns[*conn].actor
    }

    /// The proxy asks which address a connection has, as it does of a target that is connected.
    pub fn local_addr(&mut self, conn: usize) -> SocketAddr {
        if let (Some(Role::Target(place)), true) =
            (self.conns[conn].role, self.conns[conn].established)
        {
            self.cast.clients[place].target = Some(conn);
            self.note_winner(place, conn);
        }
        self.conns[conn].local
    }

    pub fn take_error(&mut self, conn: usize) -> Option<Errno> {
        let Conn { role, established, peer, .. } = self.conns[conn];
        let error = self.conns[conn].ends[NEAR].error.take();
        if let (Some(Role::Target(place)), false, Some(error)) = (role, established, error) {
            self.note_attempt_failed(place, peer.is_ipv6(), error);
        }
        error
    }
}
