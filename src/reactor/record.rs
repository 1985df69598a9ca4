//! The loop as an upgrade hands it over: taken from one reactor, and given to a new one.

use super::{Reactor, enqueue};
use crate::connection::Connection;
use crate::dns::Resolver;
use crate::handover::{Handover, HandoverError};
use crate::net::{GivenList, HandOver, LentList};
use crate::rules::RuleSet;
use crate::settings::Settings;
use crate::users::Users;

/// All that is handed over: the record, and the descriptors that it names by their index.
pub struct Export<'a, N: HandOver + 'a> {
    /// The record, for [`Handover::encode`]; it borrows the bytes in transit.
    pub handover: Handover<'a>,
    /// The descriptors, in the order of their indices.
    pub descriptors: Vec<N::Lent<'a>>,
}

impl<N: HandOver> Reactor<N> {
    /// What is to be handed over, between two turns. Nothing changes: when the upgrade fails, this
    /// loop goes on. What follows anew from state and time is not handed over: deadlines, the
    /// resolver's questions, questions to identds, spare buffers and pipes.
    pub fn export(&self) -> Export<'_, N> {
        let mut lent = LentList::new(&self.cx.net);
        let mut handover = Handover {
            origin_ns: self.cx.net.origin_ns(),
            now: self.cx.now,
            stats: self.stats.clone(),
            shortage_at: self.cx.shortage.at(),
            logins: self.cx.logins.clone(),
            dns: self.cx.dns.state().counters(),
            ident_queries: self.cx.ident_queries,
            limits: self.limits.episodes().clone(),
            ..Handover::default()
        };
        self.cx.listeners.export(&mut handover, &mut lent);
        let connections = self.connections.iter().map(|(_, one)| one.export(&mut lent));
        handover.connections = connections.collect();
        Export { handover, descriptors: lent.into_vec() }
    }

    /// A loop that goes on with what another has handed over. `net` has the clock of the record,
    /// and `given` are its descriptors. A session whose sockets cannot be taken over for want of
    /// memory ends by itself.
    ///
    /// # Errors
    ///
    /// Descriptors are missing, the clock has gone back, or a listener for clients cannot be
    /// registered.
    pub fn import(
        net: N,
        settings: Settings,
        rules: RuleSet,
        resolver: Resolver,
        users: Option<Users>,
        mut handover: Handover<'_>,
        given: Vec<N::Given>,
    ) -> Result<Reactor<N>, HandoverError> {
        let mut given = GivenList::new(given);
        handover.check(given.count())?;
        let mut reactor = Reactor::new(net, settings, rules, resolver);
        if reactor.cx.now < handover.now {
            return Err(HandoverError::LaterThanNow);
        }
        reactor.cx.users = users;
        reactor.cx.logins = std::mem::take(&mut handover.logins);
        reactor.stats = handover.stats.clone();
        reactor.resolver().set_counters(handover.dns);
        reactor.cx.ident_queries = handover.ident_queries;
        reactor.limits.resume(std::mem::take(&mut handover.limits));
        let adopted = reactor.cx.listeners.import(&handover, &mut given, &mut reactor.cx.net);
        adopted.map_err(|error| HandoverError::Listener { error: error.to_string() })?;
        let connections = std::mem::take(&mut handover.connections);
        reactor.cx.shortage.restore(connections.len(), handover.shortage_at);
        for record in connections {
            let slot = reactor.connections.vacant_key();
            let connection = Connection::import(record, slot, &mut given, &mut reactor.cx);
            if reactor.is_counted(connection.session()) {
                reactor.sources.add(connection.session().client.ip);
            }
            reactor.stats.count_resumed(connection.standing());
            reactor.connections.insert(connection);
        }
        reactor.resume();
        Ok(reactor)
    }

    /// Arms the deadlines, begins again what was not handed over, and lets each connection run in
    /// the first turn.
    fn resume(&mut self) {
        let slots: Vec<usize> = self.connections.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            if self.connections[slot].session().state().closed().is_some() {
                self.closed.push(slot as u32);
                continue;
            }
            self.with(slot, Connection::resume);
            enqueue(&mut self.ready, &mut self.connections[slot], slot);
        }
    }
}
