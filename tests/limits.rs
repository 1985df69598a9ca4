//! Limits, fairness and the cost of many sessions.

#![cfg(feature = "server")]

mod common;

use common::machine::can_open;
use common::stalled::stall;
use common::traffic::{self, ping};
use common::{
    MODES, PERMIT_ALL, Proxy, accept, echo_server, listener, read_reply, request, request_4a,
    with_deadline,
};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

#[test]
fn beyond_max_sessions_clients_wait_and_are_served_when_one_ends() {
    let mut proxy = Proxy::start(PERMIT_ALL, &["--max-sessions", "2"]);
    let target = echo_server();
    let (first, second) = (proxy.connect(target), proxy.connect(target));
    let mut waiting: Vec<_> = (0..5).map(|_| proxy.dial()).collect();
    for stream in &mut waiting {
        stream.write_all(&request(1, target, b"")).unwrap();
    }
    // Only the open sessions are served meanwhile.
    ping(&first);
    assert!(proxy.dump().contains(" sessions=2 opened=2 "));
    let ticks = proxy.cpu_ticks();
    thread::sleep(Duration::from_millis(300));
    assert!(proxy.cpu_ticks() - ticks <= 3, "waiting clients keep the proxy busy");
    drop((first, second));
    for mut stream in waiting {
        assert_eq!(read_reply(&mut stream).0, 90);
        ping(&stream);
    }
    assert_eq!(proxy.log().iter().filter(|line| line.contains("ERROR")).count(), 0);
    proxy.wait_idle();
}

#[test]
fn with_room_for_one_session_each_listener_gets_its_turn() {
    let proxy = Proxy::start(
        PERMIT_ALL,
        &["-l", "127.0.0.1:0", "-l", "127.0.0.1:0", "--max-sessions", "1"],
    );
    let second = proxy.wait_logs("listening on ", 2).pop().unwrap();
    let second: SocketAddrV4 = second.rsplit(' ').next().unwrap().parse().unwrap();
    let echo = echo_server();
    let ask = |at: SocketAddrV4| {
        let mut stream = with_deadline(TcpStream::connect(at).unwrap());
        stream.write_all(&request(1, echo, b"")).unwrap();
        stream
    };
    let first: Vec<TcpStream> = (0..10).map(|_| ask(proxy.address)).collect();
    let mut other = ask(second);
    // They leave one after another, except the last.
    let served = thread::spawn(move || {
        let mut last = None;
        for mut stream in first.into_iter().take(4) {
            drop(last.take());
            assert_eq!(read_reply(&mut stream).0, 90);
            last = Some(stream);
        }
        last
    });
    assert_eq!(read_reply(&mut other).0, 90);
    drop(other);
    drop(served.join().unwrap());
}

#[test]
fn beyond_max_per_source_clients_are_refused_then_reset_and_others_are_served() {
    let mut proxy = Proxy::start(PERMIT_ALL, &["--max-per-source", "3"]);
    let target = echo_server();
    let served: Vec<_> = (0..3).map(|_| proxy.connect(target)).collect();
    // These are refused but do not close: they count until they do.
    let refused: Vec<_> = (0..3).map(|_| proxy.dial()).collect();
    for mut stream in &refused {
        let mut reply = [0; 8];
        stream.read_exact(&mut reply).unwrap();
        assert_eq!(reply[..2], [0, 91]);
    }
    let error = proxy.dial().read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let mut other = proxy.dial_from(Ipv4Addr::new(127, 0, 0, 2));
    other.write_all(&request(1, target, b"")).unwrap();
    assert_eq!(read_reply(&mut other).0, 90);
    ping(&other);
    assert!(proxy.dump().contains(" shed=1 "));
    served.iter().for_each(ping);
    drop((served, refused, other));
    proxy.wait_idle();
    ping(&proxy.connect(target));
    assert_eq!(proxy.wait_logs("reply=91 reason=too-many-from-source", 3).len(), 3);
    proxy.wait_idle();
}

