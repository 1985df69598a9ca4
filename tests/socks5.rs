//! SOCKS5 through the program itself: its dialogue, its codes, its users.

#![cfg(feature = "server")]

mod common;

use common::machine::CLOSED;
use common::namespace::{Router, in_namespace, ip};
use common::socks5::{BIND, CONNECT, greeting, password, read_bytes, read_reply5, request5};
use common::traffic::full_listener;
use common::{
    PERMIT_ALL, Proxy, dial_from, echo_server, read_all, read_reply, request, scratch_directory,
    wait_until,
};
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A users file that nobody else may read.
fn users_file(text: &str) -> PathBuf {
    let path = scratch_directory().join("users");
    write_private(&path, text);
    path
}

fn write_private(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, Permissions::from_mode(0o600)).unwrap();
    fs::rename(new, path).unwrap();
}

/// The proxy with these users.
fn start_with_users(rules: &str, users: &Path) -> Proxy {
    Proxy::start(rules, &["--users", users.to_str().unwrap()])
}

/// Sends all of these at once; the connection.
fn send(proxy: &Proxy, messages: &[&[u8]]) -> TcpStream {
    let mut stream = proxy.dial();
    stream.write_all(&messages.concat()).unwrap();
    stream
}

#[test]
fn a_connect_by_address_or_name_is_relayed_and_logged_beside_one_of_socks4() {
    let mut proxy = Proxy::start(PERMIT_ALL, &[]);
    let echo = echo_server();
    for (id, host) in [(1, "127.0.0.1"), (2, "localhost"), (3, "::ffff:127.0.0.1")] {
        let (mut stream, code, address) = proxy.ask5(CONNECT, host, echo.port());
        assert_eq!((code, address.ip()), (0, Ipv4Addr::LOCALHOST.into()));
        stream.write_all(b"hello").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut stream), b"hello");
        let access = proxy.access(id);
        assert_eq!((access.field("proto"), access.field("reply")), ("5", "0"));
        assert_eq!((access.field("up"), access.field("down")), ("5", "5"));
        assert_eq!(access.field("address"), echo.to_string());
    }
    assert_eq!(proxy.access(2).field("target"), format!("localhost:{}", echo.port()));
    drop(proxy.connect(echo));
    assert_eq!(proxy.access(4).field("proto"), "4");
    proxy.wait_idle();
}

