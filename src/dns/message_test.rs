//! Every rule about answers as a table, and hostile messages.

use super::super::server::*;
use super::*;
use proptest::prelude::*;

const WWW: &str = "www.example.com";

fn key(text: &str, family: Family) -> QuestionKey {
    QuestionKey::new(&name(text), family)
}

fn query(edns: bool) -> Vec<u8> {
    QueryMessage { id: 0x1234, question: &key(WWW, Family::V4), edns }.encode()
}

fn read(bytes: &[u8]) -> Response {
    QueryMessage { id: 0x1234, question: &key(WWW, Family::V4), edns: true }.parse_response(bytes)
}

/// What the same name's AAAA question makes of these records.
fn answer_v6(records: &[Vec<u8>]) -> Response {
    let question = key(WWW, Family::V6);
    let message = QueryMessage { id: 0x1234, question: &question, edns: true };
    message.parse_response(&reply(&message.encode(), RA, records, &[]))
}

fn answer(records: &[Vec<u8>]) -> Response {
    read(&reply(&query(true), RA, records, &[]))
}

fn found(list: &[[u8; 4]], ttl_s: u32) -> Response {
    Response::Answer(Ok(addresses(list)), ttl_s)
}

fn missing(error: DnsError, ttl_s: u32) -> Response {
    Response::Answer(Err(error), ttl_s)
}

#[test]
fn an_encoded_query_asks_for_one_record_type() {
    for (edns, family) in [false, true].into_iter().zip(Family::BOTH) {
        let message = QueryMessage { id: 0x1234, question: &key(WWW, family), edns };
        let seen = Seen { id: 0x1234, name: WWW.into(), family, edns };
        assert_eq!(see(&message.encode()), seen);
    }
    let labels = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)];
    let long = name(&labels.join("."));
    let question = QuestionKey::new(&long, Family::V6);
    let bytes = QueryMessage { id: 0, question: &question, edns: true }.encode();
    assert_eq!((see(&bytes).name.as_str(), bytes.len()), (long.as_str(), QUERY_BYTES_MAX));
}

#[test]
fn addresses_are_found_along_a_cname_chain() {
    let (one, two) = ([192, 0, 2, 1], [192, 0, 2, 2]);
    for (records, expected) in [
        (vec![a("&", 60, one)], found(&[one], 60)),
        (vec![a(WWW, 60, one), a("WWW.Example.COM", 30, two)], found(&[one, two], 30)),
        (vec![a("&", 60, one), a("&", 60, one)], found(&[one], 60)),
        (vec![cname("&", 10, "b.example"), a("b.example", 60, one)], found(&[one], 10)),
        (vec![a("b.example", 5, one), cname("&", 10, "B.example")], found(&[one], 5)),
        (vec![a("&", 0, one)], found(&[one], 0)),
        (vec![a("&", 0x8000_0000, one)], found(&[one], 0)),
        (vec![a("&", 0x7fff_ffff, one)], found(&[one], 3600)),
        // A record of another name, class or type is not an answer.
        (vec![a("other.example", 60, one)], missing(DnsError::NoData, 0)),
        (vec![record("&", 1, 3, 60, &one)], missing(DnsError::NoData, 0)),
        (vec![record("&", 28, 1, 60, &[0; 16])], missing(DnsError::NoData, 0)),
        (vec![record("&", 28, 1, 60, &[0; 16]), a("&", 60, two)], found(&[two], 60)),
        (vec![cname("&", 10, "b.example")], missing(DnsError::NoData, 0)),
        // Records that are too long or too short invalidate the message.
        (vec![record("&", 1, 1, 60, &[1, 2, 3])], Response::Unrelated),
        (vec![record("&", 1, 1, 60, &[1, 2, 3, 4, 5])], Response::Unrelated),
        (vec![record("&", 5, 1, 60, &[])], Response::Unrelated),
        (vec![record("&", 5, 1, 60, &[63, 1])], Response::Unrelated),
        (vec![record("&", 5, 1, 60, &[0x80, 1])], Response::Unrelated),
        (vec![record("&", 5, 1, 60, &[0xff, 0xff])], Response::Unrelated),
    ] {
        assert_eq!(answer(&records), expected, "{records:02x?}");
    }
    let count = |count: usize| answer(&vec![a("&", 60, one); count]);
    assert_eq!((count(256), count(257)), (found(&[one], 60), Response::Failure));
    let many: Vec<_> = (0..100).map(|last| a("&", 60, [192, 0, 2, last])).collect();
    let first: Vec<_> = (0..16).map(|last| [192, 0, 2, last]).collect();
    assert_eq!(answer(&many), found(&first, 60));
}