/// The warnings so far that a limit has been reached.
fn warnings(proxy: &Proxy, limit: &str) -> Vec<String> {
    let text = format!("WARN  socku::reactor::limits] limit {limit} reached: ");
    proxy.log().into_iter().filter(|line| line.contains(&text)).collect()
}

/// How often a limit has been reached, by the lines of a dump.
fn times_reached(proxy: &Proxy, limit: &str) -> u64 {
    proxy.dump();
    let line = proxy.wait_logs(&format!("dump] limit={limit} reached="), 1).pop().unwrap();
    line.rsplit('=').next().unwrap().parse().unwrap()
}

#[test]
fn the_session_limit_is_one_warning_however_often_it_is_reached_again() {
    const CYCLES: u64 = 30;
    let mut proxy = Proxy::start(PERMIT_ALL, &["--max-sessions", "2"]);
    let target = echo_server();
    let first = proxy.connect(target);
    assert!(warnings(&proxy, "sessions").is_empty());
    for _ in 0..CYCLES {
        let (second, mut waiting) = (proxy.connect(target), proxy.dial());
        waiting.write_all(&request(1, target, b"")).unwrap();
        drop(second);
        assert_eq!(read_reply(&mut waiting).0, 90);
    }
    // A cycle takes the last session twice, unless the first client of one comes before the last of
    // the one before has left.
    let reached = times_reached(&proxy, "sessions");
    assert!((CYCLES..=2 * CYCLES).contains(&reached), "{reached}");
    let warnings = warnings(&proxy, "sessions");
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(warnings[0].contains("all 2 sessions") && warnings[0].contains("--max-sessions"));
    drop(first);
    proxy.wait_idle();
}

#[test]
fn the_limits_of_one_client_of_bind_ports_and_of_queries_are_one_warning_each() {
    let (port, _) = common::machine::two_free_ports();
    let ports = format!("{port}-{port}");
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = silent.local_addr().unwrap().to_string();
    let flags = ["--max-per-source", "60", "--bind-ports", &ports, "--nameserver", &server];
    let proxy = Proxy::start(PERMIT_ALL, &[&flags[..], &["--dns-timeout", "60"]].concat());
    let peer = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    let mut bind = proxy.dial();
    bind.write_all(&request(2, peer, b"")).unwrap();
    assert_eq!(read_reply(&mut bind).0, 90);
    for _ in 0..3 {
        assert_eq!(proxy.refusal(&request(2, peer, b"")).0, 91);
    }
    (2..=4).for_each(|id| drop(proxy.access(id)));
    // Two queries for each name, of at most 64.
    let name = |number: usize| request_4a(1, format!("n{number}.test").as_bytes(), 80, b"");
    let _waiting: Vec<_> = (0..40)
        .map(|number| {
            let mut stream = proxy.dial();
            stream.write_all(&name(number)).unwrap();
            stream
        })
        .collect();
    let idle: Vec<_> = (0..19).map(|_| proxy.connect(echo_server())).collect();
    for _ in 0..3 {
        let mut reply = [0; 2];
        proxy.dial().read_exact(&mut reply).unwrap();
        assert_eq!(reply, [0, 91]);
    }
    for (limit, times, flag) in [
        ("bind-ports", 3, "; set by --bind-ports"),
        (
            "per-source",
            3,
            "60 sessions, and its further ones are rejected; set by --max-per-source",
        ),
        ("queries", 1, "queries to name servers are in flight"),
    ] {
        proxy.wait_log(&format!("limit {limit} reached: "));
        assert!(times_reached(&proxy, limit) >= times, "{limit}");
        let warnings = warnings(&proxy, limit);
        assert!(warnings.len() == 1 && warnings[0].contains(flag), "{limit}: {warnings:#?}");
    }
    drop(idle);
}

