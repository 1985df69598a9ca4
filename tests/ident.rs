//! Rules with `ident`, with identds that lie, stall and fail. The clients of each test have their
//! own loopback address, where their identd listens.

#![cfg(feature = "server")]

mod common;

use common::machine::{Stopwatch, own_address as ip};
use common::servers::*;
use common::tools::can_run;
use common::*;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const STRICT: &str = "permit c *.*.*.* ident\n";
const LAX: &str = "permit c *.*.*.* ident-lax\n";

/// A connection to an identd, and its query.
struct IdentQuery {
    stream: TcpStream,
    query: String,
}

impl IdentQuery {
    fn answer(&mut self, rest: &[u8]) {
        let ports = self.query.trim_end().as_bytes().to_vec();
        let _ = self.stream.write_all(&[&ports, rest].concat());
    }
}

/// An identd at this address; returns the source and text of each query.
fn identd(
    ip: Ipv4Addr,
    act: impl Fn(&mut IdentQuery) + Send + 'static,
) -> Arc<Mutex<Vec<(SocketAddr, String)>>> {
    let listener = TcpListener::bind((ip, 113)).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let from = stream.peer_addr().unwrap();
            let mut query = Vec::new();
            let mut octet = [0];
            while !query.ends_with(b"\r\n") && stream.read(&mut octet).is_ok_and(|n| n > 0) {
                query.push(octet[0]);
            }
            let query = String::from_utf8(query).unwrap();
            log.lock().unwrap().push((from, query.clone()));
            act(&mut IdentQuery { stream, query });
        }
    });
    seen
}

/// The reply to a client at `ip`, the access line, and the time taken.
fn connect_with_ident(ip: Ipv4Addr, rules: &str, user: &[u8]) -> (u8, Access, Duration) {
    let proxy = Proxy::start(rules, &["--ident-timeout", "1"]);
    let target = echo_server();
    let before = proxy.descriptors();
    let started = Instant::now();
    let mut stream = connect_from(ip, proxy.address, target, user);
    let code = read_reply(&mut stream).0;
    let took = started.elapsed();
    if code == 90 {
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
    }
    drop(stream);
    let access = proxy.access(1);
    wait_until("descriptors to be closed", || (proxy.descriptors() == before).then_some(()));
    (code, access, took)
}

/// Both kinds of rule with one identd: the codes, and the answer as the access line shows it.
fn check_both(ip: Ipv4Addr, user: &[u8], codes: (u8, u8), shown: &str) {
    for (rules, code) in [(STRICT, codes.0), (LAX, codes.1)] {
        let (got, access, took) = connect_with_ident(ip, rules, user);
        assert_eq!(got, code, "{rules}{access:?}");
        assert!(access.0.contains(&format!(" ident={shown} ")), "{shown}: {access:?}");
        let reason = match code {
            90 => "done",
            92 => "no-ident",
            _ => "other-user",
        };
        assert_eq!(access.field("reason"), reason);
        // A second is allowed; the rest is for a busy machine.
        assert!(took < Duration::from_secs(6), "{took:?}");
    }
}

#[test]
fn the_right_user_is_accepted_and_another_is_refused() {
    if !is_root() {
        return;
    }
    identd(ip(1), |asked| asked.answer(b" : USERID : UNIX : bob\r\n"));
    check_both(ip(1), b"bob", (90, 90), "\"bob\"");
    check_both(ip(1), b"alice", (93, 93), "\"bob\"");
    check_both(ip(1), b"", (93, 93), "\"bob\"");
    identd(ip(2), |asked| asked.answer(b":userid:other,utf-8:a:b\n"));
    check_both(ip(2), b"a:b", (90, 90), "\"a:b\"");
}

