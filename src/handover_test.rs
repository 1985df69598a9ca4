use super::*;
use crate::errno::ErrorCode;
use crate::limit::Limit;
use crate::reason::CloseReason;
use crate::session::{StateKind, samples};
use crate::stats::Standing;
use crate::wire::{Command, Protocol};
use proptest::prelude::*;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

const SAMPLE: &str = "tests/handover/1.cbor";
const NOW: Millis = 100_000;

fn read(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Gives out descriptors.
struct Indices(u32);

impl Indices {
    fn next(&mut self) -> u32 {
        self.0 += 1;
        self.0 - 1
    }

    fn endpoint(&mut self, bits: usize) -> EndpointRecord {
        let bit = |number: usize| bits >> number & 1 == 1;
        EndpointRecord {
            descriptor: self.next(),
            readable: bit(0),
            writable: bit(1),
            read_closed: bit(2),
            urgent: bit(3),
            read_since_event: bit(4),
            failed: bit(5),
            lost: bit(6),
            may_delay: bit(7),
            failure_reported: bit(8),
            error: ErrorCode::of(&io::Error::from_raw_os_error(bits as i32)),
        }
    }

    fn target(&mut self, number: usize) -> Option<TargetRecord> {
        let waiting = match number % 3 {
            0 => None,
            1 => Some(WaitingRecord::Readers { unacknowledged: 5, delivered: 6, since: 7 }),
            _ => Some(WaitingRecord::Reset {
                reason: CloseReason::TargetReset,
                started: 8,
                polled: 9,
                unacknowledged: 10,
                changed: 9,
            }),
        };
        Some(match number % 5 {
            0 => return None,
            1 => TargetRecord::Reserve,
            2 => {
                let attempt = |number| AttemptRecord { number, endpoint: self.endpoint(128) };
                TargetRecord::Attempts([0, 2].map(attempt).to_vec())
            }
            3 => {
                let descriptor = self.next();
                let is_ready = number.is_multiple_of(2);
                TargetRecord::Listener(ListenerRecord { descriptor, port: 40_000, is_ready })
            }
            _ => TargetRecord::Tunnel(TunnelRecord {
                endpoint: self.endpoint(number),
                active_at: 11,
                has_keepalive: number.is_multiple_of(2),
                waiting,
            }),
        })
    }

    fn direction(&mut self, number: usize) -> DirectionRecord<'static> {
        let sources = [SourceRecord::Open, SourceRecord::Ended, SourceRecord::Cut];
        let held = (number % 4 == 1).then(|| (&b"bytes in transit"[..]).into());
        let pipe = (number % 4 == 2).then(|| {
            let (out, into) = (self.next(), self.next());
            PipeRecord { bytes: 70_000, out, into }
        });
        DirectionRecord {
            held,
            pipe,
            source: sources[number % 3],
            fin_sent: number % 2 == 1,
            bulk: number.is_multiple_of(5),
            urgent: number.is_multiple_of(7),
            own_bytes: number as u8,
            delivered: number as u64 * 1_000_003,
        }
    }
}

