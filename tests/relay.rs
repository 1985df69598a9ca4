//! The relay through the program itself, in every mode.

#![cfg(feature = "server")]

mod common;

use common::traffic::{self, End};
use common::{
    MODES, PERMIT_ALL, Proxy, accept, listener, read_all, read_reply, request, reset, wait_until,
    with_deadline,
};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

/// Runs `test` with a proxy in each mode and with these flags, which must have no sessions left
/// then.
fn in_every_mode(flags: &[&str], test: impl Fn(&Proxy)) {
    for mode in MODES {
        let mut proxy = Proxy::start(PERMIT_ALL, &[mode, flags].concat());
        test(&proxy);
        proxy.wait_idle();
    }
}

/// A granted CONNECT: the client's end and the target's.
fn connected(proxy: &Proxy) -> (TcpStream, TcpStream) {
    let (listener, target) = listener();
    let client = proxy.connect(target);
    (client, accept(&listener))
}

/// The two ends in both roles, for behaviour that is the same in both directions: the sender first.
fn both_directions(proxy: &Proxy) -> [(TcpStream, TcpStream, u64, &'static str); 2] {
    let (client, target) = connected(proxy);
    let (other_client, other_target) = connected(proxy);
    [(client, target, 1, "client-reset"), (other_target, other_client, 2, "target-reset")]
}

fn exchange(proxy: &Proxy, total: usize) {
    let (client, target) = connected(proxy);
    thread::scope(|scope| {
        for (one, other) in [(&client, &target), (&target, &client)] {
            scope.spawn(move || {
                traffic::send(one, 0, total);
                one.shutdown(Shutdown::Write).unwrap();
            });
            scope.spawn(move || {
                assert_eq!(traffic::receive_to_end(other, 0), (total, End::Fin));
            });
        }
    });
    let access = proxy.access(1);
    let total = total.to_string();
    assert_eq!(access.field("reason"), "done");
    assert_eq!((access.field("up"), access.field("down")), (&total[..], &total[..]));
}

#[test]
fn everything_arrives_as_it_was_sent_in_both_directions_at_once() {
    in_every_mode(&[], |proxy| exchange(proxy, 64 * MIB));
}

#[test]
fn the_smallest_buffers_lose_nothing() {
    in_every_mode(&["--buffer-size", "1024"], |proxy| exchange(proxy, 2 * MIB));
    in_every_mode(&["--buffer-size", "4099"], |proxy| exchange(proxy, 2 * MIB));
}

#[test]
fn after_a_fin_in_one_direction_the_other_continues() {
    in_every_mode(&[], |proxy| {
        for (mut first, second, id, _) in both_directions(proxy) {
            first.write_all(b"question").unwrap();
            first.shutdown(Shutdown::Write).unwrap();
            let mut question = [0; 8];
            (&second).read_exact(&mut question).unwrap();
            assert_eq!(&question, b"question");
            assert_eq!((&second).read(&mut [0]).unwrap(), 0);
            thread::scope(|scope| {
                scope.spawn(|| {
                    traffic::send(&second, 0, 10 * MIB);
                    second.shutdown(Shutdown::Write).unwrap();
                });
                assert_eq!(traffic::receive_to_end(&first, 0), (10 * MIB, End::Fin));
            });
            assert_eq!(proxy.access(id).field("reason"), "done");
        }
    });
}

#[test]
fn a_reset_is_passed_on_after_the_bytes_before_it() {
    in_every_mode(&[], |proxy| {
        // More than fits into the buffers in between would not have arrived.
        for total in [10, 200_000] {
            for (sender, reader, _, reason) in both_directions(proxy) {
                traffic::send(&sender, 0, total);
                traffic::wait_delivered(&sender);
                reset(sender);
                assert_eq!(traffic::receive_to_end(&reader, 0), (total, End::Reset), "{reason}");
            }
        }
        for reason in ["client-reset", "target-reset"] {
            let lines = proxy.wait_logs(&format!("reason={reason}"), 2);
            let count = if reason == "client-reset" { " up=200000 " } else { " down=200000 " };
            assert!(lines.iter().any(|line| line.contains(count)), "{lines:?}");
        }
    });
}

/// A session whose reader has a receive buffer of this size: the sender's end and the reader's.
fn with_small_window(proxy: &Proxy, downwards: bool, buffer_bytes: usize) -> [TcpStream; 2] {
    let socket = || {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket.set_recv_buffer_size(buffer_bytes).unwrap();
        socket
    };
    if downwards {
        let (listener, target) = listener();
        let client = socket();
        client.connect(&proxy.address.into()).unwrap();
        let mut client = with_deadline(client.into());
        client.write_all(&request(1, target, b"")).unwrap();
        assert_eq!(read_reply(&mut client).0, 90);
        return [accept(&listener), client];
    }
    let slow = socket();
    slow.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    slow.listen(1).unwrap();
    let slow = TcpListener::from(slow);
    let client = proxy.connect(slow.local_addr().unwrap().to_string().parse().unwrap());
    [client, accept(&slow)]
}

/// A reset sent too early would discard what the kernel has not delivered.
#[test]
fn a_reset_waits_for_a_slow_reader() {
    in_every_mode(&[], |proxy| {
        let sizes = [2304, 4096, 65_536];
        let cases = sizes.into_iter().flat_map(|size| [(size, true), (size, false)]);
        let cases: Vec<_> = cases.flat_map(|case| [case; 8]).collect();
        thread::scope(|scope| {
            for (size, downwards) in cases {
                scope.spawn(move || {
                    let total = 20_000;
                    let [sender, reader] = with_small_window(proxy, downwards, size);
                    traffic::send(&sender, 0, total);
                    traffic::wait_delivered(&sender);
                    reset(sender);
                    let end = traffic::receive_slowly(&reader, 400, Duration::from_millis(5));
                    assert_eq!(end, (total, End::Reset), "{size} {downwards}");
                });
            }
        });
    });
}

/// After a FIN nothing can be read: the socket's pending error shows a reset.
fn wait_reset(stream: &TcpStream) {
    wait_until("a reset after the FIN", || stream.take_error().unwrap());
}

#[test]
fn a_reset_is_passed_on_after_a_half_close() {
    in_every_mode(&[], |proxy| {
        for (one, other, id, reason) in both_directions(proxy) {
            one.shutdown(Shutdown::Write).unwrap();
            assert_eq!((&other).read(&mut [0]).unwrap(), 0);
            reset(one);
            wait_reset(&other);
            assert_eq!(proxy.access(id).field("reason"), reason);
        }
    });
}

#[test]
fn a_reset_and_a_fin_at_once_end_the_session() {
    const TIMES: usize = 100;
    in_every_mode(&[], |proxy| {
        for time in 0..TIMES {
            let (client, target) = connected(proxy);
            let (one, other) = if time % 2 == 0 { (client, target) } else { (target, client) };
            thread::scope(|scope| {
                scope.spawn(|| reset(one));
                scope.spawn(|| drop(other));
            });
        }
        proxy.wait_logs(" access] id=", TIMES);
    });
}

#[test]
fn a_reader_that_stops_stops_the_writer() {
    in_every_mode(&[], |proxy| {
        for (sender, reader, ..) in both_directions(proxy) {
            traffic::ping_one_way(&sender, &reader);
            let before = proxy.resident_bytes();
            let most = 1 << 30;
            let at = traffic::send_until_blocked(&sender, 0, most);
            assert!(at < most, "the sender never blocked");
            let grown = proxy.resident_bytes().saturating_sub(before);
            assert!(grown < 2 * MIB, "{grown} bytes held for one session");
            thread::scope(|scope| {
                scope.spawn(|| {
                    traffic::send(&sender, at, at + MIB);
                    sender.shutdown(Shutdown::Write).unwrap();
                });
                assert_eq!(traffic::receive_to_end(&reader, 0), (at + MIB, End::Fin));
            });
        }
    });
}

/// Both ends must see a reset, and the session end for this reason.
fn assert_cut(proxy: &Proxy, ends: [&TcpStream; 2], id: u64, reason: &str) {
    for end in ends {
        assert_eq!(traffic::receive_to_end(end, 0), (0, End::Reset), "{reason}");
    }
    assert_eq!(proxy.access(id).field("reason"), reason);
}

#[test]
fn a_silent_relay_is_cut_off_at_the_idle_timeout_and_an_active_one_is_not() {
    in_every_mode(&["--idle-timeout", "1"], |proxy| {
        let (silent, silent_target) = connected(proxy);
        let (active, active_target) = connected(proxy);
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(1600) {
            traffic::ping_one_way(&active_target, &active);
            thread::sleep(Duration::from_millis(50));
        }
        assert_cut(proxy, [&silent, &silent_target], 1, "idle-timeout");
        traffic::ping_one_way(&active_target, &active);
        assert_cut(proxy, [&active, &active_target], 2, "idle-timeout");
        let ms: u64 = proxy.access(1).field("ms").parse().unwrap();
        assert!((1000..1900 + proxy.kept_waiting_ms()).contains(&ms), "{ms} ms");
    });
}

/// A relay is active while bytes arrive, even if the proxy has already handed them to its kernel.
#[test]
fn a_slow_reader_is_not_cut_off_while_bytes_arrive() {
    let flags = ["--half-close-timeout", "1", "--idle-timeout", "1"];
    in_every_mode(&flags, |proxy| {
        thread::scope(|scope| {
            for (downwards, ends) in [(true, true), (false, true), (true, false)] {
                scope.spawn(move || {
                    let total = 100_000;
                    let [sender, reader] = with_small_window(proxy, downwards, 4096);
                    traffic::send(&sender, 0, total);
                    if ends {
                        sender.shutdown(Shutdown::Write).unwrap();
                    }
                    // It takes three seconds, longer than either time-out.
                    let mut at = 0;
                    while at < total {
                        thread::sleep(Duration::from_millis(30));
                        traffic::receive(&reader, at, at + 1000);
                        at += 1000;
                    }
                    if ends {
                        assert_eq!(traffic::receive_to_end(&reader, at), (total, End::Fin));
                    }
                });
            }
        });
    });
}

#[test]
fn a_half_closed_relay_is_cut_off_at_the_half_close_timeout() {
    in_every_mode(&["--half-close-timeout", "1"], |proxy| {
        let (client, target) = connected(proxy);
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!((&target).read(&mut [0]).unwrap(), 0);
        assert_eq!(traffic::receive_to_end(&client, 0), (0, End::Reset));
        let access = proxy.access(1);
        assert_eq!(access.field("reason"), "half-close-timeout");
        wait_reset(&target);
    });
}

#[test]
fn every_byte_is_counted_once_and_replies_are_not() {
    in_every_mode(&[], |proxy| {
        let (listener, target) = listener();
        let mut client = proxy.dial();
        client.write_all(&[&request(1, target, b"bob")[..], b"early"].concat()).unwrap();
        assert_eq!(read_reply(&mut client).0, 90);
        let mut at_target = accept(&listener);
        client.write_all(b"late").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut at_target), b"earlylate");
        traffic::send(&at_target, 0, 70_001);
        drop(at_target);
        assert_eq!(traffic::receive_to_end(&client, 0), (70_001, End::Fin));
        let access = proxy.access(1);
        assert_eq!((access.field("up"), access.field("down")), ("9", "70001"));
    });
}

#[test]
fn small_socket_buffers_on_both_ends_lose_nothing() {
    in_every_mode(&[], |proxy| {
        for downwards in [true, false] {
            let [sender, reader] = with_small_window(proxy, downwards, 4096);
            thread::scope(|scope| {
                scope.spawn(|| traffic::send(&sender, 0, 8 * MIB));
                traffic::receive(&reader, 0, 8 * MIB);
            });
        }
    });
}
