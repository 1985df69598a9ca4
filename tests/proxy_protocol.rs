//! Clients behind load balancers: the PROXY header, through the program itself. A balancer is a
//! loopback address here, and its clients have addresses that no machine has.

#![cfg(feature = "proxy-protocol")]

mod common;

use common::machine::own_address;
use common::servers::is_root;
use common::socks5::{greeting, read_reply5, request5};
use common::traffic::ping;
use common::{Proxy, dial_from, echo_server, listener, read_all, read_reply, request, wait_until};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::thread;

const BALANCER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 5);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);
const FLAGS: &[&str] = &["--proxy-protocol", "127.0.0.5", "--proxy-protocol", "127.0.5.0/24"];
/// Decides by the real client, and lets the balancer itself in.
const RULES: &str = "permit cb * from 192.0.2.0/24\npermit cb * from 2001:db8::/32\n\
                     permit c * from 127.0.0.5\n";

/// A header of version 1 for a client.
fn text(client: &str) -> Vec<u8> {
    let client: SocketAddr = client.parse().unwrap();
    let (family, front) = if client.is_ipv4() { ("TCP4", "198.51.100.1") } else { ("TCP6", "::9") };
    format!("PROXY {family} {} {front} {} 1080\r\n", client.ip(), client.port()).into_bytes()
}

/// A header of version 2, with an addition after the addresses.
fn binary(client: &str) -> Vec<u8> {
    let client: SocketAddr = client.parse().unwrap();
    let (family, mut rest) = match client.ip() {
        IpAddr::V4(ip) => (0x11, [ip.octets(), [198, 51, 100, 1]].concat()),
        IpAddr::V6(ip) => (0x21, [ip.octets(), [9; 16]].concat()),
    };
    rest.extend(client.port().to_be_bytes());
    rest.extend(1080u16.to_be_bytes());
    rest.extend([4, 0, 2, 0, 0]);
    header(&[0x21, family], &rest)
}

fn header(command: &[u8; 2], rest: &[u8]) -> Vec<u8> {
    let length = (rest.len() as u16).to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &command[..], &length, rest].concat()
}

/// A connection from this address that has sent these bytes.
fn send(proxy: &Proxy, from: Ipv4Addr, pieces: &[&[u8]]) -> TcpStream {
    let mut stream = dial_from(from, proxy.address);
    stream.write_all(&pieces.concat()).unwrap();
    stream
}

/// Reads the end of a connection that is closed or reset without a byte.
fn assert_silent_end(mut stream: TcpStream) {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        Ok(_) => assert_eq!(rest, b""),
    }
}

#[test]
fn rules_and_log_go_by_the_client_that_the_header_names() {
    let mut proxy = Proxy::start(RULES, FLAGS);
    let echo = echo_server();
    let request = request(1, echo, b"bob");
    for (id, (head, client, is_permitted)) in [
        (text("192.0.2.9:50000"), "192.0.2.9:50000", true),
        (binary("192.0.2.9:50001"), "192.0.2.9:50001", true),
        (binary("[2001:db8::9]:50002"), "[2001:db8::9]:50002", true),
        (text("[::ffff:192.0.2.9]:50003"), "192.0.2.9:50003", true),
        (text("192.0.3.9:50004"), "192.0.3.9:50004", false),
        (binary("127.0.0.6:50005"), "127.0.0.6:50005", false),
    ]
    .into_iter()
    .enumerate()
    {
        let mut stream = send(&proxy, BALANCER, &[&head, &request]);
        assert_eq!(read_reply(&mut stream).0, if is_permitted { 90 } else { 91 }, "{client}");
        if is_permitted {
            ping(&stream);
        }
        let own = stream.local_addr().unwrap().to_string();
        drop(stream);
        let access = proxy.access(id as u64 + 1);
        assert_eq!((access.field("client"), access.field("via")), (client, own.as_str()));
        assert_eq!(access.field("reason"), if is_permitted { "done" } else { "no-rule" });
    }
    // By SOCKS5, from another balancer, with bytes right after the request.
    let request5 = request5(1, &echo.ip().to_string(), echo.port());
    let pieces = [&binary("192.0.2.9:50006"), &greeting(&[0]), &request5, &b"early"[..]];
    let mut stream = send(&proxy, Ipv4Addr::new(127, 0, 5, 7), &pieces);
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!((answer, read_reply5(&mut stream).0), ([5, 0], 0));
    let mut early = [0; 5];
    stream.read_exact(&mut early).unwrap();
    assert_eq!(&early, b"early");
    drop(stream);
    proxy.wait_idle();
}

