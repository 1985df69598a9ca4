//! Real sockets and a clock that the test moves.

use super::view::{Process, Usage};
use super::*;
use crate::stats::Stats;
use mio::Poll;
use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

const SECOND: Millis = 1000;
const GET_EVENTS: &[u8] = b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n";

struct Lab {
    poll: Poll,
    status: Status,
    now: Millis,
    changes: u64,
    views: Cell<usize>,
    /// Part of each event.
    version: String,
}

impl Lab {
    fn new() -> Lab {
        let poll = Poll::new().unwrap();
        let status = Status::listen(poll.registry(), (Ipv4Addr::LOCALHOST, 0).into(), 0).unwrap();
        Lab { poll, status, now: 5 * SECOND, changes: 1, views: Cell::new(0), version: "1".into() }
    }

    fn dial(&mut self) -> TcpStream {
        let stream = TcpStream::connect(self.status.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        self.turn();
        stream
    }

    /// Takes everything in that has happened by now.
    fn turn(&mut self) {
        // As edges come for all of them, each is run, whoever had one.
        for _ in 0..4 {
            self.status.accept(self.poll.registry(), SOURCES, self.now);
            self.serve(SOURCES);
        }
    }

    fn serve(&mut self, woken: u32) -> bool {
        let (stats, none) = (Stats::default(), VecDeque::new());
        let view = || {
            self.views.set(self.views.get() + 1);
            View {
                now: self.now,
                uptime_ms: 0,
                version: &self.version,
                stats: &stats,
                sessions: Box::new(std::iter::empty()),
                session_count: 0,
                recent_refusals: &none,
                usage: Usage::default(),
                process: Process::default(),
                draining: false,
            }
        };
        self.status.serve(woken, self.now, self.changes, &view)
    }

    fn wake_at(&self) -> Option<Millis> {
        self.status.wake_at(self.now, self.changes)
    }

    fn clients(&self) -> usize {
        self.status.clients.iter().flatten().count()
    }

    /// A client that has read the first event of a stream.
    fn stream(&mut self) -> TcpStream {
        let mut stream = self.dial();
        stream.write_all(GET_EVENTS).unwrap();
        self.turn();
        assert_eq!(events(&mut stream), 1);
        stream
    }
}

/// How many events there are to be read.
fn events(stream: &mut TcpStream) -> usize {
    let mut bytes = Vec::new();
    stream.set_nonblocking(true).unwrap();
    let _ = stream.read_to_end(&mut bytes);
    stream.set_nonblocking(false).unwrap();
    bytes.windows(6).filter(|window| window == b"data: ").count()
}

#[test]
fn a_request_must_have_arrived_within_ten_seconds() {
    let mut lab = Lab::new();
    let mut silent = lab.dial();
    silent.write_all(b"GET / HTTP/1.1\r\nHost:").unwrap();
    let start = lab.now;
    lab.now += 9 * SECOND;
    silent.write_all(b" localhost\r\n").unwrap();
    lab.turn();
    assert_eq!((lab.clients(), lab.wake_at()), (1, Some(start + 10 * SECOND)));
    lab.now = start + 10 * SECOND;
    assert!(lab.serve(0));
    assert_eq!((lab.clients(), lab.wake_at()), (0, None));
    assert!(matches!(silent.read(&mut [0]), Ok(0) | Err(_)));
}

#[test]
fn a_client_that_has_its_answer_must_close_within_two_seconds() {
    let mut lab = Lab::new();
    let mut client = lab.dial();
    client.write_all(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    lab.turn();
    assert_eq!(lab.wake_at(), Some(lab.now + 2 * SECOND));
    client.read_to_end(&mut Vec::new()).unwrap();
    lab.now += 2 * SECOND;
    lab.serve(0);
    assert_eq!(lab.clients(), 0);
}

#[test]
fn streams_that_are_due_share_one_snapshot_and_without_a_change_nothing_is_due() {
    let mut lab = Lab::new();
    let mut streams: Vec<TcpStream> = (0..3).map(|_| lab.stream()).collect();
    let before = lab.views.get();
    assert_eq!(lab.wake_at(), None);
    lab.now += 60 * SECOND;
    assert!(!lab.serve(0));
    assert_eq!(lab.wake_at(), None);
    lab.changes += 1;
    assert!(lab.wake_at().is_some_and(|at| at <= lab.now), "the last event is long ago");
    lab.turn();
    assert_eq!(lab.views.get() - before, 1);
    lab.changes += 1;
    assert_eq!(lab.wake_at(), Some(lab.now + SECOND), "no two within a second");
    lab.now += SECOND - 1;
    lab.turn();
    assert_eq!(lab.views.get() - before, 1);
    lab.now += 1;
    lab.turn();
    assert_eq!((lab.views.get() - before, lab.wake_at()), (2, None));
    assert!(streams.iter_mut().all(|stream| events(stream) == 2));
}

#[test]
fn a_snapshot_is_one_answer_that_ends_and_shares_the_view_of_the_streams() {
    let mut lab = Lab::new();
    let mut stream = lab.stream();
    lab.changes += 1;
    lab.now += 60 * SECOND;
    let before = lab.views.get();
    let mut client = lab.dial();
    client.write_all(b"GET /snapshot HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    lab.turn();
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("the end comes without another change");
    assert!(answer.contains("\r\nContent-Type: application/json\r\n"), "{answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(body.starts_with("{\"format\":1,") && body.ends_with("}\n"), "{body}");
    assert!(answer.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{answer}");
    assert_eq!((events(&mut stream), lab.views.get() - before), (1, 1));
}

#[test]
fn a_reader_that_takes_nothing_is_dropped_and_never_holds_more_than_one_event() {
    let mut lab = Lab::new();
    let stalled = lab.stream();
    lab.version = "1".repeat(100_000);
    let mut last = 0;
    // Until the kernel takes no more.
    for round in 0.. {
        assert!(round < 10_000, "the kernel takes everything");
        lab.changes += 1;
        lab.now += SECOND;
        lab.turn();
        let views = lab.views.get();
        if views == last {
            break;
        }
        last = views;
    }
    assert_eq!(lab.clients(), 1);
    lab.now += 10 * SECOND;
    lab.turn();
    assert_eq!((lab.clients(), lab.views.get(), lab.wake_at()), (0, last, None));
    drop(stalled);
}

/// To ask again and again does not make the proxy work more.
#[test]
fn one_snapshot_a_second_is_made_however_often_one_is_asked_for() {
    let mut lab = Lab::new();
    let start = lab.now;
    for part in 0..10 {
        lab.now = start + part * SECOND / 10;
        lab.changes += 1;
        drop(lab.stream());
        lab.turn();
    }
    assert_eq!(lab.views.get(), 1);
    lab.now = start + SECOND;
    drop(lab.stream());
    assert_eq!(lab.views.get(), 2);
}

#[test]
fn a_client_that_keeps_its_place_for_nothing_gives_way_after_a_second() {
    let mut lab = Lab::new();
    let silent: Vec<TcpStream> = (0..CLIENTS_MAX).map(|_| lab.dial()).collect();
    let mut waiting = TcpStream::connect(lab.status.address()).unwrap();
    waiting.write_all(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let start = lab.now;
    lab.turn();
    assert_eq!((lab.clients(), lab.wake_at()), (CLIENTS_MAX, Some(start + SECOND)));
    lab.now = start + SECOND;
    lab.turn();
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert_eq!(lab.clients(), CLIENTS_MAX);
    drop(silent);
}

#[test]
fn a_page_that_has_gone_or_says_something_is_dropped() {
    let mut lab = Lab::new();
    let (gone, mut speaking) = (lab.stream(), lab.stream());
    drop(gone);
    speaking.write_all(GET_EVENTS).unwrap();
    lab.turn();
    assert_eq!(lab.clients(), 0);
}

#[test]
fn beyond_sixteen_clients_wait_to_be_accepted_and_beyond_twelve_no_page_is_served() {
    let mut lab = Lab::new();
    let mut streams: Vec<TcpStream> = (0..STREAMS_MAX).map(|_| lab.stream()).collect();
    let mut one_more = lab.dial();
    one_more.write_all(GET_EVENTS).unwrap();
    lab.turn();
    let mut status = [0; 12];
    one_more.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 503");
    drop(one_more);
    lab.turn();
    let silent: Vec<TcpStream> = (STREAMS_MAX..CLIENTS_MAX).map(|_| lab.dial()).collect();
    let _waiting = lab.dial();
    assert_eq!(lab.clients(), CLIENTS_MAX);
    assert!(lab.status.may_accept && lab.status.accept_at(lab.now).is_none_or(|at| at > lab.now));
    streams.pop();
    lab.turn();
    assert_eq!(lab.clients(), CLIENTS_MAX, "the one that waited has the place");
    drop(silent);
    lab.turn();
    assert_eq!(lab.clients(), STREAMS_MAX);
}
