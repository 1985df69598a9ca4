//! The lines of sessions of every kind.

use super::*;
use crate::reason::{Cause, CloseReason};
use crate::rules::RuleSet;
use crate::session::{Env, PlainSurroundings as Plain};
use crate::wire::{Command, Methods, Protocol, Request, encode_greeting, encode_request};
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;

const CLIENT: &str = "192.168.1.4:51234";

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

fn error(code: i32) -> Option<crate::errno::ErrorCode> {
    crate::errno::ErrorCode::of(&io::Error::from_raw_os_error(code))
}

/// A session under these rules that has received this; then `go` makes the rest happen.
fn session(rules: &str, bytes: &[u8], go: impl FnOnce(&mut Session, &Env<'_>)) -> Session {
    let rules = RuleSet::parse(rules.as_bytes()).unwrap();
    let env =
        Env { now: 100, attempt_delay_ms: 250, rules: &rules, users: None, surroundings: &Plain };
    let mut session = Session::new(17, at(CLIENT).into(), 100);
    feed(&mut session, bytes, &env);
    go(&mut session, &env);
    session
}

fn feed(session: &mut Session, mut bytes: &[u8], env: &Env<'_>) {
    loop {
        let (taken, _) = session.handle_bytes(bytes, env);
        bytes = &bytes[taken..];
        if taken == 0 || bytes.is_empty() {
            break;
        }
    }
}

/// A session of a load balancer that has sent this.
fn proxied(bytes: &[u8]) -> Session {
    let rules = RuleSet::parse(b"permit c *\n").unwrap();
    let env =
        Env { now: 100, attempt_delay_ms: 250, rules: &rules, users: None, surroundings: &Plain };
    let mut session = Session::behind_balancer(17, at("10.0.0.5:40000").into(), 100);
    feed(&mut session, bytes, &env);
    session
}

fn request(protocol: Protocol, command: Command, host: Host<'_>, port: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    if protocol == Protocol::Socks5 {
        encode_greeting(Methods { none: true, password: false }, &mut bytes);
    }
    let user = if protocol == Protocol::Socks5 { &b""[..] } else { b"bob" };
    encode_request(&Request { protocol, command, host, port, user }, &mut bytes).unwrap();
    bytes
}

fn address(text: &str) -> Host<'_> {
    Host::Address(text.parse().unwrap())
}

fn end(session: &mut Session, reason: CloseReason) {
    session.close(reason, 112);
}

