//! Counters: one per close reason, and a few more.

use crate::reason::CloseReason;
use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};

/// The counters since the start.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Stats {
    /// Sessions opened.
    #[n(0)]
    pub opened: u64,
    /// Sessions closed, by reason.
    #[cbor(n(1), with = "self::closed")]
    closed: [u64; CloseReason::ALL.len()],
    /// Bytes relayed from clients to targets.
    #[n(2)]
    pub up_bytes: u64,
    /// Bytes relayed from targets to clients.
    #[n(3)]
    pub down_bytes: u64,
    /// Connections reset without a session, because their source was at twice its limit.
    #[cbor(n(4), default)]
    pub shed: u64,
}

impl Default for Stats {
    fn default() -> Stats {
        Stats {
            opened: 0,
            closed: [0; CloseReason::ALL.len()],
            up_bytes: 0,
            down_bytes: 0,
            shed: 0,
        }
    }
}

impl Stats {
    /// Counts one closed session.
    pub fn count_closed(&mut self, reason: CloseReason, up_bytes: u64, down_bytes: u64) {
        self.closed[reason as usize] += 1;
        self.up_bytes += up_bytes;
        self.down_bytes += down_bytes;
    }

    /// Sessions closed for `reason`.
    pub fn closed(&self, reason: CloseReason) -> u64 {
        self.closed[reason as usize]
    }

    /// Sessions closed for any reason.
    pub fn closed_total(&self) -> u64 {
        self.closed.iter().sum()
    }
}

/// The counters of reasons, as a map by word of those that are not 0.
mod closed {
    use super::*;

    type Counters = [u64; CloseReason::ALL.len()];

    pub fn encode<C, W: Write>(
        counters: &Counters,
        encoder: &mut Encoder<W>,
        cx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        let counted = CloseReason::ALL.iter().filter(|&&reason| counters[reason as usize] > 0);
        encoder.map(counted.clone().count() as u64)?;
        for reason in counted {
            encoder.encode_with(reason, cx)?.u64(counters[*reason as usize])?;
        }
        Ok(())
    }

    pub fn decode<C>(decoder: &mut Decoder<'_>, cx: &mut C) -> Result<Counters, decode::Error> {
        let mut counters = [0; CloseReason::ALL.len()];
        for entry in decoder.map_iter_with::<C, CloseReason, u64>(cx)? {
            let (reason, count) = entry?;
            counters[reason as usize] = count;
        }
        Ok(counters)
    }
}