#[test]
fn an_identd_that_is_absent_or_gives_no_valid_answer_is_missing() {
    if !is_root() {
        return;
    }
    check_both(ip(10), b"bob", (92, 90), "ident-missing");
    identd(ip(11), |asked| asked.answer(b" : ERROR : HIDDEN-USER\r\n"));
    check_both(ip(11), b"bob", (92, 90), "ident-error:HIDDEN-USER");
    identd(ip(12), |_| {});
    check_both(ip(12), b"bob", (92, 90), "ident-missing");
    identd(ip(13), |asked| drop(asked.stream.write_all(b"1 , 2 : USERID : UNIX : bob\r\n")));
    check_both(ip(13), b"bob", (92, 90), "ident-other-ports");
    // Early close in the middle of the line.
    identd(ip(14), |asked| asked.answer(b" : USERID : UNIX : bob"));
    check_both(ip(14), b"bob", (92, 90), "ident-missing");
    identd(ip(15), |asked| {
        asked.answer(b" : USERID : UNIX : ");
        let _ = asked.stream.write_all(&vec![b'b'; 1 << 20]);
    });
    check_both(ip(15), b"bob", (92, 90), "ident-too-long");
}

#[test]
fn an_identd_that_is_silent_or_slow_ends_at_the_ident_timeout() {
    if !is_root() {
        return;
    }
    identd(ip(20), |asked| {
        let mut held = asked.stream.try_clone().unwrap();
        thread::spawn(move || held.read(&mut [0]));
    });
    check_both(ip(20), b"bob", (92, 90), "ident-missing");
    identd(ip(21), |asked| {
        let mut stream = asked.stream.try_clone().unwrap();
        thread::spawn(move || {
            for _ in 0..200 {
                thread::sleep(Duration::from_millis(100));
                if stream.write_all(b" ").is_err() {
                    return;
                }
            }
        });
    });
    check_both(ip(21), b"bob", (92, 90), "ident-missing");
}

#[test]
fn the_query_comes_from_the_address_that_the_client_connected_to() {
    if !is_root() {
        return;
    }
    let seen = identd(ip(30), |asked| asked.answer(b" : USERID : UNIX : bob\r\n"));
    let proxy = Proxy::start(STRICT, &["-l", "0.0.0.0:0"]);
    let at = SocketAddrV4::new(ip(200), proxy.address.port());
    let mut stream = connect_from(ip(30), at, echo_server(), b"bob");
    assert_eq!(read_reply(&mut stream).0, 90);
    let (from, query) = seen.lock().unwrap()[0].clone();
    assert_eq!(from.ip(), ip(200));
    let port = stream.local_addr().unwrap().port();
    assert_eq!(query, format!("{port} , {}\r\n", at.port()));
}

#[test]
fn identd_is_queried_only_for_a_rule_that_requires_it() {
    if !is_root() {
        return;
    }
    let seen = identd(ip(40), |asked| asked.answer(b" : USERID : UNIX : bob\r\n"));
    let rules = "deny c *.*.*.* port 1\npermit c *.*.*.* port 1024-65535\npermit c *.*.*.* ident\n";
    assert_eq!(connect_with_ident(ip(40), rules, b"bob").0, 90);
    let proxy = Proxy::start(rules, &[]);
    let target = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1);
    let mut stream = connect_from(ip(40), proxy.address, target, b"bob");
    assert_eq!(read_reply(&mut stream).0, 91);
    assert_eq!(seen.lock().unwrap().len(), 0);
}

#[test]
fn identd_is_queried_while_the_name_is_resolved_with_one_timeout() {
    if !is_root() {
        return;
    }
    let asked = Arc::new(Mutex::new(false));
    let flag = asked.clone();
    // It never answers. The name is resolved only after identd was queried, and late in its time.
    identd(ip(50), move |asked| {
        *flag.lock().unwrap() = true;
        let mut held = asked.stream.try_clone().unwrap();
        thread::spawn(move || held.read(&mut [0]));
    });
    let server = NameServer::start(move |question| {
        wait_until("identd to be queried as well", || asked.lock().unwrap().then_some(()));
        thread::sleep(Duration::from_millis(1500));
        addresses(question, &[[127, 0, 0, 1]])
    });
    let address = server.address.to_string();
    let flags = ["--nameserver", &address, "--ident-timeout", "3", "--dns-timeout", "8"];
    let proxy = Proxy::start(STRICT, &flags);
    let started = Stopwatch::start(&proxy);
    let mut stream = dial_from(ip(50), proxy.address);
    stream.write_all(&request_4a(1, b"name.test", 80, b"bob")).unwrap();
    assert_eq!(read_reply(&mut stream).0, 92);
    let took = started.elapsed();
    drop(stream);
    assert_eq!(proxy.access(1).field("reason"), "no-ident");
    let log = proxy.log();
    assert!(log.iter().any(|line| line.contains("resolving -> identifying")), "{log:#?}");
    assert!(took < Duration::from_millis(4400), "{took:?}: its time began with the query");
}

