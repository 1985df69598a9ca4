//! The client library by SOCKS5, against proxies that say what a test wants, however badly.

#![cfg(all(feature = "server", feature = "client"))]

mod common;

use common::*;
use socku::client::{Client, Doing, EncodeError, Error, Rejection, Target};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

const TARGET: &str = "192.0.2.1:80";
const REQUEST: &[u8] = b"\x05\x01\0\x01\xc0\0\x02\x01\0\x50";
const BIND_REQUEST: &[u8] = b"\x05\x02\0\x01\xc0\0\x02\x01\0\x50";
const GRANTED: &[u8] = b"\x05\0\0\x01\xc0\0\x02\x09\x12\x34";
const NO_PASSWORD: (&[u8], &[u8]) = (b"\x05\x01\0", b"\x05\0");
const SHORT: Duration = Duration::from_secs(1);

type Dialogue = Vec<(Vec<u8>, Vec<u8>)>;

fn dialogue(steps: &[(&[u8], &[u8])]) -> Dialogue {
    steps.iter().map(|(message, answer)| (message.to_vec(), answer.to_vec())).collect()
}

/// A proxy for one client. It reads just the bytes of each message, then answers; at the end it
/// closes. The thread gives whether all messages have come.
struct Proxy {
    address: SocketAddr,
    thread: thread::JoinHandle<Result<(), String>>,
}

impl Proxy {
    fn start(dialogue: Dialogue) -> Proxy {
        let (listener, address) = listener();
        let thread = thread::spawn(move || {
            let mut stream = accept(&listener);
            for (message, answer) in dialogue {
                let mut found = vec![0; message.len()];
                stream.read_exact(&mut found).map_err(|error| error.to_string())?;
                if found != message {
                    return Err(format!("{found:02x?} in place of {message:02x?}"));
                }
                stream.write_all(&answer).unwrap();
            }
            Ok(())
        });
        Proxy { address: address.into(), thread }
    }

    fn client(&self) -> Client {
        Client::new(self.address).connect_timeout(DEADLINE).reply_timeout(DEADLINE).socks5()
    }

    fn finish(self) {
        self.thread.join().unwrap().unwrap();
    }
}

fn error_of(steps: &[(&[u8], &[u8])], ask: impl Fn(Client) -> Result<(), Error>) -> Error {
    let proxy = Proxy::start(dialogue(steps));
    let error = ask(proxy.client()).unwrap_err();
    proxy.finish();
    error
}

fn connect(client: Client) -> Result<(), Error> {
    client.connect(TARGET).map(drop)
}

fn bind(client: Client) -> Result<(), Error> {
    client.bind(TARGET).map(drop)
}

