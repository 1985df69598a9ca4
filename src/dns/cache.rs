//! Recent answers, kept for their TTL.

use std::collections::HashMap;

use super::family::QuestionKey;
use super::ordered::Ordered;
use super::{Addresses, DnsError};

/// Most answers kept: those of both families for 256 names.
pub const ENTRIES_MAX: usize = 512;
/// Longest that addresses are kept, whatever their TTL.
pub const TTL_S_MAX: u32 = 3600;
/// Longest that a negative answer is kept (RFC 2308 section 5 asks for a limit).
pub const NEGATIVE_TTL_S_MAX: u32 = 300;
/// How long a family without an answer to keep is not asked again, where the name has addresses of
/// the other: a server that never answers AAAA delays one session, not all of them.
pub const MISSING_FAMILY_TTL_S: u32 = 10;

/// The answer to a question, or to both about a name.
pub type AddressResult = Result<Addresses, DnsError>;

/// The most recently used answers.
#[derive(Debug, Default)]
pub struct Cache {
    entries: HashMap<QuestionKey, Entry>,
    /// The questions by their last use, the least recent first.
    order: Ordered<QuestionKey>,
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
    pub fn get(&mut self, now: u64, key: &QuestionKey) -> Option<AddressResult> {
        if self.entries.get(key)?.until <= now {
            self.remove(key);
            return None;
        }
        self.uses += 1;
        let entry = self.entries.get_mut(key)?;
        self.order.remove(entry.used);
        entry.used = self.uses;
        self.order.insert(entry.used, key.clone());
        Some(entry.answer.clone())
    }

    /// Keeps an answer for its TTL, capped. A failure to get one is kept only next to addresses of
    /// the other family. A full cache drops the least recently used answer: a client that asks for
    /// many names once does not displace those in use.
    pub fn insert(&mut self, now: u64, key: &QuestionKey, answer: &AddressResult, ttl_s: u32) {
        let most = match answer {
            Ok(_) => TTL_S_MAX,
            Err(DnsError::NotFound | DnsError::NoData) => NEGATIVE_TTL_S_MAX,
            Err(DnsError::ServerFailure | DnsError::Timeout) => MISSING_FAMILY_TTL_S,
        };
        let until = now + u64::from(ttl_s.min(most)) * 1000;
        if until == now {
            return;
        }
        self.remove(key);
        if self.entries.len() >= ENTRIES_MAX
            && let Some(oldest) = self.order.pop_first()
        {
            self.entries.remove(&oldest);
        }
        self.uses += 1;
        self.order.insert(self.uses, key.clone());
        self.entries.insert(key.clone(), Entry { answer: answer.clone(), until, used: self.uses });
    }

    fn remove(&mut self, key: &QuestionKey) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(entry.used);
        }
    }

    pub fn clear(&mut self) {
        self.entries.clear();
        self.order = Ordered::default();
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::family::Family;
    use super::super::server::{addresses_at, name};
    use super::*;

    fn key(text: &str) -> QuestionKey {
        QuestionKey::new(&name(text), Family::V4)
    }

    fn addresses() -> AddressResult {
        Ok(addresses_at(&["192.0.2.1"]))
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
            (Err(DnsError::ServerFailure), 60, 10),
            (Err(DnsError::Timeout), 60, 10),
        ] {
            let mut cache = Cache::default();
            cache.insert(5, &key("a"), &answer, ttl_s);
            let end = 5 + held_s * 1000;
            let expected = (held_s > 0).then_some(answer.clone());
            assert_eq!(cache.get(end.max(1) - 1, &key("a")), expected, "{answer:?} {ttl_s}");
            assert_eq!(cache.get(end, &key("a")), None, "{answer:?} {ttl_s}");
        }
    }

    #[test]
    fn the_families_of_a_name_are_kept_apart() {
        let mut cache = Cache::default();
        cache.insert(0, &key("a"), &addresses(), 60);
        cache.insert(0, &key("a").other(), &Err(DnsError::NoData), 30);
        assert_eq!(cache.get(29_999, &key("a").other()), Some(Err(DnsError::NoData)));
        assert_eq!(cache.get(30_000, &key("a").other()), None);
        assert_eq!(cache.get(30_000, &key("a")), Some(addresses()));
    }

    #[test]
    fn a_full_cache_drops_the_least_recently_used_answer() {
        let mut cache = Cache::default();
        let nth = |index: usize| key(&format!("n{index}.x"));
        for index in 0..ENTRIES_MAX {
            // The first expires first.
            cache.insert(0, &nth(index), &addresses(), 100 + index as u32);
        }
        assert!(cache.get(0, &nth(0)).is_some(), "used again");
        cache.insert(0, &nth(1), &addresses(), 50);
        assert_eq!(cache.len(), ENTRIES_MAX, "replacing takes no room");
        cache.insert(0, &key("new"), &addresses(), 1000);
        assert_eq!((cache.len(), cache.order.len()), (ENTRIES_MAX, ENTRIES_MAX));
        let is_cached = |cache: &mut Cache, index| cache.get(0, &nth(index)).is_some();
        assert!(is_cached(&mut cache, 0) && is_cached(&mut cache, 1) && !is_cached(&mut cache, 2));
        assert!(cache.get(50_000, &nth(1)).is_none(), "expired");
        assert_eq!((cache.len(), cache.order.len()), (ENTRIES_MAX - 1, ENTRIES_MAX - 1));
        cache.insert(50_000, &key("newer"), &addresses(), 10);
        assert!(is_cached(&mut cache, 3), "there was room");
    }
}
