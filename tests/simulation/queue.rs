//! What must hold for clients that wait to be taken in, and for sessions that wait for a name.

use crate::actors::{Client, Role};
use crate::addresses::are_one_source;
use crate::kernel::{Conn, DESCRIPTORS_MANY, Kernel};
use std::net::IpAddr;

/// A client that waits in the queue while it could be taken is taken within this time.
const ACCEPT_MS_MAX: u64 = 250;

impl Kernel {
    pub fn check_accepting(&mut self) {
        let may = self.clients_wait() && self.now >= self.want_until;
        self.acceptable(may);
    }

    /// Whether clients wait in the queue that could be taken. When descriptors are short, each is
    /// taken with one more for its target.
    pub fn clients_wait(&self) -> bool {
        let is_client = |conn: &&usize| matches!(self.conns[**conn].role, Some(Role::Client(_)));
        self.listeners.values().any(|l| l.client.is_none() && !l.queue.is_empty())
            && self.held.iter().filter(is_client).count() < self.cast.max_sessions
            && self.descriptors() + 1 < self.mood.descriptors
    }

    /// A listener has its turn: one client is taken at each other meanwhile, and no more, even
    /// where there is room for one only. What fails for want of something may take a turn as well.
    pub fn note_turn(&mut self, id: usize) {
        let is_rich = self.mood.want == 0 && self.mood.descriptors == DESCRIPTORS_MANY;
        if self.listeners[&id].client.is_some() || !is_rich {
            return;
        }
        let entrances = self.cast.entrances.len() as u32;
        for (&other, listener) in self.listeners.iter_mut().filter(|(_, l)| l.client.is_none()) {
            let waits = other != id && !listener.queue.is_empty() && !listener.edge;
            listener.passed_over = if waits { listener.passed_over + 1 } else { 0 };
            assert!(listener.passed_over < entrances, "{} starves", listener.address);
        }
    }

    /// Sessions that may wait for a name.
    pub fn askers(&self) -> usize {
        let asks = |client: &&Client| {
            let is_open = client.conn.is_some_and(|conn| self.held.contains(&conn));
            let is_asked = client.basis.is_some() && client.login.verdict.is_none();
            let is_name = |name: &str| name.parse::<IpAddr>().is_err();
            let has_name = client.plan.flaw.is_none() && client.plan.name.is_some_and(is_name);
            // With the first thing that is done for it the name is known.
            is_open && is_asked && has_name && client.acted_by.is_none()
        };
        self.cast.clients.iter().filter(asks).count()
    }

    /// A client is taken in.
    pub fn note_rivals(&mut self, place: usize) {
        let from = self.client(place).plan.from;
        let is_rival = |conn: &&usize| match self.conns[**conn].role {
            Some(Role::Client(other)) => {
                other != place && are_one_source(self.client(other).plan.from, from)
            }
            _ => false,
        };
        let rivals = self.held.iter().filter(is_rival).count() as u32;
        let client = &mut self.cast.clients[place];
        (client.rivals, client.accepted_at) = (rivals, self.turn_at);
    }

    /// The proxy resets a connection. A client that has no session is reset when its source has
    /// twice as many as it may have, or when there is not even room for a rejection.
    pub fn check_shed(&self, conn: usize) {
        let Conn { role, watch, .. } = &self.conns[conn];
        if let (Some(Role::Client(place)), None) = (*role, watch.token) {
            let rivals = self.client(place).rivals;
            let is_flood = self.cast.max_per_source.is_some_and(|most| rivals >= 2 * most);
            assert!(is_flood || self.wanted, "client {place} is reset, with {rivals} rivals");
        }
    }

    fn acceptable(&mut self, may: bool) {
        let now = self.now;
        let since = may.then(|| *self.checks.acceptable_since.get_or_insert(now));
        self.checks.acceptable_since = since;
        let most = if self.mood.want == 0 { ACCEPT_MS_MAX } else { 10 * ACCEPT_MS_MAX };
        let is_late = since.is_some_and(|since| now > since + most);
        assert!(!is_late || self.jumped.is_some(), "a client waits that could be taken");
    }
}
