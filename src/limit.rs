//! The limits that load can reach: the word of each for log, counters and documents, and when
//! reaching one is news.

use crate::cbor::{decode_counters, encode_counters};
use crate::time::Millis;
use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};
use std::fmt;

/// Declares the limits once: the variant, the word that users see, and its meaning.
macro_rules! limits {
    ($($(#[doc = $doc:literal])* $name:ident = $word:literal,)*) => {
        /// A limit that load can reach.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Limit {
            $($(#[doc = $doc])* $name,)*
        }

        impl Limit {
            /// Every limit, in the order of their counters.
            pub const ALL: &'static [Limit] = &[$(Limit::$name,)*];

            /// The word in log, counters and documents.
            pub fn word(self) -> &'static str {
                match self { $(Limit::$name => $word,)* }
            }
        }
    };
}

limits! {
    /// All sessions (`--max-sessions`): further clients wait. Counted each time the last one is
    /// taken.
    Sessions = "sessions",
    /// Sessions of one client address (`--max-per-source`). Counted for each client that is rejected
    /// or reset.
    PerSource = "per-source",
    /// Bytes lent as relay buffers. Counted for each small buffer lent in place of a large one.
    Buffers = "buffers",
    /// Pipes lent to sustained flows. Counted for each full read that is copied for want of one.
    Pipes = "pipes",
    /// Ports of `--bind-ports`. Counted for each BIND that finds none.
    BindPorts = "bind-ports",
    /// Attempts to connect beside the first of each session. Counted for each that is put off.
    Attempts = "attempts",
    /// Queries to name servers in flight. Counted for each name that is asked for while others wait.
    Queries = "queries",
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A limit that has not been reached for so long is news when it is reached again.
pub const EPISODE_MS: Millis = 60_000;

/// When each limit was last seen reached, so that one that stays reached, or is reached again and
/// again, is one episode with one warning.
#[derive(Clone, Debug, Default)]
pub struct Episodes {
    last: [Option<Millis>; Limit::ALL.len()],
}

impl Episodes {
    /// A limit is reached now, or has been until now. Returns whether this begins an episode.
    pub fn note(&mut self, limit: Limit, now: Millis) -> bool {
        let last = self.last[limit as usize].replace(now);
        last.is_none_or(|last| last.saturating_add(EPISODE_MS) <= now)
    }

    /// When the episode of a limit ends unless it is reached again; `None` if there is none now.
    pub fn until(&self, limit: Limit, now: Millis) -> Option<Millis> {
        let until = self.last[limit as usize]?.saturating_add(EPISODE_MS);
        Some(until).filter(|&until| now < until)
    }
}

/// As a map by word of the times, so that the list of limits may change.
impl<C> Encode<C> for Episodes {
    fn encode<W: Write>(
        &self,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        let times = self.last.map(Option::unwrap_or_default);
        encode_counters(Limit::ALL.iter().map(|limit| limit.word()), &times, encoder)
    }
}

impl<'b, C> Decode<'b, C> for Episodes {
    fn decode(decoder: &mut Decoder<'b>, _: &mut C) -> Result<Episodes, decode::Error> {
        let times: [Millis; Limit::ALL.len()] =
            decode_counters(Limit::ALL.iter().map(|limit| limit.word()), decoder)?;
        Ok(Episodes { last: times.map(|time| Some(time).filter(|&time| time > 0)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_reached_again_and_again_is_one_episode_until_it_was_free_for_a_minute() {
        let mut episodes = Episodes::default();
        assert!(episodes.note(Limit::Pipes, 0));
        for now in (0..10 * EPISODE_MS).step_by(EPISODE_MS as usize - 1) {
            assert!(!episodes.note(Limit::Pipes, now), "{now}");
        }
        assert_eq!(episodes.until(Limit::Sessions, 5), None);
        assert!(episodes.note(Limit::Sessions, 5), "each limit has its own");
        assert_eq!(episodes.until(Limit::Sessions, 6), Some(5 + EPISODE_MS));
        assert_eq!(episodes.until(Limit::Sessions, 5 + EPISODE_MS), None);
        assert!(!episodes.note(Limit::Sessions, 4 + EPISODE_MS));
        assert!(episodes.note(Limit::Sessions, 4 + 2 * EPISODE_MS));
    }

    #[test]
    fn words_are_distinct_and_counters_follow_the_order() {
        for (index, &limit) in Limit::ALL.iter().enumerate() {
            assert_eq!(limit as usize, index);
            assert_eq!(Limit::ALL.iter().filter(|other| other.word() == limit.word()).count(), 1);
        }
    }
}