/// Every kind of session.
fn sessions() -> Vec<Session> {
    let connect = |protocol, host| request(protocol, Command::Connect, host, 80);
    let bind = |host| request(Protocol::Socks4, Command::Bind, host, 20);
    let strange = |bytes| session("permit c *\n", bytes, |_, _| {});
    let mut sessions = vec![
        session("permit c *\n", b"", |session, _| end(session, CloseReason::ClientLeft)),
        session(
            "permit c *\n",
            &connect(Protocol::Socks5, address("2001:db8::1")),
            |session, _| {
                session.handle_connected(0, at("[2001:db8::2]:4000"), 101);
                end(session, CloseReason::Done);
            },
        ),
        session(
            "permit c *\n",
            &connect(Protocol::Socks4, address("192.0.2.1")),
            |session, env| {
                let cause =
                    Cause { reason: CloseReason::TargetRefused, error: error(libc::ECONNREFUSED) };
                session.handle_attempt_failed(0, cause, env);
                session.handle_rejected(112);
            },
        ),
        session(
            "permit c * ident\n",
            &connect(Protocol::Socks4, address("192.0.2.1")),
            |s, env| {
                s.handle_ident(IdentResult::User(b" \"eve\" x".as_slice().into()), env);
                s.handle_rejected(112);
            },
        ),
        session(
            "permit c * ident\n",
            &connect(Protocol::Socks4, address("192.0.2.1")),
            |s, env| {
                s.handle_ident(IdentResult::Missing, env);
                s.handle_rejected(112);
            },
        ),
        session(
            "deny c *\n",
            &connect(Protocol::Socks4a, Host::Name(b"a\xff\n\"")),
            |session, _| {
                session.handle_rejected(112);
            },
        ),
        session("permit b *\n", &bind(address("192.0.2.1")), |session, _| {
            session.handle_listening(at("192.168.1.1:40000"), at("203.0.113.9:40000"));
            session.reject(CloseReason::BindTimeout, 112);
        }),
        session("permit b *\n", &bind(address("192.0.2.1")), |session, env| {
            session.handle_listening(at("192.168.1.1:40000"), at("192.168.1.1:40000"));
            session.handle_peer(at("192.0.2.1:20"), env);
        }),
        strange(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\xaa\xbb\xcc\xdd\xee\xff"),
        strange(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        strange(b"\"\\\r\n\xff x=1 up=9"),
    ];
    if cfg!(feature = "proxy-protocol") {
        sessions.push(proxied(b"PROXY TCP4 192.0.2.7 192.0.2.1 50000 1080\r\n\x04\x01"));
        sessions.push(proxied(b"GET / HTTP/1.1\r\n"));
    }
    sessions
}

fn shown(session: &Session, format: LogFormat) -> String {
    Line { session, up: 1, down: 2, now: 112, format }.to_string()
}

/// As text: everything between the client and the bytes relayed.
const TEXTS: [&str; 13] = [
    "proto=- user=\"\" command=- target=- address=- rule=- reply=- reason=client-left",
    "proto=5 user=\"\" command=connect target=[2001:db8::1]:80 address=[2001:db8::1]:80 rule=1 \
     reply=0 reason=done",
    "proto=4 user=\"bob\" command=connect target=192.0.2.1:80 address=192.0.2.1:80 rule=1 reply=91 \
     reason=refused error=ECONNREFUSED",
    "proto=4 user=\"bob\" ident=\"\\x22eve\\x22\\x20x\" command=connect target=192.0.2.1:80 \
     address=- rule=1 reply=93 reason=other-user",
    "proto=4 user=\"bob\" ident=ident-missing command=connect target=192.0.2.1:80 address=- rule=1 \
     reply=92 reason=no-ident",
    "proto=4a user=\"bob\" command=connect target=a\\xff\\x0a\\x22:80 address=- rule=- reply=91 \
     reason=bad-name",
    "proto=4 user=\"bob\" command=bind target=192.0.2.1:20 address=- listening=192.168.1.1:40000 \
     advertised=203.0.113.9:40000 rule=1 reply=91 state=rejecting(bind-timeout)",
    "proto=4 user=\"bob\" command=bind target=192.0.2.1:20 address=192.0.2.1:20 \
     listening=192.168.1.1:40000 rule=1 reply=90 state=relaying",
    "proto=- user=\"\" command=- target=- address=- rule=- reply=- reason=bad-version \
     bytes=\"\\x16\\x03\\x01\\x02\\x00\\x01\\x00\\x01\\xfc\\x03\\x03\\xaa\\xbb\\xcc\\xdd\\xee\" \
     looks-like=tls",
    "proto=- user=\"\" command=- target=- address=- rule=- reply=- reason=bad-version \
     bytes=\"GET\\x20/\\x20HTTP/1.1\\x0d\\x0a\" looks-like=http",
    "proto=- user=\"\" command=- target=- address=- rule=- reply=- reason=bad-version \
     bytes=\"\\x22\\x5c\\x0d\\x0a\\xff\\x20x=1\\x20up=9\"",
    "via=10.0.0.5:40000 proto=4 user=\"\" command=- target=- address=- rule=- reply=- \
     state=reading-request",
    "proto=- user=\"\" command=- target=- address=- rule=- reply=- reason=bad-proxy-header \
     bytes=\"GET\\x20/\\x20HTTP/1.1\\x0d\\x0a\" looks-like=http",
];

#[test]
fn a_session_has_a_line_of_pairs_that_nothing_from_the_network_can_add_to() {
    for (session, text) in sessions().iter().zip(TEXTS) {
        let expected = format!("id=17 client={} {text} up=1 down=2 ms=12", session.client);
        assert_eq!(shown(session, LogFormat::Text), expected);
    }
}

/// Answers of identd, each as text and as JSON.
fn ident_results() -> [(IdentResult, &'static str, &'static str); 6] {
    let user = |text: &[u8]| IdentResult::User(text.into());
    [
        (user(b" bob"), "\"bob\"", "\"bob\""),
        (user(b"ident-missing"), "\"ident-missing\"", "\"ident-missing\""),
        (user(b"no user: x"), "\"no\\x20user:\\x20x\"", "\"no\\\\x20user:\\\\x20x\""),
        (
            user(b"a\" reply=90\x1b"),
            "\"a\\x22\\x20reply=90\\x1b\"",
            "\"a\\\\x22\\\\x20reply=90\\\\x1b\"",
        ),
        (
            IdentResult::Error(b"NO-USER x\xff".as_slice().into()),
            "ident-error:NO-USER\\x20x\\xff",
            "\"no user: ident-error:NO-USER\\\\x20x\\\\xff\"",
        ),
        (IdentResult::Missing, "ident-missing", "\"no user: ident-missing\""),
    ]
}

#[test]
fn a_user_of_identd_cannot_be_mistaken_for_another_result() {
    for (result, text, _) in ident_results() {
        assert_eq!(Value::Ident(&result).to_string(), text);
    }
}

#[test]
fn a_name_that_is_an_ipv6_address_is_shown_in_brackets() {
    for (name, shown) in [
        (b"::1".as_slice(), "[::1]"),
        (b"2001:DB8::1", "[2001:DB8::1]"),
        (b"::ffff:127.0.0.1", "[::ffff:127.0.0.1]"),
        (b"127.0.0.1", "127.0.0.1"),
        (b"www.example.com", "www.example.com"),
        (b"[::1]", "[::1]"),
        (b"fe80::1%lo", "fe80::1%lo"),
        (b"::1\n", "::1\\x0a"),
        (b"::\xff", "::\\xff"),
        (b"", ""),
    ] {
        assert_eq!(ShownName(name).to_string(), shown);
    }
}

#[test]
fn a_session_without_a_request_has_a_line() {
    let session = Session::new(17, at(CLIENT).into(), 100);
    assert_eq!(
        shown(&session, LogFormat::Text),
        "id=17 client=192.168.1.4:51234 proto=- user=\"\" command=- target=- address=- rule=- \
         reply=- state=reading-request up=1 down=2 ms=12"
    );
}

/// The error stays with the reason that it belongs to.
#[test]
fn an_error_is_shown_with_its_own_reason_only() {
    let refused = Cause { reason: CloseReason::TargetRefused, error: error(libc::ECONNREFUSED) };
    let bytes = request(Protocol::Socks4, Command::Connect, address("192.0.2.1"), 80);
    let stopped = session("permit c *\n", &bytes, |session, _| {
        session.reject(refused, 101);
        session.close(CloseReason::Stopped, 102);
    });
    assert!(shown(&stopped, LogFormat::Text).contains(" reason=stopped up="));
    let reset = session("permit c *\n", &bytes, |session, _| {
        session.handle_connected(0, at("192.0.2.2:4000"), 101);
        let error = error(libc::ECONNRESET);
        session.close(Cause { reason: CloseReason::TargetReset, error }, 102);
    });
    assert!(shown(&reset, LogFormat::Text).contains(" reason=target-reset error=ECONNRESET up="));
}

/// The page for operators describes each field, and no other.
#[cfg(feature = "proxy-protocol")]
#[test]
fn the_documents_list_every_field_in_its_order() {
    let page = include_str!("../docs/logging.md");
    let (_, table) = page.split_once("| field | meaning | example |\n").unwrap();
    let rows = table.lines().take_while(|line| !line.is_empty());
    let names = rows.filter_map(|line| line.strip_prefix("| `")?.split("` |").next());
    let fields: Vec<&str> = names.collect();
    let mut visited = BTreeSet::new();
    for session in sessions() {
        let line = Line { session: &session, up: 1, down: 2, now: 112, format: LogFormat::Text };
        let mut last = None;
        let visit = |name, _: Value<'_>| {
            let place = fields.iter().position(|field| *field == name);
            assert!(place > last, "docs/logging.md has no row of `{name}` in its place");
            last = place;
            visited.insert(name);
            Ok::<(), fmt::Error>(())
        };
        line.fields(visit).unwrap();
    }
    assert_eq!(visited, fields.iter().copied().collect());
}

#[cfg(feature = "json")]
#[path = "access/form_test.rs"]
mod form;
