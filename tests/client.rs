//! The client library against the program itself, and against proxies that answer slowly, badly
//! or not at all.

#![cfg(all(feature = "server", feature = "client"))]

mod common;

use common::machine::CLOSED;
use common::servers::*;
use common::*;
use socku::client::{Client, Doing, EncodeError, Error, ProxyAddress, Rejection, Target};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

const TARGET: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 80);
const GRANTED: [u8; 8] = [0, 90, 0, 80, 192, 0, 2, 1];
const SHORT: Duration = Duration::from_secs(1);

fn client(proxy: SocketAddrV4) -> Client {
    Client::new(proxy).connect_timeout(DEADLINE).reply_timeout(DEADLINE)
}

/// A proxy for one client, which does this once the client's first bytes are there.
fn scripted(script: impl FnOnce(TcpStream) + Send + 'static) -> Client {
    let (listener, address) = listener();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        if stream.read(&mut [0; 1024]).is_ok_and(|count| count > 0) {
            script(stream);
        }
    });
    client(address)
}

/// A proxy that answers with these bytes in one segment, then ends.
fn answering(bytes: &'static [u8]) -> Client {
    scripted(move |mut stream| stream.write_all(bytes).unwrap())
}

fn echoes(stream: &mut TcpStream) {
    stream.write_all(b"ping").unwrap();
    let mut back = [0; 4];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"ping");
}

fn no_timeouts(stream: &TcpStream) {
    assert_eq!(stream.read_timeout().unwrap(), None);
    assert_eq!(stream.write_timeout().unwrap(), None);
}

fn is_timeout(error: &Error, expected: Doing) -> bool {
    matches!(error, Error::Io { doing, error, .. }
        if *doing == expected && error.kind() == ErrorKind::TimedOut)
}

#[test]
fn a_connect_by_address_reaches_the_target_under_the_user_id() {
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let (listener, address) = listener();
    let (mut stream, local) = client(proxy.address).user("bob").connect(address).unwrap();
    no_timeouts(&stream);
    let mut target = accept(&listener);
    assert_eq!(target.peer_addr().unwrap(), local);
    stream.write_all(b"up").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut target), b"up");
    target.write_all(b"down").unwrap();
    drop(target);
    assert_eq!(read_all(&mut with_deadline(stream)), b"down");
    let access = proxy.access(1);
    assert_eq!((access.field("user"), access.field("reason")), ("bob", "done"));
    assert_eq!(access.field("target"), address.to_string());
}

#[test]
fn a_connect_by_name_leaves_the_name_to_the_proxy() {
    let server = NameServer::start(|question| vec![reply(question, 0, &[a("&", [127, 0, 0, 1])])]);
    let nameserver = server.address.to_string();
    let proxy = Proxy::start(PERMIT_ALL, &["--nameserver", &nameserver]);
    let port = echo_server().port();
    let (stream, _) = client(proxy.address).connect(("plain.test", port)).unwrap();
    echoes(&mut with_deadline(stream));
    assert_eq!(server.names()[0], "plain.test");
    assert_eq!(proxy.access(1).field("target"), format!("plain.test:{port}"));
}

#[test]
fn a_target_may_be_text_of_host_and_port() {
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let target = echo_server().to_string();
    let client = client(proxy.address);
    echoes(&mut with_deadline(client.connect(target.as_str()).unwrap().0));
    echoes(&mut with_deadline(client.connect(&target).unwrap().0));
    assert!(client.bind(target.clone()).unwrap().address().ip().is_loopback());
    echoes(&mut with_deadline(client.connect(target).unwrap().0));
    let error = client.connect("127.0.0.1").unwrap_err();
    assert!(matches!(&error, Error::Target(found) if found == "127.0.0.1"), "{error:?}");
}

