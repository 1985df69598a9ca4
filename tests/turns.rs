//! One turn of the loop hands out a bounded number of answers and deadlines: thousands that come
//! due together must not hold up other sessions. And deadlines that no flag sets, shortened. The
//! loop runs here, turn by turn.

#![cfg(feature = "server")]

mod common;

use common::machine::can_open;
use common::servers::*;
use common::traffic::full_listener;
use common::turns::*;
use common::*;
use socku::internals::reason::CloseReason;
use socku::internals::time::Millis;
use std::cell::RefCell;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddrV4, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// More than one turn handles.
const WAITERS: usize = 400;
const PER_TURN: usize = 64;
/// Both ends of each are in this program, for two tests at once.
const DESCRIPTORS: u64 = 4 * WAITERS as u64 + 100;

/// All answers in one turn would delay other sessions.
#[test]
fn many_waiters_for_one_name_are_answered_over_several_turns() {
    if !can_open(DESCRIPTORS) {
        return;
    }
    let (server, at) = name_server();
    // The address is not permitted: answers are replies, and nothing is connected to.
    let rules = "permit c 127.9.0.0/16\n";
    let mut proxy = Loop::start(rules, at, |_| ());
    let mut clients: Vec<TcpStream> = Vec::new();
    for _ in 0..WAITERS {
        let mut client = proxy.dial();
        client.write_all(&request_4a(1, b"name.test", 80, b"")).unwrap();
        clients.push(client);
    }
    proxy.turn_until("all to wait", |reactor| reactor.resolver().waiters() == WAITERS);
    let question = question(&server);
    server.send_to(&addresses(&question, &[[127, 0, 0, 1]])[0], question.from).unwrap();
    // All are due in the turn in which the datagram comes, and that one hands out its part.
    let mut left = WAITERS;
    proxy.turn_until("all to be answered", |reactor| {
        let now_left = reactor.resolver().waiters() + reactor.resolver().answers();
        assert!(left - now_left <= PER_TURN, "{} answers in a turn", left - now_left);
        left = now_left;
        left == 0
    });
    for client in &mut clients {
        client.set_nonblocking(false).unwrap();
        assert_eq!(read_reply(client).0, 91);
    }
}

#[test]
fn deadlines_that_are_due_together_are_handled_over_several_turns() {
    if !can_open(DESCRIPTORS) {
        return;
    }
    const LINGER_MS: Millis = 1_000;
    let mut proxy = Loop::start(PERMIT_ALL, NOBODY, |durations| durations.linger_ms = LINGER_MS);
    // Refused, and not closing: each session ends when its time to linger does.
    let mut clients: Vec<TcpStream> = (0..WAITERS).map(|_| proxy.dial()).collect();
    clients.iter_mut().for_each(|client| client.write_all(&[4, 9]).unwrap());
    proxy.turn_until("all to come", |reactor| reactor.stats().opened == WAITERS as u64);
    // The wait makes all of them due at once, so that only the limit spreads them.
    thread::sleep(Duration::from_millis(LINGER_MS));
    let mut left = proxy.reactor.session_count();
    proxy.turn_until("all to end", |reactor| {
        let now_left = reactor.session_count();
        assert!(left - now_left <= PER_TURN, "{} deadlines in a turn", left - now_left);
        left = now_left;
        left == 0
    });
}

#[test]
fn an_event_of_a_session_that_has_ended_reaches_none_after_it() {
    let (listener, target) = listener();
    let mut proxy = Loop::start(PERMIT_ALL, NOBODY, |_| ());
    let mut first = proxy.dial();
    first.write_all(&request(1, target, b"")).unwrap();
    proxy.settle();
    let peer = accept(&listener);
    proxy.settle();
    // The next turn is told of these in their order: a client that may have the slot, the end of
    // the session that had it, and what the client of that did last.
    let mut second = proxy.dial();
    second.write_all(&request(2, target, b"")).unwrap();
    reset(peer);
    first.shutdown(Shutdown::Write).unwrap();
    proxy.settle();
    assert_eq!(proxy.reactor.stats().closed(CloseReason::TargetReset), 1);
    second.set_nonblocking(false).unwrap();
    assert_eq!(read_reply(&mut second).0, 90);
    second.set_nonblocking(true).unwrap();
    let error = second.read(&mut [0]).expect_err("a BIND awaits its peer");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

#[test]
fn the_deadline_of_a_session_that_has_ended_wakes_nobody() {
    const REQUEST_MS: Millis = 500;
    let mut proxy = Loop::start(PERMIT_ALL, NOBODY, |times| times.request_ms = REQUEST_MS);
    let first = proxy.dial();
    proxy.settle();
    drop(first);
    proxy.settle();
    assert_eq!(proxy.reactor.stats().closed_total(), 1);
    thread::sleep(Duration::from_millis(200));
    let began = Instant::now();
    let _second = proxy.dial();
    proxy.settle();
    proxy.reactor.turn(None).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(REQUEST_MS - 2), "{:?}", began.elapsed());
}

