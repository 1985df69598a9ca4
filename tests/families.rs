//! Names with addresses of both families through the program itself: what the questions for the one
//! family do to sessions that want the other.

#![cfg(feature = "server")]

mod common;

use common::servers::*;
use common::*;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

const LOOPBACK: [u8; 4] = [127, 0, 0, 1];
const SERVFAIL: u16 = 2;
const NXDOMAIN: u16 = 3;

fn proxy_at(server: &NameServer, rules: &str) -> Proxy {
    Proxy::start(rules, &["--nameserver", &server.address.to_string()])
}

/// How long the client of a CONNECT to `name` waits for its reply, and the reply's code.
fn time_of_reply(proxy: &Proxy, name: &str, port: u16) -> (Duration, u8) {
    let started = Instant::now();
    let code = read_reply(&mut ask(proxy, name.as_bytes(), port)).0;
    (started.elapsed(), code)
}

/// The fastest of several, for the machine may be busy.
fn fastest_reply(proxy: &Proxy, name: impl Fn(u32) -> String, port: u16) -> (Duration, u8) {
    (0..10).map(|n| time_of_reply(proxy, &name(n), port)).min().unwrap()
}

#[test]
fn a_silent_aaaa_server_costs_a_moment_once_and_is_asked_for_both_families_at_once() {
    let target = echo_server();
    let server = NameServer::start_both(|question| match question.is_aaaa {
        true => vec![],
        false => addresses(question, &[LOOPBACK]),
    });
    let proxy = proxy_at(&server, PERMIT_ALL);
    let (took, code) = time_of_reply(&proxy, "name.test", target.port());
    assert_eq!(code, 90);
    assert!(took >= Duration::from_millis(50), "IPv6 addresses have some time: {took:?}");
    assert!(took < Duration::from_secs(4), "and not a whole try: {took:?}");
    let asked: Vec<bool> = server.seen().iter().map(|question| question.is_aaaa).collect();
    assert_eq!(asked, [true, false], "AAAA first");
    // From now on nothing waits.
    let (took, code) = fastest_reply(&proxy, |_| "name.test".into(), target.port());
    assert!(code == 90 && took < Duration::from_millis(40), "{code} after {took:?}");
    assert_eq!(server.seen().len(), 2, "no further query");
}

#[test]
fn an_aaaa_question_without_addresses_or_with_a_failure_costs_an_ipv4_target_nothing() {
    let target = echo_server();
    for (what, flags) in [("NODATA", 0), ("NXDOMAIN", NXDOMAIN), ("SERVFAIL", SERVFAIL)] {
        let server = NameServer::start_both(move |question| match question.is_aaaa {
            true => vec![reply(question, flags, &[])],
            false => addresses(question, &[LOOPBACK]),
        });
        let proxy = proxy_at(&server, PERMIT_ALL);
        let (took, code) = fastest_reply(&proxy, |n| format!("n{n}.test"), target.port());
        assert!(code == 90 && took < Duration::from_millis(40), "{what}: {code} after {took:?}");
    }
}

#[test]
fn a_name_with_an_ipv4_address_written_as_ipv6_leads_there() {
    let target = echo_server();
    let server = NameServer::start_both(|question| match question.is_aaaa {
        true => vec![reply(question, 0, &[aaaa("&", Ipv4Addr::LOCALHOST.to_ipv6_mapped())])],
        false => no_address(question),
    });
    let proxy = proxy_at(&server, "permit c 127.0.0.0/8\n");
    let mut stream = ask(&proxy, b"mapped.test", target.port());
    assert_eq!(read_reply(&mut stream).0, 90);
    drop(stream);
    assert_eq!(proxy.access(1).field("address"), target.to_string());
    // Judged as what it is.
    let proxy = proxy_at(&server, "permit c 10.0.0.0/8\npermit c *.test\n");
    assert_eq!(time_of_reply(&proxy, "mapped.test", target.port()).1, 91);
    assert_eq!(proxy.access(1).field("reason"), "no-rule");
}
