//! CONNECT through the program itself.

#![cfg(feature = "server")]

mod common;

use common::machine::CLOSED;
use common::traffic::{self, full_listener};
use common::{
    PERMIT_ALL, Proxy, accept, echo_server, listener, read_all, read_reply, request, request_4a,
    reset, wait_until, with_deadline,
};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4};
use std::thread;
use std::time::Duration;

const UNSPECIFIED: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);

#[test]
fn a_granted_connect_relays_both_directions_and_logs_an_access_line() {
    let mut proxy = Proxy::start(PERMIT_ALL, &[]);
    let mut stream = proxy.connect(echo_server());
    stream.write_all(b"hello").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut stream), b"hello");
    let access = proxy.access(1);
    assert_eq!(access.field("reason"), "done");
    assert_eq!((access.field("up"), access.field("down")), ("5", "5"));
    proxy.wait_idle();
}

#[test]
fn the_reply_has_the_local_address_of_the_connection_to_the_target() {
    for (flags, source) in [(&[][..], "127.0.0.1"), (&["--outbound", "127.0.0.7"], "127.0.0.7")] {
        let mut proxy = Proxy::start(PERMIT_ALL, flags);
        let (listener, target) = listener();
        let mut stream = proxy.dial();
        stream.write_all(&request(1, target, b"bob")).unwrap();
        let (code, address) = read_reply(&mut stream);
        let at_target = accept(&listener);
        assert_eq!((code, address.into()), (90, at_target.peer_addr().unwrap()));
        assert_eq!(address.ip().to_string(), source);
        drop((stream, at_target));
        assert_eq!(proxy.access(1).field("address"), target.to_string());
        proxy.wait_idle();
    }
}

#[test]
fn no_reply_is_sent_before_the_target_has_accepted() {
    let mut proxy = Proxy::start(PERMIT_ALL, &[]);
    let (listener, target, filler) = full_listener();
    let mut stream = proxy.dial();
    stream.write_all(&request(1, target, b"")).unwrap();
    stream.write_all(b"early").unwrap();
    proxy.wait_log("-> connecting");
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    let mut stream = with_deadline(stream);
    drop((accept(&listener), filler));
    let mut at_target = accept(&listener);
    assert_eq!(read_reply(&mut stream).0, 90);
    let mut early = [0; 5];
    at_target.read_exact(&mut early).unwrap();
    assert_eq!(&early, b"early");
    drop((stream, at_target));
    proxy.wait_idle();
}

#[test]
fn a_target_that_drops_every_syn_ends_at_the_connect_timeout() {
    let mut proxy = Proxy::start(PERMIT_ALL, &["--connect-timeout", "1"]);
    let (_listener, target, _filler) = full_listener();
    assert_eq!(proxy.refusal(&request(1, target, b"")), (91, UNSPECIFIED));
    let access = proxy.access(1);
    assert_eq!(access.field("reason"), "connect-timeout");
    let ms: u64 = access.field("ms").parse().unwrap();
    assert!((1000..1900 + proxy.kept_waiting_ms()).contains(&ms), "{ms} ms");
    proxy.wait_idle();
}

#[test]
fn a_client_reset_during_an_attempt_to_connect_ends_it() {
    let mut proxy = Proxy::start(PERMIT_ALL, &[]);
    let (_listener, target, _filler) = full_listener();
    // In the same event as the request, and later.
    for (id, at_once) in [(1, true), (2, false)] {
        let mut stream = proxy.dial();
        proxy.pause();
        stream.write_all(&request(1, target, b"")).unwrap();
        if at_once {
            reset(stream);
            proxy.resume();
        } else {
            proxy.resume();
            proxy.wait_logs("-> connecting", 1);
            reset(stream);
        }
        let access = proxy.access(id);
        assert_eq!((access.field("reason"), access.field("reply")), ("client-reset", "-"));
        proxy.wait_idle();
    }
}

