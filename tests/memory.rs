//! Memory: how much stalled readers use, and what happens without any left.

#![cfg(feature = "server")]

mod common;

use common::namespace::in_namespace;
use common::stalled::stall;
use common::traffic::ping;
use common::{
    MODES, PERMIT_ALL, Proxy, echo_server, request, request_4a, reset, scratch_directory,
};
use std::fs;
use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::process::Command;

/// An allocation that fails ends the process, so it is asked before whether there is room.
#[cfg(feature = "upgrade")]
#[test]
fn without_memory_for_an_upgrade_there_is_none_and_sessions_go_on() {
    const SESSIONS: usize = 400;
    let mut proxy = common::upgrade::Upgradable::start(PERMIT_ALL, &[]);
    let target = echo_server();
    let sessions: Vec<_> = (0..SESSIONS).map(|_| proxy.connect(target)).collect();
    sessions.iter().for_each(ping);
    let limit = |bytes: &str| {
        let (pid, limit) = (proxy.pid().to_string(), format!("--as={bytes}"));
        let done = Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap();
        assert!(done.success(), "{limit}");
    };
    let pages = fs::read_to_string(format!("/proc/{}/statm", proxy.pid())).unwrap();
    let pages: usize = pages.split(' ').next().unwrap().parse().unwrap();
    let in_use = pages * rustix::param::page_size();
    // Room for a few lines of the log, then for the records, but not for the sessions of another.
    for (more, said) in [(SESSIONS * 1024, false), (SESSIONS * 3 * 1024, true)] {
        limit(&format!("{}:unlimited", in_use + more));
        let line = proxy.failed_upgrade();
        assert!(line.contains(" KiB of memory are needed, "), "{line}");
        assert_eq!(line.contains("it said"), said, "{line}");
        sessions.iter().for_each(ping);
    }
    limit("unlimited");
    proxy.upgrade();
    sessions.iter().for_each(ping);
}

/// With small buffers in the kernel, a few bytes are enough to stall each of many readers.
#[test]
fn a_thousand_stalled_readers_use_the_documented_memory_and_delay_no_other_session() {
    const STALLED: usize = 1000;
    in_namespace(
        "a_thousand_stalled_readers_use_the_documented_memory_and_delay_no_other_session",
        || {
            for limit in ["net.ipv4.tcp_wmem=4096 16384 16384", "net.ipv4.tcp_rmem=4096 8192 8192"]
            {
                let set = Command::new("sysctl").args(["-qw", limit]).status().unwrap();
                assert!(set.success(), "{limit}");
            }
            socku::internals::limits::raise_descriptor_limit();
            for mode in MODES {
                let proxy =
                    Proxy::start(PERMIT_ALL, &[*mode, &["--max-sessions", "1100"]].concat());
                let before = proxy.resident_bytes();
                let stalled = stall(&proxy, STALLED);
                let other = proxy.connect(echo_server());
                (0..100).for_each(|_| ping(&other));
                let dump = proxy.dump();
                let lent: usize = [" pipes=", " large-buffers=", " small-buffers="]
                    .map(|key| dump.split(key).nth(1).unwrap().split(' ').next().unwrap())
                    .iter()
                    .map(|number| number.parse::<usize>().unwrap())
                    .sum();
                assert!(lent >= STALLED * 9 / 10, "{dump}");
                // As the README documents for 1,100 sessions.
                let documented = 1100 * 5 * 1024 + (64 << 20);
                let grown = proxy.resident_bytes().saturating_sub(before);
                println!("{STALLED} stalled readers {mode:?}: {} KiB", grown / 1024);
                assert!(grown <= documented, "{grown} bytes");
                drop(stalled);
            }
        },
    );
}

/// At a memory limit the budget counts as spent; nothing fails.
#[test]
fn under_a_memory_limit_stalled_readers_and_a_flood_cost_no_session() {
    const STALLED: usize = 600;
    in_namespace("under_a_memory_limit_stalled_readers_and_a_flood_cost_no_session", || {
        for limit in ["net.ipv4.tcp_wmem=4096 16384 16384", "net.ipv4.tcp_rmem=4096 8192 8192"] {
            let set = Command::new("sysctl").args(["-qw", limit]).status().unwrap();
            assert!(set.success(), "{limit}");
        }
        socku::internals::limits::raise_descriptor_limit();
        // A name server that says nothing.
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let nameserver = silent.local_addr().unwrap().to_string();
        let limits = [("as", 60, 0), ("as", 30, 1), ("as", 16, 0), ("data", 16, 1)];
        for (kind, mib, mode) in limits {
            let rule_file = scratch_directory().join("socks.conf");
            fs::write(&rule_file, PERMIT_ALL).unwrap();
            let mut command = Command::new("prlimit");
            command.arg(format!("--{kind}={}", mib << 20)).arg(env!("CARGO_BIN_EXE_socku"));
            command.arg("-c").arg(&rule_file).args(["-l", "127.0.0.1:0"]).args(MODES[mode]);
            command.args(["--nameserver", &nameserver]).env("RUST_LOG", "info");
            let mut proxy = Proxy::spawn(command, rule_file);
            let other = proxy.connect(echo_server());
            let stalled = stall(&proxy, STALLED);
            (0..100).for_each(|_| ping(&other));
            let binding = request(2, "127.0.0.1:0".parse().unwrap(), b"flood");
            let flood: Vec<TcpStream> = (0..1000)
                .map(|n| {
                    let naming = request_4a(1, format!("n{n}.example").as_bytes(), 80, b"flood");
                    let mut stream = proxy.dial();
                    stream.write_all(if n % 2 == 0 { &binding } else { &naming }).unwrap();
                    stream
                })
                .collect();
            (0..100).for_each(|_| ping(&other));
            flood.into_iter().for_each(reset);
            drop(stalled);
            // New clients are served.
            ping(&proxy.connect(echo_server()));
            assert!(proxy.is_running(), "{kind} {mib} MiB");
        }
    });
}
