//! How the two questions about a name become one answer, with hand-written server answers.

use super::super::TOTAL_TIMEOUT_MS;
use super::super::family::Family;
use super::super::server::*;
use super::questions::{IPV4_DELAY_MS, RESOLUTION_DELAY_MS};
use super::*;

const WWW: &str = "www.example.com";
const SIX: &str = "2001:db8::1";
const FOUR: &str = "192.0.2.1";
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn resolver(resolv_conf: &str) -> Resolver {
    let settings = ResolverSettings::from_resolv_conf(resolv_conf.as_bytes(), |_| None);
    let mut id = 0;
    let random = move || {
        id += 1;
        id
    };
    Resolver::new(settings, Hosts::default(), Box::new(random))
}

fn ask(resolver: &mut Resolver, now: u64, text: &str, waiter: u64) {
    assert_eq!(resolver.resolve(now, &name(text), SOURCE, waiter), Lookup::Waiting, "{text}");
}

fn sent(resolver: &mut Resolver) -> Vec<Transmit> {
    std::iter::from_fn(|| resolver.poll_transmit()).collect()
}

/// The two queries about a name, AAAA first.
fn pair(resolver: &mut Resolver) -> [Transmit; 2] {
    let both = <[Transmit; 2]>::try_from(sent(resolver)).expect("two queries");
    assert_eq!(both.each_ref().map(|query| see(&query.bytes).family), Family::BOTH);
    both
}

/// The query of one family, when the other is not asked.
fn only(resolver: &mut Resolver, family: Family) -> Transmit {
    let [query] = <[Transmit; 1]>::try_from(sent(resolver)).expect("one query");
    assert_eq!(see(&query.bytes).family, family);
    query
}

/// Records of this family with a TTL of a minute.
fn found(query: &Transmit, list: &[&str]) -> Vec<u8> {
    records(query, 60, list)
}

fn records(query: &Transmit, ttl: u32, list: &[&str]) -> Vec<u8> {
    let records = list.iter().map(|text| match text.parse().unwrap() {
        IpAddr::V4(address) => a("&", ttl, address.octets()),
        IpAddr::V6(_) => aaaa("&", ttl, text),
    });
    reply(&query.bytes, RA, &records.collect::<Vec<_>>(), &[])
}

fn flags(query: &Transmit, flags: u16) -> Vec<u8> {
    reply(&query.bytes, RA | flags, &[], &[])
}

fn good(list: &[&str]) -> Result<Resolved, DnsError> {
    Ok(Resolved { name: name(WWW).to_absolute(), addresses: addresses_at(list) })
}

/// The only answer that is due; afterwards nothing is left of the waiter.
#[track_caller]
fn assert_answer(resolver: &mut Resolver, expected: Result<Resolved, DnsError>) {
    assert_eq!(resolver.poll_answer(), Some((1, expected)));
    assert_eq!((resolver.poll_answer(), resolver.deadline()), (None, None));
    assert_eq!((resolver.waiters(), resolver.queries()), (0, 0));
    assert!(resolver.questions.is_empty() && resolver.shares.is_empty());
    assert!(resolver.cut_offs.is_empty() && resolver.expiries.is_empty());
    let closed: Vec<u64> = std::iter::from_fn(|| resolver.poll_close()).collect();
    assert!(!closed.is_empty() && resolver.poll_transmit().is_none());
}

/// How a resolver without waiters answers from what it knows.
fn known(resolver: &mut Resolver, now: u64) -> Result<Resolved, DnsError> {
    match resolver.resolve(now, &name(WWW), SOURCE, 1) {
        Lookup::Done(answer) => answer,
        Lookup::Waiting => panic!("asked again"),
    }
}

#[test]
fn the_family_that_comes_first_leads_and_from_the_cache_it_is_ipv6() {
    let (six, four) = ([SIX, "2001:db8::2"], [FOUR, "192.0.2.2"]);
    let (six_first, four_first) =
        ([six[0], four[0], six[1], four[1]], [four[0], six[0], four[1], six[1]]);
    for is_six_first in [true, false] {
        let mut resolver = resolver("");
        ask(&mut resolver, 0, WWW, 1);
        let [v6, v4] = pair(&mut resolver);
        let mut answers = [(v6.key, found(&v6, &six)), (v4.key, found(&v4, &four))];
        if !is_six_first {
            answers.reverse();
        }
        for (now, (key, message)) in [5, 5 + RESOLUTION_DELAY_MS - 1].into_iter().zip(answers) {
            assert_eq!(resolver.poll_answer(), None);
            resolver.handle_datagram(now, key, &message);
        }
        assert_answer(&mut resolver, good(if is_six_first { &six_first } else { &four_first }));
        assert_eq!(known(&mut resolver, 60), good(&six_first));
    }
}

