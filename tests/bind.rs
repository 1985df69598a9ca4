//! BIND through the program itself.

#![cfg(feature = "server")]

mod common;

use common::machine::{Stopwatch, two_free_ports};
use common::traffic::{self, End};
use common::{
    PERMIT_ALL, Proxy, accept, dial_from, listener, read_all, read_reply, request, request_4a,
    reset, wait_until,
};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::time::Duration;

const PEER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A BIND for any port of this peer; the client's connection and the advertised address.
fn bind(proxy: &Proxy, peer: Ipv4Addr) -> (TcpStream, SocketAddrV4) {
    let mut stream = proxy.dial();
    stream.write_all(&request(2, SocketAddrV4::new(peer, 0), b"bob")).unwrap();
    let (code, advertised) = read_reply(&mut stream);
    assert_eq!(code, 90);
    (stream, advertised)
}

/// The end of a connection that its other side closed or reset.
fn assert_ended(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert_eq!(rest, b"");
}

/// Waits until no socket listens there any more.
fn wait_free(address: SocketAddrV4) {
    wait_until("the port to be free", || TcpListener::bind(address).ok());
}

#[test]
fn the_expected_peer_is_accepted_and_both_directions_are_relayed() {
    let mut proxy = Proxy::start(PERMIT_ALL, &[]);
    let (mut stream, advertised) = bind(&proxy, PEER);
    assert_eq!(*advertised.ip(), PEER);
    // The proxy listens already: no second try is needed.
    let mut peer = dial_from(PEER, advertised);
    let second = read_reply(&mut stream);
    assert_eq!((second.0, second.1.into()), (90, peer.local_addr().unwrap()));
    traffic::send(&stream, 0, 300_000);
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(traffic::receive_to_end(&peer, 0), (300_000, End::Fin));
    peer.write_all(b"the other way").unwrap();
    drop(peer);
    assert_eq!(read_all(&mut stream), b"the other way");
    let access = proxy.access(1);
    assert_eq!((access.field("reason"), access.field("command")), ("done", "bind"));
    assert_eq!((access.field("up"), access.field("down")), ("300000", "13"));
    assert_eq!(access.field("address"), second.1.to_string());
    proxy.wait_idle();
}

#[test]
fn the_advertised_address_is_the_one_that_routes_to_the_peer() {
    for (flags, advertised_ip, real_ip) in [
        (&[][..], PEER, PEER),
        (&["--outbound", "127.0.0.7"], Ipv4Addr::new(127, 0, 0, 7), Ipv4Addr::new(127, 0, 0, 7)),
        (&["--bind-address", "192.0.2.1"], Ipv4Addr::new(192, 0, 2, 1), PEER),
    ] {
        let mut proxy = Proxy::start(PERMIT_ALL, flags);
        let (mut stream, advertised) = bind(&proxy, PEER);
        assert_eq!(*advertised.ip(), advertised_ip);
        let peer = dial_from(PEER, SocketAddrV4::new(real_ip, advertised.port()));
        assert_eq!(read_reply(&mut stream).0, 90);
        drop((stream, peer));
        proxy.wait_idle();
    }
}

#[test]
fn a_dotted_quad_as_name_is_the_address_of_the_peer() {
    let mut proxy = Proxy::start(PERMIT_ALL, &[]);
    let mut stream = proxy.dial();
    stream.write_all(&request_4a(2, b"127.0.0.1", 0, b"")).unwrap();
    let (code, advertised) = read_reply(&mut stream);
    assert_eq!(code, 90);
    let peer = dial_from(PEER, advertised);
    assert_eq!(read_reply(&mut stream).0, 90);
    drop((stream, peer));
    proxy.wait_idle();
}

#[test]
fn a_wrong_peer_is_disconnected_and_the_second_reply_is_91() {
    let mut proxy = Proxy::start(PERMIT_ALL, &[]);
    let (mut stream, advertised) = bind(&proxy, PEER);
    let stranger = dial_from(STRANGER, advertised);
    assert_eq!(read_reply(&mut stream).0, 91);
    assert_eq!(read_all(&mut stream), b"");
    assert_ended(stranger);
    wait_free(advertised);
    drop(stream);
    let access = proxy.access(1);
    assert_eq!((access.field("reason"), access.field("reply")), ("wrong-peer", "91"));
    proxy.wait_idle();
}