#[test]
fn every_session_gets_its_share_beside_a_flood() {
    const OTHERS: usize = 50;
    let mut proxy = Proxy::start(PERMIT_ALL, &[]);
    let target = echo_server();
    let others: Vec<_> = (0..OTHERS).map(|_| proxy.connect(target)).collect();
    let flood = proxy.connect(target);
    let (done, moved) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                traffic::send(&flood, 0, MIB);
            }
            flood.shutdown(std::net::Shutdown::Write).unwrap();
        });
        scope.spawn(|| {
            let mut buffer = vec![0; MIB];
            while let n @ 1.. = (&flood).read(&mut buffer).unwrap() {
                moved.fetch_add(n, Ordering::Relaxed);
            }
        });
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(2) {
            let before = moved.load(Ordering::Relaxed);
            for mut stream in &others {
                stream.write_all(b"p").unwrap();
            }
            for mut stream in &others {
                stream.read_exact(&mut [0]).unwrap();
            }
            // Elapsed time depends on the machine; the bytes of the flood meanwhile show its share.
            let meanwhile = moved.load(Ordering::Relaxed) - before;
            assert!(meanwhile < 256 * MIB, "{meanwhile} bytes went past the others");
        }
        done.store(true, Ordering::Relaxed);
    });
    drop((others, flood));
    proxy.wait_idle();
}

/// The kernel's buffers on loopback are megabytes per session, which limits the number of sessions;
/// with buffers of 1 MiB they exceed the budget.
#[test]
fn stalled_readers_use_bounded_memory_and_delay_no_other_session() {
    const STALLED: usize = 150;
    if !can_open(500) {
        return;
    }
    for mode in MODES {
        let mut proxy = Proxy::start(PERMIT_ALL, &[*mode, &["--buffer-size", "1048576"]].concat());
        let before = proxy.resident_bytes();
        let stalled = stall(&proxy, STALLED);
        let other = proxy.connect(echo_server());
        for _ in 0..100 {
            ping(&other);
        }
        let is_spliced = !mode.contains(&"off");
        assert_eq!(warnings(&proxy, "buffers").len(), 1, "{mode:?}");
        assert_eq!(warnings(&proxy, "pipes").len(), usize::from(is_spliced), "{mode:?}");
        // Pipes and large buffers up to their budgets, and a small buffer for each other session.
        let dump = proxy.dump();
        let lent = [" pipes=", " large-buffers=", " small-buffers="].map(|key| -> usize {
            dump.split(key).nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
        });
        assert!(lent[0] <= 64 && lent[1] <= 64, "{dump}");
        assert!(lent.iter().sum::<usize>() >= STALLED, "{dump}");
        let grown = proxy.resident_bytes().saturating_sub(before);
        assert!(grown < 64 * MIB + 4 * MIB, "{grown} bytes");
        drop((stalled, other));
        proxy.wait_idle();
    }
}

#[test]
fn a_thousand_idle_sessions_cost_no_system_call() {
    if !can_open(2500) {
        return;
    }
    let mut proxy = Proxy::start(PERMIT_ALL, &[]);
    let (listener, target) = listener();
    let open: Vec<_> = (0..1000).map(|_| (proxy.connect(target), accept(&listener))).collect();
    proxy.wait_asleep();
    let before = (proxy.wakeups(), proxy.cpu_ticks());
    thread::sleep(Duration::from_secs(1));
    assert_eq!((proxy.wakeups(), proxy.cpu_ticks()), before);
    for (client, target) in &open {
        traffic::ping_one_way(client, target);
    }
    drop(open);
    proxy.wait_idle();
}

#[test]
fn a_second_proxy_as_target_is_not_a_loop() {
    let (mut first, mut second) = (Proxy::start(PERMIT_ALL, &[]), Proxy::start(PERMIT_ALL, &[]));
    let target: SocketAddrV4 = echo_server();
    let mut stream = first.connect(second.address);
    stream.write_all(&request(1, target, b"")).unwrap();
    assert_eq!(read_reply(&mut stream).0, 90);
    ping(&stream);
    drop(stream);
    first.wait_idle();
    second.wait_idle();
}