#[test]
fn an_answer_without_addresses_does_not_hold_back_those_of_the_other_family() {
    for (family, addresses) in [(Family::V6, [SIX]), (Family::V4, [FOUR])] {
        for code in [0, SERVFAIL, NXDOMAIN] {
            for is_empty_first in [true, false] {
                let mut resolver = resolver("options attempts:1");
                ask(&mut resolver, 0, WWW, 1);
                let [v6, v4] = pair(&mut resolver);
                let (has, empty) = if family == Family::V6 { (v6, v4) } else { (v4, v6) };
                let mut answers =
                    [(has.key, found(&has, &addresses)), (empty.key, flags(&empty, code))];
                if is_empty_first {
                    answers.reverse();
                }
                for (key, message) in answers {
                    resolver.handle_datagram(5, key, &message);
                }
                assert_answer(&mut resolver, good(&addresses));
            }
        }
    }
}

#[test]
fn an_unanswered_aaaa_question_delays_the_ipv4_addresses_once() {
    let mut resolver = resolver("");
    for waiter in 1..=3 {
        ask(&mut resolver, 0, WWW, waiter);
    }
    let [v6, v4] = pair(&mut resolver);
    resolver.handle_datagram(10, v4.key, &found(&v4, &[FOUR]));
    assert_eq!((resolver.poll_answer(), resolver.poll_close()), (None, Some(v4.key)));
    let over = 10 + RESOLUTION_DELAY_MS;
    assert_eq!(resolver.deadline(), Some(over));
    // A later one waits for the same moment.
    ask(&mut resolver, 30, WWW, 4);
    assert_eq!(sent(&mut resolver), []);
    resolver.handle_timeout(over - 1);
    assert_eq!(resolver.poll_answer(), None);
    resolver.handle_timeout(over);
    for waiter in 1..=4 {
        assert_eq!(resolver.poll_answer(), Some((waiter, good(&[FOUR]))));
    }
    assert_eq!((resolver.poll_close(), resolver.deadline()), (Some(v6.key), None));
    // Too late, and unknown by now.
    resolver.handle_datagram(over + 1, v6.key, &found(&v6, &[SIX]));
    // For ten seconds nothing waits for it, however often the name is looked up.
    for now in [over, over + 5_000, over + 9_999] {
        assert_eq!(known(&mut resolver, now), good(&[FOUR]));
    }
    ask(&mut resolver, over + 10_000, WWW, 1);
    let again = only(&mut resolver, Family::V6);
    assert_eq!(resolver.deadline(), Some(over + 10_000 + RESOLUTION_DELAY_MS));
    resolver.handle_datagram(over + 10_020, again.key, &found(&again, &[SIX]));
    assert_answer(&mut resolver, good(&[FOUR, SIX]));
}

#[test]
fn a_name_that_is_not_to_be_cached_asks_aaaa_again_only_after_ten_seconds() {
    let mut resolver = resolver("");
    ask(&mut resolver, 0, WWW, 1);
    let [_, v4] = pair(&mut resolver);
    resolver.handle_datagram(0, v4.key, &records(&v4, 0, &[FOUR]));
    resolver.handle_timeout(RESOLUTION_DELAY_MS);
    assert_answer(&mut resolver, good(&[FOUR]));
    for now in [5_000, 10_000] {
        ask(&mut resolver, now, WWW, 1);
        let v4 = only(&mut resolver, Family::V4);
        resolver.handle_datagram(now, v4.key, &records(&v4, 0, &[FOUR]));
        assert_answer(&mut resolver, good(&[FOUR]));
    }
    ask(&mut resolver, RESOLUTION_DELAY_MS + 10_000, WWW, 1);
    pair(&mut resolver);
}

#[test]
fn ipv4_addresses_are_waited_for_a_second_and_asked_for_again_each_time() {
    let mut resolver = resolver("");
    ask(&mut resolver, 0, WWW, 1);
    let [v6, _] = pair(&mut resolver);
    resolver.handle_datagram(5, v6.key, &found(&v6, &[SIX]));
    resolver.handle_timeout(5 + IPV4_DELAY_MS - 1);
    assert_eq!(resolver.poll_answer(), None);
    resolver.handle_timeout(5 + IPV4_DELAY_MS);
    assert_answer(&mut resolver, good(&[SIX]));
    ask(&mut resolver, 2_000, WWW, 1);
    let v4 = only(&mut resolver, Family::V4);
    assert_eq!(resolver.deadline(), Some(2_000 + IPV4_DELAY_MS));
    resolver.handle_datagram(2_900, v4.key, &found(&v4, &[FOUR]));
    assert_answer(&mut resolver, good(&[SIX, FOUR]));
}

