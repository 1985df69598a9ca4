//! What the resolver has done since the start, counted.

use minicbor::{Decode, Encode};

/// The counters of a [`Resolver`](super::Resolver).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Counters {
    /// Queries sent, retries included.
    #[cbor(n(0), default)]
    pub sent: u64,
    /// Queries that a server has answered: with addresses, or that there are none.
    #[cbor(n(1), default)]
    pub answered: u64,
    /// Queries that a server could not or would not answer, or that could not be sent.
    #[cbor(n(2), default)]
    pub failed: u64,
    /// Queries that no server has answered in time.
    #[cbor(n(3), default)]
    pub timed_out: u64,
    /// Questions answered by the cache.
    #[cbor(n(4), default)]
    pub cache_hits: u64,
    /// Questions that the cache has no answer to.
    #[cbor(n(5), default)]
    pub cache_misses: u64,
}
