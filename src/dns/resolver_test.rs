//! Each rule of the resolver by itself, with hand-written server answers and one question for each
//! name; `families_test.rs` has both.

use std::net::SocketAddr;

use super::super::server::*;
use super::super::{TOTAL_TIMEOUT_MS, Transport};
use super::*;

const ONE: [u8; 4] = [192, 0, 2, 1];
/// The source of all questions, except in the tests about sources.
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const WAIT: Lookup = Lookup::Waiting;

fn resolver(resolv_conf: &str) -> Resolver {
    let text = format!("{resolv_conf}\noptions no-aaaa\n");
    let settings = ResolverSettings::from_resolv_conf(text.as_bytes(), |_| None);
    let mut id = 0;
    let random = move || {
        id += 1;
        id
    };
    Resolver::new(settings, Hosts::parse(b"10.0.0.1 gw gw.example\n"), Box::new(random))
}

const TWO_SERVERS: &str = "nameserver 127.0.0.1\nnameserver 127.0.0.2\n";

/// The only query to send now.
fn sent(resolver: &mut Resolver) -> Transmit {
    let transmit = resolver.poll_transmit().expect("a query");
    assert_eq!(resolver.poll_transmit(), None, "one query only");
    transmit
}

fn asked(transmit: &Transmit) -> (String, String, bool) {
    let framing = if transmit.transport == Transport::Tcp { 2 } else { 0 };
    let seen = see(&transmit.bytes[framing..]);
    (transmit.server.ip().to_string(), seen.name, seen.edns)
}

/// Looks up `text`, which must lead to one query, and returns that.
fn ask(resolver: &mut Resolver, text: &str, waiter: u64) -> Transmit {
    assert_eq!(resolver.resolve(0, &name(text), SOURCE, waiter), WAIT, "{text}");
    sent(resolver)
}

fn good(transmit: &Transmit, ttl: u32) -> Vec<u8> {
    reply(&transmit.bytes, RA, &[a("&", ttl, ONE)], &[])
}

/// The one address, of this name.
fn one(text: &str) -> Resolved {
    Resolved { name: name(text).to_absolute(), addresses: addresses(&[ONE]) }
}

#[track_caller]
fn assert_nothing_is_left(resolver: &mut Resolver, closed: &[u64]) {
    let closes: Vec<u64> = std::iter::from_fn(|| resolver.poll_close()).collect();
    assert_eq!(closes, closed);
    assert_eq!(resolver.poll_transmit(), None);
    assert_eq!(resolver.poll_answer(), None);
    assert_eq!(resolver.deadline(), None);
    assert_eq!((resolver.waiters(), resolver.queries()), (0, 0));
    assert!(resolver.questions.is_empty() && resolver.shares.is_empty());
    assert!(resolver.deadlines.is_empty() && resolver.answered.is_empty());
}

#[test]
fn the_hosts_file_is_consulted_first_without_completion() {
    let mut resolver = resolver("search example");
    for text in ["gw", "GW", "gw.", "gw.example"] {
        let found = Resolved { name: name(text), addresses: addresses(&[[10, 0, 0, 1]]) };
        let expected = Lookup::Done(Ok(found));
        assert_eq!(resolver.possible_names(&name(text)), [name(text)], "no other name is queried");
        assert_eq!(resolver.resolve(0, &name(text), SOURCE, 1), expected, "{text}");
    }
    assert_nothing_is_left(&mut resolver, &[]);
    resolver.set_hosts(Hosts::parse(b""));
    assert_eq!(asked(&ask(&mut resolver, "gw", 1)).1, "gw.example");
}

