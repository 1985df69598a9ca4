//! The loop's interface for its embedder, between two turns.

use super::{Dump, Reactor};
use crate::dns::Resolver;
use crate::net::Net;
use crate::rules::{Circumstances, RuleSet};
use crate::stats::Stats;
use crate::time::Millis;
use crate::users::Users;
use std::io;
use std::net::SocketAddr;

/// Most comparisons to find rules that never match: about a millisecond.
const COMPARISONS_MAX: usize = 100_000;

impl<N: Net> Reactor<N> {
    /// Listens for clients; returns the address, with the port that the kernel chose.
    pub fn listen(&mut self, at: SocketAddr) -> io::Result<SocketAddr> {
        self.cx.listeners.listen(&mut self.cx.net, at)
    }

    /// Listens on the socket that `open` gives, which registers it with its argument as the token;
    /// returns its address.
    pub fn listen_with(
        &mut self,
        open: impl FnOnce(&mut N, usize) -> io::Result<N::Listener>,
    ) -> io::Result<SocketAddr> {
        self.cx.listeners.add(&mut self.cx.net, open)
    }

    /// The addresses where clients are listened for.
    pub fn listening(&self) -> Vec<SocketAddr> {
        self.cx.listeners.addresses().collect()
    }

    /// The kernel.
    pub fn net(&mut self) -> &mut N {
        &mut self.cx.net
    }

    /// The time of the last turn, by the clock of the loop.
    pub fn now(&self) -> Millis {
        self.cx.now
    }

    /// Another socket of the proxy listens at this address: like those for clients, it is the target
    /// of no session.
    pub fn refuse_as_target(&mut self, address: SocketAddr) {
        self.cx.listeners.add_own(address);
    }

    /// The rules in force.
    pub fn rules(&self) -> &RuleSet {
        &self.cx.rules
    }

    /// Replaces the rules; running sessions continue.
    pub fn set_rules(&mut self, rules: RuleSet) {
        self.cx.rules = rules;
    }

    /// Warnings about the rules in force, for a proxy that listens on more than loopback or not.
    pub fn rule_warnings(&self, beyond_loopback: bool) -> Vec<String> {
        let (has_users, resolver) = (self.cx.users.is_some(), self.cx.dns.state());
        self.cx.rules.warnings(&Circumstances {
            beyond_loopback,
            has_users,
            is_listed: &|name| resolver.is_listed(name),
            has_search: resolver.has_search(),
            comparisons_max: COMPARISONS_MAX,
        })
    }

    /// Replaces the users who can log in; sessions of those who have logged in continue.
    pub fn set_users(&mut self, users: Users) {
        self.cx.users = Some(users);
    }

    /// The resolver, for new settings.
    pub fn resolver(&mut self) -> &mut Resolver {
        self.cx.dns.resolver()
    }

    /// The counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// A number that grows whenever something happens to a session or to what sessions share:
    /// bytes moved, a client came, a state changed, a deadline or an answer came.
    pub fn activity(&self) -> u64 {
        let stats = &self.stats;
        let sessions = stats.opened + stats.closed_total() + stats.shed;
        let arrivals = self.cx.listeners.arrivals;
        sessions
            + arrivals
            + stats.changes
            + stats.deadlines
            + self.cx.pool.moves
            + self.cx.dns.activity()
    }

    /// The embedder has done something after the last turn: it was not in vain.
    pub fn note_progress(&mut self) {
        self.progress.note();
    }

    /// The number of open sessions.
    pub fn session_count(&self) -> usize {
        self.connections.len()
    }

    /// Buffers lent: small, large.
    pub fn lent_buffers(&self) -> (usize, usize) {
        self.cx.pool.lent()
    }

    /// Pipes lent, and pipes kept.
    pub fn pipes(&self) -> (usize, usize) {
        self.cx.pool.pipes()
    }

    /// Makes the next turn handle pending events without waiting: the embedder has work left.
    pub fn skip_wait(&mut self) {
        self.skip_wait = true;
    }

    /// Writes the counters to the log and begins a dump of the open sessions.
    pub fn start_dump(&self) -> Dump {
        Dump::start(&self.connections, &self.cx, &self.stats)
    }

    /// Writes the next piece of a dump while `has_room`. Returns whether the dump is complete.
    pub fn continue_dump(&self, dump: &mut Dump, has_room: impl Fn() -> bool) -> bool {
        dump.write_next(&self.connections, &self.cx, has_room)
    }

    /// Stops accepting. Sessions have until the drain time-out, see [`Reactor::is_drain_over`].
    ///
    /// Clients that are connected already and wait in a listener's queue are accepted before: it is
    /// closed, and the system would reset them.
    pub fn drain(&mut self) {
        if !self.is_draining() {
            self.accept_queued();
        }
        self.end_accepting();
    }

    fn end_accepting(&mut self) {
        self.cx.listeners.close();
        let until = self.cx.now.saturating_add(self.cx.settings.drain_timeout_ms);
        self.drain_until.get_or_insert(until);
    }

    /// Whether [`Reactor::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.drain_until.is_some()
    }

    /// Whether [`Reactor::drain`] was called and nothing is left to do.
    pub fn is_drained(&self) -> bool {
        self.is_draining() && self.connections.is_empty()
    }

    /// Whether the drain time-out has come: the embedder should then call [`Reactor::stop`].
    pub fn is_drain_over(&self) -> bool {
        self.drain_until.is_some_and(|until| until <= self.cx.now)
    }

    /// Ends every session now.
    pub fn stop(&mut self) {
        self.end_accepting();
        let slots: Vec<usize> = self.connections.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.with(slot, |connection, cx| connection.stop(cx.now));
        }
        self.reap();
    }
}
