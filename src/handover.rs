//! The record that an upgrade hands over: all that the program in this process knows, for the
//! program that takes its place. docs/handover.md has the form, field by field.
//!
//! It is a CBOR sequence (RFC 8742) of two items. The header comes first and is the same in every
//! format, so that a program can tell the format of a record that it cannot read. The record
//! follows, of structures with numbered fields: a field that is missing has its default, and one
//! that is unknown is skipped, so that neighbouring versions can read each other.
//!
//! Descriptors are handed over beside the record, in a list; the record names each by its index.

mod connection;
mod direction;
mod error;

pub use connection::{
    AttemptRecord, ConnectionRecord, EndpointRecord, ListenerRecord, TargetRecord, TunnelRecord,
    WaitingRecord,
};
pub use direction::{DirectionRecord, PipeRecord, SourceRecord};
pub use error::HandoverError;

use crate::cbor::is_unset;
use crate::dns::Counters;
use crate::limit::Episodes;
use crate::logins::Logins;
use crate::stats::Stats;
use crate::time::Millis;
use minicbor::bytes::ByteSlice;
use minicbor::encode::{self, Write};
use minicbor::{Decode, Decoder, Encode};
use std::net::SocketAddr;

/// The first bytes of every record's header.
const MAGIC: &str = "socku-handover";
/// The format that this version writes and reads.
pub const FORMAT: u32 = 1;

/// What stands before every record, in every format.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Header {
    #[n(0)]
    magic: String,
    /// The format of the record.
    #[n(1)]
    pub format: u32,
    /// The version of the program that wrote it.
    #[n(2)]
    pub version: String,
}

/// All that is handed over, but for the descriptors.
#[derive(Debug, Default, Encode, Decode)]
#[cbor(map)]
pub struct Handover<'b> {
    /// Where the clock of the loop starts, in nanoseconds of the system's clock (CLOCK_MONOTONIC).
    #[n(0)]
    pub origin_ns: u64,
    /// The time when this was written. No other time of the record is later.
    #[n(1)]
    pub now: Millis,
    /// The counters. That of sessions opened is the last session's number.
    #[n(2)]
    pub stats: Stats,
    /// The listeners for clients.
    #[cbor(n(3), default)]
    pub listeners: Vec<EntranceRecord>,
    /// The listener that is tried first, by its place among them.
    #[cbor(n(4), skip_if = "is_unset")]
    pub next_listener: usize,
    /// Accept lacked descriptors: not before this time again.
    #[n(5)]
    pub accept_retry_at: Option<Millis>,
    /// When a failure to accept was last logged.
    #[n(6)]
    pub accept_logged_at: Option<Millis>,
    /// How often accept lacked descriptors or memory.
    #[cbor(n(7), skip_if = "is_unset")]
    pub accept_failures: u64,
    /// How many sessions were open when a call last lacked a descriptor.
    #[n(8)]
    pub shortage_at: Option<usize>,
    /// Logins that have failed lately.
    #[cbor(n(9), default)]
    pub logins: Logins,
    /// The sessions and their sockets.
    #[cbor(b(10), default)]
    pub connections: Vec<ConnectionRecord<'b>>,
    /// What the embedder of the loop hands over, in a form of its own.
    #[b(11)]
    pub embedder: Option<&'b ByteSlice>,
    /// The counters of the resolver.
    #[cbor(n(12), default)]
    pub dns: Counters,
    /// Queries sent to identds.
    #[cbor(n(13), default)]
    pub ident_queries: u64,
    /// When limits were last seen reached.
    #[cbor(n(14), default)]
    pub limits: Episodes,
}

/// A listener for clients.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct EntranceRecord {
    /// The index of its descriptor.
    #[n(0)]
    pub descriptor: u32,
    /// Where it listens.
    #[n(1)]
    pub address: SocketAddr,
    /// Connections may be waiting.
    #[cbor(n(2), skip_if = "is_unset")]
    pub is_ready: bool,
}

impl Header {
    /// Reads the header of a record of any format, and returns the bytes after it.
    pub fn read(bytes: &[u8]) -> Result<(Header, &[u8]), HandoverError> {
        let mut decoder = Decoder::new(bytes);
        let header: Header = decoder.decode().map_err(|_| HandoverError::NoHeader)?;
        if header.magic != MAGIC {
            return Err(HandoverError::NoHeader);
        }
        let rest = bytes.get(decoder.position()..).unwrap_or_default();
        Ok((header, rest))
    }
}

impl<'b> Handover<'b> {
    /// The bytes of the header and the record.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write_to(&mut bytes).expect("a vector takes all bytes");
        bytes
    }

    /// Writes the same to `writer`, piece by piece: they may be many.
    pub fn write_to<W: Write>(&self, writer: W) -> Result<(), encode::Error<W::Error>> {
        let version = env!("CARGO_PKG_VERSION").to_string();
        let header = Header { magic: MAGIC.into(), format: FORMAT, version };
        minicbor::Encoder::new(writer).encode(&header)?.encode(self)?;
        Ok(())
    }

    /// Reads a record that comes with so many descriptors. Bytes of streams are borrowed.
    ///
    /// # Errors
    ///
    /// The bytes are no record, one of another format, or damaged; or it names a descriptor that
    /// is not there, or one twice.
    pub fn decode(bytes: &'b [u8], descriptors: usize) -> Result<Handover<'b>, HandoverError> {
        let (Header { format, version, .. }, rest) = Header::read(bytes)?;
        if format != FORMAT {
            return Err(HandoverError::Format { found: format, expected: FORMAT, version });
        }
        let mut decoder = Decoder::new(rest);
        let handover: Handover<'b> = decoder.decode().map_err(|error| HandoverError::Damaged {
            version: version.clone(),
            error: error.to_string(),
        })?;
        let left = rest.len() - decoder.position();
        if left > 0 {
            let error = format!("{left} bytes after the record");
            return Err(HandoverError::Damaged { version, error });
        }
        handover.check(descriptors)?;
        Ok(handover)
    }

    /// Whether each descriptor is there and named once, and no time is later than the record's.
    pub fn check(&self, descriptors: usize) -> Result<(), HandoverError> {
        let mut is_named = vec![false; descriptors];
        let mut error = None;
        let mut name = |descriptor: u32| match is_named.get_mut(descriptor as usize) {
            Some(is_named) if !*is_named => *is_named = true,
            Some(_) => drop(error.get_or_insert(HandoverError::NamedTwice { descriptor })),
            None => {
                let missing = HandoverError::NoDescriptor { descriptor, given: descriptors };
                error.get_or_insert(missing);
            }
        };
        self.listeners.iter().for_each(|listener| name(listener.descriptor));
        self.connections.iter().for_each(|connection| connection.name_descriptors(&mut name));
        match error {
            Some(error) => Err(error),
            None if self.connections.iter().all(|one| one.is_not_after(self.now)) => Ok(()),
            None => Err(HandoverError::LaterThanNow),
        }
    }
}

#[cfg(test)]
#[path = "handover_test.rs"]
mod tests;