#[test]
fn localhost_is_loopback_and_never_queried() {
    let mut resolver = resolver("search localhost example");
    let loopback = |text: &str| {
        let addresses = addresses_at(&["127.0.0.1", "::1"]);
        Lookup::Done(Ok(Resolved { name: name(text), addresses }))
    };
    for text in ["localhost", "LocalHost", "localhost.", "a.localhost", "a.b.localhost."] {
        assert_eq!(resolver.resolve(0, &name(text), SOURCE, 1), loopback(text), "{text}");
        assert_eq!(resolver.possible_names(&name(text)), [name(text)]);
    }
    // The hosts file may list a name below localhost, but not localhost itself.
    resolver.set_hosts(Hosts::parse(b"10.0.0.9 localhost\n127.0.0.2 a.localhost\n"));
    assert_eq!(resolver.resolve(0, &name("localhost"), SOURCE, 1), loopback("localhost"));
    let Lookup::Done(Ok(found)) = resolver.resolve(0, &name("a.localhost"), SOURCE, 1) else {
        panic!("listed")
    };
    assert_eq!(found.addresses, addresses(&[[127, 0, 0, 2]]));
    assert_nothing_is_left(&mut resolver, &[]);
    // These only look like localhost.
    for (text, asked_for) in [("www", "www.example"), ("notlocalhost", "notlocalhost.example")] {
        assert_eq!(asked(&ask(&mut resolver, text, 1)).1, asked_for);
        resolver.cancel(0, 1);
    }
}

#[test]
fn one_answer_goes_to_all_waiters_and_into_the_cache() {
    let mut resolver = resolver("");
    let query = ask(&mut resolver, "www.example.com", 1);
    for waiter in 2..=10_000 {
        assert_eq!(resolver.resolve(0, &name("WWW.example.com."), SOURCE, waiter), WAIT);
    }
    assert_eq!((resolver.poll_transmit(), resolver.queries()), (None, 1));
    resolver.handle_datagram(5, query.key, &good(&query, 60));
    assert_eq!(resolver.answers(), 10_000);
    for waiter in 1..=10_000 {
        assert_eq!(resolver.poll_answer(), Some((waiter, Ok(one("www.example.com")))));
    }
    assert_nothing_is_left(&mut resolver, &[query.key]);
    let again = resolver.resolve(60_004, &name("www.example.com"), SOURCE, 1);
    assert_eq!(again, Lookup::Done(Ok(one("www.example.com"))), "within the TTL");
    assert_eq!(resolver.resolve(60_005, &name("www.example.com"), SOURCE, 1), WAIT, "after it");
}

#[test]
fn wrong_answers_are_ignored_and_the_right_one_is_still_accepted() {
    let mut resolver = resolver("");
    let query = ask(&mut resolver, "www.example.com", 1);
    let right = good(&query, 60);
    for at in [0, 1, 2, 5, 13] {
        let mut wrong = right.clone();
        wrong[at] ^= 0x10;
        resolver.handle_datagram(1, query.key, &wrong);
    }
    resolver.handle_datagram(1, query.key, b"");
    resolver.handle_datagram(1, query.key, &query.bytes);
    resolver.handle_datagram(1, query.key + 1, &right);
    assert_eq!((resolver.poll_answer(), resolver.poll_close()), (None, None));
    resolver.handle_datagram(1, query.key, &right);
    resolver.handle_datagram(1, query.key, &right);
    assert_eq!(resolver.poll_answer(), Some((1, Ok(one("www.example.com")))));
    assert_nothing_is_left(&mut resolver, &[query.key]);
}