/// Turns until the one client, who has left, is let go.
fn turn_until_left(proxy: &mut Loop) {
    proxy.turn_until("the client to be let go", |reactor| reactor.stats().closed_total() == 1);
    assert_eq!(proxy.reactor.stats().closed(CloseReason::ClientLeft), 1);
}

const LEAVE_MS: Millis = 600;
/// Long enough not to come before that, and not for ever.
const CONNECT_MS: Millis = 6_000;
/// How long something else takes first.
const BEFORE_MS: Millis = 400;

#[test]
fn a_client_that_has_closed_its_side_is_waited_for_from_then_on() {
    let (_listener, target, _filler) = full_listener();
    let mut proxy = Loop::start(PERMIT_ALL, NOBODY, |times| {
        (times.leave_ms, times.connect_ms) = (LEAVE_MS, CONNECT_MS);
    });
    let mut client = proxy.dial();
    client.write_all(&request(1, target, b"")).unwrap();
    proxy.settle();
    thread::sleep(Duration::from_millis(BEFORE_MS));
    let left = Instant::now();
    client.shutdown(Shutdown::Write).unwrap();
    turn_until_left(&mut proxy);
    let took = left.elapsed().as_millis() as Millis;
    assert!((LEAVE_MS - 2..CONNECT_MS).contains(&took), "{took} ms");
}

#[test]
fn a_client_that_has_closed_its_side_is_waited_for_as_long_after_its_name_is_known() {
    let (_listener, target, _filler) = full_listener();
    let (server, at) = name_server();
    let mut proxy = Loop::start(PERMIT_ALL, at, |times| {
        (times.leave_ms, times.connect_ms) = (LEAVE_MS, CONNECT_MS);
    });
    let mut client = proxy.dial();
    client.write_all(&request_4a(1, b"name.test", target.port(), b"")).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    proxy.settle();
    let question = question(&server);
    thread::sleep(Duration::from_millis(BEFORE_MS));
    let known = Instant::now();
    let answer = &addresses(&question, &[target.ip().octets()])[0];
    server.send_to(answer, question.from).unwrap();
    turn_until_left(&mut proxy);
    let took = known.elapsed().as_millis() as Millis;
    assert!((LEAVE_MS - 2..CONNECT_MS).contains(&took), "{took} ms");
}

/// Whether the kernel's timer for a connection to an address is that of keepalive.
fn is_probed(target: SocketAddrV4) -> bool {
    let octets = u32::from_ne_bytes(target.ip().octets());
    let other_end = format!("{octets:08X}:{:04X}", target.port());
    let table = fs::read_to_string("/proc/self/net/tcp").unwrap();
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines.any(|fields| fields[2] == other_end && fields[5].starts_with("02:"))
}

#[test]
fn the_kernel_probes_the_target_of_a_relay_that_has_been_idle_for_some_time() {
    let (listener, target) = listener();
    let mut proxy = Loop::start(PERMIT_ALL, NOBODY, |durations| {
        durations.keepalive_ms = 300;
        durations.idle_ms = Some(3_000);
    });
    let mut client = proxy.dial();
    client.write_all(&request(1, target, b"")).unwrap();
    proxy.settle();
    let _peer = accept(&listener);
    proxy.settle();
    assert!(!is_probed(target), "a short session is spared the call");
    proxy.turn_until("the target to be probed", |reactor| {
        assert_eq!(reactor.session_count(), 1, "the relay was cut");
        is_probed(target)
    });
}

