//! The signals of a program that embeds the server. One test alone in its program: handlers are the
//! process's.

#![cfg(feature = "server")]

mod common;

use common::wait_until;
use socku::server::Builder;
use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;
use std::thread;

/// The signals of this process that are caught or ignored, as the kernel shows them.
fn handled() -> Vec<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let lines =
        status.lines().filter(|line| line.starts_with("SigCgt:") || line.starts_with("SigIgn:"));
    lines.map(String::from).collect()
}

#[test]
fn signals_are_left_alone_unless_the_server_is_told_to_take_them_over() {
    let before = handled();
    assert_eq!(before.len(), 2);
    let builder = Builder::with_rules("permit c 127.*.*.*\n")
        .listen((Ipv4Addr::LOCALHOST, 0).into())
        .nameserver("127.0.0.1:1".parse().unwrap());
    let server = builder.clone().start().unwrap();
    let handle = server.handle();
    let running = thread::spawn(move || server.run());
    handle.reload();
    assert_eq!(handled(), before);
    handle.stop();
    running.join().unwrap().unwrap();
    assert_eq!(handled(), before);

    let server = builder.signals(true).start().unwrap();
    assert_ne!(handled(), before);
    let running = thread::spawn(move || server.run());
    let pid = std::process::id().to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
    wait_until("the end of the server", || running.is_finished().then_some(()));
    running.join().unwrap().unwrap();
}
