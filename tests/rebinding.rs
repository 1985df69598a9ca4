//! Names controlled by a third party: only permitted addresses are tried, and no name is looked up
//! twice.

#![cfg(feature = "server")]

mod common;

use common::machine::{Stopwatch, replace};
use common::servers::*;
use common::tools::can_run;
use common::traffic;
use common::*;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

fn proxy_at(server: &NameServer, rules: &str, flags: &[&str]) -> Proxy {
    let address = server.address.to_string();
    Proxy::start(rules, &[flags, &["--nameserver", &address]].concat())
}

/// Listeners at these loopback addresses, all on one port.
fn listeners(addresses: &[[u8; 4]]) -> (Vec<TcpListener>, u16) {
    for _ in 0..100 {
        let (_, free) = listener();
        let bound: Result<Vec<_>, _> = addresses
            .iter()
            .map(|&ip| TcpListener::bind(SocketAddr::from((Ipv4Addr::from(ip), free.port()))))
            .collect();
        if let Ok(listeners) = bound {
            listeners.iter().for_each(|listener| listener.set_nonblocking(true).unwrap());
            return (listeners, free.port());
        }
    }
    panic!("no port is free at {addresses:?}");
}

fn was_connected_to(listener: &TcpListener) -> bool {
    listener.accept().is_ok()
}

#[test]
fn only_the_permitted_addresses_of_a_name_are_tried_and_no_name_is_queried_twice() {
    let (loopback, away) = ([127, 0, 0, 1], [127, 5, 0, 1]);
    let (listeners, port) = listeners(&[loopback, away]);
    // Only the first answer may be used; later ones lead to loopback.
    let server = NameServer::start(move |question| {
        let mut records = vec![a("&", loopback), a("&", away), a("&", loopback)];
        if question.number > 0 {
            records = vec![a("&", loopback)];
        }
        // A TTL of 0: not to be cached.
        for record in &mut records {
            record[6..10].fill(0);
        }
        vec![reply(question, 0, &records)]
    });
    let proxy = proxy_at(&server, "permit c 127.5.0.0/16\n", &[]);
    let mut stream = ask(&proxy, b"rebind.test", port);
    assert_eq!(read_reply(&mut stream).0, 90);
    assert_eq!(server.seen().len(), 1);
    assert!(was_connected_to(&listeners[1]) && !was_connected_to(&listeners[0]));
    let mut stream = ask(&proxy, b"rebind.test", port);
    assert_eq!(read_reply(&mut stream).0, 91);
    assert_eq!(server.seen().len(), 2, "one query per session");
    assert!(!was_connected_to(&listeners[0]), "the denied address is not even tried");
    drop(stream);
    assert_eq!(proxy.access(2).field("reason"), "no-rule");
}

#[test]
fn a_host_name_rule_never_covers_loopback() {
    let (loopback, away) = ([127, 0, 0, 1], [127, 5, 0, 2]);
    let (listeners, port) = listeners(&[loopback, away]);
    let server = NameServer::start(move |question| {
        let link_local = a("&", [169, 254, 169, 254]);
        vec![reply(question, 0, &[link_local, a("&", loopback), a("&", away)])]
    });
    let rules = "permit c *.example.com\npermit c name.test\n";
    let proxy = proxy_at(&server, rules, &[]);
    for name in ["a.example.com", "example.com", "NAME.test."] {
        let mut stream = ask(&proxy, name.as_bytes(), port);
        assert_eq!(read_reply(&mut stream).0, 91, "{name}");
    }
    assert_eq!(server.seen().len(), 3);
    assert!(listeners.iter().all(|listener| !was_connected_to(listener)));
    assert!(proxy.log().iter().all(|line| !line.contains("-> connecting")));
    // An address rule can.
    let proxy = proxy_at(&server, &format!("{rules}permit c 127.5.0.2/32\n"), &[]);
    let mut stream = ask(&proxy, b"a.example.com", port);
    assert_eq!(read_reply(&mut stream).0, 90);
}