#[test]
fn any_bytes_from_the_network_leave_one_bounded_line() {
    if !is_root() {
        return;
    }
    let nasty: Vec<u8> = (1..=255).filter(|octet| !matches!(octet, b'\r' | b'\n')).collect();
    let bytes = nasty.clone();
    identd(ip(60), move |asked| {
        asked.answer(&[b" : USERID : UNIX : ".as_slice(), &bytes, b"\r\n"].concat());
    });
    identd(ip(61), |asked| {
        asked.answer(b" : ERROR : a\x1b[31m id=7 \"x\xff\r\nid=9 second line\r\n")
    });
    identd(ip(62), |asked| asked.answer(b" : USERID : UNIX : a\0b\r\n"));
    let server = NameServer::start(|question| addresses(question, &[[127, 0, 0, 1]]));
    let address = server.address.to_string();
    let proxy = Proxy::start(STRICT, &["--nameserver", &address]);
    let user: Vec<u8> = [&nasty[..], b"\r\n id=8 reply=90"].concat();
    let name = b"a\r\nid=9 \x1b[31m \"x\x80\xff";
    for (id, last) in [(1, 60), (2, 61), (3, 62)] {
        let mut stream = connect_from(ip(last), proxy.address, echo_server(), &user);
        assert!(read_reply(&mut stream).0 >= 92);
        drop(stream);
        proxy.access(id);
    }
    let mut stream = dial_from(ip(60), proxy.address);
    stream.write_all(&request_4a(1, name, 80, &user)).unwrap();
    assert_eq!(read_reply(&mut stream).0, 91);
    drop(stream);
    proxy.access(4);
    for line in proxy.log() {
        assert!(line.starts_with('['), "an injected line: {line:?}");
        assert!(line.bytes().all(|octet| (b' '..=b'~').contains(&octet)), "{line:?}");
        assert!(line.len() < 1200, "{line}");
    }
    assert_eq!(proxy.access(2).0.matches(" id=").count(), 1);
    assert!(proxy.access(1).0.contains("ident=\"\\x01\\x02"));
    assert!(proxy.access(3).0.contains(" ident=ident-malformed "));
    assert!(proxy.access(4).0.contains(" target=a\\x0d\\x0aid=9\\x20\\x1b[31m"));
}

/// Such a session holds client and identd while its name is resolved.
#[test]
fn with_few_descriptors_names_and_identd_at_once_refuse_no_client() {
    if !is_root() || !can_run(&["prlimit"]) {
        return;
    }
    let server = NameServer::start(|question| {
        thread::sleep(Duration::from_millis(20));
        addresses(question, &[[127, 0, 0, 1]])
    });
    let source = ip(70);
    identd(source, |asked| {
        let (stream, query) = (asked.stream.try_clone().unwrap(), asked.query.clone());
        let mut asked = IdentQuery { stream, query };
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(400));
            asked.answer(b" : USERID : UNIX : bob\r\n");
        });
    });
    let nameserver = server.address.to_string();
    let flags = ["--nameserver", &nameserver, "--splice", "off"];
    let proxy = Proxy::start_limited(128, STRICT, &flags);
    let target = echo_server();
    let clients: Vec<TcpStream> = (0..120)
        .map(|number| {
            let mut stream = dial_from(source, proxy.address);
            let name = format!("n{number}.test");
            stream.write_all(&request_4a(1, name.as_bytes(), target.port(), b"bob")).unwrap();
            stream
        })
        .collect();
    for mut stream in clients {
        assert_eq!(read_reply(&mut stream).0, 90);
    }
}