#[test]
fn one_peer_is_accepted_and_the_listener_closed() {
    let mut proxy = Proxy::start(PERMIT_ALL, &[]);
    let (mut stream, advertised) = bind(&proxy, PEER);
    let peer = dial_from(PEER, advertised);
    assert_eq!(read_reply(&mut stream).0, 90);
    assert!(TcpStream::connect(advertised).is_err(), "a second peer");
    traffic::send(&peer, 0, 10);
    traffic::receive(&stream, 0, 10);
    drop((stream, peer));
    proxy.wait_idle();
}

#[test]
fn bytes_after_the_request_wait_for_the_peer() {
    let mut proxy = Proxy::start(PERMIT_ALL, &[]);
    let mut stream = proxy.dial();
    let mut bytes = request(2, SocketAddrV4::new(PEER, 0), b"");
    bytes.extend(traffic::bytes(50_000));
    stream.write_all(&bytes).unwrap();
    let (code, advertised) = read_reply(&mut stream);
    assert_eq!(code, 90);
    let peer = dial_from(PEER, advertised);
    assert_eq!(read_reply(&mut stream).0, 90);
    traffic::send(&stream, 50_000, 60_000);
    traffic::receive(&peer, 0, 60_000);
    drop((stream, peer));
    proxy.wait_idle();
}

#[test]
fn a_client_that_closes_its_side_ends_a_waiting_bind() {
    let mut proxy = Proxy::start(PERMIT_ALL, &[]);
    let request = request(2, SocketAddrV4::new(PEER, 0), b"");
    let early = [&request[..], b"early"].concat();
    let mut id = 0;
    // In the same event as the request, or later; with bytes after the request, or without.
    for (at_once, bytes) in [(true, &request), (true, &early), (false, &request), (false, &early)] {
        for _ in 0..20 {
            let mut stream = proxy.dial();
            proxy.pause();
            stream.write_all(bytes).unwrap();
            if at_once {
                stream.shutdown(Shutdown::Write).unwrap();
            }
            proxy.resume();
            let (code, advertised) = read_reply(&mut stream);
            assert_eq!(code, 90);
            if !at_once {
                stream.shutdown(Shutdown::Write).unwrap();
            }
            wait_free(advertised);
            assert_eq!(read_reply(&mut stream).0, 91);
            assert_ended(stream);
            id += 1;
            assert_eq!(proxy.access(id).field("reason"), "client-left");
        }
    }
    proxy.wait_idle();
}

#[test]
fn without_a_peer_the_second_reply_is_91_at_the_bind_timeout() {
    let mut proxy = Proxy::start(PERMIT_ALL, &["--bind-timeout", "1"]);
    let (mut stream, advertised) = bind(&proxy, PEER);
    assert_eq!(read_reply(&mut stream).0, 91);
    assert_eq!(read_all(&mut stream), b"");
    wait_free(advertised);
    drop(stream);
    let access = proxy.access(1);
    assert_eq!(access.field("reason"), "bind-timeout");
    let ms: u64 = access.field("ms").parse().unwrap();
    assert!((1000..1900 + proxy.kept_waiting_ms()).contains(&ms), "{ms} ms");
    proxy.wait_idle();
}

#[test]
fn the_port_is_free_as_soon_as_the_client_leaves() {
    let mut proxy = Proxy::start(PERMIT_ALL, &[]);
    for (id, reason) in [(1, "client-left"), (2, "client-reset")] {
        let (stream, advertised) = bind(&proxy, PEER);
        assert!(TcpListener::bind(advertised).is_err());
        let left = Stopwatch::start(&proxy);
        match reason {
            "client-reset" => reset(stream),
            _ => drop(stream),
        }
        wait_free(advertised);
        // A tenth of a second is intended; the check itself also takes time.
        assert!(left.elapsed() < Duration::from_millis(300), "{:?}", left.elapsed());
        assert_eq!(proxy.access(id).field("reason"), reason);
    }
    proxy.wait_idle();
}