#[test]
fn a_proxy_may_be_named_and_each_of_its_addresses_is_tried() {
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let echo = echo_server();
    let (text, port) = (format!("localhost:{}", proxy.address.port()), proxy.address.port());
    // Where localhost is ::1 as well, that address refuses.
    for place in [ProxyAddress::from(&text), ("localhost", port).into(), text.into()] {
        let client = Client::new(place).connect_timeout(DEADLINE).reply_timeout(DEADLINE);
        echoes(&mut with_deadline(client.connect(echo).unwrap().0));
    }
    let error = Client::new("localhost:1").connect(TARGET).unwrap_err();
    let expected = "error while connecting to the SOCKS proxy at localhost:1: ";
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn a_proxy_that_cannot_be_looked_up_is_an_error_of_its_own() {
    for (place, shown) in [("localhost", "localhost: expected HOST:PORT"), ("a\0b:1", "a\\0b:1: ")]
    {
        let error = Client::new(place).connect(TARGET).unwrap_err();
        assert!(matches!(&error, Error::Io { doing: Doing::LookingUp, .. }), "{error:?}");
        let expected = "error while looking up the name of the SOCKS proxy at ";
        assert!(error.to_string().starts_with(&format!("{expected}{shown}")), "{error}");
    }
}

#[test]
fn a_refusal_by_rule_is_rejected() {
    let proxy = Proxy::start("permit cb *.*.*.* user alice\n", &[]);
    let (_listener, address) = listener();
    let bob = client(proxy.address).user("bob");
    assert!(matches!(bob.connect(address), Err(Error::Rejected(Rejection::Failed))));
    assert!(matches!(bob.bind(address), Err(Error::Rejected(Rejection::Failed))));
    assert!(client(proxy.address).user("alice").connect(address).is_ok());
    let refused = client(proxy.address).user("alice").connect(CLOSED);
    assert!(matches!(refused, Err(Error::Rejected(Rejection::Failed))));
}

#[test]
fn a_bind_reports_its_address_and_accept_gives_stream_and_peer() {
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let bound = client(proxy.address).bind((Ipv4Addr::LOCALHOST, 21)).unwrap();
    assert!(bound.address().ip().is_loopback());
    let mut peer = with_deadline(TcpStream::connect(bound.address()).unwrap());
    peer.write_all(b"hello").unwrap();
    let (stream, address) = bound.accept().unwrap();
    no_timeouts(&stream);
    assert_eq!(peer.local_addr().unwrap(), address);
    let mut stream = with_deadline(stream);
    stream.write_all(b"welcome").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut peer), b"welcome");
    drop(peer);
    assert_eq!(read_all(&mut stream), b"hello");
}

#[test]
fn a_bind_that_another_peer_answers_is_rejected() {
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let bound = client(proxy.address).bind((Ipv4Addr::new(127, 0, 0, 9), 21)).unwrap();
    let _stranger = TcpStream::connect(bound.address()).unwrap();
    assert!(matches!(bound.accept(), Err(Error::Rejected(Rejection::Failed))));
    assert_eq!(proxy.access(1).field("reason"), "wrong-peer");
}

#[test]
fn a_bind_that_nobody_answers_ends_by_the_time_out_of_proxy_or_client() {
    let proxy = Proxy::start(PERMIT_ALL, &["--bind-timeout", "1"]);
    let bound = client(proxy.address).bind((Ipv4Addr::LOCALHOST, 21)).unwrap();
    assert!(matches!(bound.accept(), Err(Error::Rejected(Rejection::Failed))));

    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let hasty = client(proxy.address).reply_timeout(SHORT);
    let bound = hasty.bind((Ipv4Addr::LOCALHOST, 21)).unwrap();
    let error = bound.accept().unwrap_err();
    assert!(is_timeout(&error, Doing::Peer), "{error:?}");
}

#[test]
fn dropping_a_bind_ends_the_listening() {
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let bound = client(proxy.address).bind((Ipv4Addr::LOCALHOST, 21)).unwrap();
    let address = bound.address();
    drop(bound);
    assert_eq!(proxy.access(1).field("reason"), "client-left");
    wait_until("the end of the listening", || TcpStream::connect(address).err());
}

