//! Requests in pieces, at their limits and malformed.

#![cfg(feature = "server")]

mod common;

use common::traffic::ping;
use common::{
    PERMIT_ALL, Proxy, echo_server, read_all, read_reply, request, request_4a, wait_until,
};
use std::io::{Read, Write};
use std::net::TcpStream;

/// Waits until the proxy has read all bytes sent before: it serves `other` in the same turn of its
/// loop or in a later one.
fn wait_read(other: &TcpStream) {
    ping(other);
}

#[test]
fn a_request_cut_anywhere_works_as_the_whole() {
    let mut proxy = Proxy::start(PERMIT_ALL, &[]);
    let target = echo_server();
    let other = proxy.connect(target);
    let requests = [request(1, target, b"bob"), request_4a(1, b"127.0.0.1", target.port(), b"bob")];
    for whole in requests {
        let bytes = [&whole[..], b"early"].concat();
        let mut streams: Vec<_> = (1..bytes.len()).map(|cut| (proxy.dial(), cut)).collect();
        for (stream, cut) in &mut streams {
            stream.write_all(&bytes[..*cut]).unwrap();
        }
        wait_read(&other);
        for (stream, cut) in &mut streams {
            stream.write_all(&bytes[*cut..]).unwrap();
        }
        for (stream, cut) in &mut streams {
            assert_eq!(read_reply(stream).0, 90, "cut at {cut}");
            let mut early = [0; 5];
            stream.read_exact(&mut early).unwrap();
            assert_eq!(&early, b"early", "cut at {cut}");
        }
    }
    drop(other);
    proxy.wait_idle();
}

#[test]
fn a_request_may_arrive_byte_by_byte() {
    let mut proxy = Proxy::start(PERMIT_ALL, &[]);
    let target = echo_server();
    let other = proxy.connect(target);
    let requests = [request(1, target, b"bob"), request_4a(1, b"127.0.0.1", target.port(), b"bob")];
    for bytes in requests {
        let mut stream = proxy.dial();
        for byte in bytes {
            stream.write_all(&[byte]).unwrap();
            wait_read(&other);
        }
        assert_eq!(read_reply(&mut stream).0, 90);
        ping(&stream);
    }
    drop(other);
    proxy.wait_idle();
}

#[test]
fn an_incomplete_request_is_refused_at_an_absolute_deadline() {
    let mut proxy = Proxy::start(PERMIT_ALL, &["--request-timeout", "1"]);
    let mut silent = proxy.dial();
    let mut dripping = proxy.dial();
    // No byte may postpone the deadline.
    let bytes = request(1, "127.0.0.1:80".parse().unwrap(), &[b'u'; 500]);
    let mut sent = 0;
    wait_until("the refusal", || {
        let _ = dripping.write_all(bytes.get(sent..=sent).unwrap_or_default());
        sent += 1;
        proxy.log().iter().any(|line| line.contains(" id=2 reading-request -> rej")).then_some(())
    });
    for (id, stream) in [(1, &mut silent), (2, &mut dripping)] {
        assert_eq!(read_reply(stream).0, 91);
        assert_eq!(read_all(stream), b"");
        let _ = stream.shutdown(std::net::Shutdown::Both);
        let access = proxy.access(id);
        assert_eq!(access.field("reason"), "request-timeout");
        let ms: u64 = access.field("ms").parse().unwrap();
        assert!((1000..1900 + proxy.kept_waiting_ms()).contains(&ms), "{ms} ms");
    }
    drop((silent, dripping));
    proxy.wait_idle();
}

#[test]
fn another_version_is_closed_without_a_reply_and_another_command_refused() {
    let mut proxy = Proxy::start(PERMIT_ALL, &[]);
    let target = "127.0.0.1:80".parse().unwrap();
    let mut id = 0;
    for version in [0, 1, 3, 6, b'G', 255] {
        let mut bytes = request(1, target, b"");
        bytes[0] = version;
        let mut stream = proxy.dial();
        stream.write_all(&bytes).unwrap();
        // A reset is fine as well: the proxy has not read all of it.
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert_eq!(answer, b"", "version {version}");
        id += 1;
        let access = proxy.access(id);
        assert_eq!((access.field("reason"), access.field("reply")), ("bad-version", "-"));
    }
    for command in [0, 3, 4, 90, 255] {
        assert_eq!(proxy.refusal(&request(command, target, b"")).0, 91, "command {command}");
        id += 1;
        assert_eq!(proxy.access(id).field("reason"), "bad-command");
    }
    // The second byte decides: the rest need not be sent.
    assert_eq!(proxy.refusal(&[4, 9]).0, 91);
    proxy.wait_idle();
}

#[test]
fn limits_are_exact() {
    let mut proxy = Proxy::start(PERMIT_ALL, &[]);
    let target = echo_server();
    for user in [0, 1, 512] {
        let mut stream = proxy.dial();
        stream.write_all(&request(1, target, &vec![b'u'; user])).unwrap();
        assert_eq!(read_reply(&mut stream).0, 90, "USERID of {user} bytes");
        ping(&stream);
    }
    let name = |length| request_4a(1, &vec![b'a'; length], 80, b"");
    let both = [&request_4a(1, &[b'a'; 255], 80, &[b'u'; 512])[..]].concat();
    let cases = [
        (request(1, target, &[b'u'; 513]), "user-too-long"),
        // Bad because of its labels, not its length; a final dot does not count.
        (name(253), "bad-name"),
        (request_4a(1, &[&[b'a'; 253][..], b"."].concat(), 80, b""), "bad-name"),
        (name(254), "name-too-long"),
        (both, "name-too-long"),
        (name(256), "name-too-long"),
        (request_4a(1, b"", 80, b""), "empty-name"),
        (request_4a(1, b"", 80, b"bob"), "empty-name"),
        (request_4a(2, b"", 80, b""), "empty-name"),
    ];
    for (place, (bytes, reason)) in cases.into_iter().enumerate() {
        assert_eq!(proxy.refusal(&bytes).0, 91, "{reason}");
        let access = proxy.access(place as u64 + 4);
        assert_eq!(access.field("reason"), reason);
        // Any request is logged escaped and bounded.
        assert!(access.0.len() < 500, "{access:?}");
    }
    proxy.wait_idle();
}

#[test]
fn a_limit_is_enforced_before_the_end_of_the_text() {
    let mut proxy = Proxy::start(PERMIT_ALL, &[]);
    let endless_user = request(1, "127.0.0.1:80".parse().unwrap(), &vec![b'u'; 1 << 20]);
    let endless_name = request_4a(1, &vec![b'a'; 1 << 20], 80, b"");
    for (id, reason, bytes) in
        [(1, "user-too-long", endless_user), (2, "name-too-long", endless_name)]
    {
        assert_eq!(proxy.refusal(&bytes[..bytes.len() - 1]).0, 91);
        assert_eq!(proxy.access(id).field("reason"), reason);
    }
    proxy.wait_idle();
}

#[test]
fn a_client_that_leaves_within_its_request_is_detected_at_once() {
    let mut proxy = Proxy::start(PERMIT_ALL, &[]);
    for (id, bytes) in [(1, &b""[..]), (2, b"\x04\x01\0P")] {
        let mut stream = proxy.dial();
        stream.write_all(bytes).unwrap();
        drop(stream);
        assert_eq!(proxy.access(id).field("reason"), "client-left");
    }
    proxy.wait_idle();
}