#[test]
fn a_bind_for_any_peer_evaluates_the_one_that_connects() {
    let rules = "deny b 127.0.0.2\npermit b 127.*.*.*\n";
    let mut proxy = Proxy::start(rules, &[]);
    for (id, source, code, reason, rule) in
        [(1, PEER, 90, "done", "2"), (2, STRANGER, 91, "denied", "1")]
    {
        let (mut stream, advertised) = bind(&proxy, Ipv4Addr::UNSPECIFIED);
        let peer = dial_from(source, advertised);
        assert_eq!(read_reply(&mut stream).0, code);
        let _ = peer.shutdown(Shutdown::Write);
        assert_eq!(read_all(&mut stream), b"");
        drop((stream, peer));
        let access = proxy.access(id);
        assert_eq!((access.field("reason"), access.field("rule")), (reason, rule));
    }
    // A peer that no rule could permit needs no listener.
    assert_eq!(proxy.refusal(&request(2, SocketAddrV4::new(STRANGER, 0), b"")).0, 91);
    assert_eq!(proxy.access(3).field("reason"), "denied");
    proxy.wait_idle();
}

/// Where it listens is found out only after everything that came with the request.
#[test]
fn a_client_that_has_left_before_its_bind_for_anybody_listens_is_told_91_and_nothing_else() {
    let mut proxy = Proxy::start(PERMIT_ALL, &[]);
    let mut stream = proxy.dial();
    // Once a later client has its answer, this one has been accepted: one that is accepted together
    // with its request is answered before the event that tells of its FIN.
    assert_eq!(proxy.refusal(&request(1, "0.0.0.0:1".parse().unwrap(), b"")).0, 91);
    proxy.pause();
    stream.write_all(&request(2, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0), b"")).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    proxy.resume();
    assert_eq!(read_reply(&mut stream).0, 91);
    assert_ended(stream);
    let access = proxy.access(1);
    assert_eq!((access.field("reason"), access.field("reply")), ("client-left", "91"));
    proxy.wait_idle();
}

#[test]
fn a_bind_for_any_peer_that_no_rule_could_permit_is_refused_at_once() {
    let mut proxy = Proxy::start("permit c *.*.*.*\n", &[]);
    assert_eq!(proxy.refusal(&request(2, "0.0.0.0:0".parse().unwrap(), b"")).0, 91);
    assert_eq!(proxy.access(1).field("reason"), "no-rule");
    proxy.wait_idle();
}

#[test]
fn ports_are_in_the_range_and_an_exhausted_range_is_a_refusal() {
    let (low, high) = two_free_ports();
    let mut proxy = Proxy::start(PERMIT_ALL, &["--bind-ports", &format!("{low}-{high}")]);
    let (first, advertised) = bind(&proxy, PEER);
    let (second, other) = bind(&proxy, PEER);
    let mut ports = [advertised.port(), other.port()];
    ports.sort_unstable();
    assert_eq!(ports, [low, high]);
    assert_eq!(proxy.refusal(&request(2, SocketAddrV4::new(PEER, 0), b"")).0, 91);
    assert_eq!(proxy.access(3).field("reason"), "bind-failed");
    // A port that one session frees is used by the next.
    drop(second);
    assert_eq!(proxy.access(2).field("reason"), "client-left");
    let (mut third, again) = bind(&proxy, PEER);
    assert_eq!(again, other);
    let peer = dial_from(PEER, again);
    assert_eq!(read_reply(&mut third).0, 90);
    drop((first, third, peer));
    proxy.wait_idle();
}

#[test]
fn the_binds_of_one_client_are_limited_and_others_are_served() {
    let mut proxy = Proxy::start(PERMIT_ALL, &["--max-per-source", "50"]);
    let open: Vec<_> = (0..50).map(|_| bind(&proxy, PEER)).collect();
    for id in 51..=55 {
        assert_eq!(proxy.refusal(&request(2, SocketAddrV4::new(PEER, 0), b"")).0, 91);
        assert_eq!(proxy.access(id).field("reason"), "too-many-from-source");
    }
    let (target, address) = listener();
    let mut other = proxy.dial_from(STRANGER);
    other.write_all(&request(1, address, b"")).unwrap();
    assert_eq!(read_reply(&mut other).0, 90);
    drop((other, accept(&target)));
    for (mut stream, advertised) in open {
        let peer = dial_from(PEER, advertised);
        assert_eq!(read_reply(&mut stream).0, 90);
        drop(peer);
    }
    proxy.wait_idle();
}