/// Some servers deny a name that has no IPv4 address when asked for A.
#[test]
fn a_name_that_a_denies_and_that_has_ipv6_addresses_is_found_again_and_again() {
    for is_denied_first in [true, false] {
        let mut resolver = resolver("");
        ask(&mut resolver, 0, WWW, 1);
        let [v6, v4] = pair(&mut resolver);
        let nothing = reply(&v4.bytes, RA | NXDOMAIN, &[], &[soa("example", 300, 300)]);
        let mut answers = [(v4.key, nothing), (v6.key, records(&v6, 2, &[SIX]))];
        if !is_denied_first {
            answers.reverse();
        }
        for (key, message) in answers {
            resolver.handle_datagram(5, key, &message);
        }
        assert_answer(&mut resolver, good(&[SIX]));
        // The IPv6 address is forgotten long before the denial.
        ask(&mut resolver, 3_000, WWW, 1);
        let v6 = only(&mut resolver, Family::V6);
        resolver.handle_datagram(3_005, v6.key, &found(&v6, &[SIX]));
        assert_answer(&mut resolver, good(&[SIX]));
    }
}

#[test]
fn a_waiter_whose_time_is_over_gets_the_addresses_that_it_has() {
    let mut resolver = resolver("options attempts:1 timeout:30");
    ask(&mut resolver, 0, WWW, 1);
    let [v6, _] = pair(&mut resolver);
    // The questions go on for this one.
    ask(&mut resolver, 6_000, WWW, 2);
    resolver.handle_datagram(9_000, v6.key, &found(&v6, &[SIX]));
    resolver.handle_timeout(TOTAL_TIMEOUT_MS - 1);
    assert_eq!(resolver.poll_answer(), None);
    resolver.handle_timeout(TOTAL_TIMEOUT_MS);
    assert_eq!(resolver.poll_answer(), Some((1, good(&[SIX]))));
}

#[test]
fn without_addresses_the_more_significant_error_counts() {
    use DnsError::*;
    for (six, four, expected) in [
        (NXDOMAIN, NXDOMAIN, NotFound),
        (0, 0, NoData),
        // Some servers deny the name when asked for AAAA (RFC 4074 section 4.2).
        (NXDOMAIN, 0, NoData),
        (SERVFAIL, 0, ServerFailure),
        (0, SERVFAIL, ServerFailure),
        (NXDOMAIN, SERVFAIL, ServerFailure),
    ] {
        let mut resolver = resolver("options attempts:1");
        ask(&mut resolver, 0, WWW, 1);
        let [v6, v4] = pair(&mut resolver);
        resolver.handle_datagram(5, v6.key, &flags(&v6, six));
        assert_eq!(resolver.poll_answer(), None);
        resolver.handle_datagram(5, v4.key, &flags(&v4, four));
        assert_answer(&mut resolver, Err(expected));
        assert_eq!(resolver.cached(), 0, "without a SOA, and never a failure");
    }
    // Silence of one family outweighs what the other says.
    let mut silent = resolver("");
    ask(&mut silent, 0, WWW, 1);
    let [v6, _] = pair(&mut silent);
    silent.handle_datagram(5, v6.key, &flags(&v6, 0));
    silent.handle_timeout(TOTAL_TIMEOUT_MS);
    assert_answer(&mut silent, Err(Timeout));
}

#[test]
fn a_name_that_does_not_exist_waits_a_moment_for_the_other_family() {
    let mut resolver = resolver("search a.example");
    ask(&mut resolver, 0, "www", 1);
    let [v6, v4] = pair(&mut resolver);
    assert_eq!(see(&v4.bytes).name, "www.a.example");
    resolver.handle_datagram(5, v4.key, &flags(&v4, NXDOMAIN));
    assert_eq!((sent(&mut resolver), resolver.deadline()), (vec![], Some(5 + RESOLUTION_DELAY_MS)));
    resolver.handle_timeout(5 + RESOLUTION_DELAY_MS);
    assert_eq!([resolver.poll_close(), resolver.poll_close()], [Some(v4.key), Some(v6.key)]);
    // The next name, whose two questions are new, and whose denials come together.
    for query in pair(&mut resolver) {
        assert_eq!(see(&query.bytes).name, "www");
        resolver.handle_datagram(60, query.key, &flags(&query, NXDOMAIN));
    }
    assert_answer(&mut resolver, Err(DnsError::NotFound));
}

#[test]
fn the_search_ends_at_a_name_that_has_addresses_of_either_family() {
    for (family, address) in [(Family::V6, SIX), (Family::V4, FOUR)] {
        let mut resolver = resolver("search a.example b.example");
        ask(&mut resolver, 0, "www", 1);
        for query in pair(&mut resolver) {
            resolver.handle_datagram(5, query.key, &flags(&query, 0));
        }
        for query in pair(&mut resolver) {
            assert_eq!(see(&query.bytes).name, "www.b.example");
            let has = see(&query.bytes).family == family;
            let message = if has { found(&query, &[address]) } else { flags(&query, 0) };
            resolver.handle_datagram(5, query.key, &message);
        }
        let name = name("www.b.example.");
        let found = Resolved { name, addresses: addresses_at(&[address]) };
        assert_answer(&mut resolver, Ok(found));
    }
}