/// A record with every state and every kind of target, and how many descriptors it names.
fn sample() -> (Handover<'static>, usize) {
    let mut indices = Indices(0);
    let mut stats = Stats::default();
    (stats.opened, stats.shed) = (1000, 3);
    (stats.turns, stats.events, stats.idle_turns) = (70, 80, 90);
    let standing = |state, down_bytes| Standing {
        state,
        request: (down_bytes > 0).then_some((Protocol::Socks5, Command::Connect)),
        up_bytes: 2 * down_bytes,
        down_bytes,
    };
    for reason in [CloseReason::Done, CloseReason::Stopped] {
        let opened = standing(StateKind::ReadingRequest, 0);
        stats.count_opened(opened);
        stats.count_change(opened, standing(StateKind::Closed, 17));
        stats.count_closed(reason);
    }
    stats.count_reached(Limit::Pipes, 5);
    let address = |text: &str| text.parse().unwrap();
    let listeners = ["192.0.2.1:1080", "[2001:db8::1]:1080"].map(|text| EntranceRecord {
        descriptor: indices.next(),
        address: address(text),
        is_ready: text.starts_with('['),
    });
    let mut logins = Logins::default();
    logins.record_failure("192.0.2.7".parse().unwrap(), NOW - 10);
    logins.record_failure("2001:db8::".parse().unwrap(), NOW - 5);
    let connection = |(number, session)| ConnectionRecord {
        session,
        client: indices.endpoint(number * 7),
        target: indices.target(number),
        up: indices.direction(number),
        down: indices.direction(number + 1),
        left_after_ms: (number as u32 % 3).try_into().ok(),
    };
    let connections = samples().into_iter().enumerate().map(connection).collect();
    let handover = Handover {
        origin_ns: 1 << 60,
        now: NOW,
        stats,
        listeners: listeners.to_vec(),
        next_listener: 1,
        accept_retry_at: Some(NOW + 200),
        accept_logged_at: Some(NOW - 200),
        accept_failures: 4,
        shortage_at: Some(90),
        logins,
        connections,
        embedder: Some((&b"\x01"[..]).into()),
        dns: Counters {
            sent: 20,
            answered: 21,
            failed: 22,
            timed_out: 23,
            cache_hits: 24,
            cache_misses: 25,
        },
        ident_queries: 26,
        limits: {
            let mut episodes = Episodes::default();
            episodes.note(Limit::Sessions, NOW - 1);
            episodes
        },
    };
    (handover, indices.0 as usize)
}

fn is_same(one: &Handover<'_>, other: &Handover<'_>) -> bool {
    // Of a map, the order does not count.
    let text = |one: &Handover<'_>| {
        let logins = minicbor::to_vec(&one.logins).unwrap();
        let rest = (&one.stats, &one.listeners, &one.connections, one.embedder);
        let times = (one.origin_ns, one.now, one.accept_retry_at, one.accept_logged_at);
        let counts = (one.next_listener, one.accept_failures, one.shortage_at);
        let counts = (counts, one.dns, one.ident_queries);
        format!("{logins:?} {rest:?} {times:?} {counts:?}")
    };
    text(one) == text(other)
}

#[test]
fn a_record_is_the_same_after_it_was_handed_over() {
    let (handover, descriptors) = sample();
    let bytes = handover.encode();
    assert!(is_same(&Handover::decode(&bytes, descriptors).unwrap(), &handover));
}

/// What a program of this format wrote, every later version reads.
#[test]
fn the_sample_of_format_1_is_read_as_it_was_written() {
    let (handover, descriptors) = sample();
    let bytes = read(SAMPLE);
    assert!(is_same(&Handover::decode(&bytes, descriptors).unwrap(), &handover));
}

#[test]
#[ignore = "writes the sample of a format, once, when it is made"]
fn write_the_sample() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(SAMPLE);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, sample().0.encode()).unwrap();
}

#[test]
fn the_header_tells_format_and_version_of_a_record_that_cannot_be_read() {
    let header = Header { magic: MAGIC.into(), format: 2, version: "9.8.7".into() };
    let bytes = [minicbor::to_vec(&header).unwrap(), b"whatever format 2 is".to_vec()].concat();
    assert_eq!(Header::read(&bytes).unwrap(), (header, &b"whatever format 2 is"[..]));
    let error = Handover::decode(&bytes, 0).unwrap_err();
    assert_eq!(error, HandoverError::Format { found: 2, expected: 1, version: "9.8.7".into() });
    assert_eq!(error.to_string(), "handover format 2 of version 9.8.7, expected format 1");
    for bytes in [&b""[..], b"\x83", b"\x83\x65other\x01\x60", b"GET / HTTP/1.1\r\n"] {
        assert_eq!(Header::read(bytes).unwrap_err(), HandoverError::NoHeader);
    }
}

#[test]
fn unknown_fields_are_skipped_and_missing_ones_have_their_default() {
    let mut encoder = minicbor::Encoder::new(Vec::new());
    encoder.map(4).unwrap().u8(0).unwrap().u64(1).unwrap().u8(1).unwrap().u64(2).unwrap();
    encoder.u8(2).unwrap().encode(Stats::default()).unwrap();
    encoder.u8(99).unwrap().str("of a later version").unwrap();
    let header = Header { magic: MAGIC.into(), format: FORMAT, version: String::new() };
    let bytes = [minicbor::to_vec(header).unwrap(), encoder.into_writer()].concat();
    let handover = Handover::decode(&bytes, 0).unwrap();
    assert_eq!((handover.now, handover.connections.len(), handover.accept_failures), (2, 0, 0));
}