/// A FIN may be a half-close. It must not matter in which event it comes, nor how long the target
/// takes, up to ten seconds.
#[test]
fn a_half_closed_client_is_served_when_its_target_answers_later() {
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let (listener, target, _filler) = full_listener();
    let asks = |at_once: bool, bytes: &[u8]| {
        let mut stream = proxy.dial();
        if !at_once {
            stream.write_all(bytes).unwrap();
            proxy.wait_logs("-> connecting", 3);
        }
        proxy.pause();
        if at_once {
            stream.write_all(bytes).unwrap();
        }
        stream.shutdown(Shutdown::Write).unwrap();
        proxy.resume();
        stream
    };
    let request = request(1, target, b"");
    let early = [&request[..], b"early"].concat();
    let clients = [asks(true, &request), asks(true, &early), asks(false, &request)];
    // The first SYN of each is dropped, and one more: that takes at least a second.
    thread::sleep(Duration::from_millis(1500));
    // Room for all of them: a connection that does not fit into the queue may be reset.
    rustix::net::listen(&listener, 16).unwrap();
    drop(accept(&listener));
    let answer = thread::spawn(move || {
        for _ in 0..3 {
            let mut stream = accept(&listener);
            let bytes = read_all(&mut stream);
            stream.write_all(&[b"got ", &bytes[..]].concat()).unwrap();
        }
    });
    for (mut client, expected) in clients.into_iter().zip(["got ", "got early", "got "]) {
        assert_eq!(read_reply(&mut client).0, 90);
        assert_eq!(read_all(&mut client), expected.as_bytes());
    }
    answer.join().unwrap();
}

#[test]
fn a_half_closed_client_gets_reply_91_after_ten_seconds() {
    let mut proxy = Proxy::start(PERMIT_ALL, &[]);
    let (_listener, target, _filler) = full_listener();
    let mut stream = proxy.dial();
    stream.write_all(&request(1, target, b"")).unwrap();
    proxy.wait_log("-> connecting");
    stream.write_all(b"bytes in another segment").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_reply(&mut stream).0, 91);
    assert_eq!(read_all(&mut stream), b"");
    let access = proxy.access(1);
    assert_eq!((access.field("reason"), access.field("reply")), ("client-left", "91"));
    let ms: u64 = access.field("ms").parse().unwrap();
    assert!(ms >= 10_000, "{ms} ms");
    proxy.wait_idle();
}

/// These rules permit only loopback, so that a bug cannot dial another host.
const LOOPBACK_ONLY: &str = "deny cb 127.0.0.3\npermit cb 127.*.*.*\npermit cb 0.0.0.0\n";

#[test]
fn every_refusal_is_91_without_an_address_and_has_its_own_reason() {
    let mut proxy = Proxy::start(LOOPBACK_ONLY, &[]);
    let at = |text: &str| -> SocketAddrV4 { text.parse().unwrap() };
    let cases = [
        (CLOSED, "refused", "2"),
        (at("127.0.0.3:80"), "denied", "1"),
        (at("10.0.0.1:80"), "no-rule", "-"),
        (at("0.0.0.0:80"), "impossible-target", "-"),
        (at("224.0.0.1:80"), "impossible-target", "-"),
        (at("239.255.255.255:80"), "impossible-target", "-"),
        (at("240.0.0.1:80"), "impossible-target", "-"),
        (at("255.255.255.255:80"), "impossible-target", "-"),
        (at("127.0.0.1:0"), "impossible-target", "-"),
        (proxy.address, "loop", "-"),
    ];
    for (id, (target, reason, rule)) in cases.into_iter().enumerate() {
        assert_eq!(proxy.refusal(&request(1, target, b"bob")), (91, UNSPECIFIED), "{target}");
        let access = proxy.access(id as u64 + 1);
        assert_eq!(access.field("reason"), reason, "{target}");
        assert_eq!((access.field("reply"), access.field("rule")), ("91", rule), "{target}");
        assert_eq!(access.field("target"), target.to_string());
        assert_eq!((access.field("user"), access.field("command")), ("bob", "connect"));
    }
    proxy.wait_idle();
}

#[test]
fn the_proxy_never_connects_to_itself_at_any_of_its_addresses() {
    let mut proxy = Proxy::start(PERMIT_ALL, &["-l", "0.0.0.0:0", "-l", "127.0.0.9:0"]);
    let second = proxy.wait_logs("listening on ", 2).pop().unwrap();
    let second: SocketAddrV4 = second.rsplit(' ').next().unwrap().parse().unwrap();
    let port = proxy.address.port();
    proxy.address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    let everywhere = |last| SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, last), port);
    for (id, target) in [everywhere(1), everywhere(5), second].into_iter().enumerate() {
        assert_eq!(proxy.refusal(&request(1, target, b"")).0, 91, "{target}");
        assert_eq!(proxy.access(id as u64 + 1).field("reason"), "loop");
    }
    let by_name = proxy.refusal(&request_4a(1, b"127.0.0.1", port, b""));
    assert_eq!((by_name.0, proxy.access(4).field("reason")), (91, "loop"));
    // Another port of an address that it listens on is not a loop.
    traffic::ping(&proxy.connect(echo_server()));
    proxy.wait_idle();
}