#[test]
fn each_failure_moves_on_to_the_next_server_for_two_rounds() {
    type Fail = fn(&mut Resolver, u64, &Transmit);
    let failures: [(&str, Fail, DnsError); 6] = [
        ("closed port", |r, now, q| r.handle_error(now, q.key), DnsError::ServerFailure),
        ("SERVFAIL", |r, now, q| code(r, now, q, RA | SERVFAIL), DnsError::ServerFailure),
        ("REFUSED", |r, now, q| code(r, now, q, RA | REFUSED), DnsError::ServerFailure),
        ("referral", |r, now, q| code(r, now, q, 0), DnsError::ServerFailure),
        (
            "CNAME loop",
            |r, now, q| {
                let answer = reply(&q.bytes, RA, &[cname("&", 60, "&")], &[]);
                r.handle_datagram(now, q.key, &answer);
            },
            DnsError::ServerFailure,
        ),
        (
            "silence",
            |r, _, _| {
                let deadline = r.deadline().unwrap();
                r.handle_timeout(deadline);
            },
            DnsError::Timeout,
        ),
    ];
    fn code(resolver: &mut Resolver, now: u64, query: &Transmit, flags: u16) {
        resolver.handle_datagram(now, query.key, &reply(&query.bytes, flags, &[], &[]));
    }
    for (what, fail, error) in failures {
        let mut resolver = resolver(TWO_SERVERS);
        let mut query = ask(&mut resolver, "www.example.com", 1);
        for (server, edns) in [("127.0.0.1", true), ("127.0.0.2", true), ("127.0.0.1", false)] {
            assert_eq!(asked(&query), (server.into(), "www.example.com".into(), edns), "{what}");
            fail(&mut resolver, 0, &query);
            assert_eq!(resolver.poll_close(), Some(query.key), "{what}");
            query = sent(&mut resolver);
        }
        assert_eq!(asked(&query).0, "127.0.0.2");
        fail(&mut resolver, 0, &query);
        assert_eq!(resolver.poll_answer(), Some((1, Err(error))), "{what}");
        assert_nothing_is_left(&mut resolver, &[query.key]);
        assert_eq!(resolver.cached(), 0, "{what}");
    }
}

#[test]
fn the_last_server_can_still_answer_in_time() {
    let mut resolver = resolver("nameserver 127.0.0.1\nnameserver 127.0.0.2\nnameserver 127.0.0.3");
    let mut query = ask(&mut resolver, "www.example.com", 1);
    let mut now = 0;
    while query.server.ip().to_string() != "127.0.0.3" {
        now = resolver.deadline().unwrap();
        resolver.handle_timeout(now);
        assert_eq!(resolver.poll_close(), Some(query.key));
        query = sent(&mut resolver);
    }
    assert!(now < TOTAL_TIMEOUT_MS / 2, "asked at {now}");
    resolver.handle_datagram(now, query.key, &good(&query, 60));
    assert_eq!(resolver.poll_answer(), Some((1, Ok(one("www.example.com")))));
}

#[test]
fn servers_take_turns_only_with_rotate() {
    for (options, expected) in [("", [1, 1, 1, 1]), ("options rotate", [2, 1, 2, 1])] {
        let mut resolver = resolver(&format!("{TWO_SERVERS}{options}"));
        for (waiter, last) in expected.into_iter().enumerate() {
            let query = ask(&mut resolver, &format!("n{waiter}.example"), waiter as u64);
            assert_eq!(asked(&query).0, format!("127.0.0.{last}"), "{options} {waiter}");
        }
    }
}

#[test]
fn a_server_without_edns_is_queried_again_without_it() {
    let mut resolver = resolver(TWO_SERVERS);
    let query = ask(&mut resolver, "www.example.com", 1);
    resolver.handle_datagram(0, query.key, &reply(&query.bytes, FORMERR, &[], &[]));
    let plain = sent(&mut resolver);
    assert_eq!(asked(&plain), ("127.0.0.1".into(), "www.example.com".into(), false));
    assert_ne!(see(&plain.bytes).id, see(&query.bytes).id, "a new id");
    resolver.handle_datagram(0, plain.key, &reply(&plain.bytes, FORMERR, &[], &[]));
    assert_eq!(asked(&sent(&mut resolver)).0, "127.0.0.2", "a second FORMERR is a failure");
}

