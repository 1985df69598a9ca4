//! The client alone, against a proxy of a few lines: this runs without any other feature. More is in
//! tests/client.rs.

use super::*;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;

const SECONDS: Duration = Duration::from_secs(20);

/// A proxy for one client, which checks the request and answers with these bytes.
fn proxy(request: &'static [u8], answer: &'static [u8]) -> Client {
    talking([(request, answer)])
}

/// A proxy for one client, which reads each of these messages and then gives its answer.
fn talking<const N: usize>(dialogue: [(&'static [u8], &'static [u8]); N]) -> Client {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for (message, answer) in dialogue {
            let mut found = vec![0; message.len()];
            stream.read_exact(&mut found).unwrap();
            if found != message {
                return;
            }
            stream.write_all(answer).unwrap();
        }
    });
    Client::new(address).connect_timeout(SECONDS).reply_timeout(SECONDS)
}

fn read_all(mut stream: TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(SECONDS)).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_connect_gives_the_stream_after_the_reply() {
    let client = proxy(b"\x04\x01\0\x50\0\0\0\x01bob\0a.test\0", b"\0\x5a\0\x50\x7f\0\0\x01hello");
    let (stream, address) = client.user("bob").connect("a.test:80").unwrap();
    assert_eq!(address, "127.0.0.1:80".parse().unwrap());
    assert_eq!(read_all(stream), b"hello");
}

#[test]
fn a_bind_gives_the_address_and_then_the_peer() {
    let answer = b"\0\x5a\0\x15\x7f\0\0\x01\0\x5a\0\x16\x7f\0\0\x02hello";
    let bound = proxy(b"\x04\x02\0\x15\x01\x02\x03\x04\0", answer).bind("1.2.3.4:21").unwrap();
    assert_eq!(bound.address(), "127.0.0.1:21".parse::<SocketAddr>().unwrap());
    let (stream, peer) = bound.accept().unwrap();
    assert_eq!(peer, "127.0.0.2:22".parse().unwrap());
    assert_eq!(read_all(stream), b"hello");
}

#[test]
fn a_connect_by_socks5_may_need_a_password() {
    let client = talking([
        (b"\x05\x02\0\x02", b"\x05\x02"),
        (b"\x01\x03bob\x06secret", b"\x01\0"),
        (b"\x05\x01\0\x03\x06a.test\0\x50", b"\x05\0\0\x01\x7f\0\0\x01\0\x50hello"),
    ]);
    let client = client.user("bob").password("secret");
    let (stream, address) = client.connect("a.test:80").unwrap();
    assert_eq!(address, "127.0.0.1:80".parse().unwrap());
    assert_eq!(read_all(stream), b"hello");
}

#[test]
fn a_password_is_not_shown() {
    let client = Client::new("127.0.0.1:1080").user("bob").password("secret");
    let hidden = client.password.as_ref().map(|password| format!("{password:?}"));
    assert_eq!(hidden.as_deref(), Some("..."));
    let shown = format!("{client:?}");
    assert!(shown.contains("1080") && !shown.contains("secret") && !shown.contains("115, 101"));
}

#[test]
fn a_refusal_is_an_error() {
    let refusing = proxy(b"\x04\x01\0\x50\x01\x02\x03\x04\0", b"\0\x5b\0\0\0\0\0\0");
    assert!(matches!(refusing.connect("1.2.3.4:80"), Err(Error::Rejected(Rejection::Failed))));
}
