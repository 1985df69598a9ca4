//! SOCKS4A through the program itself, with name servers that fail, lie and stall.

#![cfg(feature = "server")]

mod common;

use common::machine::{CLOSED, own_address, sessions};
use common::servers::*;
use common::*;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const LOOPBACK: [u8; 4] = [127, 0, 0, 1];
const SERVFAIL: u16 = 2;
const NXDOMAIN: u16 = 3;
const REFUSED: u16 = 5;
const TC: u16 = 0x0200;
/// How long a server has for its answer until it, or the next one, is queried again.
const TRY: Duration = Duration::from_secs(5);

fn proxy_with(servers: &[SocketAddrV4], rules: &str, flags: &[&str]) -> Proxy {
    let servers: Vec<String> = servers.iter().map(SocketAddrV4::to_string).collect();
    let mut all = flags.to_vec();
    servers.iter().for_each(|server| all.extend(["--nameserver", server]));
    Proxy::start(rules, &all)
}

fn connect_to_name(proxy: &Proxy, name: &[u8], port: u16) -> (u8, TcpStream) {
    let mut stream = ask(proxy, name, port);
    (read_reply(&mut stream).0, stream)
}

fn echoes(stream: &mut TcpStream) -> Duration {
    let started = Instant::now();
    stream.write_all(b"ping").unwrap();
    let mut back = [0; 4];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"ping");
    started.elapsed()
}

#[test]
fn a_name_is_resolved_through_aliases() {
    let target = echo_server();
    let server = NameServer::start_both(|question| {
        vec![match question.name.as_str() {
            "plain.test" | "alias.test" if question.is_aaaa => reply(question, 0, &[]),
            "plain.test" => reply(question, 0, &[a("&", LOOPBACK)]),
            "alias.test" => {
                let records =
                    [cname("&", "b.test"), cname("b.test", "c.test"), a("c.test", LOOPBACK)];
                reply(question, 0, &records)
            }
            "empty.test" => reply(question, 0, &[]),
            _ => reply(question, NXDOMAIN, &[]),
        }]
    });
    let proxy = proxy_with(&[server.address], PERMIT_ALL, &[]);
    for (id, (name, code, reason)) in [
        ("plain.test", 90, "done"),
        ("Alias.TEST.", 90, "done"),
        ("empty.test", 91, "dns-no-data"),
        ("missing.test", 91, "dns-not-found"),
    ]
    .into_iter()
    .enumerate()
    {
        let (got, mut stream) = connect_to_name(&proxy, name.as_bytes(), target.port());
        assert_eq!(got, code, "{name}");
        if code == 90 {
            echoes(&mut stream);
        }
        drop(stream);
        let access = proxy.access(id as u64 + 1);
        if code == 91 {
            assert_eq!(access.field("reason"), reason);
        } else {
            assert_eq!(access.field("address"), target.to_string());
            assert_eq!(access.field("target"), format!("{name}:{}", target.port()));
        }
    }
}

/// A server that fails: with a good second one the name is found; alone the client gets reply 91 in
/// time, with this reason.
fn check_failing_server(
    what: &str,
    reason: &str,
    answer: impl Fn(&Question) -> Vec<Vec<u8>> + Send + Sync + 'static,
) {
    let target = echo_server();
    let bad = NameServer::start(answer);
    let good = NameServer::start(|question| addresses(question, &[LOOPBACK]));
    let proxy = proxy_with(&[bad.address, good.address], PERMIT_ALL, &["--dns-timeout", "4"]);
    let (code, mut stream) = connect_to_name(&proxy, b"name.test", target.port());
    assert_eq!(code, 90, "{what}, and a good server after it");
    echoes(&mut stream);
    assert!(!bad.names().is_empty(), "{what}: the first server was queried first");
    let proxy = proxy_with(&[bad.address], PERMIT_ALL, &["--dns-timeout", "1"]);
    let before = proxy.descriptors();
    let started = Instant::now();
    let (code, stream) = connect_to_name(&proxy, b"name.test", target.port());
    assert_eq!(code, 91, "{what}");
    // A second is allowed; the rest is for a busy machine.
    assert!(started.elapsed() < Duration::from_secs(5), "{what}: {:?}", started.elapsed());
    drop(stream);
    assert_eq!(proxy.access(1).field("reason"), reason, "{what}");
    wait_until("descriptors to be closed", || (proxy.descriptors() == before).then_some(()));
}

