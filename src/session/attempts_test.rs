//! The attempts to reach a target with several addresses, as the session sees them.

use super::*;

const SECOND: IpAddr = v4(10, 2, 0, 2);

/// A session that has started to connect to the first of two addresses, `GOOD` and `SECOND`.
fn connecting(rules: &RuleSet) -> Session {
    let (mut session, _) = start(rules, &request(1, GOOD, 80, "www.example"));
    let found = resolved("www.example", &[GOOD, SECOND]);
    assert_eq!(session.handle_resolved(&Ok(found), &env(rules)), connect(0, GOOD));
    session
}

#[test]
fn attempts_start_250_ms_apart_and_the_first_to_connect_wins() {
    let rules = rules("permit c *.*.*.*");
    let address = |last| v4(10, 2, 0, last);
    let addresses: Vec<_> = (1..=6).map(address).collect();
    let (mut session, _) = start(&rules, &request(1, GOOD, 80, "www.example"));
    let action = session.handle_resolved(&Ok(resolved("www.example", &addresses)), &env(&rules));
    assert_eq!(action, connect(0, address(1)));
    // A fifth and those after it replace the oldest, three seconds apart.
    for (attempt, now) in [(1, 250), (2, 500), (3, 750), (4, 3_750), (5, 6_750)] {
        assert_eq!(session.deadline(&DURATIONS), Some(now), "attempt {attempt}");
        let action = session.handle_deadline(&DURATIONS, &env_at(&rules, now));
        let target = SocketAddr::new(addresses[attempt], 80);
        let replaces_oldest = attempt > 3;
        assert_eq!(action, Action::Connect { attempt, target, replaces_oldest });
    }
    assert_eq!(session.deadline(&DURATIONS), Some(DURATIONS.connect_ms), "for all of them");
    let action = session.handle_connected(3, OWN, 7_000);
    assert_eq!(action, grant(OWN));
    assert_eq!(session.address(), Some(IpPort::new(address(4), 80)));
}

#[test]
fn the_time_of_each_attempt_counts_from_the_first_however_late_that_is() {
    let rules = rules("permit c *.*.*.*");
    let addresses = [GOOD, SECOND, v4(10, 2, 0, 3)];
    let (mut session, _) = start(&rules, &request(1, GOOD, 80, "www.example"));
    let found = Ok(resolved("www.example", &addresses));
    let action = session.handle_resolved(&found, &env_at(&rules, 5_000));
    assert_eq!((action, session.deadline(&DURATIONS)), (connect(0, GOOD), Some(5_250)));
    let later = env_at(&rules, 5_250);
    assert_eq!(session.handle_deadline(&DURATIONS, &later), connect(1, SECOND));
    assert_eq!(session.deadline(&DURATIONS), Some(5_500));
    session.handle_attempt_failed(1, CloseReason::NoResources, &later);
    assert_eq!(session.deadline(&DURATIONS), Some(5_250 + 12 * DELAY_MS), "postponed");
}

#[test]
fn a_failed_attempt_starts_the_next_at_once_and_the_last_failure_is_the_reason() {
    let rules = rules("permit c *.*.*.*");
    let mut session = connecting(&rules);
    let action = session.handle_attempt_failed(0, CloseReason::TargetRefused, &env_at(&rules, 10));
    assert_eq!(action, connect(1, SECOND));
    let action = session.handle_attempt_failed(1, CloseReason::Unreachable, &env_at(&rules, 20));
    assert_eq!(action, rejection(CloseReason::Unreachable));
    assert_eq!(session.state(), &State::Rejecting(CloseReason::Unreachable));
    // With both under way, one that fails leaves the other.
    let mut session = connecting(&rules);
    session.handle_deadline(&DURATIONS, &env_at(&rules, DELAY_MS));
    let action = session.handle_attempt_failed(1, CloseReason::TargetRefused, &env_at(&rules, 300));
    assert_eq!(action, Action::Wait);
    let late = env_at(&rules, DURATIONS.connect_ms);
    let timed_out = rejection(CloseReason::ConnectTimeout);
    assert_eq!(session.handle_deadline(&DURATIONS, &late), timed_out);
    assert_eq!(session.state(), &State::Rejecting(CloseReason::ConnectTimeout));
}

#[test]
fn that_the_last_failure_is_that_of_an_earlier_attempt_is_told() {
    let rules = rules("permit c *.*.*.*");
    let mut session = connecting(&rules);
    let env = env_at(&rules, DELAY_MS);
    assert_eq!(session.handle_deadline(&DURATIONS, &env), connect(1, SECOND));
    let action = session.handle_attempt_failed(1, CloseReason::Unreachable, &env);
    assert_eq!(action, Action::Wait);
    let action = session.handle_attempt_failed(0, CloseReason::TargetRefused, &env);
    assert_eq!(action, rejection(CloseReason::TargetRefused));
    assert_eq!(session.address(), Some(IpPort::new(GOOD, 80)), "the one that refused");
}

#[test]
fn an_attempt_without_a_descriptor_replaces_the_one_under_way_later() {
    let rules = rules("permit c *.*.*.*");
    let mut session = connecting(&rules);
    let early = env_at(&rules, DELAY_MS);
    assert_eq!(session.handle_deadline(&DURATIONS, &early), connect(1, SECOND));
    let action = session.handle_attempt_failed(1, CloseReason::NoResources, &early);
    assert_eq!((action, session.deadline(&DURATIONS)), (Action::Wait, Some(13 * DELAY_MS)));
    assert_eq!(session.address(), Some(IpPort::new(GOOD, 80)), "the other was not dialled");
    let later = env_at(&rules, 13 * DELAY_MS);
    let target = SocketAddr::new(SECOND, 80);
    let replacement = Action::Connect { attempt: 1, target, replaces_oldest: true };
    assert_eq!(session.handle_deadline(&DURATIONS, &later), replacement);
    let action = session.handle_attempt_failed(1, CloseReason::NoResources, &later);
    assert_eq!(action, rejection(CloseReason::NoResources));
}

#[test]
fn an_older_attempt_without_resources_has_failed_and_is_not_started_twice() {
    let rules = rules("permit c *.*.*.*");
    let mut session = connecting(&rules);
    let env = env_at(&rules, DELAY_MS);
    assert_eq!(session.handle_deadline(&DURATIONS, &env), connect(1, SECOND));
    let action = session.handle_attempt_failed(0, CloseReason::NoResources, &env);
    assert_eq!(action, Action::Wait);
    assert_eq!(session.deadline(&DURATIONS), Some(DURATIONS.connect_ms), "none is left to start");
}

#[test]
fn an_attempt_that_has_made_way_is_no_hope_any_more() {
    let rules = rules("permit c *.*.*.*");
    let addresses: Vec<_> = (1..=6).map(|last| v4(10, 2, 0, last)).collect();
    let (mut session, _) = start(&rules, &request(1, GOOD, 80, "www.example"));
    session.handle_resolved(&Ok(resolved("www.example", &addresses)), &env(&rules));
    for attempt in 1..6 {
        session.handle_deadline(&DURATIONS, &env_at(&rules, attempt * DELAY_MS));
    }
    let env = env_at(&rules, 6 * DELAY_MS);
    for attempt in 2..5 {
        let action = session.handle_attempt_failed(attempt, CloseReason::TargetRefused, &env);
        assert_eq!(action, Action::Wait, "attempt {attempt}");
    }
    let action = session.handle_attempt_failed(5, CloseReason::TargetRefused, &env);
    assert_eq!(action, rejection(CloseReason::TargetRefused));
}
