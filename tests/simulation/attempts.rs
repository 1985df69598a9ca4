//! The attempts to reach a target that has several addresses, and what must hold of them
//! (RFC 8305).

use crate::actors::Role;
use crate::checks::SLACK_MS;
use crate::kernel::Kernel;
use crate::rules::CONNECT;
use rustix::io::Errno;
use socku::internals::session::{ATTEMPTS_MAX, REPLACE_INTERVALS};
use std::net::IpAddr;

/// How far the attempts of one session have come, by what the kernel sees of them.
#[derive(Default)]
pub struct Attempts {
    /// The addresses that were tried, in order.
    tried: Vec<IpAddr>,
    /// When the last one started, by the proxy's clock.
    started_at: u64,
    /// The proxy has been told that one has failed since.
    has_failed: bool,
    /// What it has been told of all that have failed: whether it was IPv6, and the error.
    failures: Vec<(bool, Errno)>,
    /// The connection that the session relays to.
    pub winner: Option<usize>,
}

impl Attempts {
    /// An attempt of this family has failed.
    pub fn has_failed_in(&self, is_v6: bool) -> bool {
        self.failures.iter().any(|(other, _)| *other == is_v6)
    }

    /// Both families were tried.
    pub fn are_mixed(&self) -> bool {
        let is_v6 = |address: &IpAddr| address.is_ipv6();
        self.tried.iter().any(is_v6) && !self.tried.iter().all(is_v6)
    }

    /// No target has answered that it could be reached, or how not: all that failed found no
    /// network, or lacked something.
    pub fn know_no_network_only(&self) -> bool {
        let expected = [
            Errno::NETUNREACH,
            Errno::AFNOSUPPORT,
            Errno::NOBUFS,
            Errno::NOMEM,
            Errno::NFILE,
            Errno::MFILE,
        ];
        self.failures.iter().all(|(_, error)| expected.contains(error))
    }
}

impl Kernel {
    /// The connections made for a client, or taken by its BIND, that the proxy holds.
    fn targets(&self, place: usize) -> impl Iterator<Item = usize> + '_ {
        let is_target = move |conn: &usize| self.conns[*conn].role == Some(Role::Target(place));
        self.held.iter().copied().filter(is_target)
    }

    /// The proxy starts an attempt.
    pub fn note_attempt(&mut self, place: usize, address: IpAddr) {
        let in_flight = self.targets(place).count();
        let delay_ms = self.cast.durations.attempt_delay_ms;
        let (now, wanted) = (self.turn_at, self.wanted);
        let orders = self.orders(place);
        let attempts = &mut self.cast.clients[place].attempts;
        assert_eq!(attempts.winner, None, "client {place}: an attempt after one has won");
        assert!(in_flight < ATTEMPTS_MAX, "client {place}: too many attempts in flight");
        if let Some(last) = attempts.tried.last() {
            let is_due = now >= attempts.started_at + delay_ms || attempts.has_failed;
            assert!(is_due, "client {place}: an attempt starts too early");
            // One that could not be made for want of something is made again.
            let is_next = orders.iter().any(|all| {
                let after = all.iter().skip_while(|tried| *tried != last).skip(1);
                after.copied().any(|next| next == address)
            });
            assert!(is_next || wanted, "client {place}: {address} is tried out of order");
        }
        attempts.tried.push(address);
        (attempts.started_at, attempts.has_failed) = (now, false);
    }

    /// The proxy is told that an attempt has failed.
    pub fn note_attempt_failed(&mut self, place: usize, is_v6: bool, error: Errno) {
        let attempts = &mut self.cast.clients[place].attempts;
        attempts.has_failed = true;
        attempts.failures.push((is_v6, error));
    }

    /// The proxy asks which address a connection has, as it does once it relays to it.
    pub fn note_winner(&mut self, place: usize, conn: usize) {
        if self.client(place).attempts.winner.is_some() {
            return;
        }
        let told = |conn: usize| self.conns[conn].watch.connected_in.unwrap_or(u64::MAX);
        let is_first = self.targets(place).all(|other| told(other) >= told(conn));
        assert!(is_first, "client {place}: another attempt has connected before");
        self.cast.clients[place].attempts.winner = Some(conn);
    }

    /// After a turn: once an attempt has won, all others are closed.
    pub fn check_losers(&self, place: usize) {
        if let Some(winner) = self.client(place).attempts.winner {
            let has_loser = self.targets(place).any(|conn| conn != winner);
            assert!(!has_loser, "client {place}: a losing attempt is left open");
        }
    }

    /// Before the loop sleeps: the next attempt has started if it is due.
    pub fn check_next_attempt(&self, place: usize) {
        let client = self.client(place);
        let attempts = &client.attempts;
        let is_connecting = attempts.winner.is_none() && client.awaits_reply();
        if client.plan.command != CONNECT || !is_connecting || attempts.tried.is_empty() {
            return;
        }
        let Some(orders) = self.permitted(place) else { return };
        let mut orders = orders.iter().filter(|order| order.starts_with(&attempts.tried));
        let shortest = orders.clone().map(Vec::len).min();
        assert!(orders.next().is_some(), "client {place}: an address is left out");
        if shortest.is_some_and(|shortest| attempts.tried.len() < shortest) {
            assert!(!attempts.has_failed, "client {place}: a failure starts no attempt");
            let is_full = self.targets(place).count() == ATTEMPTS_MAX;
            let intervals = if is_full { REPLACE_INTERVALS } else { 1 };
            let due = attempts.started_at + intervals * self.cast.durations.attempt_delay_ms;
            assert!(self.now <= due + SLACK_MS, "client {place}: an attempt starts too late");
        }
    }

    /// The orders in which the addresses may be tried, if nothing but the rules and the name
    /// servers decides that.
    fn permitted(&self, place: usize) -> Option<Vec<Vec<IpAddr>>> {
        let client = self.client(place);
        if client.asked_ident || self.wanted || self.jumped.is_some() {
            return None;
        }
        let [Some(_)] = &self.truths(place)[..] else { return None };
        let is_allowed = |address: &IpAddr| self.allows(place, *address);
        let permitted = |order: Vec<IpAddr>| order.into_iter().filter(is_allowed).collect();
        Some(self.orders(place).into_iter().map(permitted).collect())
    }
}
