//! What connections share, as an upgrade hands it over.

use super::listeners::{Listener, Listeners};
use crate::handover::{EntranceRecord, Handover};
use crate::net::{GivenList, HandOver, LentList};
use crate::token::Token;
use std::io;

impl<N: HandOver> Listeners<N> {
    /// Adds them to a record, and their descriptors to those that are lent.
    pub fn export<'a>(&'a self, into: &mut Handover<'_>, lent: &mut LentList<'a, N>) {
        let record = |listener: &'a Listener<N::Listener>| EntranceRecord {
            descriptor: lent.listener(&listener.socket),
            address: listener.address,
            is_ready: listener.ready,
        };
        into.listeners = self.listeners.iter().map(record).collect();
        into.next_listener = self.next;
        (into.accept_retry_at, into.accept_logged_at) = (self.retry_at, self.logged_at);
        into.accept_failures = self.failures;
    }

    /// Takes over those of a record.
    pub fn import(
        &mut self,
        record: &Handover<'_>,
        given: &mut GivenList<N>,
        net: &mut N,
    ) -> io::Result<()> {
        for (number, entrance) in record.listeners.iter().enumerate() {
            let token = Token::Listener(number).number();
            let socket = net.adopt_listener(given.take(entrance.descriptor), token)?;
            let (address, ready) = (entrance.address, entrance.is_ready);
            self.listeners.push(Listener { socket, address, ready });
        }
        self.next = record.next_listener.min(self.listeners.len().saturating_sub(1));
        (self.retry_at, self.logged_at) = (record.accept_retry_at, record.accept_logged_at);
        self.failures = record.accept_failures;
        Ok(())
    }
}