#[test]
fn a_bind_address_of_zeros_is_replaced_by_the_proxys_own() {
    let listener = TcpListener::bind("127.0.0.3:0").unwrap();
    let proxy = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&[0, 90, 0x12, 0x34, 0, 0, 0, 0]).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let bound = Client::new(proxy).reply_timeout(DEADLINE).bind(TARGET).unwrap();
    assert_eq!(bound.address(), SocketAddr::new(proxy.ip(), 0x1234));

    let other = answering(&[0, 90, 0x12, 0x34, 192, 0, 2, 9]).bind(TARGET).unwrap();
    assert_eq!(other.address(), "192.0.2.9:4660".parse().unwrap());
}

#[test]
fn every_code_of_a_refusal_is_an_error_of_its_own() {
    let error = |bytes| answering(bytes).connect(TARGET).unwrap_err();
    assert!(matches!(error(&[0, 91, 0, 0, 0, 0, 0, 0]), Error::Rejected(Rejection::Failed)));
    assert!(matches!(error(&[0, 92, 0, 0, 0, 0, 0, 0]), Error::Rejected(Rejection::NoIdent)));
    assert!(matches!(error(&[0, 93, 0, 0, 0, 0, 0, 0]), Error::Rejected(Rejection::OtherUser)));
}

#[test]
fn an_answer_that_is_no_reply_is_an_error_with_its_bytes() {
    let answers: [&[u8]; 6] = [
        &[4, 90, 0, 80, 192, 0, 2, 1],
        &[0, 94, 0, 80, 192, 0, 2, 1],
        b"HTTP/1.1",
        &[5, 255],
        &[0, 90, 0, 80, 192, 0, 2],
        &[],
    ];
    for bytes in answers {
        for bind in [false, true] {
            let client = answering(bytes);
            let error = match bind {
                false => client.connect(TARGET).map(drop).unwrap_err(),
                true => client.bind(TARGET).map(drop).unwrap_err(),
            };
            let is_expected = match &error {
                Error::Protocol(found) => found == bytes && bytes.len() == 8,
                Error::Closed(found) => found == bytes && bytes.len() < 8,
                _ => false,
            };
            assert!(is_expected, "{error:?}");
        }
    }
    let bound = scripted(|mut stream| {
        stream.write_all(&GRANTED).unwrap();
        stream.write_all(&[0, 90, 1]).unwrap();
    })
    .bind(TARGET)
    .unwrap();
    assert!(matches!(bound.accept(), Err(Error::Closed(got)) if got == [0, 90, 1]));
}

#[test]
fn payload_in_one_segment_with_the_reply_is_not_lost() {
    let client = answering(b"\0\x5a\0\0\0\0\0\0payload directly after it");
    let (stream, _) = client.connect(TARGET).unwrap();
    assert_eq!(read_all(&mut with_deadline(stream)), b"payload directly after it");

    let client = answering(b"\0\x5a\0\x15\x7f\0\0\x01\0\x5a\0\x16\x7f\0\0\x02both at once");
    let bound = client.bind(TARGET).unwrap();
    assert_eq!(bound.address(), "127.0.0.1:21".parse().unwrap());
    let (stream, peer) = bound.accept().unwrap();
    assert_eq!(peer, "127.0.0.2:22".parse().unwrap());
    assert_eq!(read_all(&mut with_deadline(stream)), b"both at once");
}

/// Sends these bytes one by one, as long as the client is there.
fn drip(stream: &mut TcpStream, bytes: &[u8], pause: Duration) {
    for byte in bytes {
        thread::sleep(pause);
        if stream.write_all(&[*byte]).is_err() {
            return;
        }
    }
    let _ = stream.read_to_end(&mut Vec::new());
}

