//! What must hold for clients that wait to be taken in, and for sessions that wait for a name.

use crate::actors::{Client, Role};
use crate::kernel::{DESCRIPTORS_MANY, Kernel};

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

    /// A listener has its turn: one client is taken elsewhere meanwhile, and no more, even where
    /// there is room for one only. What fails for want of something may take its turn as well.
    pub fn note_turn(&mut self, id: usize) {
        let is_rich = self.mood.want == 0 && self.mood.descriptors == DESCRIPTORS_MANY;
        if self.listeners[&id].client.is_some() || !is_rich {
            return;
        }
        for (&other, listener) in self.listeners.iter_mut().filter(|(_, l)| l.client.is_none()) {
            let waits = other != id && !listener.queue.is_empty() && !listener.edge;
            listener.passed_over = if waits { listener.passed_over + 1 } else { 0 };
            assert!(listener.passed_over <= 1, "{} starves", listener.address);
        }
    }

    /// Sessions that may wait for a name.
    pub fn askers(&self) -> usize {
        let asks = |client: &&Client| {
            let open = client.conn.is_some_and(|conn| self.held.contains(&conn));
            open && client.plan.name.is_some() && client.replies.is_empty()
        };
        self.cast.clients.iter().filter(asks).count()
    }

    /// A client is taken in.
    pub fn note_rivals(&mut self, place: usize) {
        let from = self.client(place).plan.from;
        let is_rival = |conn: &&usize| match self.conns[**conn].role {
            Some(Role::Client(other)) => other != place && self.client(other).plan.from == from,
            _ => false,
        };
        self.cast.clients[place].rivals = self.held.iter().filter(is_rival).count() as u32;
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