#[test]
fn the_next_server_is_queried_after_a_silent_one() {
    check_failing_server("silent", "dns-timeout", |_| vec![]);
}

#[test]
fn the_next_server_is_queried_after_servfail_or_refused() {
    check_failing_server("SERVFAIL", "dns-server-failure", |question| {
        vec![reply(question, SERVFAIL, &[])]
    });
    check_failing_server("REFUSED", "dns-server-failure", |question| {
        vec![reply(question, REFUSED, &[])]
    });
}

#[test]
fn the_next_server_is_queried_after_a_tcp_failure() {
    check_failing_server(
        "TC, then TCP closed without an answer",
        "dns-server-failure",
        |question| {
            if question.tcp { vec![] } else { vec![reply(question, TC, &[])] }
        },
    );
    check_failing_server("TC over TCP as well", "dns-server-failure", |question| {
        vec![reply(question, TC, &[])]
    });
    check_failing_server("64 KiB over TCP", "dns-server-failure", |question| {
        let records = vec![a("&", LOOPBACK); 4_000];
        let mut long = reply(question, 0, &records);
        long.resize(65_535, 0);
        if question.tcp { vec![long] } else { vec![reply(question, TC, &[])] }
    });
}

#[test]
fn the_next_server_is_queried_after_an_endless_chain_of_aliases() {
    check_failing_server("a loop of aliases", "dns-server-failure", |question| {
        vec![reply(question, 0, &[cname("&", "b.test"), cname("b.test", &question.name)])]
    });
    check_failing_server("1,000 aliases", "dns-server-failure", |question| {
        let link = |n: usize| cname(&format!("n{n}.t"), &format!("n{}.t", n + 1));
        let mut records = vec![cname("&", "n0.t")];
        records.extend((0..999).map(link));
        records.push(a("n999.t", LOOPBACK));
        if question.tcp {
            vec![reply(question, 0, &records)]
        } else {
            vec![reply(question, TC, &[])]
        }
    });
}

#[test]
fn the_next_server_is_queried_at_once_after_a_closed_port() {
    let target = echo_server();
    let good = NameServer::start(|question| addresses(question, &[LOOPBACK]));
    let proxy = proxy_with(&[CLOSED, good.address], PERMIT_ALL, &["--dns-timeout", "100"]);
    assert_eq!(connect_to_name(&proxy, b"name.test", target.port()).0, 90);
    let proxy = proxy_with(&[CLOSED], PERMIT_ALL, &["--dns-timeout", "100"]);
    assert_eq!(connect_to_name(&proxy, b"name.test", target.port()).0, 91);
    assert_eq!(proxy.access(1).field("reason"), "dns-server-failure");
}