#[test]
fn each_kind_of_target_is_asked_for_in_its_own_form() {
    let ipv6 = b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x09";
    let name = "n".repeat(255);
    let cases: [(Target<'_>, Vec<u8>); 7] = [
        (TARGET.try_into().unwrap(), REQUEST[3..].to_vec()),
        (("0.0.0.7", 80).into(), b"\x01\0\0\0\x07\0\x50".to_vec()),
        (("::ffff:192.0.2.1", 80).into(), REQUEST[3..].to_vec()),
        (("2001:db8::9", 0x1234).into(), [&b"\x04"[..], ipv6, b"\x12\x34"].concat()),
        ("[2001:db8::9]:4660".try_into().unwrap(), [&b"\x04"[..], ipv6, b"\x12\x34"].concat()),
        (("a.test", 80).into(), b"\x03\x06a.test\0\x50".to_vec()),
        ((&*name, 80).into(), [b"\x03\xff", name.as_bytes(), b"\0\x50"].concat()),
    ];
    for (target, bytes) in cases {
        for command in [1, 2] {
            let request = [&[5, command, 0], &bytes[..]].concat();
            let proxy = Proxy::start(dialogue(&[NO_PASSWORD, (&request, GRANTED)]));
            // Without a password there is no place for a user.
            let client = proxy.client().user("bob");
            match command {
                1 => {
                    let (_, address) = client.connect(target.clone()).unwrap();
                    assert_eq!(address, "192.0.2.9:4660".parse().unwrap());
                }
                _ => {
                    let bound = client.bind(target.clone()).unwrap();
                    assert_eq!(bound.address(), "192.0.2.9:4660".parse().unwrap());
                }
            }
            proxy.finish();
        }
    }
}

#[test]
fn the_proxy_chooses_between_a_password_and_none() {
    let (user, password) = (vec![b'u'; 255], vec![b'\0'; 255]);
    let message = [&[1, 255], &user[..], &[255], &password].concat();
    let by_password =
        dialogue(&[(b"\x05\x02\0\x02", b"\x05\x02"), (&message, b"\x01\0"), (REQUEST, GRANTED)]);
    let by_none = dialogue(&[(b"\x05\x02\0\x02", b"\x05\0"), (REQUEST, GRANTED)]);
    for steps in [by_password, by_none] {
        let proxy = Proxy::start(steps);
        let client = proxy.client().user(&user[..]).password(&password[..]);
        client.connect(TARGET).unwrap();
        proxy.finish();
    }
}

#[test]
fn a_password_alone_makes_the_client_speak_socks5() {
    let proxy = Proxy::start(dialogue(&[(b"\x05\x02\0\x02", b"\x05\0"), (REQUEST, GRANTED)]));
    let client = Client::new(proxy.address).user("bob").password("secret");
    client.reply_timeout(DEADLINE).connect(TARGET).unwrap();
    proxy.finish();
}

#[test]
fn a_wrong_password_and_a_missing_method_are_errors_of_their_own() {
    let ask = |client: Client| connect(client.user("bob").password("wrong"));
    let message = b"\x01\x03bob\x05wrong";
    for status in [1, 2, 255] {
        let answer: &[u8] = &[1, status];
        let error = error_of(&[(b"\x05\x02\0\x02", b"\x05\x02"), (message, answer)], ask);
        assert!(matches!(error, Error::WrongPassword), "{error:?}");
    }
    let error = error_of(&[(b"\x05\x02\0\x02", b"\x05\xff")], ask);
    assert!(matches!(error, Error::NoMethod), "{error:?}");
    let error = error_of(&[(b"\x05\x01\0", b"\x05\xff")], connect);
    assert!(matches!(error, Error::NoMethod), "{error:?}");
}

#[test]
fn every_code_of_a_rejection_is_told_apart() {
    for code in 1..=255u8 {
        let expected = match code {
            1 => Rejection::Failed,
            2 => Rejection::NotAllowed,
            3 => Rejection::NetworkUnreachable,
            4 => Rejection::HostUnreachable,
            5 => Rejection::Refused,
            6 => Rejection::TimedOut,
            7 => Rejection::CommandNotSupported,
            8 => Rejection::AddressTypeNotSupported,
            other => Rejection::Other(other),
        };
        let reply: &[u8] = &[5, code, 0, 1, 0, 0, 0, 0, 0, 0];
        let error = error_of(&[NO_PASSWORD, (REQUEST, reply)], connect);
        assert!(matches!(error, Error::Rejected(got) if got == expected), "{error:?}");
        assert!(!expected.to_string().is_empty());
    }
}

/// The replies that a proxy may give, and the address that the client makes of it.
fn replies() -> [(Vec<u8>, SocketAddr); 5] {
    let name = [b"\x05\0\0\x03\xff", &[b'n'; 255][..], b"\x12\x34"].concat();
    let reply = |text: &[u8], address: &str| (text.to_vec(), address.parse().unwrap());
    [
        reply(GRANTED, "192.0.2.9:4660"),
        reply(b"\x05\0\x07\x01\xc0\0\x02\x09\x12\x34", "192.0.2.9:4660"),
        reply(b"\x05\0\0\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x09\0\x50", "[2001:db8::9]:80"),
        reply(b"\x05\0\0\x03\x06a.test\x12\x34", "0.0.0.0:4660"),
        reply(&name, "0.0.0.0:4660"),
    ]
}

#[test]
fn a_reply_is_read_to_its_last_byte_and_not_further() {
    for (reply, expected) in replies() {
        let payload = [&reply, &b"payload directly after it"[..]].concat();
        let proxy = Proxy::start(dialogue(&[NO_PASSWORD, (REQUEST, &payload)]));
        let (stream, address) = proxy.client().connect(TARGET).unwrap();
        assert_eq!(stream.read_timeout().unwrap(), None);
        assert_eq!(address, expected);
        assert_eq!(read_all(&mut with_deadline(stream)), b"payload directly after it");
        proxy.finish();
    }
}

#[test]
fn every_cut_of_every_answer_is_an_error_with_its_bytes() {
    let message: &[u8] = b"\x01\x01u\x01p";
    let offered: &[u8] = b"\x05\x02\0\x02";
    let ask = |client: Client| connect(client.user("u").password("p"));
    let check = |steps: &[(&[u8], &[u8])], cut: &[u8]| {
        let error = error_of(steps, ask);
        assert!(matches!(&error, Error::Closed(bytes) if bytes == cut), "{cut:?}: {error:?}");
    };
    for cut in [&b""[..], b"\x05"] {
        check(&[(offered, cut)], cut);
    }
    for cut in [&b""[..], b"\x01"] {
        check(&[(offered, b"\x05\x02"), (message, cut)], cut);
    }
    for (reply, _) in replies() {
        for end in (0..reply.len()).filter(|end| end % 16 < 8 || *end > 250) {
            let cut = &reply[..end];
            check(&[(offered, b"\x05\x02"), (message, b"\x01\0"), (REQUEST, cut)], cut);
        }
    }
}

#[test]
fn an_answer_of_another_protocol_is_an_error_with_its_bytes() {
    let offered: &[u8] = b"\x05\x02\0\x02";
    let message: &[u8] = b"\x01\x01u\x01p";
    let with_password = |client: Client| connect(client.user("u").password("p"));
    let check = |error: Error, bytes: &[u8]| {
        assert!(matches!(&error, Error::Protocol(found) if found == bytes), "{error:?}");
    };
    for answer in [&b"\x04\0"[..], b"\0\x5b", b"HT", b"\x05\x01", b"\x05\x03"] {
        check(error_of(&[(offered, answer)], with_password), answer);
    }
    // A method that was not offered.
    check(error_of(&[(b"\x05\x01\0", b"\x05\x02")], connect), b"\x05\x02");
    for answer in [&b"\x05\0"[..], b"\0\0"] {
        check(error_of(&[(offered, b"\x05\x02"), (message, answer)], with_password), answer);
    }
    for reply in [&b"\x04\0\0\x01\0"[..], b"\0\x5a\0\x01\0", b"\x05\0\0\x02\0", b"\x05\x01\0\0\0"] {
        check(error_of(&[NO_PASSWORD, (REQUEST, reply)], connect), reply);
        check(error_of(&[NO_PASSWORD, (BIND_REQUEST, reply)], bind), reply);
    }
}

#[test]
fn a_bind_has_two_replies_and_an_unspecified_address_is_the_proxys_own() {
    let second = &replies()[2].0[..];
    for (first, is_given) in [
        (GRANTED, true),
        (b"\x05\0\0\x01\0\0\0\0\x12\x34", false),
        (b"\x05\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x12\x34", false),
        (b"\x05\0\0\x03\x06a.test\x12\x34", false),
    ] {
        let both = [first, second, b"hello"].concat();
        let proxy = Proxy::start(dialogue(&[NO_PASSWORD, (BIND_REQUEST, &both)]));
        let bound = proxy.client().bind(TARGET).unwrap();
        let own = if is_given { "192.0.2.9".parse().unwrap() } else { proxy.address.ip() };
        assert_eq!(bound.address(), SocketAddr::new(own, 0x1234));
        let (stream, peer) = bound.accept().unwrap();
        assert_eq!(peer, "[2001:db8::9]:80".parse().unwrap());
        assert_eq!(read_all(&mut with_deadline(stream)), b"hello");
        proxy.finish();
    }
    let both = [GRANTED, b"\x05\x06\0\x01\0\0\0\0\0\0"].concat();
    let proxy = Proxy::start(dialogue(&[NO_PASSWORD, (BIND_REQUEST, &both)]));
    let error = proxy.client().bind(TARGET).unwrap().accept().unwrap_err();
    assert!(matches!(error, Error::Rejected(Rejection::TimedOut)), "{error:?}");
}

/// A proxy that is itself reached over IPv6.
#[test]
fn a_bind_address_of_zeros_may_be_replaced_by_an_ipv6_address() {
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
        return eprintln!("skipped: needs ::1");
    };
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 3]).unwrap();
        stream.write_all(b"\x05\0").unwrap();
        stream.read_exact(&mut [0; 10]).unwrap();
        stream.write_all(b"\x05\0\0\x01\0\0\0\0\x12\x34").unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let bound = Client::new(address).socks5().reply_timeout(DEADLINE).bind(TARGET).unwrap();
    assert_eq!(bound.address(), SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 0x1234));
}