#[test]
fn both_families_share_the_limit() {
    let six: Vec<String> = (0..20).map(|last| format!("2001:db8::{last}")).collect();
    let four: Vec<String> = (0..20).map(|last| format!("192.0.2.{last}")).collect();
    let mut resolver = resolver("");
    ask(&mut resolver, 0, WWW, 1);
    for (query, list) in pair(&mut resolver).iter().zip([&six, &four]) {
        let list: Vec<&str> = list.iter().map(String::as_str).collect();
        resolver.handle_datagram(5, query.key, &found(query, &list));
    }
    let expected: Vec<&str> =
        six.iter().zip(&four).take(8).flat_map(|(six, four)| [&six[..], &four[..]]).collect();
    assert_answer(&mut resolver, good(&expected));
}

#[test]
fn waiters_for_a_name_share_one_list_of_its_addresses() {
    let mut resolver = resolver("");
    for waiter in 0..10 {
        ask(&mut resolver, 0, WWW, waiter);
    }
    let [v6, v4] = pair(&mut resolver);
    resolver.handle_datagram(5, v6.key, &found(&v6, &[SIX]));
    resolver.handle_datagram(5, v4.key, &found(&v4, &[FOUR]));
    let answers = std::iter::from_fn(|| resolver.poll_answer());
    let lists: Vec<Addresses> = answers.map(|(_, answer)| answer.unwrap().addresses).collect();
    assert_eq!((lists.len(), &lists[0]), (10, &addresses_at(&[SIX, FOUR])));
    assert!(lists.iter().all(|list| Arc::ptr_eq(list, &lists[0])));
}

#[test]
fn a_mapped_address_is_ipv4_and_named_once() {
    let mut resolver = resolver("");
    ask(&mut resolver, 0, WWW, 1);
    let [v6, v4] = pair(&mut resolver);
    resolver.handle_datagram(5, v6.key, &found(&v6, &["::ffff:192.0.2.1", SIX]));
    resolver.handle_datagram(5, v4.key, &found(&v4, &[FOUR, "192.0.2.2"]));
    assert_answer(&mut resolver, good(&[FOUR, SIX, "192.0.2.2"]));
}

#[test]
fn new_servers_are_asked_again_for_the_family_that_was_answered() {
    let mut resolver = resolver("");
    ask(&mut resolver, 0, WWW, 1);
    let [v6, v4] = pair(&mut resolver);
    resolver.handle_datagram(5, v4.key, &found(&v4, &[FOUR]));
    resolver.set_settings(ResolverSettings::from_resolv_conf(b"nameserver 127.0.0.2", |_| None));
    resolver.handle_timeout(6);
    let closed: Vec<u64> = std::iter::from_fn(|| resolver.poll_close()).collect();
    assert_eq!(closed, [v4.key, v6.key]);
    let [v6, v4] = pair(&mut resolver);
    assert_eq!(v4.server.to_string(), "127.0.0.2:53");
    resolver.handle_timeout(5 + RESOLUTION_DELAY_MS);
    assert_eq!(resolver.poll_answer(), None, "the old answer does not count");
    resolver.handle_datagram(100, v6.key, &found(&v6, &[SIX]));
    resolver.handle_datagram(100, v4.key, &found(&v4, &["192.0.2.9"]));
    assert_answer(&mut resolver, good(&[SIX, "192.0.2.9"]));
}

#[test]
fn the_questions_of_a_name_begin_with_the_same_server_even_if_servers_take_turns() {
    let mut resolver = resolver("nameserver 127.0.0.1\nnameserver 127.0.0.2\noptions rotate");
    for (waiter, last) in [2, 1, 2, 1].into_iter().enumerate() {
        ask(&mut resolver, 0, &format!("n{waiter}.example"), waiter as u64);
        for query in pair(&mut resolver) {
            assert_eq!(query.server.to_string(), format!("127.0.0.{last}:53"), "{waiter}");
        }
    }
}

#[test]
fn with_no_aaaa_only_ipv4_is_asked_for() {
    let mut resolver = resolver("options no-aaaa");
    ask(&mut resolver, 0, WWW, 1);
    let v4 = only(&mut resolver, Family::V4);
    resolver.handle_datagram(5, v4.key, &found(&v4, &[FOUR]));
    assert_answer(&mut resolver, good(&[FOUR]));
    assert_eq!(known(&mut resolver, 6), good(&[FOUR]));
}
