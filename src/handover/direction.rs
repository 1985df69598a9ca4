//! One direction of a relay, with the bytes in transit.

use crate::cbor::is_unset;
use minicbor::bytes::ByteSlice;
use minicbor::{Decode, Encode};

/// One direction of a relay.
#[derive(Debug, Default, Encode, Decode)]
#[cbor(map)]
pub struct DirectionRecord<'b> {
    /// The bytes held in a buffer, if any are.
    #[b(0)]
    pub held: Option<&'b ByteSlice>,
    /// The pipe that holds bytes, if one does.
    #[n(1)]
    pub pipe: Option<PipeRecord>,
    /// Whether the source has ended.
    #[cbor(n(2), skip_if = "is_unset")]
    pub source: SourceRecord,
    /// The sink has been half-closed.
    #[cbor(n(3), skip_if = "is_unset")]
    pub fin_sent: bool,
    /// The next bytes go through a pipe.
    #[cbor(n(4), skip_if = "is_unset")]
    pub bulk: bool,
    /// The byte held is urgent.
    #[cbor(n(5), skip_if = "is_unset")]
    pub urgent: bool,
    /// How many of the bytes held are the proxy's own.
    #[cbor(n(6), skip_if = "is_unset")]
    pub own_bytes: u8,
    /// Bytes of the source delivered to the sink.
    #[cbor(n(7), skip_if = "is_unset")]
    pub delivered: u64,
}

/// A pipe with bytes in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PipeRecord {
    /// How many bytes are in it.
    #[n(0)]
    pub bytes: usize,
    /// The index of the descriptor to read from.
    #[n(1)]
    pub out: u32,
    /// The index of the descriptor to write to.
    #[n(2)]
    pub into: u32,
}

/// The state of a direction's source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum SourceRecord {
    /// More bytes may come.
    #[default]
    #[n(0)]
    Open,
    /// Its FIN has been read.
    #[n(1)]
    Ended,
    /// It was reset, or its bytes are no longer wanted.
    #[n(2)]
    Cut,
}