/// Sends these bytes one by one, as long as the client is there.
fn drip(stream: &mut TcpStream, bytes: &[u8], pause: Duration) -> bool {
    bytes.iter().all(|byte| {
        thread::sleep(pause);
        stream.write_all(&[*byte]).is_ok()
    })
}

/// A proxy that sends each byte of its answers on its own.
fn dripping(pause: Duration) -> Client {
    let (listener, address) = listener();
    thread::spawn(move || {
        let mut stream = accept(&listener);
        for (length, answer) in [(4, &b"\x05\x02"[..]), (5, b"\x01\0"), (10, GRANTED)] {
            let is_read = stream.read_exact(&mut vec![0; length]).is_ok();
            if !is_read || !drip(&mut stream, answer, pause) {
                return;
            }
        }
        let _ = stream.read_to_end(&mut Vec::new());
    });
    Client::new(address).user("u").password("p")
}

#[test]
fn the_time_out_is_that_of_all_answers_together() {
    let patient = dripping(Duration::from_millis(5)).reply_timeout(DEADLINE);
    patient.connect(TARGET).unwrap();
    // The method alone takes two thirds of the time.
    let error = dripping(SHORT / 3).reply_timeout(SHORT).connect(TARGET).unwrap_err();
    let is_timeout = matches!(&error, Error::Io { doing: Doing::Authenticating, error, .. }
        if error.kind() == ErrorKind::TimedOut);
    assert!(is_timeout, "{error:?}");
    assert!(
        error.to_string().starts_with("time-out while authenticating with the SOCKS proxy at ")
    );
}

#[test]
fn what_cannot_be_encoded_fails_before_a_connection_is_made() {
    let (listener, address) = listener();
    let long = "x".repeat(256);
    let request = |user: &str, password: &str| match Client::new(address)
        .user(user)
        .password(password)
        .connect(TARGET)
        .unwrap_err()
    {
        Error::Request(error) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(request("", "p"), EncodeError::User);
    assert_eq!(request(&long, "p"), EncodeError::User);
    assert_eq!(request("u", ""), EncodeError::Password);
    assert_eq!(request("u", &long), EncodeError::Password);
    for name in ["", "a\0b", &long] {
        let error = Client::new(address).socks5().connect((name, 80)).unwrap_err();
        assert!(matches!(error, Error::Request(EncodeError::Name)), "{name:?}");
    }
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}
