//! How queries are shared out among sources, with hand-written server answers and, but for the last
//! test, one question for each name.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use super::super::super::server::*;
use super::super::super::{Hosts, ResolverSettings, TOTAL_TIMEOUT_MS, Transmit};
use super::super::{Lookup, QUERIES_MAX, TIMEOUTS_PER_CALL};
use super::*;

const FLOOD: u64 = 300;

fn source(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, last).into()
}

fn resolver(resolv_conf: &str) -> Resolver {
    let text = format!("{resolv_conf}\noptions no-aaaa\n");
    let settings = ResolverSettings::from_resolv_conf(text.as_bytes(), |_| None);
    Resolver::new(settings, Hosts::default(), Box::new(|| 7))
}

fn ask(resolver: &mut Resolver, now: u64, text: &str, last: u8, waiter: u64) {
    let lookup = resolver.resolve(now, &name(text), source(last), waiter);
    assert_eq!(lookup, Lookup::Waiting, "{text}");
}

/// A resolver with more questions of one source than there are queries, and the queries it sends.
fn flooded(resolv_conf: &str) -> (Resolver, Vec<Transmit>) {
    let mut resolver = resolver(resolv_conf);
    for waiter in 0..FLOOD {
        ask(&mut resolver, 0, &format!("flood{waiter}.test"), 1, waiter);
    }
    let sent = sent(&mut resolver);
    assert_eq!(sent.len(), QUERIES_MAX);
    (resolver, sent)
}

fn key(text: &str) -> QuestionKey {
    QuestionKey::new(&name(text).to_absolute(), Family::V4)
}

fn sent(resolver: &mut Resolver) -> Vec<Transmit> {
    std::iter::from_fn(|| resolver.poll_transmit()).collect()
}

fn names(sent: &[Transmit]) -> Vec<String> {
    sent.iter().map(|transmit| see(&transmit.bytes).name).collect()
}

fn answer(resolver: &mut Resolver, now: u64, transmit: &Transmit) {
    let message = reply(&transmit.bytes, RA, &[a("&", 60, [192, 0, 2, 1])], &[]);
    resolver.handle_datagram(now, transmit.key, &message);
}

#[test]
fn a_new_source_is_served_at_once_however_many_questions_another_has() {
    let (mut resolver, flood) = flooded("");
    ask(&mut resolver, 5, "good.test", 2, 1000);
    assert_eq!(resolver.poll_close(), Some(flood[0].key), "the oldest is preempted");
    let good = sent(&mut resolver);
    assert_eq!((names(&good), resolver.queries()), (vec!["good.test".into()], QUERIES_MAX));
    answer(&mut resolver, 6, &good[0]);
    let (waiter, found) = resolver.poll_answer().unwrap();
    assert_eq!((waiter, found.is_ok()), (1000, true));
    // The preempted question is in its old place, before all later ones.
    assert_eq!(names(&sent(&mut resolver)), ["flood0.test"]);
    // The deadline of its waiter is unchanged.
    let mut late = Vec::new();
    while let Some(now) = resolver.deadline() {
        assert!(now <= TOTAL_TIMEOUT_MS);
        resolver.handle_timeout(now);
        late.extend(std::iter::from_fn(|| resolver.poll_answer()));
    }
    assert_eq!(late.len() as u64, FLOOD);
    assert!(resolver.shares.is_empty() && resolver.questions.is_empty());
}

#[test]
fn sources_get_even_shares_and_preemption_then_stops() {
    let (mut resolver, _) = flooded("");
    for (last, expected) in [(2, 32), (3, 21), (4, 16)] {
        for waiter in 0..FLOOD {
            let text = format!("s{last}n{waiter}.test");
            ask(&mut resolver, 1, &text, last, u64::from(last) * 1000 + waiter);
        }
        assert_eq!(resolver.queries(), QUERIES_MAX);
        let count = |last| {
            resolver
                .questions
                .values()
                .filter(|q| q.payer == source(last) && q.query.is_some())
                .count()
        };
        for last in 1..=last {
            assert!((expected..=expected + 1).contains(&count(last)), "{last}: {}", count(last));
        }
    }
}

#[test]
fn preemption_is_not_counted_as_a_try_and_moves_on_to_the_next_server() {
    let (mut resolver, flood) = flooded("nameserver 127.0.0.1\nnameserver 127.0.0.2\n");
    assert_eq!(flood[0].server.ip().to_string(), "127.0.0.1");
    for round in 0..10 {
        ask(&mut resolver, round, &format!("good{round}.test"), 2, 1000 + round);
        let good = sent(&mut resolver);
        answer(&mut resolver, round, &good[0]);
        let again = sent(&mut resolver);
        let question = &resolver.questions[&key(&names(&again)[0])];
        assert_eq!(question.tries, 1, "{round}");
        assert_eq!(again[0].server.ip().to_string(), "127.0.0.2", "{round}");
    }
}