thread_local! {
    static WARNINGS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Keeps the warnings of each thread.
struct Warnings;

impl log::Log for Warnings {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() == log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.level() == log::Level::Warn {
            WARNINGS.with_borrow_mut(|lines| lines.push(record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

fn keep_warnings() {
    // Another test of this program may have done so.
    let _ = log::set_logger(&Warnings);
    log::set_max_level(log::LevelFilter::Warn);
}

#[test]
fn a_loop_that_is_woken_for_nothing_warns_once() {
    keep_warnings();
    let mut proxy = Loop::start(PERMIT_ALL, NOBODY, |_| ());
    // As an embedder would do that asks for turns and does nothing in them.
    for _ in 0..35_000 {
        proxy.reactor.skip_wait();
        proxy.reactor.turn(None).unwrap();
    }
    let warnings = WARNINGS.take();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("the loop made 10000 turns in "), "{warnings:?}");
    assert!(warnings[0].ends_with(" woken by another source (10000)"), "{warnings:?}");
    // A machine so busy that a turn seems to have waited loses a few.
    assert!((20_000..35_000).contains(&proxy.reactor.stats().idle_turns));
}

#[test]
fn turns_that_an_embedder_has_a_use_for_are_not_in_vain() {
    keep_warnings();
    let mut proxy = Loop::start(PERMIT_ALL, NOBODY, |_| ());
    for _ in 0..12_000 {
        proxy.reactor.skip_wait();
        proxy.reactor.turn(None).unwrap();
        proxy.reactor.note_progress();
    }
    assert_eq!((WARNINGS.take().len(), proxy.reactor.stats().idle_turns), (0, 0));
}

/// A client can send bytes for which there is no room, one at a time: each is an event.
#[test]
fn peers_cause_no_turns_without_progress() {
    let mut proxy = Loop::start(PERMIT_ALL, NOBODY, |_| ());
    let mut client = proxy.dial();
    client.write_all(&request(2, SocketAddrV4::new([127, 0, 0, 1].into(), 9), b"")).unwrap();
    proxy.turn_until("the listener", |_| client.peek(&mut [0; 8]).is_ok_and(|n| n == 8));
    client.set_nodelay(true).unwrap();
    let before = proxy.reactor.stats().clone();
    for _ in 0..500 {
        client.write_all(b"x").unwrap();
        proxy.reactor.turn(None).unwrap();
    }
    let stats = proxy.reactor.stats();
    assert!(stats.events - before.events >= 500);
    assert_eq!(stats.idle_turns, before.idle_turns);
}

#[test]
fn hardly_a_turn_of_a_busy_relay_is_in_vain() {
    keep_warnings();
    let (listener, target) = listener();
    let mut proxy = Loop::start(PERMIT_ALL, NOBODY, |_| ());
    let mut client = proxy.dial();
    client.write_all(&request(1, target, b"")).unwrap();
    proxy.settle();
    let mut peer = accept(&listener);
    peer.set_nonblocking(true).unwrap();
    proxy.settle();
    let idle = proxy.reactor.stats().idle_turns;
    let turns = proxy.reactor.stats().turns;
    // 12,000 questions and answers, each in turns of its own, and more than one buffer now and then.
    client.read_exact(&mut [0; 8]).unwrap();
    for round in 0..6_000 {
        let question = vec![round as u8; if round % 100 == 0 { 20_000 } else { 1 }];
        exchange(&mut proxy, &mut client, &mut peer, &question);
        exchange(&mut proxy, &mut peer, &mut client, &question);
    }
    let stats = proxy.reactor.stats();
    let (idle, turns) = (stats.idle_turns - idle, stats.turns - turns);
    assert!(turns > 10_000 && idle * 10 < turns, "{idle} of {turns}");
    assert!(WARNINGS.take().is_empty());
}

/// Sends bytes and turns the loop until they have arrived.
fn exchange(proxy: &mut Loop, from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    from.write_all(bytes).unwrap();
    let mut left = bytes.len();
    proxy.turn_until("the bytes", |_| {
        match to.read(&mut [0; 32_768]) {
            Ok(n) => left -= n,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        left == 0
    });
}