#[test]
fn a_header_from_anybody_else_is_no_socks() {
    let mut proxy = Proxy::start("permit c * from 192.0.2.*\npermit c * from 127.0.0.6\n", FLAGS);
    let request = request(1, echo_server(), b"");
    for (id, head) in
        [text("192.0.2.9:1"), binary("192.0.2.9:1"), b"PROXY UNKNOWN\r\n".into()].iter().enumerate()
    {
        assert_silent_end(send(&proxy, OTHER, &[head, &request]));
        let access = proxy.access(id as u64 + 1);
        assert_eq!((access.field("reason"), access.field("reply")), ("bad-version", "-"));
        assert!(access.field("client").starts_with("127.0.0.6:"), "{access:?}");
    }
    // Without a header it is served as ever.
    let mut stream = send(&proxy, OTHER, &[&request]);
    assert_eq!(read_reply(&mut stream).0, 90);
    drop(stream);
    assert!(!proxy.access(4).0.contains(" via="));
    proxy.wait_idle();
}

#[test]
fn a_balancer_speaks_for_itself_by_local_and_unknown() {
    let mut proxy = Proxy::start(RULES, &[FLAGS, &["--max-per-source", "1"]].concat());
    let request = request(1, echo_server(), b"");
    let heads =
        [header(&[0x20, 0], b""), b"PROXY UNKNOWN\r\n".to_vec(), header(&[0x21, 0x31], &[0; 216])];
    // All at once: a balancer has no limit.
    let streams: Vec<_> =
        heads.iter().map(|head| send(&proxy, BALANCER, &[head, &request])).collect();
    for mut stream in streams.iter() {
        let mut reply = [0; 8];
        stream.read_exact(&mut reply).unwrap();
        assert_eq!(reply[1], 90);
    }
    drop(streams);
    for id in 1..=heads.len() as u64 {
        let access = proxy.access(id);
        assert!(access.field("client").starts_with("127.0.0.5:"), "{access:?}");
        assert!(!access.0.contains(" via="), "{access:?}");
    }
    proxy.wait_idle();
}

#[test]
fn a_balancer_without_a_right_header_is_closed_without_a_reply() {
    let mut proxy = Proxy::start(RULES, FLAGS);
    let request = request(1, echo_server(), b"");
    let too_long = [b"PROXY UNKNOWN ", &[b'x'; 107][..]].concat();
    let headers = [
        &request[..],
        b"\x05\x01\0",
        b"GET / HTTP/1.0\r\n\r\n",
        b"PROXY TCP4 192.0.2.9 198.51.100.1 1 99999\r\n",
        b"PROXY TCP6 192.0.2.9 198.51.100.1 1 1080\r\n",
        &too_long,
        &header(&[0x21, 0x11], b"short"),
        &header(&[0x21, 0x13], &[0; 12]),
        &header(&[0x31, 0x11], &[0; 12]),
        &header(&[0x21, 0x11], &[0; 2000])[..600],
    ];
    for (id, bytes) in headers.iter().enumerate() {
        assert_silent_end(send(&proxy, BALANCER, &[bytes]));
        let access = proxy.access(id as u64 + 1);
        assert_eq!((access.field("reason"), access.field("reply")), ("bad-proxy-header", "-"));
    }
    assert!(proxy.dump().contains(" sessions=0 "));
    proxy.wait_log(&format!("reason=bad-proxy-header count={}", headers.len()));
    proxy.wait_idle();
}