#[test]
fn a_dotted_quad_as_name_is_an_address() {
    let mut proxy = Proxy::start(LOOPBACK_ONLY, &[]);
    let target = echo_server();
    for marker in [1, 255] {
        let mut bytes = request_4a(1, b"127.0.0.1", target.port(), b"bob");
        bytes[7] = marker;
        let mut stream = proxy.dial();
        stream.write_all(&bytes).unwrap();
        assert_eq!(read_reply(&mut stream).0, 90);
        traffic::ping(&stream);
    }
    for (id, name) in [(3, "0.0.0.0"), (4, "0.0.0.7"), (5, "224.0.0.1")] {
        assert_eq!(proxy.refusal(&request_4a(1, name.as_bytes(), 80, b"")).0, 91);
        assert_eq!(proxy.access(id).field("reason"), "impossible-target", "{name}");
    }
    proxy.wait_idle();
}

#[test]
fn dstip_zero_is_an_address_and_never_announces_a_name() {
    let mut proxy = Proxy::start(PERMIT_ALL, &[]);
    // Refused as soon as USERID has ended: no name is awaited.
    assert_eq!(proxy.refusal(&request(1, "0.0.0.0:80".parse().unwrap(), b"")).0, 91);
    assert_eq!(proxy.access(1).field("target"), "0.0.0.0:80");
    proxy.wait_idle();
}

#[test]
fn bytes_after_the_request_reach_the_target_in_order() {
    const EARLY_BYTES: usize = 64 * 1024;
    let mut proxy = Proxy::start(PERMIT_ALL, &[]);
    let (listener, target) = listener();
    let mut stream = proxy.dial();
    let mut bytes = request(1, target, b"bob");
    bytes.extend(traffic::bytes(EARLY_BYTES));
    stream.write_all(&bytes).unwrap();
    traffic::send(&stream, EARLY_BYTES, 2 * EARLY_BYTES);
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_reply(&mut stream).0, 90);
    let at_target = accept(&listener);
    assert_eq!(traffic::receive_to_end(&at_target, 0), (2 * EARLY_BYTES, traffic::End::Fin));
    drop(at_target);
    assert_eq!(read_all(&mut stream), b"");
    let access = proxy.access(1);
    assert_eq!((access.field("up"), access.field("down")), ("131072", "0"));
    proxy.wait_idle();
}

#[test]
fn a_fin_right_after_the_request_is_a_half_close() {
    let mut proxy = Proxy::start(PERMIT_ALL, &[]);
    for early in [&b""[..], b"question"] {
        let (listener, target) = listener();
        let mut stream = proxy.dial();
        let mut bytes = request(1, target, b"");
        bytes.extend(early);
        stream.write_all(&bytes).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut at_target = accept(&listener);
        assert_eq!(read_all(&mut at_target), early);
        at_target.write_all(b"answer").unwrap();
        drop(at_target);
        assert_eq!(read_reply(&mut stream).0, 90);
        assert_eq!(read_all(&mut stream), b"answer");
        proxy.wait_idle();
    }
}

#[test]
fn a_refused_client_that_has_sent_more_gets_its_reply_and_a_fin() {
    let mut proxy = Proxy::start("deny c *.*.*.*\n", &[]);
    let mut stream = proxy.dial();
    let mut writer = stream.try_clone().unwrap();
    let sending = thread::spawn(move || {
        writer.write_all(&request(1, "127.0.0.1:80".parse().unwrap(), b"")).unwrap();
        traffic::send(&writer, 0, 1 << 20);
    });
    // All of it is read, and the reply is still delivered.
    sending.join().unwrap();
    wait_until("the refusal", || {
        proxy.log().iter().any(|line| line.contains("-> rejecting(denied)")).then_some(())
    });
    assert_eq!(read_reply(&mut stream), (91, UNSPECIFIED));
    assert_eq!(read_all(&mut stream), b"");
    drop(stream);
    let access = proxy.access(1);
    assert_eq!((access.field("reason"), access.field("up")), ("denied", "0"));
    proxy.wait_idle();
}

#[test]
fn a_refused_client_that_never_closes_is_closed_by_the_proxy() {
    let mut proxy = Proxy::start("deny c *.*.*.*\n", &[]);
    let mut stream = proxy.dial();
    stream.write_all(&request(1, "127.0.0.1:80".parse().unwrap(), b"")).unwrap();
    assert_eq!(read_reply(&mut stream).0, 91);
    assert_eq!(proxy.access(1).field("reason"), "denied");
    proxy.wait_idle();
}
