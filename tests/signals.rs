//! Signals, and changes of the rule file.

#![cfg(feature = "server")]

mod common;

use common::machine::own_address;
use common::scratch_directory;
use common::{
    PERMIT_ALL, Proxy, accept, echo_server, listener, read_all, read_reply, request, socku,
    wait_until,
};
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddrV4, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A session that has already relayed some bytes.
fn session(proxy: &Proxy, echo: SocketAddrV4) -> TcpStream {
    let mut stream = proxy.connect(echo);
    assert_echo(&mut stream, b"first");
    stream
}

fn assert_echo(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, bytes);
}

fn assert_reset(stream: &mut TcpStream) {
    // Goes on where a signal to this process interrupts it.
    let error = stream.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

/// The reply code of a CONNECT.
fn code(proxy: &Proxy, target: SocketAddrV4) -> u8 {
    let mut stream = proxy.dial();
    stream.write_all(&request(1, target, b"")).unwrap();
    read_reply(&mut stream).0
}

/// Replaces the rule file in one step. The proxy detects this by itself, at any time before or
/// after a signal, so no line of the log may be counted from here on.
fn replace(proxy: &Proxy, rules: &str) {
    let other = proxy.rule_file.with_file_name("socks.conf.swp");
    fs::write(&other, rules).unwrap();
    fs::rename(&other, &proxy.rule_file).unwrap();
}

fn wait_code(proxy: &Proxy, target: SocketAddrV4, expected: u8) {
    wait_until("the change", || (code(proxy, target) == expected).then_some(()));
}

#[test]
fn hup_reads_the_rules_again_and_a_bad_file_changes_nothing() {
    let echo = echo_server();
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let mut running = session(&proxy, echo);
    // Nothing has changed, so only the signal makes it read.
    for times in 1..=2 {
        proxy.signal("HUP");
        proxy.wait_logs("1 rule in force", times);
    }
    assert_eq!(code(&proxy, echo), 90);
    replace(&proxy, "deny c *.*.*.*\n");
    proxy.signal("HUP");
    wait_code(&proxy, echo, 91);
    replace(&proxy, &format!("{PERMIT_ALL}permit q 1.2.3.4\n"));
    proxy.signal("HUP");
    let file = proxy.rule_file.display();
    let error = proxy.wait_log(&format!("{file}:2: found `q`, expected"));
    assert!(error.contains("ERROR") && error.ends_with("the rules in force stay"), "{error}");
    assert_eq!(code(&proxy, echo), 91);
    fs::remove_file(&proxy.rule_file).unwrap();
    proxy.signal("HUP");
    proxy.wait_log(&format!("{file}: no such file"));
    assert_eq!(code(&proxy, echo), 91);
    // By the rule in force: without any rule the request would be refused as well.
    proxy.wait_logs("rule=1 reply=91 reason=denied", 3);
    assert_echo(&mut running, b"still there");
}

#[test]
fn a_file_written_or_replaced_takes_effect_within_a_second() {
    let echo = echo_server();
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let mut running = session(&proxy, echo);
    let mut fastest = Duration::MAX;
    for (in_place, rules, expected) in [
        (true, "deny c *.*.*.*\n", 91),
        (false, PERMIT_ALL, 90),
        (true, "permit b *.*.*.*\n", 91),
        (true, PERMIT_ALL, 90),
    ]
    .repeat(3)
    {
        match in_place {
            true => fs::write(&proxy.rule_file, rules).unwrap(),
            false => replace(&proxy, rules),
        }
        let changed = Instant::now();
        wait_code(&proxy, echo, expected);
        fastest = fastest.min(changed.elapsed());
    }
    // A busy machine may delay any of them, but hardly all.
    assert!(fastest < Duration::from_secs(1), "{fastest:?}");
    fs::write(&proxy.rule_file, "permit c 1.2.3\n").unwrap();
    let error = proxy.wait_log("the rules in force stay");
    assert!(error.contains(&format!("{}:1: ", proxy.rule_file.display())), "{error}");
    assert_eq!(code(&proxy, echo), 90);
    assert_echo(&mut running, b"still there");
}

#[test]
fn alternating_good_and_bad_reloads_lose_no_session() {
    let echo = echo_server();
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let mut running: Vec<TcpStream> = (0..8).map(|_| session(&proxy, echo)).collect();
    let descriptors = proxy.descriptors();
    for round in 0..200 {
        let rules = match round % 2 {
            0 => format!("{PERMIT_ALL}permit nonsense\n"),
            _ => format!("deny c 9.9.9.9\n{PERMIT_ALL}"),
        };
        replace(&proxy, &rules);
        proxy.signal("HUP");
        assert_echo(&mut running[round % 8], format!("round {round}").as_bytes());
        if round % 10 == 0 {
            drop(session(&proxy, echo));
        }
    }
    proxy.wait_log("2 rules in force");
    proxy.wait_log("the rules in force stay");
    for stream in &mut running {
        assert_echo(stream, b"last");
    }
    proxy.wait_logs(" reason=done ", 20);
    wait_until("the descriptors", || (proxy.descriptors() == descriptors).then_some(()));
}

#[test]
fn usr1_logs_counters_and_a_line_for_each_session() {
    let echo = echo_server();
    let proxy = Proxy::start("permit c *.*.*.*\n", &[]);
    let mut stream = session(&proxy, echo);
    let mut refused = proxy.dial();
    refused.write_all(&request(2, echo, b"bob")).unwrap();
    assert_eq!(read_reply(&mut refused).0, 91);
    drop(refused);
    proxy.access(2);
    proxy.signal("USR1");
    let counters = proxy.wait_log(" dump] sessions=");
    assert!(counters.contains("sessions=1 opened=2 closed=1 "), "{counters}");
    proxy.wait_log(" dump] reason=no-rule count=1");
    let line = proxy.wait_log(" dump] id=1 ");
    assert!(line.contains(" state=relaying up=5 down=5 "), "{line}");
    assert_echo(&mut stream, b"unharmed");
}

#[test]
fn sigpipe_is_ignored() {
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let mut stream = session(&proxy, echo_server());
    proxy.signal("PIPE");
    proxy.signal("USR1");
    proxy.wait_log(" dump] id=1 ");
    assert_echo(&mut stream, b"unharmed");
}

#[test]
fn the_first_term_or_int_stops_accepting_and_lets_sessions_finish() {
    for signal in ["TERM", "INT"] {
        let mut proxy = Proxy::start(PERMIT_ALL, &[]);
        let mut stream = session(&proxy, echo_server());
        proxy.signal(signal);
        proxy.wait_log("stopping; 1 session may finish");
        wait_until("the listener to close", || {
            let error = TcpStream::connect(proxy.address).err()?;
            (error.kind() == ErrorKind::ConnectionRefused).then_some(())
        });
        assert_echo(&mut stream, b"goes on");
        stream.shutdown(Shutdown::Write).unwrap();
        assert!(read_all(&mut stream).is_empty());
        assert_eq!(proxy.wait_exit(), Some(0), "{signal}");
        assert_eq!(proxy.access(1).field("reason"), "done");
        proxy.wait_log("stopped");
    }
}

#[test]
fn a_stop_without_sessions_is_immediate() {
    let mut proxy = Proxy::start(PERMIT_ALL, &[]);
    proxy.signal("TERM");
    assert_eq!(proxy.wait_exit(), Some(0));
}

#[test]
fn a_second_signal_stops_at_once_with_resets() {
    for (first, second) in [("TERM", "TERM"), ("TERM", "INT"), ("INT", "TERM")] {
        let mut proxy = Proxy::start(PERMIT_ALL, &[]);
        let (server, target) = listener();
        let mut stream = proxy.connect(target);
        let mut far = accept(&server);
        proxy.signal(first);
        proxy.wait_log("stopping; 1 session may finish");
        assert!(proxy.is_running());
        proxy.signal(second);
        assert_reset(&mut stream);
        assert_reset(&mut far);
        assert_eq!(proxy.wait_exit(), Some(0));
        let access = proxy.access(1);
        assert_eq!((access.field("reason"), access.field("reply")), ("stopped", "90"));
    }
}

#[test]
fn the_drain_timeout_ends_the_remaining_sessions() {
    let mut proxy = Proxy::start(PERMIT_ALL, &["--drain-timeout", "1"]);
    let mut stream = session(&proxy, echo_server());
    let signalled = Instant::now();
    proxy.signal("TERM");
    assert_reset(&mut stream);
    assert!(signalled.elapsed() >= Duration::from_millis(900), "{:?}", signalled.elapsed());
    assert_eq!(proxy.wait_exit(), Some(0));
    assert_eq!(proxy.access(1).field("reason"), "stopped");
    let mut proxy = Proxy::start(PERMIT_ALL, &["--drain-timeout", "0"]);
    let mut stream = session(&proxy, echo_server());
    proxy.signal("TERM");
    assert_reset(&mut stream);
    assert_eq!(proxy.wait_exit(), Some(0));
}

#[test]
fn after_a_kill_the_next_proxy_binds_at_once() {
    let echo = echo_server();
    // At an address whose ports no connection of another test can take in between.
    let mut proxy = Proxy::start(PERMIT_ALL, &["-l", &format!("{}:0", own_address(200))]);
    for _ in 0..3 {
        let (stream, address) = (session(&proxy, echo), proxy.address.to_string());
        proxy.signal("KILL");
        assert_eq!(proxy.wait_exit(), None);
        let mut command = socku(&["-l", &address, "--nameserver", "127.0.0.1:1", "-c"]);
        command.arg(&proxy.rule_file);
        let next = Proxy::spawn(command, proxy.rule_file.clone());
        assert_eq!(next.address.to_string(), address);
        drop(session(&next, echo));
        drop(stream);
        proxy = next;
    }
}

/// A signal may arrive before the program has read its rules.
#[test]
fn a_signal_during_the_start_does_not_end_the_program() {
    let rule_file = scratch_directory().join("socks.conf");
    fs::write(&rule_file, format!("{PERMIT_ALL}{}", "deny c 9.9.9.9\n".repeat(100_000))).unwrap();
    let mut command = socku(&["-l", "127.0.0.1:0", "-c"]);
    command.arg(&rule_file).env("RUST_LOG", "info").stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Reading its rules takes longer than reaching this point.
    let status = format!("/proc/{}/status", child.id());
    wait_until("the signals to be caught", || {
        let text = fs::read_to_string(&status).unwrap();
        let caught = text.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
        let caught = u64::from_str_radix(caught, 16).unwrap();
        // HUP is signal 1, USR1 is 10, and TERM, 15, is caught only with the loop.
        (caught & 1 << 9 != 0).then(|| assert_eq!(caught & 1 << 14, 0, "rules are still read"))
    });
    for name in ["HUP", "USR1", "USR2"] {
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("listening on ")), "the program has ended");
    child.kill().unwrap();
    child.wait().unwrap();
}