#[test]
fn a_header_may_come_byte_by_byte_within_the_time_for_the_request() {
    let mut proxy = Proxy::start(RULES, &[FLAGS, &["--request-timeout", "2"]].concat());
    let request = request(1, echo_server(), b"");
    for head in [text("192.0.2.9:50000"), binary("192.0.2.9:50000")] {
        let mut stream = dial_from(BALANCER, proxy.address);
        stream.set_nodelay(true).unwrap();
        for byte in [&head[..], &request].concat() {
            stream.write_all(&[byte]).unwrap();
        }
        assert_eq!(read_reply(&mut stream).0, 90);
    }
    // A part of a header, and a whole one without a request.
    let part = send(&proxy, BALANCER, &[b"PROXY TCP4 192.0.2.9 "]);
    let mut whole = send(&proxy, BALANCER, &[&text("192.0.2.9:50000")]);
    assert_silent_end(part);
    assert_eq!(read_reply(&mut whole).0, 91);
    drop(whole);
    for id in [3, 4] {
        let access = proxy.access(id);
        assert_eq!(access.field("reason"), "request-timeout", "{access:?}");
    }
    proxy.wait_idle();
}

#[test]
fn the_limit_per_source_counts_the_clients_and_not_the_balancer() {
    let mut proxy = Proxy::start(RULES, &[FLAGS, &["--max-per-source", "2"]].concat());
    let request = request(1, echo_server(), b"");
    let open = |client: &str| send(&proxy, BALANCER, &[&text(client), &request]);
    // Nobody is counted before the header has come.
    let silent: Vec<_> = (0..9).map(|_| dial_from(BALANCER, proxy.address)).collect();
    let mut kept = Vec::new();
    for client in ["192.0.2.1:1", "192.0.2.2:1", "192.0.2.1:2", "192.0.2.2:2"] {
        let mut stream = open(client);
        assert_eq!(read_reply(&mut stream).0, 90, "{client}");
        kept.push(stream);
    }
    // Rejected in the client's own protocol; it counts until it closes.
    let mut rejected = open("192.0.2.1:3");
    assert_eq!(read_reply(&mut rejected).0, 91);
    let mut rejected5 = send(&proxy, BALANCER, &[&binary("192.0.2.1:4"), &greeting(&[0])]);
    let mut answer = [0; 2];
    rejected5.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [5, 255]);
    // And beyond twice the number there is no answer.
    assert_silent_end(open("192.0.2.1:5"));
    let mut other = open("192.0.2.3:1");
    assert_eq!(read_reply(&mut other).0, 90);
    // That was a session as well: none was reset without one.
    assert!(proxy.dump().contains(" shed=0 "));
    // The balancer's own address counts like any other when a header names it.
    let via = |client: &str| send(&proxy, Ipv4Addr::new(127, 0, 5, 1), &[&text(client), &request]);
    let (mut own, mut second) = (via("127.0.0.5:1"), via("127.0.0.5:2"));
    assert_eq!((read_reply(&mut own).0, read_reply(&mut second).0), (90, 90));
    drop(silent);
    proxy.wait_logs(" reason=client-left ", 9);
    let mut third = via("127.0.0.5:3");
    assert_eq!(read_reply(&mut third).0, 91);
    drop((rejected, rejected5, other, own, second, third, kept));
    proxy.wait_idle();
    // All are forgotten.
    let again: Vec<_> =
        (0..2).map(|_| send(&proxy, BALANCER, &[&text("192.0.2.1:9"), &request])).collect();
    for mut stream in again {
        assert_eq!(read_reply(&mut stream).0, 90);
    }
    proxy.wait_idle();
}