/// No message waits for the answer to the one before, and bytes after the request are the target's.
#[test]
fn messages_that_come_together_are_answered_in_order_and_early_bytes_reach_the_target() {
    let users = users_file("alice:secret\n");
    let mut proxy = start_with_users("permit c * user alice auth\n", &users);
    let echo = echo_server();
    let whole = [
        greeting(&[0, 2]),
        password("alice", "secret"),
        request5(CONNECT, "127.0.0.1", echo.port()),
        b"early".to_vec(),
    ]
    .concat();
    for cut in 1..=whole.len() {
        let mut stream = proxy.dial();
        for piece in [&whole[..cut], &whole[cut..]] {
            stream.write_all(piece).unwrap();
            if cut % 7 == 0 {
                // Let some of them be read before the rest.
                proxy.wait_asleep();
            }
        }
        let leaves_early = cut % 2 == 0;
        if leaves_early {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        assert_eq!(read_bytes(&mut stream), [5, 2, 1, 0], "cut at {cut}");
        assert_eq!(read_reply5(&mut stream).0, 0);
        if !leaves_early {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        assert_eq!(read_all(&mut stream), b"early");
    }
    assert_eq!(proxy.access(1).field("user"), "alice");
    proxy.wait_idle();
}

/// Three messages of the longest kind are more than the buffer that they are read into.
#[test]
fn the_longest_messages_that_come_together_are_read() {
    let (user, secret, name) = ("u".repeat(255), "s".repeat(255), "n".repeat(255));
    let users = users_file(&format!("{user}:{secret}\n"));
    let proxy = start_with_users(PERMIT_ALL, &users);
    let methods: Vec<u8> = (0..=254).collect();
    let messages = [greeting(&methods), password(&user, &secret), request5(CONNECT, &name, 80)];
    let mut stream = send(&proxy, &[&messages.concat(), &[b'x'; 4096]]);
    assert_eq!(read_bytes(&mut stream), [5, 2, 1, 0]);
    assert_eq!(read_reply5(&mut stream).0, 4);
    assert_eq!(proxy.access(1).field("reason"), "name-too-long");
}

#[test]
fn each_rejection_has_the_code_that_says_most() {
    let rules = "deny c 127.0.0.9\npermit c 127.*.*.*\npermit b 127.0.0.1\n";
    let mut proxy = Proxy::start(rules, &["--connect-timeout", "1", "--bind-timeout", "1"]);
    let own = proxy.address.port();
    let (_listener, full, _filler) = full_listener();
    let mut id = 0;
    let mut expect = |mut stream: TcpStream, code: u8, reason: &str| {
        assert_eq!(read_reply5(&mut stream), (code, "0.0.0.0:0".parse().unwrap()), "{reason}");
        assert_eq!(read_all(&mut stream), b"", "{reason}");
        drop(stream);
        id += 1;
        let access = proxy.access(id);
        let fields = (access.field("reason"), access.field("reply"), access.field("proto"));
        assert_eq!(fields, (reason, &*code.to_string(), "5"));
    };
    for (command, host, port, code, reason) in [
        (CONNECT, "127.0.0.9", 80, 2, "denied"),
        (CONNECT, "10.0.0.1", 80, 2, "no-rule"),
        (CONNECT, "127.0.0.1", own, 2, "loop"),
        (CONNECT, "127.0.0.1", 0, 2, "impossible-target"),
        (CONNECT, "127.0.0.1", CLOSED.port(), 5, "refused"),
        (CONNECT, "127.0.0.1", full.port(), 6, "connect-timeout"),
        (CONNECT, "127.1", 80, 4, "bad-name"),
        (3, "127.0.0.1", 80, 7, "bad-command"),
        (9, "127.0.0.1", 80, 7, "bad-command"),
    ] {
        let mut stream = send(&proxy, &[&greeting(&[0]), &request5(command, host, port)]);
        assert_eq!(read_bytes(&mut stream), [5, 0]);
        expect(stream, code, reason);
    }
    let mut stream = send(&proxy, &[&greeting(&[0]), b"\x05\x01\x00\x05\x01\x02"]);
    assert_eq!(read_bytes(&mut stream), [5, 0]);
    expect(stream, 8, "bad-address-type");
    let mut stream = send(&proxy, &[&greeting(&[0]), &request5(BIND, "127.0.0.1", 0)]);
    assert_eq!(read_bytes(&mut stream), [5, 0]);
    assert_eq!(read_reply5(&mut stream).0, 0);
    expect(stream, 6, "bind-timeout");
    proxy.wait_idle();
}

#[test]
fn a_target_without_a_route_and_one_that_a_router_calls_unreachable_have_codes_of_their_own() {
    const NAME: &str =
        "a_target_without_a_route_and_one_that_a_router_calls_unreachable_have_codes_of_their_own";
    in_namespace(NAME, || {
        let router = Router::new();
        router.ip("route add unreachable 10.9.7.0/24");
        ip("route add prohibit 10.8.1.0/24");
        let proxy = Proxy::start("permit c *\n", &["--connect-timeout", "5"]);
        for (host, code, reason) in [
            ("10.7.0.1", 3, "network-unreachable"),
            ("2001:db8::1", 3, "network-unreachable"),
            ("10.9.7.1", 4, "unreachable"),
            ("10.8.1.1", 2, "prohibited"),
        ] {
            let (_, found, _) = proxy.ask5(CONNECT, host, 80);
            assert_eq!(found, code, "{host}");
            proxy.wait_log(&format!("reply={code} reason={reason} "));
        }
    });
}

#[test]
fn a_bind_replies_twice_and_a_wrong_peer_is_not_allowed() {
    let mut proxy = Proxy::start(PERMIT_ALL, &[]);
    for (source, code) in [([127, 0, 0, 1], 0), ([127, 0, 0, 2], 2)] {
        let (mut stream, first, advertised) = proxy.ask5(BIND, "127.0.0.1", 0);
        assert_eq!((first, advertised.ip()), (0, Ipv4Addr::LOCALHOST.into()));
        let std::net::SocketAddr::V4(advertised) = advertised else { unreachable!() };
        let mut peer = dial_from(source.into(), advertised);
        let (second, address) = read_reply5(&mut stream);
        assert_eq!(second, code);
        if code == 0 {
            assert_eq!(address, peer.local_addr().unwrap());
            peer.write_all(b"hello").unwrap();
            drop(peer);
            assert_eq!(read_all(&mut stream), b"hello");
        } else {
            assert_eq!(read_all(&mut stream), b"");
        }
    }
    let access = proxy.access(2);
    assert_eq!((access.field("reason"), access.field("command")), ("wrong-peer", "bind"));
    proxy.wait_idle();
}

/// The rules decide what a client may do that has no password.
#[test]
fn a_user_has_to_prove_his_name_where_a_rule_requires_it() {
    let users = users_file("alice:secret\nbob:hunter2\n");
    let rules = "permit c 127.0.0.1 user alice auth\npermit c 127.0.0.2\n";
    let mut proxy = start_with_users(rules, &users);
    let port = echo_server().port();
    let asks = |messages: &[&[u8]], host: &str| {
        let request = request5(CONNECT, host, port);
        let mut stream = send(&proxy, &[messages, &[&request]].concat());
        let mut sent = read_bytes::<2>(&mut stream).to_vec();
        if messages.len() > 1 {
            sent.extend(read_bytes::<2>(&mut stream));
        }
        (sent, read_reply5(&mut stream).0)
    };
    let (both, none) = (greeting(&[0, 2]), greeting(&[0]));
    let alice = password("alice", "secret");
    let bob = password("bob", "hunter2");
    assert_eq!(asks(&[&both, &alice], "127.0.0.1"), (vec![5, 2, 1, 0], 0));
    assert_eq!(asks(&[&both, &bob], "127.0.0.1"), (vec![5, 2, 1, 0], 2));
    assert_eq!(asks(&[&none], "127.0.0.1"), (vec![5, 0], 2));
    // No one listens there, but the rules have let it pass.
    assert_eq!(asks(&[&none], "127.0.0.2"), (vec![5, 0], 5));
    // A USERID is a claim.
    let mut stream = proxy.dial();
    let target = format!("127.0.0.1:{port}").parse().unwrap();
    stream.write_all(&request(CONNECT, target, b"alice")).unwrap();
    assert_eq!(read_reply(&mut stream).0, 91);
    drop(stream);
    proxy.wait_idle();
}

#[test]
fn wrong_passwords_are_refused_logged_and_limited_by_source() {
    let users = users_file("alice:secret\n");
    let mut proxy = start_with_users(PERMIT_ALL, &users);
    let log_in = |source: [u8; 4], user: &str, secret: &str| {
        let mut stream = dial_from(source.into(), proxy.address);
        stream.write_all(&[greeting(&[2]), password(user, secret)].concat()).unwrap();
        assert_eq!(read_bytes(&mut stream), [5, 2]);
        let [version, status] = read_bytes(&mut stream);
        assert_eq!(version, 1);
        if status != 0 {
            assert_eq!(read_all(&mut stream), b"");
        }
        status
    };
    let (here, other) = ([127, 0, 0, 1], [127, 0, 0, 2]);
    assert_eq!(log_in(here, "alice", "secret"), 0);
    assert_eq!(log_in(here, "alice", "Secret"), 1);
    assert_eq!(log_in(here, "nobody\n", ""), 1);
    proxy
        .wait_log("user=\"alice\" command=- target=- address=- rule=- reply=1 reason=bad-password");
    proxy.wait_log("user=\"nobody\\x0a\"");
    // More than is compared within a second, whichever second it is.
    wait_until("the limit", || {
        (0..20).for_each(|_| assert_eq!(log_in(here, "alice", "guess"), 1));
        let is_limited = |line: &String| line.contains("reason=too-many-logins");
        proxy.log().iter().any(is_limited).then_some(())
    });
    assert_eq!(log_in(other, "alice", "secret"), 0, "another source is not concerned");
    wait_until("the end of the limit", || (log_in(here, "alice", "secret") == 0).then_some(()));
    let guesses = proxy.log().iter().filter(|line| line.contains("reason=bad-password")).count();
    assert!(guesses >= 5, "{guesses}");
    assert!(!proxy.log().iter().any(|line| line.contains("guess") || line.contains("secret")));
    proxy.wait_idle();
}

#[test]
fn users_that_are_read_again_count_for_the_next_client() {
    let users = users_file("alice:secret\n");
    let proxy = start_with_users(PERMIT_ALL, &users);
    let status = |secret: &str| {
        let mut stream = send(&proxy, &[&greeting(&[2]), &password("alice", secret)]);
        read_bytes::<4>(&mut stream)[3]
    };
    assert_eq!(status("secret"), 0);
    write_private(&users, "alice:changed\n");
    proxy.wait_log("1 user in force");
    assert_eq!((status("secret"), status("changed")), (1, 0));
}

#[test]
fn a_client_beyond_the_limit_of_its_source_is_told_in_its_own_protocol() {
    let proxy = Proxy::start(PERMIT_ALL, &["--max-per-source", "1"]);
    let _first = proxy.connect(echo_server());
    let mut stream = send(&proxy, &[&greeting(&[0])]);
    assert_eq!(read_all(&mut stream), [5, 255]);
    drop(stream);
    proxy.wait_log("reason=too-many-from-source");
    let refusal = proxy.refusal(&request(CONNECT, CLOSED, b""));
    assert_eq!(refusal.0, 91);
}

#[test]
fn a_client_that_offers_no_method_that_is_known_is_told_so() {
    let mut proxy = Proxy::start(PERMIT_ALL, &[]);
    for methods in [&[][..], &[1], &[2], &[1, 3, 128]] {
        let mut stream = send(&proxy, &[&greeting(methods)]);
        assert_eq!(read_all(&mut stream), [5, 255]);
    }
    assert_eq!(proxy.access(1).field("reason"), "no-method");
    let mut silent = proxy.dial();
    silent.write_all(b"\x06").unwrap();
    assert_eq!(silent.read(&mut [0; 8]).unwrap(), 0, "another protocol: no answer");
    drop(silent);
    assert_eq!(proxy.access(5).field("reason"), "bad-version");
    proxy.wait_idle();
}
