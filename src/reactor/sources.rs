//! The number of sessions of each client address, if that is limited.

use crate::address::source_of;
use std::collections::HashMap;
use std::net::IpAddr;

/// The decision about a new client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is served.
    Serve,
    /// Its address has reached the limit: it is rejected.
    Reject,
    /// As many rejections as sessions are pending already: it is reset.
    Shed,
}

/// The sessions of each client address; empty without a limit.
pub struct Sources {
    limit: Option<u32>,
    sessions: HashMap<IpAddr, u32>,
}

impl Sources {
    /// A count with at most `limit` sessions per address.
    pub fn new(limit: Option<u32>) -> Sources {
        Sources { limit, sessions: HashMap::new() }
    }

    /// The decision about a new client at this address.
    pub fn admission(&self, client: IpAddr) -> Admission {
        let Some(limit) = self.limit else { return Admission::Serve };
        match self.sessions.get(&source_of(client)).copied().unwrap_or(0) {
            sessions if sessions >= limit.saturating_mul(2) => Admission::Shed,
            sessions if sessions >= limit => Admission::Reject,
            _ => Admission::Serve,
        }
    }

    /// A session of this address has started.
    pub fn add(&mut self, client: IpAddr) {
        if self.limit.is_some() {
            *self.sessions.entry(source_of(client)).or_insert(0) += 1;
        }
    }

    /// A session of this address has ended.
    pub fn remove(&mut self, client: IpAddr) {
        let source = source_of(client);
        if let Some(sessions) = self.sessions.get_mut(&source) {
            *sessions -= 1;
            if *sessions == 0 {
                self.sessions.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_at_its_limit_is_rejected_and_at_twice_the_limit_reset() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        rejects_and_resets(address("10.0.0.1"), address("10.0.0.1"), address("10.0.0.2"));
        // One host may use all addresses of its network.
        let (one, same, other) = ("2001:db8::1", "2001:db8::2:1", "2001:db8:0:1::1");
        rejects_and_resets(address(one), address(same), address(other));
    }

    fn rejects_and_resets(one: IpAddr, same: IpAddr, other: IpAddr) {
        let mut sources = Sources::new(Some(1));
        assert_eq!(sources.admission(one), Admission::Serve);
        sources.add(one);
        assert_eq!(sources.admission(one), Admission::Reject);
        sources.add(same);
        assert_eq!(sources.admission(one), Admission::Shed);
        assert_eq!(sources.admission(other), Admission::Serve);
        sources.remove(one);
        sources.remove(one);
        assert!(sources.sessions.is_empty());
        assert_eq!(sources.admission(one), Admission::Serve);
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let mut sources = Sources::new(None);
        let client = IpAddr::from([127, 0, 0, 1]);
        sources.add(client);
        assert!(sources.sessions.is_empty());
        sources.remove(client);
    }
}