#[test]
fn a_lost_query_is_sent_again() {
    let target = echo_server();
    let server = NameServer::start(|question| match question.number {
        0 => vec![],
        _ => addresses(question, &[LOOPBACK]),
    });
    let proxy = proxy_with(&[server.address], PERMIT_ALL, &["--dns-timeout", "2"]);
    assert_eq!(connect_to_name(&proxy, b"name.test", target.port()).0, 90);
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn a_truncated_answer_is_fetched_over_tcp() {
    let target = echo_server();
    let server = NameServer::start(|question| match question.tcp {
        false => vec![reply(question, TC, &[])],
        true => addresses(question, &[LOOPBACK]),
    });
    let proxy = proxy_with(&[server.address], PERMIT_ALL, &[]);
    assert_eq!(connect_to_name(&proxy, b"name.test", target.port()).0, 90);
    assert_eq!(server.seen().iter().map(|q| q.tcp).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn forged_and_malformed_answers_are_ignored_and_the_right_one_is_still_accepted() {
    let target = echo_server();
    let evil = [127, 6, 6, 6];
    let server = NameServer::start(move |question| {
        let wrong = reply(question, 0, &[a("&", evil)]);
        let changed = |place: usize, octet: u8| {
            let mut message = wrong.clone();
            message[place] ^= octet;
            message
        };
        // The right id and question from another port.
        let elsewhere = UdpSocket::bind("127.0.0.1:0").unwrap();
        elsewhere.send_to(&wrong, question.from).unwrap();
        let mut loops = reply(question, 0, &[]);
        loops[7] = 1;
        let pointer = 0xc000 | loops.len() as u16;
        loops.extend(pointer.to_be_bytes());
        loops.extend([0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 6, 6, 6]);
        let mut other = question.clone();
        other.name = "other.test".into();
        vec![
            changed(0, 0x40),
            changed(1, 1),
            // QR, opcode, the first letter of the name, type, class.
            changed(2, 0x80),
            changed(2, 0x10),
            changed(13, 1),
            changed(12 + wire(&question.name).len() + 1, 2),
            changed(12 + wire(&question.name).len() + 3, 2),
            reply(&other, 0, &[a("&", evil)]),
            loops,
            wrong[..wrong.len() - 3].to_vec(),
            vec![],
            vec![0xff; 1232],
            reply(question, 0, &[a("&", LOOPBACK)]),
        ]
    });
    let proxy = proxy_with(&[server.address], PERMIT_ALL, &[]);
    assert_eq!(connect_to_name(&proxy, b"name.test", target.port()).0, 90);
    assert_eq!(server.seen().len(), 1, "one query is enough");
}

#[test]
fn bad_names_are_refused_and_never_queried() {
    let server = NameServer::start(|question| addresses(question, &[LOOPBACK]));
    let proxy = proxy_with(&[server.address], PERMIT_ALL, &[]);
    let label = |n: usize| "a".repeat(n);
    let long = |n: usize| {
        let text = [label(63), label(63), label(63), label(63)].join(".");
        assert_eq!(text.len(), 255);
        text.bytes().cycle().take(n).collect::<Vec<_>>()
    };
    let bad: Vec<(Vec<u8>, &str)> = vec![
        (b"".to_vec(), "empty-name"),
        (long(254), "name-too-long"),
        (long(255), "name-too-long"),
        (label(64).into_bytes(), "bad-name"),
        ([label(64).as_bytes(), b".test"].concat(), "bad-name"),
        (b"a..b".to_vec(), "bad-name"),
        (b".a".to_vec(), "bad-name"),
        (b".".to_vec(), "bad-name"),
        (b"a\xff.test".to_vec(), "bad-name"),
        (b"a b.test".to_vec(), "bad-name"),
        (b"a\r\nb.test".to_vec(), "bad-name"),
        (b"a\x1b[31m.test".to_vec(), "bad-name"),
        (b"127.1".to_vec(), "bad-name"),
        (b"0x7f.1".to_vec(), "bad-name"),
        (b"2130706433".to_vec(), "bad-name"),
        (b"017700000001".to_vec(), "bad-name"),
        (b"127.0.0.1.".to_vec(), "bad-name"),
        (b"[::1]".to_vec(), "bad-name"),
    ];
    for (id, (name, reason)) in bad.iter().enumerate() {
        let shown = String::from_utf8_lossy(name);
        assert_eq!(connect_to_name(&proxy, name, 80).0, 91, "{shown}");
        assert_eq!(proxy.access(id as u64 + 1).field("reason"), *reason, "{shown}");
    }
    // 256 octets without a NUL: the limit decides before the end.
    for name in [long(256), vec![b'a'; 256]] {
        let mut stream = proxy.dial();
        let whole = request_4a(1, &name, 80, b"");
        stream.write_all(&whole[..whole.len() - 1]).unwrap();
        assert_eq!(read_reply(&mut stream).0, 91);
    }
    assert_eq!(server.names(), [""; 0], "no name was queried");
    let longest = [label(63), label(63), label(63), label(61)].join(".");
    assert_eq!(longest.len(), 253);
    connect_to_name(&proxy, longest.as_bytes(), CLOSED.port());
    assert_eq!(server.names(), [longest]);
}

#[test]
fn a_name_that_thousands_request_takes_one_query() {
    let count = sessions(10_000);
    let open = Arc::new(AtomicBool::new(false));
    let gate = open.clone();
    let server = NameServer::start(move |question| {
        while !gate.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
        addresses(question, &[LOOPBACK])
    });
    // The address is not permitted, so there is no connection.
    let rules = "permit c 127.9.0.0/16\n";
    let flags = ["--dns-timeout", "200", "--max-sessions", "12000", "-l", "127.0.0.1:0"];
    // Many tries, for on a busy machine it takes a while until all clients wait.
    let proxy = proxy_with(&[server.address; 8], rules, &flags);
    let before = proxy.descriptors();
    let started = Instant::now();
    let mut clients: Vec<TcpStream> = (0..count).map(|_| ask(&proxy, b"name.test", 80)).collect();
    wait_until("all to wait for the name", || {
        // Searching so many lines takes a while: the proxy writes more of them meanwhile.
        std::thread::sleep(Duration::from_millis(100));
        let log = proxy.log();
        let waiting = log.iter().filter(|line| line.contains("request -> resolving"));
        (waiting.count() == count).then_some(())
    });
    assert_eq!(proxy.descriptors(), before + count + 1, "one query is in flight");
    open.store(true, Ordering::Relaxed);
    clients.iter_mut().for_each(|client| assert_eq!(read_reply(client).0, 91));
    let tries = 1 + started.elapsed().as_millis() / TRY.as_millis();
    assert!(server.seen().len() as u128 <= tries, "one query, sent again after each time-out");
}

#[test]
fn the_query_ends_when_its_only_client_leaves() {
    let server = NameServer::start(|_| vec![]);
    // So many tries that the query does not end by itself.
    let proxy = proxy_with(&[server.address; 8], PERMIT_ALL, &["--dns-timeout", "1000"]);
    let before = proxy.descriptors();
    for leave in [drop as fn(TcpStream), reset] {
        let asked = server.seen().len();
        let stream = ask(&proxy, b"name.test", 80);
        wait_until("the question", || (server.seen().len() > asked).then_some(()));
        leave(stream);
        wait_until("the query's socket to close", || (proxy.descriptors() == before).then_some(()));
    }
}

/// Medians of round trips in microseconds. The streams alternate, so that other load on the machine
/// slows both down.
fn round_trips_us(mut streams: [&mut TcpStream; 2]) -> [u128; 2] {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..2_000 {
        for (stream, times) in streams.iter_mut().zip(&mut times) {
            times.push(echoes(stream).as_micros());
        }
    }
    times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    })
}

#[test]
fn a_silent_server_does_not_slow_other_sessions() {
    let server = NameServer::start(|_| vec![]);
    let proxy = proxy_with(&[server.address], PERMIT_ALL, &["--dns-timeout", "1000"]);
    let mut other = proxy.connect(echo_server());
    let undisturbed = Proxy::start(PERMIT_ALL, &[]);
    let mut compared = undisturbed.connect(echo_server());
    // Different names: as many queries as allowed, and more in the queue.
    let waiting: Vec<_> =
        (0..100).map(|n| ask(&proxy, format!("n{n}.test").as_bytes(), 80)).collect();
    wait_until("the queries", || (server.seen().len() >= 64).then_some(()));
    let [without, with] = round_trips_us([&mut compared, &mut other]);
    println!(
        "median round trip: {without} us; while 100 names wait for a silent server: {with} us"
    );
    assert!(with < 5 * without + 2_000, "{without} us became {with} us");
    assert_eq!(waiting.len(), 100);
}

/// Without shares, the flood would hold every query for as long as the server is silent.
#[test]
fn one_clients_flood_of_silent_names_delays_no_other_client() {
    let other = Ipv4Addr::new(127, 0, 0, 2);
    let target = echo_server();
    let server = NameServer::start(|question| match question.name.starts_with("silent") {
        true => vec![],
        false => addresses(question, &[LOOPBACK]),
    });
    // So many tries that no query ends by itself during the test.
    let proxy = proxy_with(&[server.address; 8], PERMIT_ALL, &["--dns-timeout", "1000"]);
    let silent = |n: u32| ask(&proxy, format!("silent{n}.test").as_bytes(), 80);
    let mut flood: Vec<_> = (0..300).map(silent).collect();
    wait_until("as many queries as allowed", || (server.seen().len() >= 64).then_some(()));
    // The flood continues, faster than 12 names a second.
    for n in 300..324 {
        flood.push(silent(n));
        let mut client = proxy.dial_from(other);
        let name = format!("good{n}.test");
        client.write_all(&request_4a(1, name.as_bytes(), target.port(), b"")).unwrap();
        assert_eq!(read_reply(&mut client).0, 90, "{name}");
        echoes(&mut client);
    }
    let asked = server.names();
    assert_eq!(asked.iter().filter(|name| name.starts_with("good")).count(), 24, "once each");
}

#[test]
fn the_hosts_file_and_resolv_conf_are_used_and_read_again_when_they_change() {
    if !is_root() {
        return;
    }
    let target = echo_server();
    let place = scratch_directory();
    let [hosts, resolv_conf, rules] = ["hosts", "resolv.conf", "socks.conf"].map(|f| place.join(f));
    fs::write(&rules, PERMIT_ALL).unwrap();
    fs::write(&hosts, "127.0.0.1 known other # comment\n").unwrap();
    let server_at = |last| SocketAddrV4::new(own_address(last), 53);
    let answer = |question: &Question| match question.name.ends_with(".search.test") {
        true => addresses(question, &[LOOPBACK]),
        false => vec![reply(question, NXDOMAIN, &[])],
    };
    let first = NameServer::start_at(server_at(1), answer);
    let second = NameServer::start_at(server_at(2), answer);
    let server_line = |last| format!("nameserver {}\nsearch search.test\n", own_address(last));
    fs::write(&resolv_conf, server_line(1) + "options ndots:2\n").unwrap();
    let script = "mount --bind \"$1\" /etc/hosts && mount --bind \"$2\" /etc/resolv.conf && \
                  exec \"$3\" -c \"$4\" -l 127.0.0.1:0";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script, "sh"]).arg(&hosts).arg(&resolv_conf);
    command.arg(env!("CARGO_BIN_EXE_socku")).arg(&rules).env("RUST_LOG", "debug");
    let proxy = Proxy::spawn(command, rules);
    // The hosts file does not list localhost.
    for name in [&b"known"[..], b"KNOWN.", b"other", b"localhost", b"Localhost.", b"a.localhost"] {
        let shown = String::from_utf8_lossy(name);
        assert_eq!(connect_to_name(&proxy, name, target.port()).0, 90, "{shown}");
    }
    assert_eq!(first.names(), [""; 0], "none of these is queried");
    assert_eq!(connect_to_name(&proxy, b"short", target.port()).0, 90);
    // Only a single label is completed, for any ndots.
    for name in [&b"one.dot"[..], b"with.two.dots", b"final."] {
        assert_eq!(connect_to_name(&proxy, name, target.port()).0, 91);
    }
    assert_eq!(first.names(), ["short.search.test", "one.dot", "with.two.dots", "final"]);
    // Written in place, as by container runtimes.
    fs::write(&hosts, "127.0.0.1 new\n").unwrap();
    proxy.wait_log("/etc/hosts: read again");
    wait_until("the new hosts file", || {
        (connect_to_name(&proxy, b"new", target.port()).0 == 90).then_some(())
    });
    fs::write(&resolv_conf, server_line(2)).unwrap();
    proxy.wait_log("/etc/resolv.conf: read again");
    wait_until("the new server", || {
        connect_to_name(&proxy, b"known", target.port());
        second.names().contains(&"known.search.test".to_owned()).then_some(())
    });
    let count = |proxy: &Proxy| {
        proxy.log().iter().filter(|line| line.ends_with("/etc/hosts: read again")).count()
    };
    let before = count(&proxy);
    proxy.signal("HUP");
    wait_until("HUP to read it as well", || (count(&proxy) > before).then_some(()));
}