#[test]
fn identd_is_asked_at_the_real_client_about_the_ports_of_the_header() {
    if !is_root() {
        return;
    }
    let (client, front) = (own_address(77), own_address(78));
    let identd = TcpListener::bind((client, 113)).unwrap();
    let serving = thread::spawn(move || {
        let mut seen = Vec::new();
        for _ in 0..2 {
            let (mut stream, from) = identd.accept().unwrap();
            let mut query = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut query).unwrap();
            write!(stream, "{} : USERID : UNIX : bob\r\n", query.trim_end()).unwrap();
            seen.push((from.ip(), query));
        }
        seen
    });
    let proxy = Proxy::start("permit c * ident\n", FLAGS);
    let request = request(1, echo_server(), b"bob");
    // The address that the client connected to is one of this host, and then one of the balancer.
    for to in [front, Ipv4Addr::new(198, 51, 100, 1)] {
        let head = format!("PROXY TCP4 {client} {to} 50000 1080\r\n");
        let mut stream = send(&proxy, BALANCER, &[head.as_bytes(), &request]);
        assert_eq!(read_reply(&mut stream).0, 90);
    }
    let seen = serving.join().unwrap();
    assert!(seen.iter().all(|(_, query)| query.replace(' ', "") == "50000,1080\r\n"), "{seen:?}");
    assert_eq!(seen[0].0, front);
    assert_ne!(seen[1].0, front);
    assert_eq!(proxy.access(1).field("ident"), "bob");
}

#[test]
fn a_bind_for_any_peer_advertises_an_address_of_this_host() {
    let mut proxy = Proxy::start("permit cb *\n", FLAGS);
    let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
    let bind = |client: &str| {
        let mut stream = send(&proxy, BALANCER, &[&text(client), &request(2, any, b"")]);
        let (code, advertised) = read_reply(&mut stream);
        assert_eq!(code, 90);
        (stream, advertised)
    };
    // Without a CONNECT, the address that the balancer has connected to.
    let (mut stream, advertised) = bind("192.0.2.9:1");
    assert_eq!(advertised.ip(), proxy.address.ip());
    let mut peer = TcpStream::connect(advertised).unwrap();
    assert_eq!(read_reply(&mut stream).0, 90);
    peer.write_all(b"data").unwrap();
    drop(peer);
    assert_eq!(read_all(&mut stream), b"data");
    // With one, its source: of this client, not of another one of the same balancer.
    let (_target, target) = listener();
    let target = SocketAddrV4::new(OTHER, target.port());
    let far = TcpListener::bind(target).unwrap();
    let mut connect = send(&proxy, BALANCER, &[&text("192.0.2.9:2"), &request(1, target, b"")]);
    assert_eq!(read_reply(&mut connect).0, 90);
    let source = far.accept().unwrap().1;
    let (second, advertised) = bind("192.0.2.9:3");
    assert_eq!(IpAddr::from(*advertised.ip()), source.ip());
    drop((stream, second, connect));
    proxy.wait_idle();
}

#[test]
fn a_warning_says_when_everybody_may_send_a_header() {
    for (flag, is_wide) in [("0.0.0.0/0", true), ("::/0", true), ("10.0.0.0/8", false)] {
        let proxy = Proxy::start("deny cb *\n", &["--proxy-protocol", flag]);
        let warning = format!("--proxy-protocol {flag}: every client may claim any address");
        let is_warned = proxy.log().iter().any(|line| line.contains(&warning));
        assert_eq!(is_warned, is_wide, "{flag}");
    }
}

#[test]
fn a_stopping_proxy_closes_connections_that_have_sent_no_header() {
    let flags = [FLAGS, &["--drain-timeout", "1"]].concat();
    let mut proxy = Proxy::start(RULES, &flags);
    let stream = send(&proxy, BALANCER, &[b"PROXY TCP4 "]);
    wait_until("the session", || proxy.dump().contains(" sessions=1 ").then_some(()));
    proxy.signal("TERM");
    assert_silent_end(stream);
    assert_eq!(proxy.wait_exit(), Some(0));
    assert_eq!(proxy.access(1).field("reason"), "stopped");
}