#[test]
fn a_dripping_reply_is_read_whole() {
    let client = scripted(|mut stream| drip(&mut stream, &GRANTED, Duration::from_millis(5)));
    assert_eq!(client.connect(TARGET).unwrap().1, TARGET.into());
}

#[test]
fn a_dripping_reply_does_not_extend_the_time_out() {
    // Each byte comes within the time-out, all of them do not.
    let pause = SHORT / 3;
    let client = scripted(move |mut stream| drip(&mut stream, &GRANTED, pause));
    let error = client.reply_timeout(SHORT).connect(TARGET).unwrap_err();
    assert!(is_timeout(&error, Doing::Reply), "{error:?}");

    let client = scripted(move |mut stream| {
        stream.write_all(&GRANTED).unwrap();
        drip(&mut stream, &GRANTED, pause);
    });
    let bound = client.reply_timeout(SHORT).bind(TARGET).unwrap();
    let error = bound.accept().unwrap_err();
    assert!(is_timeout(&error, Doing::Peer), "{error:?}");
}

#[test]
fn the_time_out_of_accept_starts_at_its_call() {
    let bound = answering(b"\0\x5a\0\x15\x7f\0\0\x01\0\x5a\0\x16\x7f\0\0\x02")
        .reply_timeout(SHORT)
        .bind(TARGET)
        .unwrap();
    thread::sleep(SHORT + SHORT / 10);
    assert!(bound.accept().is_ok());
}

#[test]
fn a_time_out_may_be_zero_or_unlimited() {
    let error = answering(&GRANTED).connect_timeout(Duration::ZERO).connect(TARGET).unwrap_err();
    assert!(is_timeout(&error, Doing::Connecting), "{error:?}");
    let error = answering(&GRANTED).reply_timeout(Duration::ZERO).connect(TARGET).unwrap_err();
    assert!(is_timeout(&error, Doing::Sending), "{error:?}");
    let patient = answering(&GRANTED).connect_timeout(Duration::MAX).reply_timeout(Duration::MAX);
    assert_eq!(patient.connect(TARGET).unwrap().1, TARGET.into());
}

#[test]
fn a_proxy_that_accepts_no_connection_is_given_up_after_the_connect_time_out() {
    // With its queue full, a listener on Linux answers no further SYN.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let _waiting = TcpStream::connect(address).unwrap();
    let started = Instant::now();
    let client = Client::new(address).connect_timeout(SHORT).reply_timeout(DEADLINE);
    let error = client.connect(TARGET).unwrap_err();
    assert!(is_timeout(&error, Doing::Connecting), "{error:?}");
    assert!((SHORT..DEADLINE).contains(&started.elapsed()));
}

#[test]
fn an_io_error_says_which_step_failed() {
    let error = client(CLOSED).connect(TARGET).unwrap_err();
    assert!(
        matches!(&error, Error::Io { doing: Doing::Connecting, proxy, error }
            if *proxy == CLOSED.into() && error.kind() == ErrorKind::ConnectionRefused),
        "{error:?}"
    );
    let error = scripted(reset).connect(TARGET).unwrap_err();
    assert!(
        matches!(&error, Error::Io { doing: Doing::Reply, error, .. }
            if error.kind() == ErrorKind::ConnectionReset),
        "{error:?}"
    );
}

