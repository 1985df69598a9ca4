//! The latest refusals, for the status page: which client was refused what, and by which rule.

use crate::address::IpPort;
use crate::escape::SHOWN_BYTES_MAX;
use crate::reason::CloseReason;
use crate::session::Session;
use crate::time::Millis;
use crate::wire::{Command, Host};
use std::collections::VecDeque;
use std::net::IpAddr;

/// How many are kept.
pub const REFUSALS_MAX: usize = 100;

/// A session whose client was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// When the session ended, by the clock of the loop.
    pub at: Millis,
    /// The client's address.
    pub client: IpPort,
    /// USERID, or the user of SOCKS5, as it came from the network: to be escaped. Cut one byte
    /// beyond what [`Escaped`](crate::escape::Escaped) shows.
    pub user: Box<[u8]>,
    /// CONNECT or BIND, if the request was read.
    pub command: Option<Command>,
    /// The requested host, if the request was read.
    pub host: Option<RefusedHost>,
    /// The requested port.
    pub port: u16,
    /// Line of the rule that decided, if one did.
    pub rule: Option<u32>,
    /// Why it was refused.
    pub reason: CloseReason,
}

/// The host that a refused client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusedHost {
    /// An address.
    Address(IpAddr),
    /// A name as it came from the network: to be escaped. Cut as the user is.
    Name(Box<[u8]>),
}

/// The latest refusals; nothing is kept, and no memory used, until [`Refusals::keep`].
#[derive(Debug, Default)]
pub struct Refusals {
    is_kept: bool,
    latest: VecDeque<Refusal>,
}

impl Refusals {
    /// Keeps those that come from now on.
    pub fn keep(&mut self) {
        self.is_kept = true;
    }

    /// The latest, the oldest first.
    pub fn latest(&self) -> &VecDeque<Refusal> {
        &self.latest
    }

    /// A session has ended for `reason`, and is kept if that is a refusal.
    pub fn record(&mut self, session: &Session, reason: CloseReason, now: Millis) {
        if !self.is_kept || !reason.is_refusal() {
            return;
        }
        if self.latest.len() == REFUSALS_MAX {
            self.latest.pop_front();
        }
        let request = session.request();
        let host = request.host().map(|host| match host {
            Host::Address(address) => RefusedHost::Address(address),
            Host::Name(name) => RefusedHost::Name(cut(name)),
        });
        self.latest.push_back(Refusal {
            at: now,
            client: session.client,
            user: cut(request.user()),
            command: request.command,
            host,
            port: request.port,
            rule: session.rule(),
            reason,
        });
    }
}

/// As much of a text from the network as is ever shown, and one byte that shows that it was cut.
fn cut(bytes: &[u8]) -> Box<[u8]> {
    bytes[..bytes.len().min(SHOWN_BYTES_MAX + 1)].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(refusals: &mut Refusals, id: u64, reason: CloseReason) {
        let client = IpPort::new([192, 0, 2, 1], id as u16);
        refusals.record(&Session::new(id, client, 5), reason, 10);
    }

    #[test]
    fn nothing_is_kept_unless_asked_for() {
        let mut refusals = Refusals::default();
        refused(&mut refusals, 1, CloseReason::Denied);
        assert!(refusals.latest().is_empty() && refusals.latest.capacity() == 0);
    }

    #[test]
    fn the_latest_hundred_refusals_are_kept_and_other_ends_are_not() {
        let mut refusals = Refusals::default();
        refusals.keep();
        for id in 0..=REFUSALS_MAX as u64 {
            refused(&mut refusals, id, CloseReason::Denied);
            refused(&mut refusals, id, CloseReason::Done);
        }
        let ports: Vec<u16> = refusals.latest().iter().map(|one| one.client.port).collect();
        assert_eq!(ports, (1..=100).collect::<Vec<u16>>());
        assert_eq!(refusals.latest()[0].reason, CloseReason::Denied);
    }

    #[test]
    fn a_long_text_is_cut_to_one_byte_more_than_is_shown() {
        assert_eq!(cut(&[b'u'; 512]).len(), SHOWN_BYTES_MAX + 1);
        assert_eq!(*cut(b"bob"), *b"bob");
    }
}
