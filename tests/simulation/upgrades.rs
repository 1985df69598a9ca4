//! Upgrades: the program is replaced between two turns. A new loop goes on with what the old one
//! has handed over, and all invariants go on as if nothing had happened.

use crate::actors::Role;
use crate::kernel::{Kernel, Watch};
use crate::random::Random;
use crate::seen::Seen;
use crate::sim_net::{Handle, Pipe, Shared, SimNet, What};
use crate::world::Files;
use rustix::io::Errno;
use socku::internals::handover::Handover;
use socku::internals::net::HandOver;
use socku::internals::reactor::Reactor;
use socku::internals::settings::Settings;
use std::collections::VecDeque;
use std::io;
use std::mem::take;

/// Most upgrades of one run.
const UPGRADES_MAX: u64 = 30;
/// The sizes that buffers may have after one.
pub const BUFFER_SIZES: [u64; 5] = [1024, 1025, 2048, 5000, 65_536];
/// How likely the new program does not start, in per cent.
const FAILS: u64 = 20;

/// When a run's upgrades come.
pub struct Upgrades {
    /// How likely one comes after a turn, in per mille.
    chance: u64,
    random: Random,
    count: u64,
}

impl Upgrades {
    pub fn new(chance: u64, seed: u64) -> Upgrades {
        Upgrades { chance, random: Random::new(seed), count: 0 }
    }

    /// Whether one comes now.
    pub fn is_due(&mut self) -> bool {
        let is_due = self.count < UPGRADES_MAX && self.random.below(1000) < self.chance;
        self.count += u64::from(is_due);
        is_due
    }

    /// Replaces the program of a loop, or tries to; returns the loop that goes on.
    pub fn perform(
        &mut self,
        old: Reactor<SimNet>,
        kernel: &Shared,
        files: impl FnOnce() -> Files,
    ) -> Reactor<SimNet> {
        let on_its_way = export(&old, kernel);
        if self.fails() {
            return old;
        }
        replace(old, kernel, on_its_way, || {
            let mut files = files();
            self.change(&mut files.settings);
            files
        })
    }

    /// What the new program is told to do otherwise.
    fn change(&mut self, settings: &mut Settings) {
        settings.buffer_bytes = self.random.pick(&BUFFER_SIZES) as usize;
        if settings.pipes_max > 0 {
            settings.pipes_max = self.random.within(1, 8) as usize;
        }
    }

    /// Whether the new program does not start, so that the old one goes on.
    fn fails(&mut self) -> bool {
        self.random.chance(FAILS)
    }
}

/// How likely an upgrade comes after a turn, in per mille.
pub fn chance(seed: u64) -> u64 {
    // The rest of a scenario does not depend on it.
    Random::new(seed ^ 0x7570_6772_6164_6573).pick(&[0, 0, 2, 20, 100, 300])
}

/// A descriptor lent to be handed over. A pipe is two, and what is in it goes with the first.
pub enum Lent {
    Stream(usize),
    Listener(usize),
    PipeOut(VecDeque<Vec<u8>>),
    PipeInto,
}

/// A descriptor that was handed over.
pub enum Given {
    Socket(Handle),
    PipeOut(Pipe),
    PipeInto,
}

/// What is handed over, as it is on its way.
struct OnItsWay {
    bytes: Vec<u8>,
    lent: Vec<Lent>,
}

/// Takes from a loop what is handed over; that makes no call.
fn export(reactor: &Reactor<SimNet>, kernel: &Shared) -> OnItsWay {
    let calls = kernel.borrow().journal.sum();
    let export = reactor.export();
    let bytes = export.handover.encode();
    let lent = export.descriptors;
    assert_eq!(calls, kernel.borrow().journal.sum(), "to hand over makes a call");
    let shorter = Handover::decode(&bytes[..bytes.len() - 1], lent.len());
    assert!(shorter.is_err(), "a truncated record is read");
    OnItsWay { bytes, lent }
}

