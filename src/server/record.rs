//! What the server itself hands over in an upgrade, beside the reactor's record.

use crate::time::Millis;
use minicbor::{Decode, Encode};

/// The server's part of what is handed over. A missing field has its default, and an unknown one is
/// skipped.
#[derive(Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ServerRecord {
    /// Bytes of the log for which its reader has had no room.
    #[cbor(n(0), with = "minicbor::bytes", default)]
    pub log: Vec<u8>,
    /// The index of the log's descriptor, where it has one of its own.
    #[n(1)]
    pub log_descriptor: Option<u32>,
    /// A dump has been asked for, or has begun.
    #[cbor(n(2), default)]
    pub dump_requested: bool,
    /// The index of the status listener's descriptor, if there is one.
    #[n(3)]
    pub status_listener: Option<u32>,
    /// When the server was started, by the clock of the loop.
    #[n(4)]
    pub started: Option<Millis>,
    /// The same in milliseconds since 1970.
    #[n(5)]
    pub started_unix_ms: Option<u64>,
    /// Files read again whose new content came into force.
    #[cbor(n(6), default)]
    pub reloads_good: u64,
    /// Files read again that were bad.
    #[cbor(n(7), default)]
    pub reloads_failed: u64,
    /// Lines of the log that were dropped.
    #[cbor(n(8), default)]
    pub log_dropped: u64,
    /// The path of the rule file in use.
    #[cbor(n(9), with = "minicbor::bytes")]
    pub rule_file: Option<Vec<u8>>,
    /// The index of the descriptor of the service manager's socket, if it has one.
    #[n(10)]
    pub notifier: Option<u32>,
}

impl ServerRecord {
    /// The bytes of the record.
    pub fn encode(&self) -> Vec<u8> {
        minicbor::to_vec(self).expect("writing to memory cannot fail")
    }

    /// Reads the record; without bytes, everything has its default.
    pub fn decode(bytes: Option<&[u8]>) -> Result<ServerRecord, minicbor::decode::Error> {
        bytes.map_or_else(|| Ok(ServerRecord::default()), minicbor::decode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_written_and_one_without_fields_has_the_defaults() {
        let record = ServerRecord {
            log: b"a line\n".to_vec(),
            log_descriptor: Some(7),
            dump_requested: true,
            status_listener: Some(8),
            started: Some(9),
            started_unix_ms: Some(10),
            reloads_good: 11,
            reloads_failed: 12,
            log_dropped: 13,
            rule_file: Some(b"socks.conf".to_vec()),
            notifier: Some(14),
        };
        assert_eq!(ServerRecord::decode(Some(&record.encode())).unwrap(), record);
        // An empty map, and one with a field of a later version.
        for bytes in [&b"\xa0"[..], b"\xa1\x18\x63\x01"] {
            assert_eq!(ServerRecord::decode(Some(bytes)).unwrap(), ServerRecord::default());
        }
        assert_eq!(ServerRecord::decode(None).unwrap(), ServerRecord::default());
        assert!(ServerRecord::decode(Some(b"\xa1")).is_err());
    }
}