#[test]
fn a_question_of_two_sources_is_sent_as_soon_as_if_the_lighter_asked_alone() {
    let (mut resolver, _) = flooded("");
    // It is queued after more than 200 others.
    ask(&mut resolver, 1, "flood299.test", 2, 1000);
    assert_eq!(names(&sent(&mut resolver)), ["flood299.test"]);
    assert_eq!(resolver.queries(), QUERIES_MAX);
    // One in flight, and the oldest: another one is preempted for the third source.
    ask(&mut resolver, 1, "flood1.test", 3, 1001);
    ask(&mut resolver, 1, "good.test", 4, 1002);
    assert_eq!(names(&sent(&mut resolver)), ["good.test"]);
    assert!(resolver.questions[&key("flood1.test")].query.is_some());
    // When its payer leaves, the question continues for the other source.
    resolver.cancel(2, 1001);
    let question = &resolver.questions[&key("flood1.test")];
    assert_eq!((question.payer, question.query.is_some()), (source(1), true));
    resolver.cancel(2, 1);
    assert!(!resolver.questions.contains_key(&key("flood1.test")));
}

#[test]
fn a_preempted_question_waits_in_the_queue_of_its_lightest_source() {
    let mut resolver = resolver("");
    // A popular name first, then the flood: its query is the oldest of that source.
    ask(&mut resolver, 0, "popular.test", 1, 5000);
    ask(&mut resolver, 0, "popular.test", 2, 5001);
    for waiter in 0..FLOOD {
        ask(&mut resolver, 0, &format!("flood{waiter}.test"), 1, waiter);
    }
    sent(&mut resolver);
    ask(&mut resolver, 1, "good.test", 3, 5002);
    // Both the new name and the popular one are queried.
    assert_eq!(names(&sent(&mut resolver)), ["good.test", "popular.test"]);
    assert_eq!(resolver.questions[&key("popular.test")].payer, source(2));
}

#[test]
fn cancelled_waiters_leave_nothing_behind() {
    let mut resolver = resolver("");
    let mut waiting = VecDeque::new();
    for waiter in 0..3_000u64 {
        let text = format!("n{}.test", waiter * 7919 % 400);
        ask(&mut resolver, 0, &text, (waiter % 50) as u8, waiter);
        waiting.push_back(waiter);
        if waiter % 3 == 0
            && let Some(gone) = waiting.pop_front()
        {
            resolver.cancel(0, gone);
        }
        assert!(resolver.queries() <= QUERIES_MAX && resolver.shares.victim().is_none());
    }
    for gone in waiting {
        resolver.cancel(0, gone);
    }
    assert_eq!((resolver.waiters(), resolver.queries()), (0, 0));
    assert!(resolver.shares.is_empty() && resolver.questions.is_empty());
}

#[test]
fn many_expired_waiters_take_several_calls() {
    let mut resolver = resolver("");
    for waiter in 0..1000 {
        ask(&mut resolver, 0, "silent.test", 1, waiter);
    }
    let (mut calls, mut answers) = (0, 0);
    while let Some(deadline) = resolver.deadline().filter(|_| resolver.waiters() > 0) {
        assert!(deadline <= TOTAL_TIMEOUT_MS);
        // The only query is removed, so that only the waiters time out.
        resolver.queries = Default::default();
        resolver.expiries.clear();
        resolver.handle_timeout(TOTAL_TIMEOUT_MS);
        let given = std::iter::from_fn(|| resolver.poll_answer()).count();
        assert!(given <= TIMEOUTS_PER_CALL);
        (calls, answers) = (calls + 1, answers + given);
    }
    assert_eq!((calls, answers), (1000usize.div_ceil(TIMEOUTS_PER_CALL), 1000));
}

#[test]
fn the_two_questions_of_a_name_are_two_of_its_sources_share() {
    let settings = ResolverSettings::from_resolv_conf(b"", |_| None);
    let mut resolver = Resolver::new(settings, Hosts::default(), Box::new(|| 7));
    for waiter in 0..FLOOD {
        ask(&mut resolver, 0, &format!("flood{waiter}.test"), 1, waiter);
    }
    let flood = names(&sent(&mut resolver));
    assert_eq!((flood.len(), flood.last().unwrap().as_str()), (QUERIES_MAX, "flood31.test"));
    // Another source has both of its questions sent at once, and no more than its half.
    for waiter in 0..FLOOD {
        ask(&mut resolver, 1, &format!("good{waiter}.test"), 2, 1000 + waiter);
    }
    let good = names(&sent(&mut resolver));
    assert_eq!((good.len(), resolver.queries()), (QUERIES_MAX / 2, QUERIES_MAX));
    assert_eq!(good[..4], ["good0.test", "good0.test", "good1.test", "good1.test"]);
}