#[test]
fn a_truncated_answer_is_fetched_over_tcp_in_any_pieces() {
    let length =
        2 + reply(&tcp_query(&mut resolver("")).bytes[2..], RA, &[a("&", 9, ONE)], &[]).len();
    for cut in 0..=length {
        let mut resolver = resolver("");
        let query = tcp_query(&mut resolver);
        assert_eq!(query.transport, Transport::Tcp);
        let message = reply(&query.bytes[2..], RA, &[a("&", 9, ONE)], &[]);
        let mut wrong = message.clone();
        wrong[0] ^= 1;
        // An empty message and one with another id first: both are ignored.
        let stream = [framed(b""), framed(&wrong), framed(&message)].concat();
        let cut = stream.len() - length + cut;
        resolver.handle_stream_bytes(0, query.key, &stream[..cut]);
        resolver.handle_stream_bytes(0, query.key, &stream[cut..]);
        assert_eq!(resolver.poll_answer(), Some((1, Ok(one("www.example.com")))), "cut at {cut}");
        assert_nothing_is_left(&mut resolver, &[query.key]);
    }
}

#[test]
fn a_retry_without_edns_keeps_its_transport() {
    let mut resolver = resolver("");
    let query = tcp_query(&mut resolver);
    let refusal = framed(&reply(&query.bytes[2..], FORMERR, &[], &[]));
    resolver.handle_stream_bytes(0, query.key, &refusal);
    let plain = sent(&mut resolver);
    assert_eq!((asked(&plain).2, plain.transport), (false, Transport::Tcp));
}

/// Looks up a name, answers TC, and returns the TCP query that follows.
fn tcp_query(resolver: &mut Resolver) -> Transmit {
    let query = ask(resolver, "www.example.com", 1);
    resolver.handle_datagram(0, query.key, &reply(&query.bytes, RA | TC, &[], &[]));
    assert_eq!(resolver.poll_close(), Some(query.key));
    let tcp = sent(resolver);
    assert_eq!(tcp.server, query.server);
    assert_eq!(tcp.bytes[..2], ((tcp.bytes.len() - 2) as u16).to_be_bytes());
    tcp
}

#[test]
fn a_tcp_failure_moves_on_to_the_next_server() {
    type Fail = fn(&mut Resolver, &Transmit);
    let failures: [(&str, Fail); 4] = [
        ("closed early", |r, q| {
            r.handle_stream_bytes(0, q.key, &[0, 40, 1]);
            r.handle_error(0, q.key);
        }),
        ("64 KiB", |r, q| r.handle_stream_bytes(0, q.key, &[0xff, 0xff, 0])),
        ("TC again", |r, q| {
            let answer = reply(&q.bytes[2..], RA | TC, &[], &[]);
            r.handle_stream_bytes(0, q.key, &framed(&answer));
        }),
        ("silence", |r, _| r.handle_timeout(r.deadline().unwrap())),
    ];
    for (what, fail) in failures {
        let mut resolver = resolver(TWO_SERVERS);
        let query = tcp_query(&mut resolver);
        fail(&mut resolver, &query);
        assert_eq!(resolver.poll_close(), Some(query.key), "{what}");
        let next = sent(&mut resolver);
        assert_eq!((asked(&next).0.as_str(), next.transport), ("127.0.0.2", Transport::Udp));
    }
}

#[test]
fn the_search_list_ends_with_the_most_significant_error() {
    use DnsError::*;
    let nodata = (RA, NoData);
    let nx = (RA | NXDOMAIN, NotFound);
    let failure = (RA | SERVFAIL, ServerFailure);
    for (codes, expected) in [
        ([nx, nx], NotFound),
        ([nodata, nx], NoData),
        ([nx, nodata], NoData),
        ([failure, nx], ServerFailure),
        ([nodata, failure], ServerFailure),
    ] {
        let mut resolver = resolver("search a.example\noptions attempts:1");
        let mut query = ask(&mut resolver, "www", 1);
        for (index, (flags, _)) in codes.into_iter().enumerate() {
            assert_eq!(asked(&query).1, ["www.a.example", "www"][index]);
            resolver.handle_datagram(0, query.key, &reply(&query.bytes, flags, &[], &[]));
            assert_eq!(resolver.poll_close(), Some(query.key));
            if index == 0 {
                query = sent(&mut resolver);
            }
        }
        assert_eq!(resolver.poll_answer(), Some((1, Err(expected))), "{codes:x?}");
        assert_nothing_is_left(&mut resolver, &[]);
    }
}