#[test]
fn an_aaaa_question_has_ipv6_addresses_only_and_mapped_ones_are_ipv4() {
    let found = |list: &[&str], ttl_s| Response::Answer(Ok(addresses_at(list)), ttl_s);
    let (one, two) = ("2001:db8::1", "2001:db8::2");
    for (records, expected) in [
        (vec![aaaa("&", 60, one), aaaa("&", 30, two)], found(&[one, two], 30)),
        (vec![cname("&", 10, "b.x"), aaaa("b.x", 60, one)], found(&[one], 10)),
        (vec![aaaa("&", 60, "::ffff:127.0.0.1")], found(&["127.0.0.1"], 60)),
        (vec![a("&", 60, [192, 0, 2, 1]), aaaa("&", 60, one)], found(&[one], 60)),
        (vec![a("&", 60, [192, 0, 2, 1])], missing(DnsError::NoData, 0)),
        (vec![aaaa("other.example", 60, one)], missing(DnsError::NoData, 0)),
        (vec![record("&", 28, 1, 60, &[0; 15])], Response::Unrelated),
        (vec![record("&", 28, 1, 60, &[0; 17])], Response::Unrelated),
    ] {
        assert_eq!(answer_v6(&records), expected, "{records:02x?}");
    }
    let many: Vec<_> = (0..100).map(|last| aaaa("&", 60, &format!("2001:db8::{last}"))).collect();
    let Response::Answer(Ok(list), _) = answer_v6(&many) else { panic!("addresses") };
    assert_eq!(list.len(), ADDRESSES_MAX);
}

#[test]
fn cname_chains_are_limited() {
    let link = |from: usize, to: usize| {
        let owner = if from == 0 { "&".into() } else { format!("n{from}.x") };
        cname(&owner, 60, &format!("n{to}.x"))
    };
    for (links, expected) in [(1, true), (15, true), (16, true), (17, false), (1000, false)] {
        let mut records: Vec<_> = (0..links).map(|from| link(from, from + 1)).collect();
        records.insert(0, a(&format!("n{links}.x"), 60, [192, 0, 2, 1]));
        let expected = if expected { found(&[[192, 0, 2, 1]], 60) } else { Response::Failure };
        assert_eq!(answer(&records), expected, "{links}");
        records.reverse();
        assert_eq!(answer(&records), expected, "{links} backwards");
    }
    assert_eq!(answer(&[cname("&", 60, "&")]), Response::Failure, "a loop of one");
    assert_eq!(answer(&[link(0, 1), link(1, 2), link(2, 1)]), Response::Failure, "a loop of two");
}

#[test]
fn a_message_that_does_not_match_the_question_is_ignored() {
    let good = reply(&query(true), RA, &[a("&", 60, [192, 0, 2, 1])], &[]);
    assert_eq!(read(&good), found(&[[192, 0, 2, 1]], 60));
    let change = |at: usize, octet: u8| {
        let mut bytes = good.clone();
        bytes[at] = octet;
        bytes
    };
    for (what, bytes) in [
        ("id", change(0, 0x13)),
        ("id", change(1, 0x35)),
        ("QR", change(2, 0x01)),
        ("opcode 2", change(2, 0x91)),
        ("opcode 5", change(2, 0xa9)),
        ("no question", change(5, 0)),
        ("two questions", change(5, 2)),
        ("a name of the same length", change(13, b'v')),
        ("another split of the name", change(12, 2)),
        ("type", change(12 + 17 + 1, 28)),
        ("class", change(12 + 17 + 3, 3)),
        ("more answers than there are", change(7, 2)),
    ] {
        assert_eq!(read(&bytes), Response::Unrelated, "{what}");
    }
    let folded = change(13, b'W');
    assert_eq!(read(&folded), found(&[[192, 0, 2, 1]], 60), "case does not matter");
    for cut in 0..good.len() {
        assert_eq!(read(&good[..cut]), Response::Unrelated, "cut at {cut}");
    }
    let longer = [good.clone(), vec![0xff; 100]].concat();
    assert_eq!(read(&longer), found(&[[192, 0, 2, 1]], 60), "bytes after the last record");
}

