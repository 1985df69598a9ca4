//! What the resolver has done since the start, counted.

/// The counters of a [`Resolver`](super::Resolver).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Queries sent, retries included.
    pub sent: u64,
    /// Queries that a server has answered: with addresses, or that there are none.
    pub answered: u64,
    /// Queries that a server could not or would not answer, or that could not be sent.
    pub failed: u64,
    /// Queries that no server has answered in time.
    pub timed_out: u64,
    /// Questions answered by the cache.
    pub cache_hits: u64,
    /// Questions that the cache has no answer to.
    pub cache_misses: u64,
}