/// The program is replaced: all descriptors that were not lent are closed.
fn replace(
    old: Reactor<SimNet>,
    kernel: &Shared,
    OnItsWay { bytes, lent }: OnItsWay,
    files: impl FnOnce() -> Files,
) -> Reactor<SimNet> {
    kernel.borrow_mut().note_upgrade();
    lent.iter().for_each(|lent| kernel.borrow_mut().hand_over(lent));
    drop(old);
    assert!(kernel.borrow().handed.is_empty(), "a descriptor was lent that nobody has");
    let net = SimNet(kernel.clone());
    let given: Vec<_> = lent.into_iter().map(|lent| net.give(lent)).collect();
    let Files { settings, rules, resolver, users } = files();
    let count = given.len();
    let handover = Handover::decode(&bytes, count).expect("a whole record");
    let reactor = Reactor::import(net, settings, rules, resolver, users, handover, given);
    kernel.borrow_mut().checks.adopting = false;
    let reactor = reactor.expect("what was handed over is taken");
    if !kernel.borrow().wanted {
        check_nothing_is_forgotten(&bytes, count, &reactor);
    }
    reactor
}

/// What the new loop would hand over is what it was given, but for sessions that ask again.
fn check_nothing_is_forgotten(bytes: &[u8], descriptors: usize, reactor: &Reactor<SimNet>) {
    let mut before = Handover::decode(bytes, descriptors).expect("a whole record");
    let mut after = reactor.export().handover;
    let connections = take(&mut before.connections).into_iter().zip(take(&mut after.connections));
    for (before, after) in connections {
        let state = before.session.state().to_string();
        let asks = ["resolving", "identifying"].contains(&state.as_str());
        let is_same = minicbor::to_vec(&before).ok() == minicbor::to_vec(&after).ok();
        assert!(asks || is_same, "handed over: {before:?}\nand taken: {after:?}");
    }
    after.now = before.now;
    // A session that asks again may be rejected at once.
    after.logins = before.logins.clone();
    after.stats.changes = before.stats.changes;
    (after.dns, after.ident_queries) = (before.dns, before.ident_queries);
    // It is counted again as well.
    let counts = |one: &Handover<'_>| {
        let dns = one.dns;
        let ended = [dns.answered, dns.failed, dns.timed_out];
        let asked = [dns.sent, dns.cache_hits, dns.cache_misses, one.ident_queries];
        ended.into_iter().chain(asked)
    };
    let goes_on = counts(&before).zip(counts(&after)).all(|(before, after)| before <= after);
    assert!(goes_on, "before: {before:?}\nafter: {after:?}");
    (after.dns, after.ident_queries) = (before.dns, before.ident_queries);
    assert!(before.encode() == after.encode(), "before: {before:?}\nafter: {after:?}");
}

impl SimNet {
    /// Gives a descriptor to this program that another has lent.
    pub fn give(&self, lent: Lent) -> Given {
        match lent {
            Lent::Stream(id) => Given::Socket(self.handle(id, What::Stream)),
            Lent::Listener(id) => Given::Socket(self.handle(id, What::Listener)),
            Lent::PipeOut(pieces) => {
                self.kernel().pipes += 1;
                self.kernel().piped += pieces.iter().map(Vec::len).sum::<usize>();
                Given::PipeOut(Pipe { kernel: self.0.clone(), pieces })
            }
            Lent::PipeInto => Given::PipeInto,
        }
    }
}

impl HandOver for SimNet {
    type Lent<'a> = Lent;
    type Given = Given;

    fn origin_ns(&self) -> u64 {
        0
    }

    fn lend_stream<'a>(&'a self, stream: &'a Handle) -> Lent {
        Lent::Stream(stream.id)
    }

    fn lend_listener<'a>(&'a self, listener: &'a Handle) -> Lent {
        Lent::Listener(listener.id)
    }

    fn lend_pipe<'a>(&'a self, pipe: &'a Pipe) -> [Lent; 2] {
        [Lent::PipeOut(pipe.pieces.clone()), Lent::PipeInto]
    }

    fn adopt_stream(&mut self, given: Given) -> Handle {
        let Given::Socket(handle @ Handle { what: What::Stream, .. }) = given else {
            panic!("no stream")
        };
        self.kernel().adopt(handle.id);
        handle
    }

    fn adopt_listener(&mut self, given: Given, token: usize) -> io::Result<Handle> {
        let Given::Socket(handle @ Handle { what: What::Listener, .. }) = given else {
            panic!("no listener")
        };
        let adopted = self.kernel().adopt_listener(handle.id, token);
        self.noted("adopt_listener", handle.id, adopted)?;
        Ok(handle)
    }

    fn adopt_pipe(&mut self, out: Given, into: Given) -> Pipe {
        match (out, into) {
            (Given::PipeOut(pipe), Given::PipeInto) => pipe,
            _ => panic!("no pipe"),
        }
    }
}