#[test]
fn a_request_that_no_rule_could_permit_sends_no_query() {
    let server = NameServer::start(|question| addresses(question, &[[127, 0, 0, 1]]));
    let rules = "deny c name.test\npermit c *.example.com port 80\npermit c other.test user bob\n\
                 deny c 127.0.0.0/8\npermit c 127.5.0.1 port 82\npermit b *.*.*.*\n";
    let proxy = proxy_at(&server, rules, &[]);
    for (id, (name, port, reason, rule)) in [
        ("name.test", 80, "denied", "1"),
        ("a.example.com", 81, "no-rule", "-"),
        ("other.test", 80, "no-rule", "-"),
        ("x", 80, "no-rule", "-"),
        ("x", 82, "denied", "4"),
        ("a.example.com", 0, "impossible-target", "-"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut stream = ask(&proxy, name.as_bytes(), port);
        assert_eq!(read_reply(&mut stream).0, 91, "{name}:{port}");
        drop(stream);
        let access = proxy.access(id as u64 + 1);
        assert_eq!((access.field("reason"), access.field("rule")), (reason, rule), "{name}:{port}");
    }
    assert_eq!(server.names(), [""; 0]);
}

/// The program with this resolv.conf instead of the machine's; `None` without root.
fn proxy_under(resolv_conf: &str, rule_text: &str) -> Option<Proxy> {
    if !is_root() {
        return None;
    }
    let place = scratch_directory();
    let [file, rules] = ["resolv.conf", "socks.conf"].map(|file| place.join(file));
    fs::write(&file, resolv_conf).unwrap();
    fs::write(&rules, rule_text).unwrap();
    let script = "mount --bind \"$1\" /etc/resolv.conf && shift && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script, "sh"]).arg(&file).arg(env!("CARGO_BIN_EXE_socku"));
    command.args(["-l", "127.0.0.1:0", "-c"]).arg(&rules).env("RUST_LOG", "debug");
    Some(Proxy::spawn(command, rules))
}

#[test]
fn a_completed_name_is_evaluated_as_completed() {
    // On port 53, since resolv.conf cannot name another.
    let at = SocketAddrV4::new(Ipv4Addr::new(127, 0, 53, 3), 53);
    if !is_root() {
        return;
    }
    let is_counted = |question: &Question| !question.is_aaaa;
    let server = NameServer::start_counting(at, is_counted, |question| {
        match question.name.as_str() {
            "open.corp.test" | "secret.corp.test" if question.is_aaaa => no_address(question),
            "open.corp.test" => addresses(question, &[[127, 0, 0, 1]]),
            // A name rule covers no loopback address; there is no connection.
            "secret.corp.test" => addresses(question, &[[192, 0, 2, 1]]),
            _ => vec![reply(question, 3, &[])],
        }
    });
    let (listener, target) = listener();
    let rules = "deny c secret.corp.test\npermit c 127.*.*.* user bob\npermit c *.example.com\n";
    let resolv_conf = "nameserver 127.0.53.3\nsearch corp.test\n";
    let Some(proxy) = proxy_under(resolv_conf, rules) else { return };
    for (id, (name, user, reason, rule, asked)) in [
        // It used to be completed to nosuch.example.com.corp.test and permitted by the last rule.
        ("nosuch.example.com", "", "dns-not-found", "-", &["nosuch.example.com"][..]),
        ("secret", "bob", "denied", "1", &["secret.corp.test"]),
        ("open", "bob", "done", "2", &["open.corp.test"]),
        // No rule matches its completion or the name itself.
        ("open", "eve", "no-rule", "-", &[]),
        ("www", "bob", "dns-not-found", "-", &["www.corp.test", "www"]),
    ]
    .into_iter()
    .enumerate()
    {
        let before = server.seen().len();
        let mut stream = proxy.dial();
        let request = request_4a(1, name.as_bytes(), target.port(), user.as_bytes());
        stream.write_all(&request).unwrap();
        let code = read_reply(&mut stream).0;
        assert_eq!(code == 90, reason == "done", "{name}");
        let _peer = (code == 90).then(|| accept(&listener));
        drop((stream, _peer));
        let access = proxy.access(id as u64 + 1);
        assert_eq!((access.field("reason"), access.field("rule")), (reason, rule), "{name}");
        assert_eq!(access.field("target"), format!("{name}:{}", target.port()));
        assert_eq!(server.names()[before..], *asked, "{name}");
    }
}

#[test]
fn impossible_targets_are_refused_by_address_and_by_name() {
    let bad = [[0, 0, 0, 0], [0, 1, 2, 3], [224, 0, 0, 1], [240, 0, 0, 1], [255, 255, 255, 255]];
    let server = NameServer::start(move |question| addresses(question, &bad));
    let proxy = proxy_at(&server, PERMIT_ALL, &[]);
    let own = proxy.address.port();
    for address in bad {
        let mut stream = proxy.dial();
        let target = SocketAddrV4::new(address.into(), 80);
        stream.write_all(&request(1, target, b"")).unwrap();
        // 0.0.0.x announces a name; there is none at 0.0.0.0.
        assert_eq!(read_reply(&mut stream).0, 91, "{target}");
    }
    for (name, port) in [("127.0.0.1", own), ("bad.test", 80), ("127.0.0.1", 0), ("bad.test", 0)] {
        let mut stream = ask(&proxy, name.as_bytes(), port);
        assert_eq!(read_reply(&mut stream).0, 91, "{name}:{port}");
    }
    let mut stream = proxy.dial();
    stream.write_all(&request(1, proxy.address, b"")).unwrap();
    assert_eq!(read_reply(&mut stream).0, 91, "the proxy itself");
    assert!(proxy.log().iter().all(|line| !line.contains("-> connecting")));
}

#[test]
fn an_address_from_the_hosts_file_is_evaluated_by_the_rules() {
    if !is_root() {
        return;
    }
    let place = scratch_directory();
    let [hosts, rules] = ["hosts", "socks.conf"].map(|file| place.join(file));
    let text = "127.0.0.1 home.example.com\n169.254.169.254 meta.example.com\n\
                0.0.0.0 zero.example.com\n224.0.0.1 all.example.com\n";
    fs::write(&hosts, text).unwrap();
    fs::write(&rules, "permit c *.example.com\n").unwrap();
    let script = "mount --bind \"$1\" /etc/hosts && shift && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script, "sh"]).arg(&hosts).arg(env!("CARGO_BIN_EXE_socku"));
    command.args(["-l", "127.0.0.1:0", "--nameserver", "127.0.0.1:1", "-c"]).arg(&rules);
    command.env("RUST_LOG", "debug");
    let proxy = Proxy::spawn(command, rules);
    let names = [
        ("home", "no-rule"),
        ("meta", "no-rule"),
        ("zero", "impossible-target"),
        ("all", "impossible-target"),
    ];
    for (id, (name, reason)) in names.into_iter().enumerate() {
        let mut stream = ask(&proxy, format!("{name}.example.com").as_bytes(), 80);
        assert_eq!(read_reply(&mut stream).0, 91, "{name}");
        drop(stream);
        assert_eq!(proxy.access(id as u64 + 1).field("reason"), reason, "{name}");
    }
    // A loop by way of the hosts file is detected as well.
    replace(&proxy.rule_file, PERMIT_ALL);
    proxy.wait_log("1 rule in force");
    let mut stream = ask(&proxy, b"home.example.com", proxy.address.port());
    assert_eq!(read_reply(&mut stream).0, 91);
    drop(stream);
    assert_eq!(proxy.access(5).field("reason"), "loop");
}

#[test]
fn an_address_that_does_not_answer_costs_a_quarter_of_a_second() {
    let [dropped, refused, good] = [[127, 5, 1, 1], [127, 5, 1, 2], [127, 5, 1, 3]];
    let (listeners, port) = listeners(&[dropped, refused, good]);
    let [first, second, third] = <[TcpListener; 3]>::try_from(listeners).unwrap();
    let _filler = traffic::fill(&first);
    traffic::close(second);
    let server = NameServer::start(move |question| addresses(question, &[dropped, refused, good]));
    let proxy = proxy_at(&server, PERMIT_ALL, &[]);
    let (began, took) = (Instant::now(), Stopwatch::start(&proxy));
    let mut stream = ask(&proxy, b"three.test", port);
    let _peer = accept(&third);
    assert_eq!(read_reply(&mut stream).0, 90);
    assert!(began.elapsed() >= Duration::from_millis(250), "the first address has that time alone");
    assert!(took.elapsed() < Duration::from_millis(900), "{:?}", took.elapsed());
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn any_permitted_address_of_a_name_may_be_the_peer_of_a_bind() {
    let [denied, one, two] = [[127, 6, 0, 1], [127, 5, 2, 1], [127, 5, 2, 2]];
    let server = NameServer::start(move |question| addresses(question, &[denied, one, two]));
    let proxy = proxy_at(&server, "permit b 127.5.0.0/16\n", &[]);
    for (peer, code) in [(one, 90), (two, 90), (denied, 91), ([127, 5, 2, 3], 91)] {
        let mut client = proxy.dial();
        client.write_all(&request_4a(2, b"peer.test", 80, b"")).unwrap();
        let (granted, at) = read_reply(&mut client);
        assert_eq!(granted, 90);
        let mut peer_stream = dial_from(peer.into(), at);
        let (second, address) = read_reply(&mut client);
        assert_eq!(second, code, "{peer:?}");
        if code == 90 {
            assert_eq!(address.ip(), &Ipv4Addr::from(peer));
            check_relay(&mut peer_stream, &mut client);
        }
    }
}

fn check_relay(from: &mut TcpStream, to: &mut TcpStream) {
    from.write_all(b"data").unwrap();
    let mut bytes = [0; 4];
    to.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"data");
}

/// The last octets of the addresses that are being connected to at a port, by the kernel's table.
fn under_way(port: u16) -> Vec<u8> {
    let table = fs::read_to_string("/proc/self/net/tcp").unwrap();
    let lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let waiting = lines.filter(|fields| fields[3] == "02").filter_map(|fields| {
        let (address, at) = fields[2].split_once(':')?;
        let octets = u32::from_str_radix(address, 16).ok()?.to_ne_bytes();
        (u16::from_str_radix(at, 16) == Ok(port)).then_some(octets[3])
    });
    let mut waiting: Vec<u8> = waiting.collect();
    waiting.sort_unstable();
    waiting
}

#[test]
fn attempts_start_some_time_apart_a_fifth_replaces_the_oldest_and_losers_are_closed() {
    let all = [1, 2, 3, 4, 5, 6].map(|last| [127, 5, 2, last]);
    let (listeners, port) = listeners(&all);
    let fillers: Vec<_> = listeners.iter().map(traffic::fill).collect();
    let server = NameServer::start(move |question| addresses(question, &all));
    let mut proxy = proxy_at(&server, PERMIT_ALL, &[]);
    let began = Instant::now();
    let mut stream = ask(&proxy, b"six.test", port);
    wait_until("the last four to be tried", || (under_way(port) == [3, 4, 5, 6]).then_some(()));
    assert!(began.elapsed() >= Duration::from_millis(3 * 250 + 2 * 3_000), "{:?}", began.elapsed());
    // The next try to reach the fifth finds room.
    rustix::net::listen(&listeners[4], 16).unwrap();
    drop(accept(&listeners[4]));
    let peer = accept(&listeners[4]);
    assert_eq!(read_reply(&mut stream).0, 90);
    wait_until("the others to be closed", || under_way(port).is_empty().then_some(()));
    drop((stream, peer, fillers));
    assert_eq!(proxy.access(1).field("address"), format!("127.5.2.5:{port}"));
    proxy.wait_idle();
}

/// Each session wants as many descriptors as there are addresses, and there are not so many.
#[test]
fn attempts_of_many_sessions_do_not_starve_each_other_of_descriptors() {
    if !can_run(&["prlimit"]) {
        return;
    }
    const CLIENTS: usize = 35;
    let all = [1, 2, 3, 4].map(|last| [127, 5, 4, last]);
    let (listeners, port) = listeners(&all);
    let _fillers: Vec<_> = listeners[..3].iter().map(traffic::fill).collect();
    let server = NameServer::start(move |question| addresses(question, &all));
    let flags = ["--nameserver", &server.address.to_string()];
    let proxy = Proxy::start_limited(128, PERMIT_ALL, &flags);
    let mut asking: Vec<_> = (0..CLIENTS).map(|_| ask(&proxy, b"four.test", port)).collect();
    // Other clients are served meanwhile.
    let echo = echo_server();
    drop(proxy.connect(echo));
    for stream in &mut asking {
        assert_eq!(read_reply(stream).0, 90);
    }
    assert!(!proxy.log().iter().any(|line| line.contains("accepting clients: ")));
}