#[test]
fn each_response_code_and_flag_has_its_result() {
    let plain = |bytes: &[u8]| {
        let question = key(WWW, Family::V4);
        QueryMessage { id: 0x1234, question: &question, edns: false }.parse_response(bytes)
    };
    for (flags, with_edns, without) in [
        (RA | SERVFAIL, Response::Failure, Response::Failure),
        (RA | REFUSED, Response::Failure, Response::Failure),
        (RA | 9, Response::Failure, Response::Failure),
        (RA | FORMERR, Response::NoEdns, Response::Failure),
        (RA | NOTIMP, Response::NoEdns, Response::Failure),
        (RA | TC, Response::Truncated, Response::Truncated),
        (RA, missing(DnsError::NoData, 0), missing(DnsError::NoData, 0)),
        (AA, missing(DnsError::NoData, 0), missing(DnsError::NoData, 0)),
        (0, Response::Failure, Response::Failure),
        (RA | NXDOMAIN, missing(DnsError::NotFound, 0), missing(DnsError::NotFound, 0)),
    ] {
        assert_eq!(read(&reply(&query(true), flags, &[], &[])), with_edns, "{flags:04x}");
        assert_eq!(plain(&reply(&query(false), flags, &[], &[])), without, "{flags:04x}");
    }
    let header_only = [0x12, 0x34, 0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!((read(&header_only), plain(&header_only)), (Response::NoEdns, Response::Failure));
    // BADVERS is 16: its upper octet is in the OPT record (RFC 6891 section 6.1.3).
    let mut bad_version = reply(&query(true), RA, &[], &[]);
    bad_version[11] = 1;
    bad_version.extend_from_slice(&record("", 41, 1232, 0x0100_0000, &[]));
    assert_eq!(read(&bad_version), Response::NoEdns);
    let cut = reply(&query(true), RA | TC, &[vec![0xc0]], &[]);
    assert_eq!(read(&cut), Response::Truncated, "a truncated message may end anywhere");
}

#[test]
fn negative_answers_are_kept_as_long_as_the_soa_says() {
    let one = [192, 0, 2, 1];
    for (authority, expected) in [
        (vec![soa("example.com", 60, 30)], 30),
        (vec![soa("example.com", 30, 60)], 30),
        (vec![soa("example.com", 86400, 86400)], 300),
        (vec![soa("example.com", 60, 0x8000_0000)], 0),
        (vec![a("ns.example", 60, one), soa("example.com", 60, 30)], 30),
        (vec![a("ns.example", 60, one)], 0),
        (vec![record("example.com", 6, 1, 60, &[0; 5])], 0),
        (vec![], 0),
    ] {
        let nodata = read(&reply(&query(true), RA, &[], &authority));
        assert_eq!(nodata, missing(DnsError::NoData, expected), "{authority:02x?}");
        let chain = read(&reply(&query(true), RA, &[cname("&", 20, "b")], &authority));
        assert_eq!(chain, missing(DnsError::NoData, expected.min(20)), "{authority:02x?}");
        let nothing = read(&reply(&query(true), RA | NXDOMAIN, &[], &authority));
        assert_eq!(nothing, missing(DnsError::NotFound, expected), "{authority:02x?}");
    }
}

#[test]
fn compression_pointer_loops_and_ladders_are_harmless() {
    let base = reply(&query(true), RA, &[], &[]).len();
    let pointer = |to: usize| [0xc0 | (to >> 8) as u8, to as u8];
    let owned_by = |owner: &[u8]| [owner, &[0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 1, 2, 3, 4]].concat();
    for owner in [pointer(base), pointer(base + 2), pointer(0x3fff), pointer(0)] {
        let read = answer(&[owned_by(&owner)]);
        assert!(matches!(read, Response::Unrelated | Response::Answer(Err(_), _)), "{owner:02x?}");
    }
    // A ladder of pointers, each to the one before, as data of a record that is not read.
    let mut ladder = pointer(12).to_vec();
    for rung in 0..2000 {
        ladder.extend_from_slice(&pointer(base + 12 + 2 * rung));
    }
    let top = pointer(base + 12 + 2 * 2000);
    let records: Vec<_> =
        std::iter::once(record("&", 16, 1, 60, &ladder)).chain(vec![owned_by(&top); 255]).collect();
    assert_eq!(answer(&records), Response::Unrelated, "too deep");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        read(&bytes);
        let mut matching = reply(&query(true), RA, &[], &[]);
        matching[6..12].copy_from_slice(&[0, 9, 0, 9, 0, 9]);
        matching.extend_from_slice(&bytes);
        read(&matching);
    }

    #[test]
    fn damaged_answers_stay_within_the_limits(
        hits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let records = [cname("&", 9, "b.x"), cname("b.x", 9, "c.x"), a("c.x", 9, [1, 2, 3, 4])];
        let mut bytes = reply(&query(true), RA, &records, &[soa("x", 60, 60)]);
        for (at, octet) in hits {
            let at = at.index(bytes.len() - 33) + 33;
            bytes[at] = octet;
        }
        if let Response::Answer(Ok(list), ttl_s) = read(&bytes) {
            prop_assert!((1..=ADDRESSES_MAX).contains(&list.len()) && ttl_s <= TTL_S_MAX);
        }
        bytes.truncate(cut.index(bytes.len()));
        read(&bytes);
    }
}