impl Kernel {
    /// The descriptor outlives the program that has it.
    fn hand_over(&mut self, lent: &Lent) {
        let is_new = match lent {
            Lent::Stream(id) => self.handed.insert((false, *id)),
            Lent::Listener(id) => self.handed.insert((true, *id)),
            Lent::PipeOut(_) | Lent::PipeInto => true,
        };
        assert!(is_new, "a descriptor is lent twice");
    }

    /// What is forgotten is begun again, and takes longer.
    fn note_upgrade(&mut self) {
        self.say(|| "upgrade".to_string());
        self.seen.upgrades += 1;
        self.checks.adopting = true;
        self.checks.idle_turns = 0;
        let hosts = self.history.hosts_now();
        for client in &mut self.cast.clients {
            let is_open = client.conn.is_some_and(|conn| self.held.contains(&conn));
            if !is_open || client.reason.is_some() {
                continue;
            }
            if let (Some(basis), None) = (&mut client.basis, client.acted_by) {
                basis.ask_again(hosts, client.asked_ident);
                client.is_asked_again = true;
            }
            let seen = &mut self.seen.handed_over;
            seen[0] += u64::from(client.basis.is_none());
            seen[1] += u64::from(client.is_asked_again);
            seen[2] += u64::from(client.target.is_some() && client.attempts.winner.is_none());
            seen[3] += u64::from(client.listens && client.attempts.winner.is_none());
            seen[4] += u64::from(client.granted);
            seen[5] += u64::from(client.refused);
        }
        let holds = (0..self.cast.clients.len()).filter(|place| self.holds_bytes_of(*place));
        self.seen.handed_over[6] += holds.count() as u64;
        self.seen.handed_over[7] += u64::from(self.piped > 0);
    }

    /// A new program takes a connection over. Its epoll knows nothing of it yet.
    fn adopt(&mut self, conn: usize) {
        assert!(self.held.contains(&conn), "connection {conn} is closed");
        let Watch { met_full, connected_in, .. } = self.conns[conn].watch;
        self.conns[conn].watch = Watch { met_full, connected_in, ..Watch::default() };
    }

    /// A new program takes a listener over.
    fn adopt_listener(&mut self, id: usize, token: usize) -> Result<(), Errno> {
        let client = self.listeners[&id].client;
        if let Some(place) = client {
            let lacks = self.lacks(0);
            self.cast.clients[place].is_unadopted |= lacks.is_err();
            lacks?;
        }
        let Some(listener) = self.listeners.get_mut(&id) else { panic!("closed") };
        listener.token = token;
        listener.edge = !listener.queue.is_empty();
        Ok(())
    }

    /// A connection is registered, or not: a session that is taken over ends then.
    pub fn note_registered(&mut self, conn: usize, result: Result<(), Errno>) {
        let Some(Role::Client(place) | Role::Target(place)) = self.conns[conn].role else { return };
        self.cast.clients[place].is_unadopted |= self.checks.adopting && result.is_err();
    }
}

impl Seen {
    /// Upgrades have met sessions in every state.
    pub fn assert_upgrades_were_met(&self, seeds: u64) {
        assert!(self.upgrades > 2 * seeds, "{} upgrades", self.upgrades);
        let states = ["reading", "asking", "connecting", "listening", "relayed", "rejected"];
        for (number, state) in self.handed_over.into_iter().zip(states) {
            assert!(number > seeds / 4, "{number} sessions handed over while {state}");
        }
        assert!(self.handed_over[6] > seeds / 4, "{} held bytes", self.handed_over[6]);
    }

    /// Upgrades have met bytes in a pipe.
    pub fn assert_pipes_were_handed_over(&self, seeds: u64) {
        let piped = self.handed_over[7];
        assert!(piped > seeds / 32, "{piped} upgrades met bytes in a pipe");
    }
}