#[test]
fn the_search_list_skips_names_cached_as_missing_and_ends_at_a_timeout() {
    let mut resolver = resolver("search a.example\noptions attempts:1");
    let query = ask(&mut resolver, "www", 1);
    let nx = reply(&query.bytes, RA | NXDOMAIN, &[], &[soa("example", 60, 60)]);
    resolver.handle_datagram(0, query.key, &nx);
    let query = sent(&mut resolver);
    resolver.handle_datagram(0, query.key, &good(&query, 60));
    assert_eq!(resolver.poll_answer(), Some((1, Ok(one("www")))));
    assert_eq!(
        resolver.resolve(1, &name("www"), SOURCE, 1),
        Lookup::Done(Ok(one("www"))),
        "both cached"
    );
    let missing = Lookup::Done(Err(DnsError::NotFound));
    assert_eq!(
        resolver.resolve(1, &name("www.a.example."), SOURCE, 1),
        missing,
        "negative as well"
    );

    let query = ask(&mut resolver, "ftp", 2);
    assert_eq!(asked(&query).1, "ftp.a.example");
    resolver.handle_timeout(TOTAL_TIMEOUT_MS);
    assert_eq!(resolver.poll_answer(), Some((2, Err(DnsError::Timeout))));
}

#[test]
fn a_waiter_that_joins_later_has_its_own_deadline() {
    let mut resolver = resolver("");
    let query = ask(&mut resolver, "www.example.com", 1);
    resolver.handle_timeout(5000);
    assert_eq!(resolver.poll_close(), Some(query.key));
    let query = sent(&mut resolver);
    assert_eq!(resolver.resolve(6000, &name("www.example.com"), SOURCE, 2), WAIT);
    assert_eq!(resolver.deadline(), Some(TOTAL_TIMEOUT_MS));
    resolver.handle_timeout(TOTAL_TIMEOUT_MS - 1);
    assert_eq!(resolver.poll_answer(), None);
    // The first waiter and the last try time out together, so both waiters are answered at once.
    resolver.handle_timeout(TOTAL_TIMEOUT_MS);
    assert_eq!(resolver.poll_answer(), Some((1, Err(DnsError::Timeout))));
    assert_eq!(resolver.poll_answer(), Some((2, Err(DnsError::Timeout))));
    assert_nothing_is_left(&mut resolver, &[query.key]);
}

#[test]
fn the_query_ends_when_its_last_waiter_leaves() {
    let mut resolver = resolver("");
    let query = ask(&mut resolver, "www.example.com", 1);
    assert_eq!(resolver.resolve(0, &name("www.example.com"), SOURCE, 2), WAIT);
    resolver.cancel(1, 1);
    assert_eq!(resolver.poll_close(), None);
    resolver.cancel(1, 2);
    resolver.cancel(1, 2);
    assert_nothing_is_left(&mut resolver, &[query.key]);

    assert_eq!(resolver.resolve(2, &name("www.example.com"), SOURCE, 3), WAIT);
    resolver.cancel(2, 3);
    assert_nothing_is_left(&mut resolver, &[]);

    // A waiter that leaves before its answer is polled does not get it, nor does a later one.
    let query = ask(&mut resolver, "www.example.com", 4);
    resolver.handle_datagram(2, query.key, &good(&query, 0));
    resolver.cancel(2, 4);
    assert_eq!((resolver.answers(), resolver.poll_answer()), (0, None));
    assert_nothing_is_left(&mut resolver, &[query.key]);
}

