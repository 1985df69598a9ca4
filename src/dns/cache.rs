//! What was answered lately, and for how long it holds.

use std::collections::BTreeMap;

use super::{Addresses, DnsError};
use crate::name::Name;

/// Most names remembered.
pub const ENTRIES_MAX: usize = 256;
/// Longest that addresses are remembered, whatever their TTL.
pub const TTL_S_MAX: u32 = 3600;
/// Longest that the lack of addresses is remembered (RFC 2308 section 5 asks for a limit).
pub const NEGATIVE_TTL_S_MAX: u32 = 300;

/// What a question led to.
pub type Answer = Result<Addresses, DnsError>;

#[derive(Debug, Default)]
pub struct Cache {
    entries: BTreeMap<Name, Entry>,
}

#[derive(Debug)]
struct Entry {
    answer: Answer,
    until: u64,
}

impl Cache {
    pub fn get(&self, now: u64, name: &Name) -> Option<&Answer> {
        self.entries.get(name).filter(|entry| now < entry.until).map(|entry| &entry.answer)
    }

    /// Remembers an answer for its TTL, capped. Only what the DNS said is remembered, never
    /// that it could not be asked.
    pub fn insert(&mut self, now: u64, name: &Name, answer: &Answer, ttl_s: u32) {
        let most = match answer {
            Ok(_) => TTL_S_MAX,
            Err(DnsError::NotFound | DnsError::NoData) => NEGATIVE_TTL_S_MAX,
            Err(DnsError::ServerFailure | DnsError::Timeout) => 0,
        };
        let until = now + u64::from(ttl_s.min(most)) * 1000;
        if until == now {
            return;
        }
        if self.entries.len() >= ENTRIES_MAX && !self.entries.contains_key(name) {
            self.make_room(now);
        }
        self.entries.insert(name.clone(), Entry { answer: answer.clone(), until });
    }

    /// Drops what has expired, or else what would be first to.
    fn make_room(&mut self, now: u64) {
        self.entries.retain(|_, entry| now < entry.until);
        if self.entries.len() >= ENTRIES_MAX {
            let first = self.entries.iter().min_by_key(|(_, entry)| entry.until);
            if let Some(name) = first.map(|(name, _)| name.clone()) {
                self.entries.remove(&name);
            }
        }
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{Target, classify};
    use std::net::Ipv4Addr;

    fn name(text: &str) -> Name {
        match classify(text.as_bytes()) {
            Ok(Target::Name(name)) => name,
            other => panic!("{other:?}"),
        }
    }

    fn addresses() -> Answer {
        Ok([Ipv4Addr::new(192, 0, 2, 1)].as_slice().into())
    }

    #[test]
    fn entries_hold_for_their_ttl_and_no_longer_than_the_cap() {
        for (answer, ttl_s, held_s) in [
            (addresses(), 0, 0),
            (addresses(), 1, 1),
            (addresses(), 3600, 3600),
            (addresses(), u32::MAX, 3600),
            (Err(DnsError::NotFound), 60, 60),
            (Err(DnsError::NotFound), 86400, 300),
            (Err(DnsError::NoData), 86400, 300),
            (Err(DnsError::ServerFailure), 60, 0),
            (Err(DnsError::Timeout), 60, 0),
        ] {
            let mut cache = Cache::default();
            cache.insert(5, &name("a"), &answer, ttl_s);
            let end = 5 + held_s * 1000;
            let (before, at) = (cache.get(end.max(1) - 1, &name("a")), cache.get(end, &name("a")));
            let expected = (held_s > 0).then_some(&answer);
            assert_eq!((before, at), (expected, None), "{answer:?} {ttl_s}");
        }
    }

    #[test]
    fn a_full_cache_gives_up_what_has_expired_or_will_first() {
        let mut cache = Cache::default();
        for index in 0..ENTRIES_MAX {
            cache.insert(0, &name(&format!("n{index}.x")), &addresses(), 100 + index as u32);
        }
        cache.insert(0, &name("new"), &addresses(), 1000);
        assert_eq!(cache.len(), ENTRIES_MAX);
        assert!(cache.get(0, &name("n0.x")).is_none() && cache.get(0, &name("n1.x")).is_some());
        cache.insert(0, &name("new"), &addresses(), 2000);
        assert_eq!(cache.len(), ENTRIES_MAX, "replacing takes no room");
        cache.insert(200_000, &name("newer"), &addresses(), 10);
        assert!(cache.len() < ENTRIES_MAX, "the expired went");
        assert!(cache.get(200_000, &name("new")).is_some());
    }
}
