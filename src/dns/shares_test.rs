//! The order of turns, preemption, and that the shares even out in any case.

use super::*;
use crate::dns::family::Family;
use crate::dns::server::name;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

fn source(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, last).into()
}

fn enqueue(shares: &mut Shares, last: u8, place: u64) {
    let name = name(&format!("s{last}.n{place}"));
    shares.enqueue(source(last), place, QuestionKey::new(&name, Family::V4));
}

fn next(shares: &mut Shares) -> String {
    shares.next().expect("a question is waiting").name.to_string()
}

#[test]
fn equal_sources_take_turns_and_each_keeps_its_order() {
    let mut shares = Shares::default();
    for (last, place) in [(1, 1), (1, 2), (1, 3), (2, 4), (3, 5), (2, 6)] {
        enqueue(&mut shares, last, place);
    }
    let order: Vec<String> = (0..6).map(|_| next(&mut shares)).collect();
    assert_eq!(order, ["s1.n1", "s2.n4", "s3.n5", "s1.n2", "s2.n6", "s1.n3"]);
    assert!(shares.next().is_none() && shares.is_empty());
}

#[test]
fn the_source_with_the_fewest_queries_is_next() {
    let mut shares = Shares::default();
    for key in 1..=3 {
        shares.hold(source(1), key);
    }
    shares.hold(source(2), 4);
    enqueue(&mut shares, 1, 1);
    enqueue(&mut shares, 2, 2);
    enqueue(&mut shares, 3, 3);
    let order: Vec<String> = (0..3).map(|_| next(&mut shares)).collect();
    assert_eq!(order, ["s3.n3", "s2.n2", "s1.n1"]);
}

#[test]
fn a_question_that_is_queued_again_keeps_its_place() {
    let mut shares = Shares::default();
    for place in [7, 8, 5] {
        enqueue(&mut shares, 1, place);
    }
    shares.dequeue(source(1), 7);
    assert_eq!((next(&mut shares), next(&mut shares)), ("s1.n5".into(), "s1.n8".into()));
}

#[test]
fn the_oldest_query_of_the_largest_share_is_preempted_only_for_a_smaller_one() {
    let mut shares = Shares::default();
    for key in [5, 3, 4] {
        shares.hold(source(1), key);
    }
    assert_eq!(shares.victim(), None, "no question is waiting");
    enqueue(&mut shares, 1, 1);
    assert_eq!(shares.victim(), None, "its own questions gain nothing");
    shares.hold(source(2), 6);
    enqueue(&mut shares, 2, 2);
    assert_eq!(shares.victim(), Some(3));
    shares.hold(source(2), 7);
    assert_eq!(shares.victim(), None, "2 and 3 are even enough");
    enqueue(&mut shares, 3, 3);
    assert_eq!(shares.victim(), Some(3));
}

proptest! {
    /// From any state, preemption ends, and with even shares.
    #[test]
    fn shares_even_out_in_a_bounded_number_of_steps(
        held in proptest::collection::vec(0u8..6, 0..40),
        waiting in proptest::collection::vec(0u8..6, 0..40),
    ) {
        let mut shares = Shares::default();
        let mut owners: BTreeMap<u64, u8> = BTreeMap::new();
        for (key, &last) in held.iter().enumerate() {
            shares.hold(source(last), key as u64);
            owners.insert(key as u64, last);
        }
        for (place, &last) in waiting.iter().enumerate() {
            enqueue(&mut shares, last, place as u64);
        }
        let mut key = 1000;
        let mut steps = 0;
        while let Some(victim) = shares.victim() {
            let last = owners.remove(&victim).unwrap();
            shares.release(source(last), victim);
            enqueue(&mut shares, last, victim + 500);
            let next = next(&mut shares);
            let last: u8 = next[1..next.find('.').unwrap()].parse().unwrap();
            shares.hold(source(last), key);
            owners.insert(key, last);
            key += 1;
            steps += 1;
            prop_assert!(steps <= held.len());
        }
        prop_assert_eq!(owners.len(), held.len());
        let count = |last: u8| owners.values().filter(|&&owner| owner == last).count();
        let most = (0..6).map(count).max().unwrap_or(0);
        for &last in &waiting {
            let is_left = shares.sources.get(key_of(source(last))).is_some_and(|left| !left.queued.is_empty());
            prop_assert!(!is_left || count(last) + 1 >= most, "{:?}", owners);
        }
    }
}