#[test]
fn a_request_that_cannot_be_encoded_fails_before_a_connection_is_made() {
    let (listener, address) = listener();
    let user = |user: &[u8]| client(address).user(user).connect(TARGET);
    for text in [&b"a\0b"[..], b"\0", &[b'u'; 513]] {
        assert!(matches!(user(text), Err(Error::Request(EncodeError::User))));
        let bound = client(address).user(text).bind(TARGET);
        assert!(matches!(bound, Err(Error::Request(EncodeError::User))));
    }
    for name in ["", "a\0b", &"n".repeat(256)] {
        let error = client(address).connect((name, 80)).unwrap_err();
        assert!(matches!(error, Error::Request(EncodeError::Name)), "{name:?}");
    }
    let marked = client(address).connect((Ipv4Addr::new(0, 0, 0, 7), 80));
    assert!(matches!(marked, Err(Error::Request(EncodeError::Address))));
    let ipv6 = client(address).connect("[::1]:80").unwrap_err();
    assert!(matches!(ipv6, Error::Request(EncodeError::Ipv6)));
    assert_eq!(ipv6.to_string(), "SOCKS4 cannot ask for an IPv6 address: use SOCKS5");
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn exactly_the_bytes_of_the_request_are_sent_even_at_the_limits() {
    let name = "n".repeat(255);
    let cases = [
        (Target::from(TARGET), vec![b'u'; 512]),
        (Target::from((&*name, 80)), vec![b'u'; 512]),
        (Target::Name("127.0.0.1".into(), 80), vec![]),
        (Target::from(("127.0.0.1", 80)), vec![0xff, b' ', b'\n']),
    ];
    for (target, user) in cases {
        let (address_4, name_4a) = match &target {
            Target::Address(SocketAddr::V4(address)) => (*address, None),
            Target::Name(name, _) => (TARGET, Some(name)),
            other => panic!("{other:?}"),
        };
        for command in [1, 2] {
            let expected = match name_4a {
                None => request(command, address_4, &user),
                Some(name) => request_4a(command, name.as_bytes(), 80, &user),
            };
            let (listener, address) = listener();
            let user = user.clone();
            let asking = thread::spawn(move || {
                let mut stream = accept(&listener);
                let mut bytes = vec![0; expected.len()];
                stream.read_exact(&mut bytes).unwrap();
                assert_eq!(bytes, expected);
                stream.write_all(&GRANTED).unwrap();
                assert_eq!(read_all(&mut stream), b"", "after the request");
            });
            let client = client(address).user(user);
            match command {
                1 => drop(client.connect(target.clone()).unwrap()),
                _ => drop(client.bind(target.clone()).unwrap()),
            }
            asking.join().unwrap();
        }
    }
}

#[test]
fn each_error_has_a_text_that_says_what_is_wrong() {
    let proxy = ProxyAddress::from("127.0.0.1:1080");
    let io = |doing, kind: ErrorKind| Error::Io { doing, proxy: proxy.clone(), error: kind.into() };
    let cases = [
        (
            Error::Request(EncodeError::User),
            "the user has more than 512 bytes or a NUL (SOCKS4), or none or more than \
             255 bytes (SOCKS5)",
        ),
        (
            Error::Rejected(Rejection::Failed),
            "the SOCKS proxy rejected the request: it is not allowed or failed, the proxy does \
             not say why",
        ),
        (
            Error::Rejected(Rejection::Refused),
            "the SOCKS proxy rejected the request: the target refused the connection",
        ),
        (Error::Closed(vec![]), "the SOCKS proxy closed the connection without an answer"),
        (
            Error::Closed(vec![5, 255]),
            "the SOCKS proxy closed the connection within its answer: 05 ff",
        ),
        (
            Error::Protocol(b"HTTP/1.1".to_vec()),
            "this is not how a SOCKS proxy answers: 48 54 54 50 2f 31 2e 31",
        ),
        (Error::NoMethod, "the SOCKS proxy requires an authentication that was not offered"),
        (Error::WrongPassword, "the SOCKS proxy does not accept this user and password"),
        (
            io(Doing::Reply, ErrorKind::TimedOut),
            "time-out while waiting for the reply of the SOCKS proxy at 127.0.0.1:1080",
        ),
        (
            io(Doing::Connecting, ErrorKind::ConnectionRefused),
            "error while connecting to the SOCKS proxy at 127.0.0.1:1080: connection refused",
        ),
    ];
    for (error, text) in cases {
        assert_eq!(error.to_string(), text);
    }
}
