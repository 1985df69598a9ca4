//! `--health`: whether the proxy that runs with the same flags answers.

#![cfg(all(feature = "health", feature = "proxy-protocol"))]

mod common;

use common::machine::CLOSED;
use common::namespace::{in_namespace, ip};
use common::socks5::greeting;
use common::{DEADLINE, PERMIT_ALL, Proxy, listener, scratch_directory, socku, with_deadline};
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::{Duration, Instant};

/// All that a check waits for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Exit code and standard error of a check with these flags; nothing is on standard output.
fn check(flags: &[&str]) -> (i32, String) {
    let output = socku(&[&["--health"], flags].concat()).output().unwrap();
    assert_eq!(output.stdout, b"");
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// A check of one address, which must fail with this message.
fn assert_fails(address: SocketAddrV4, flags: &[&str], message: &str) {
    let address = address.to_string();
    let (code, stderr) = check(&[&["-l", &address], flags].concat());
    assert_eq!((code, stderr), (1, format!("socku: --health: {address}: {message}\n")));
}

#[test]
fn a_proxy_is_healthy_if_it_answers_at_each_address() {
    let mut proxy = Proxy::start(PERMIT_ALL, &["-l", "0.0.0.0:0", "-l", "[::]:0", "-l", "[::1]:0"]);
    let lines = proxy.wait_logs(" listening on ", 3);
    let addresses: Vec<&str> = lines.iter().map(|line| line.rsplit(' ').next().unwrap()).collect();
    let flags: Vec<&str> = addresses.iter().flat_map(|address| ["-l", address]).collect();
    assert_eq!(check(&flags), (0, String::new()));
    let (code, stderr) = check(&[&flags[..], &["-l", &CLOSED.to_string()]].concat());
    assert_eq!(code, 1);
    assert_eq!(stderr, format!("socku: --health: {CLOSED}: Connection refused (os error 111)\n"));
    // An address that is none to connect to is that of this host.
    let (code, stderr) = check(&["-l", "0.0.0.0:1"]);
    assert!(code == 1 && stderr.starts_with("socku: --health: 127.0.0.1:1: "), "{stderr}");
    let (code, stderr) = check(&["-l", "[::]:1"]);
    assert!(code == 1 && stderr.starts_with("socku: --health: [::1]:1: "), "{stderr}");
    proxy.wait_idle();
}

#[test]
fn a_proxy_that_hangs_is_not_healthy_until_it_goes_on() {
    let mut proxy = Proxy::start(PERMIT_ALL, &[]);
    proxy.pause();
    let started = Instant::now();
    assert_fails(proxy.address, &[], "no answer within 5 s");
    assert!((PATIENCE..PATIENCE + DEADLINE).contains(&started.elapsed()));
    proxy.resume();
    assert_eq!(check(&["-l", &proxy.address.to_string()]), (0, String::new()));
    proxy.wait_idle();
}

/// A server that reads a greeting, sends these bytes after a while, and closes.
fn slow_server(answer: &'static [u8], delay: Duration) -> SocketAddrV4 {
    let (listener, address) = listener();
    thread::spawn(move || {
        let mut stream = with_deadline(listener.accept().unwrap().0);
        stream.read_exact(&mut [0; 3]).unwrap();
        thread::sleep(delay);
        // The client may have left.
        let _ = stream.write_all(answer);
    });
    address
}

fn server(answer: &'static [u8]) -> SocketAddrV4 {
    slow_server(answer, Duration::ZERO)
}

#[test]
fn the_time_is_for_all_addresses_together() {
    let servers = [(); 2].map(|()| slow_server(b"\x05\0", PATIENCE * 3 / 5).to_string());
    let started = Instant::now();
    let (code, stderr) = check(&["-l", &servers[0], "-l", &servers[1]]);
    let expected = format!("socku: --health: {}: no answer within 5 s\n", servers[1]);
    assert_eq!((code, stderr), (1, expected), "after {:?}", started.elapsed());
}

#[test]
fn another_server_is_not_taken_for_a_proxy() {
    assert_fails(server(b"HTTP/1.1 400 Bad Request\r\n"), &[], "no SOCKS5 server");
    assert_fails(server(b"\x05\x07"), &[], "no SOCKS5 server");
    assert_fails(server(b"\x05"), &[], "closed without an answer");
    assert_fails(server(b""), &[], "closed without an answer");
    // It may reject the client, but it answers.
    assert_eq!(check(&["-l", &server(b"\x05\xff").to_string()]), (0, String::new()));
}

#[test]
fn a_header_is_sent_where_the_proxy_expects_one_from_this_host() {
    let balancers = ["--proxy-protocol", "10.0.0.1", "--proxy-protocol", "127.0.0.0/8"];
    let mut proxy = Proxy::start(PERMIT_ALL, &balancers);
    let address = proxy.address.to_string();
    assert_eq!(check(&[&["-l", &address], &balancers[..]].concat()), (0, String::new()));
    assert_fails(proxy.address, &balancers[..2], "closed without an answer");
    proxy.wait_idle();
    let mut proxy = Proxy::start(PERMIT_ALL, &balancers[..2]);
    let address = proxy.address.to_string();
    assert_eq!(check(&[&["-l", &address], &balancers[..2]].concat()), (0, String::new()));
    proxy.wait_idle();
}

#[test]
fn port_0_and_further_arguments_are_errors_of_the_command_line() {
    for (flags, message) in [
        (
            &["-l", "127.0.0.1:1", "-l", "127.0.0.1:0"][..],
            "--listen \"127.0.0.1:0\": expected a port",
        ),
        (&["127.0.0.1:1080"], "unexpected argument \"127.0.0.1:1080\""),
        (&["-t"], "--health: expected without --test"),
        (&["-e", "c 127.0.0.1:80"], "--health: expected without --explain"),
    ] {
        let (code, stderr) = check(flags);
        assert!(code == 2 && stderr.contains(message), "{stderr}");
    }
}

/// The levels of the access lines of a proxy that listens at this address, after a check of it and
/// a client from `other` that leaves after its greeting as well.
fn levels(listening: &str, other: &str, flags: &[&str], hello: &[u8]) -> Vec<String> {
    let proxy = Proxy::start(PERMIT_ALL, &[&["-l", listening], flags].concat());
    assert_eq!(check(&[&["-l", &proxy.address.to_string()], flags].concat()), (0, String::new()));
    proxy.access(1);
    let mut stream: TcpStream = proxy.dial_from(other.parse().unwrap());
    stream.write_all(hello).unwrap();
    stream.read_exact(&mut [0; 2]).unwrap();
    drop(stream);
    let lines = [proxy.access(1), proxy.access(2)];
    assert!(lines.iter().all(|line| line.field("reason") == "client-left"), "{lines:?}");
    lines.iter().map(|line| line.0.split_whitespace().nth(1).unwrap().to_string()).collect()
}

#[test]
fn a_check_is_in_the_log_at_debug_and_a_client_of_another_host_at_info() {
    in_namespace("a_check_is_in_the_log_at_debug_and_a_client_of_another_host_at_info", || {
        for address in ["10.9.0.1/24", "10.9.0.7/24"] {
            ip(&format!("addr add {address} dev lo"));
        }
        let hello = greeting(&[0]);
        assert_eq!(levels("127.0.0.1:0", "10.9.0.7", &[], &hello), ["DEBUG", "INFO"]);
        assert_eq!(levels("10.9.0.1:0", "10.9.0.7", &[], &hello), ["DEBUG", "INFO"]);
        assert_eq!(levels("10.9.0.1:0", "10.9.0.1", &[], &hello), ["DEBUG", "DEBUG"]);
        // A client that a balancer names is another host's, whatever address it has there.
        let proxied = [b"PROXY TCP4 127.0.0.1 127.0.0.1 5 6\r\n", &hello[..]].concat();
        let flags = ["--proxy-protocol", "10.9.0.7"];
        assert_eq!(levels("127.0.0.1:0", "10.9.0.7", &flags, &proxied), ["DEBUG", "INFO"]);
    });
}

#[test]
fn a_client_of_this_host_that_asks_for_something_is_in_the_log_at_info() {
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let refused = common::request(1, CLOSED, b"");
    proxy.refusal(&refused);
    assert!(proxy.access(1).0.contains(" INFO "));
    proxy.dial().write_all(b"GET / HTTP/1.0\r\n").unwrap();
    assert!(proxy.access(2).0.contains(" INFO "));
    // Half a request, of either protocol.
    let mut stream = proxy.dial();
    stream.write_all(b"\x05\x01\0\x05\x01\0\x03\x20name").unwrap();
    stream.read_exact(&mut [0; 2]).unwrap();
    drop(stream);
    proxy.access(3);
    proxy.dial().write_all(b"\x04\x01\0").unwrap();
    for number in [3, 4] {
        let access = proxy.access(number);
        assert_eq!(access.field("reason"), "client-left");
        assert!(access.0.contains(" INFO "), "{access:?}");
    }
    // It leaves while the proxy waits for the peer of its BIND.
    let mut stream = proxy.dial();
    stream.write_all(&common::request(2, CLOSED, b"")).unwrap();
    assert_eq!(common::read_reply(&mut stream).0, 90);
    drop(stream);
    let access = proxy.access(5);
    assert_eq!(access.field("reason"), "client-left");
    assert!(access.0.contains(" INFO "), "{access:?}");
}

#[test]
fn a_client_of_this_host_that_holds_its_session_is_in_the_log_at_info() {
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let mut stream = proxy.dial();
    stream.write_all(&greeting(&[0])).unwrap();
    stream.read_exact(&mut [0; 2]).unwrap();
    // Longer than a check takes.
    thread::sleep(PATIENCE + Duration::from_secs(2));
    drop(stream);
    let access = proxy.access(1);
    assert_eq!(access.field("reason"), "client-left");
    assert!(access.0.contains(" INFO "), "{access:?}");
}

#[test]
fn a_client_of_this_host_that_tries_a_password_is_in_the_log_at_info() {
    let users = scratch_directory().join("users");
    fs::write(&users, "alice:secret\n").unwrap();
    fs::set_permissions(&users, Permissions::from_mode(0o600)).unwrap();
    let proxy = Proxy::start(PERMIT_ALL, &["--users", users.to_str().unwrap()]);
    let mut stream = proxy.dial();
    stream.write_all(b"\x05\x01\x02\x01\x05alice\x06secret").unwrap();
    stream.read_exact(&mut [0; 4]).unwrap();
    drop(stream);
    let access = proxy.access(1);
    assert_eq!(access.field("reason"), "client-left");
    assert!(access.0.contains(" INFO "), "{access:?}");
}