#[test]
fn every_truncated_record_and_every_descriptor_that_is_not_there_is_an_error() {
    let (handover, descriptors) = sample();
    let bytes = handover.encode();
    for length in (0..bytes.len()).step_by(97) {
        assert!(Handover::decode(&bytes[..length], descriptors).is_err(), "{length} bytes");
    }
    let longer = [&bytes[..], b"\x00"].concat();
    let error = Handover::decode(&longer, descriptors).unwrap_err().to_string();
    assert!(error.contains("1 bytes after the record"), "{error}");
    let last = descriptors as u32 - 1;
    let missing = HandoverError::NoDescriptor { descriptor: last, given: descriptors - 1 };
    assert_eq!(Handover::decode(&bytes, descriptors - 1).unwrap_err(), missing);
    let (mut twice, _) = sample();
    twice.listeners[1].descriptor = 0;
    let error = Handover::decode(&twice.encode(), descriptors).unwrap_err();
    assert_eq!(error, HandoverError::NamedTwice { descriptor: 0 });
    let (mut late, _) = sample();
    late.now = 1_000;
    let error = Handover::decode(&late.encode(), descriptors).unwrap_err();
    assert_eq!(error, HandoverError::LaterThanNow);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Handover::decode(&bytes, 3);
        let header = Header { magic: MAGIC.into(), format: FORMAT, version: "1".into() };
        let bytes = [minicbor::to_vec(header).unwrap(), bytes].concat();
        let _ = Handover::decode(&bytes, 3);
    }

    #[test]
    fn no_damage_makes_it_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = read(SAMPLE);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = Handover::decode(&bytes, 1000);
        bytes.remove(cut.index(bytes.len()));
        let _ = Handover::decode(&bytes, 1000);
    }
}

/// Ten thousand sessions are handed over while no client notices.
#[test]
fn ten_thousand_sessions_are_written_and_read_in_no_time() {
    let mut indices = Indices(0);
    let relaying = samples().into_iter().nth(9).unwrap();
    let connection = |_| ConnectionRecord {
        session: relaying.clone(),
        client: indices.endpoint(2),
        target: indices.target(4),
        up: indices.direction(0),
        down: indices.direction(0),
        left_after_ms: None,
    };
    let connections = (0..10_000).map(connection).collect();
    let handover = Handover { now: NOW, connections, ..Handover::default() };
    let began = Instant::now();
    let bytes = handover.encode();
    let read = Handover::decode(&bytes, indices.0 as usize).unwrap();
    assert_eq!(read.connections.len(), 10_000);
    let took = began.elapsed();
    println!("{} bytes, {took:?}", bytes.len());
    // Without optimization, and on a busy machine.
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(bytes.len() < 3_000_000, "{} bytes", bytes.len());
}

/// Every field of the record's own structures is in docs/handover.md, by number and name.
#[test]
fn the_document_has_every_field() {
    let document = String::from_utf8(read("docs/handover.md")).unwrap();
    let (mut fields, mut number) = (0, None);
    for file in ["src/handover.rs", "src/handover/connection.rs", "src/handover/direction.rs"] {
        let text = String::from_utf8(read(file)).unwrap();
        for line in text.lines().map(str::trim) {
            if let Some((_, rest)) = line.split_once("n(").or(line.split_once("b("))
                && line.starts_with("#[")
            {
                number = rest.split_once(')').map(|(number, _)| number.to_string());
            } else if let Some(number) = number.take() {
                let name = line.trim_start_matches("pub ").split([':', '(', ' ', ',']).next();
                let row = format!("| {number} | `{}` |", name.unwrap());
                assert!(document.contains(&row), "{file}: docs/handover.md lacks {row}");
                fields += 1;
            }
        }
    }
    assert!(fields > 50, "{fields} fields");
}
