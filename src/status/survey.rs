//! What the open sessions add up to, found by walking over them once.

use super::top::Top;
use super::view::SessionView;
use crate::address::source_of;
use crate::wire::Host;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

/// Most sessions that are listed one by one.
pub const LISTED_MAX: usize = 100;
/// Of these, the oldest ones.
const OLDEST: usize = 40;
/// Of these, the newest ones.
const NEWEST: usize = 20;
/// Most sources, and most targets, of each order.
pub const TOP_MAX: usize = 10;

/// A host and a port that clients asked for.
pub type Target<'a> = (Host<'a>, u16);

/// The open sessions, summed up.
pub struct Survey<'a> {
    /// All of them, or some that matter: the oldest, those with the most bytes, the newest. The
    /// oldest first.
    pub listed: Vec<SessionView<'a>>,
    /// Clients by what limits count by: the address, or the network of 64 bits of IPv6.
    pub sources: Groups<IpAddr>,
    /// What the clients asked for.
    pub targets: Groups<Target<'a>>,
}

/// The sessions that have something in common, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many there are.
    pub sessions: u64,
    /// Bytes delivered to targets.
    pub up: u64,
    /// Bytes delivered to clients.
    pub down: u64,
}

impl Sum {
    fn add(&mut self, one: &SessionView<'_>) {
        self.sessions += 1;
        self.up += one.up;
        self.down += one.down;
    }

    /// Bytes in both directions.
    fn bytes(&self) -> u64 {
        self.up.saturating_add(self.down)
    }
}

/// Sessions in groups, by the name that those of a group have in common.
pub struct Groups<K> {
    /// How many groups there are.
    pub count: usize,
    /// Those with the most sessions, the greatest first.
    pub by_sessions: Vec<(K, Sum)>,
    /// Those with the most bytes, the greatest first.
    pub by_bytes: Vec<(K, Sum)>,
}

impl<K: Copy + Ord> Groups<K> {
    fn new(sums: HashMap<K, Sum>) -> Groups<K> {
        let (mut by_sessions, mut by_bytes) = (Top::new(TOP_MAX), Top::new(TOP_MAX));
        for (&name, &sum) in &sums {
            // The name comes last, so that equal groups do not change places from time to time.
            by_sessions.offer((sum.sessions, sum.bytes(), Reverse(name)), (name, sum));
            by_bytes.offer((sum.bytes(), sum.sessions, Reverse(name)), (name, sum));
        }
        Groups {
            count: sums.len(),
            by_sessions: by_sessions.into_sorted().collect(),
            by_bytes: by_bytes.into_sorted().collect(),
        }
    }
}

impl<'a> Survey<'a> {
    /// Walks over the sessions.
    pub fn of(sessions: impl Iterator<Item = SessionView<'a>>) -> Survey<'a> {
        let (mut sources, mut targets) = (HashMap::new(), HashMap::new());
        let mut listing = Listing::new();
        for one in sessions {
            let request = one.session.request();
            add_to(&mut sources, source_of(one.session.client.ip), &one);
            if let Some(host) = request.host() {
                add_to(&mut targets, (host, request.port), &one);
            }
            listing.offer(one);
        }
        Survey {
            listed: listing.finish(),
            sources: Groups::new(sources),
            targets: Groups::new(targets),
        }
    }
}

fn add_to<K: Eq + Hash>(sums: &mut HashMap<K, Sum>, name: K, one: &SessionView<'_>) {
    sums.entry(name).or_default().add(one);
}

/// The sessions that are listed one by one. Their numbers grow with time, so the lowest are the
/// oldest.
struct Listing<'a> {
    oldest: Top<Reverse<u64>, SessionView<'a>>,
    newest: Top<u64, SessionView<'a>>,
    largest: Top<(u64, Reverse<u64>), SessionView<'a>>,
}

impl<'a> Listing<'a> {
    fn new() -> Listing<'a> {
        Listing {
            oldest: Top::new(OLDEST),
            newest: Top::new(NEWEST),
            // As many as are listed: if there are no more, these are all, and otherwise they fill
            // the places of those that are among the oldest or the newest as well.
            largest: Top::new(LISTED_MAX),
        }
    }

    fn offer(&mut self, one: SessionView<'a>) {
        let id = one.session.id;
        self.oldest.offer(Reverse(id), one);
        self.newest.offer(id, one);
        self.largest.offer((one.up.saturating_add(one.down), Reverse(id)), one);
    }

    fn finish(self) -> Vec<SessionView<'a>> {
        let mut listed: Vec<SessionView<'a>> = self.oldest.into_sorted().collect();
        for one in self.newest.into_sorted().chain(self.largest.into_sorted()) {
            let is_new = listed.iter().all(|other| other.session.id != one.session.id);
            if is_new && listed.len() < LISTED_MAX {
                listed.push(one);
            }
        }
        listed.sort_unstable_by_key(|one| one.session.id);
        listed
    }
}