#[test]
fn queries_in_flight_are_limited_and_queued_questions_follow() {
    let mut resolver = resolver("options attempts:1");
    for waiter in 0..1000 {
        let text = format!("n{waiter}.example");
        assert_eq!(resolver.resolve(0, &name(&text), SOURCE, waiter), WAIT);
    }
    let mut queries: VecDeque<_> = std::iter::from_fn(|| resolver.poll_transmit()).collect();
    assert_eq!((queries.len(), resolver.queries()), (QUERIES_MAX, QUERIES_MAX));
    resolver.cancel(0, 500);
    let mut answered = 0;
    while let Some(query) = queries.pop_front() {
        resolver.handle_datagram(1, query.key, &good(&query, 60));
        assert_eq!(resolver.poll_close(), Some(query.key));
        let (waiter, answer) = resolver.poll_answer().unwrap();
        assert_eq!(
            (format!("n{waiter}.example"), answer),
            (asked(&query).1, Ok(one(&asked(&query).1)))
        );
        queries.extend(std::iter::from_fn(|| resolver.poll_transmit()));
        assert!(queries.len() <= QUERIES_MAX);
        answered += 1;
    }
    assert_eq!((answered, resolver.cached()), (999, 512));
    assert_nothing_is_left(&mut resolver, &[]);
}

#[test]
fn a_cancelled_waiter_frees_its_query_and_its_place_in_the_queue() {
    let mut resolver = resolver("");
    for waiter in 0..QUERIES_MAX as u64 + 3 {
        let text = format!("n{waiter}.example");
        assert_eq!(resolver.resolve(0, &name(&text), SOURCE, waiter), WAIT);
    }
    let first = resolver.poll_transmit().unwrap();
    while resolver.poll_transmit().is_some() {}
    resolver.cancel(0, QUERIES_MAX as u64);
    assert_eq!((resolver.shares.queued(), resolver.poll_transmit()), (2, None));
    resolver.cancel(0, 0);
    assert_eq!(resolver.poll_close(), Some(first.key));
    let next = format!("n{}.example", QUERIES_MAX + 1);
    assert_eq!(asked(&sent(&mut resolver)).1, next);
    assert_eq!((resolver.shares.queued(), resolver.queries()), (1, QUERIES_MAX));
}

#[test]
fn new_settings_apply_at_once_and_open_questions_are_restarted() {
    let mut resolver = resolver("");
    let old = ask(&mut resolver, "old.example", 1);
    resolver.handle_datagram(0, old.key, &good(&old, 60));
    assert!(resolver.poll_answer().is_some());
    let running = ask(&mut resolver, "running.example", 2);
    resolver.set_settings(ResolverSettings {
        servers: vec!["[::1]:5353".parse::<SocketAddr>().unwrap()],
        aaaa: false,
        ..ResolverSettings::default()
    });
    assert_eq!(resolver.poll_close(), Some(old.key));
    assert_eq!(resolver.poll_close(), Some(running.key), "the old server's answer is not accepted");
    assert_eq!((resolver.poll_close(), resolver.deadline()), (None, Some(0)));
    resolver.handle_datagram(0, running.key, &good(&running, 60));
    assert_eq!(resolver.poll_answer(), None);
    resolver.handle_timeout(0);
    let restarted = sent(&mut resolver);
    assert_eq!(asked(&restarted), ("::1".into(), "running.example".into(), true));
    let again = ask(&mut resolver, "old.example", 3);
    assert_eq!(again.server.to_string(), "[::1]:5353", "the cache is empty");
    resolver.handle_datagram(0, restarted.key, &good(&restarted, 60));
    assert_eq!(resolver.poll_answer(), Some((2, Ok(one("running.example")))));
    // Without any server, open questions fail.
    resolver.set_settings(ResolverSettings { servers: Vec::new(), ..ResolverSettings::default() });
    resolver.handle_timeout(0);
    assert_eq!(resolver.poll_answer(), Some((3, Err(DnsError::ServerFailure))));
    let failed = Lookup::Done(Err(DnsError::ServerFailure));
    assert_eq!(resolver.resolve(0, &name("new.example"), SOURCE, 4), failed);
}
