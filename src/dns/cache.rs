//! Recent answers, kept for their TTL.

use std::collections::BTreeMap;

use super::{Addresses, DnsError};
use crate::name::Name;

/// Most names kept.
pub const ENTRIES_MAX: usize = 256;
/// Longest that addresses are kept, whatever their TTL.
pub const TTL_S_MAX: u32 = 3600;
/// Longest that a negative answer is kept (RFC 2308 section 5 asks for a limit).
pub const NEGATIVE_TTL_S_MAX: u32 = 300;

/// The answer to a question.
pub type AddressResult = Result<Addresses, DnsError>;

/// The most recently used names.
#[derive(Debug, Default)]
pub struct Cache {
    entries: BTreeMap<Name, Entry>,
    /// The names by their last use, the least recent first.
    order: BTreeMap<u64, Name>,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    answer: AddressResult,
    until: u64,
    /// Its key in the order.
    used: u64,
}

impl Cache {
    pub fn get(&mut self, now: u64, name: &Name) -> Option<&AddressResult> {
        if self.entries.get(name)?.until <= now {
            self.remove(name);
            return None;
        }
        self.uses += 1;
        let entry = self.entries.get_mut(name)?;
        self.order.remove(&entry.used);
        entry.used = self.uses;
        self.order.insert(entry.used, name.clone());
        Some(&entry.answer)
    }

    /// Keeps an answer for its TTL, capped. Only answers of the DNS are kept, never failures to get
    /// one. A full cache drops the least recently used name: a client that asks for many names once
    /// does not displace those in use.
    pub fn insert(&mut self, now: u64, name: &Name, answer: &AddressResult, ttl_s: u32) {
        let most = match answer {
            Ok(_) => TTL_S_MAX,
            Err(DnsError::NotFound | DnsError::NoData) => NEGATIVE_TTL_S_MAX,
            Err(DnsError::ServerFailure | DnsError::Timeout) => 0,
        };
        let until = now + u64::from(ttl_s.min(most)) * 1000;
        if until == now {
            return;
        }
        self.remove(name);
        if self.entries.len() >= ENTRIES_MAX
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.entries.remove(&oldest);
        }
        self.uses += 1;
        self.order.insert(self.uses, name.clone());
        self.entries.insert(name.clone(), Entry { answer: answer.clone(), until, used: self.uses });
    }

    fn remove(&mut self, name: &Name) {
        if let Some(entry) = self.entries.remove(name) {
            self.order.remove(&entry.used);
        }
    }

    pub fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{Classified, classify};
    use std::net::Ipv4Addr;

    fn name(text: &str) -> Name {
        match classify(text.as_bytes()) {
            Ok(Classified::Name(name)) => name,
            other => panic!("{other:?}"),
        }
    }

    fn addresses() -> AddressResult {
        Ok([Ipv4Addr::new(192, 0, 2, 1)].as_slice().into())
    }

    #[test]
    fn entries_expire_after_their_ttl_or_the_cap() {
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
            let expected = (held_s > 0).then_some(&answer);
            assert_eq!(cache.get(end.max(1) - 1, &name("a")), expected, "{answer:?} {ttl_s}");
            assert_eq!(cache.get(end, &name("a")), None, "{answer:?} {ttl_s}");
        }
    }

    #[test]
    fn a_full_cache_drops_the_least_recently_used_name() {
        let mut cache = Cache::default();
        let nth = |index: usize| name(&format!("n{index}.x"));
        for index in 0..ENTRIES_MAX {
            // The first expires first.
            cache.insert(0, &nth(index), &addresses(), 100 + index as u32);
        }
        assert!(cache.get(0, &nth(0)).is_some(), "used again");
        cache.insert(0, &nth(1), &addresses(), 50);
        assert_eq!(cache.len(), ENTRIES_MAX, "replacing takes no room");
        cache.insert(0, &name("new"), &addresses(), 1000);
        assert_eq!((cache.len(), cache.order.len()), (ENTRIES_MAX, ENTRIES_MAX));
        let is_cached = |cache: &mut Cache, index| cache.get(0, &nth(index)).is_some();
        assert!(is_cached(&mut cache, 0) && is_cached(&mut cache, 1) && !is_cached(&mut cache, 2));
        assert!(cache.get(50_000, &nth(1)).is_none(), "expired");
        assert_eq!((cache.len(), cache.order.len()), (ENTRIES_MAX - 1, ENTRIES_MAX - 1));
        cache.insert(50_000, &name("newer"), &addresses(), 10);
        assert!(is_cached(&mut cache, 3), "there was room");
    }
}
