//! Faults of the network, in network namespaces made for the test: nothing in them reaches any
//! other machine, and they are gone with the processes in them.

mod common;

use common::stalled::stall;
use common::tools::can_run;
use common::traffic::ping;
use common::{
    MODES, PERMIT_ALL, Proxy, accept, echo_server, read_reply, request, socku, wait_until,
    with_deadline,
};
use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Set in the process that runs a test inside its namespace, to the one it came from.
const INSIDE: &str = "SOCKU_TEST_INSIDE";
const PROGRAMS: [&str; 6] = ["ip", "unshare", "nsenter", "sysctl", "sleep", "bash"];

/// Runs the test of this name again in a namespace of its own, where `body` is called.
fn in_namespace(test: &str, body: fn()) {
    if let Some(outside) = std::env::var_os(INSIDE) {
        assert_ne!(namespace_of("self"), outside, "this would change the machine's own network");
        ip("link set lo up");
        return body();
    }
    if !can_run(&PROGRAMS) {
        return;
    }
    let mut command = Command::new("unshare");
    command.arg("--net").arg(std::env::current_exe().unwrap());
    let output = command
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, namespace_of("self"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// The network namespace of a process.
fn namespace_of(process: &str) -> OsString {
    fs::read_link(format!("/proc/{process}/ns/net")).unwrap().into()
}

fn run(program: &str, arguments: &str) {
    let status = Command::new(program).args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "{program} {arguments}");
}

/// `ip` in this namespace.
fn ip(arguments: &str) {
    assert!(std::env::var_os(INSIDE).is_some(), "only in a namespace of the test's own");
    run("ip", arguments);
}

/// A second namespace, a router at the other end of a cable.
///
/// ```text
/// this namespace: near 10.9.0.1/24 ---- far 10.9.0.2/24: the other
/// ```
///
/// 10.9.0.0/16 is routed to it.
struct Router(Child);

impl Router {
    fn new() -> Router {
        let mut command = Command::new("unshare");
        let child = command.args(["--net", "sleep", "120"]).stdin(Stdio::null()).spawn().unwrap();
        let router = Router(child);
        let pid = router.0.id();
        wait_until("the namespace", || {
            (namespace_of(&pid.to_string()) != namespace_of("self")).then_some(())
        });
        ip(&format!("link add near type veth peer name far netns {pid}"));
        ip("addr add 10.9.0.1/24 dev near");
        ip("link set near up");
        router.ip("link set lo up");
        router.ip("addr add 10.9.0.2/24 dev far");
        router.ip("link set far up");
        ip("route add 10.9.0.0/16 via 10.9.0.2");
        router.enter("sysctl -qw net.ipv4.ip_forward=1");
        // The kernel sends few of these to one peer in a second; a test sends more.
        router.enter("sysctl -qw net.ipv4.icmp_ratelimit=0");
        router
    }

    fn enter(&self, command: &str) {
        run("nsenter", &format!("--net --target {} {command}", self.0.id()));
    }

    fn ip(&self, arguments: &str) {
        self.enter(&format!("ip {arguments}"));
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends a CONNECT; the reply's code and how long it took.
fn ask(proxy: &Proxy, target: &str) -> (u8, Duration) {
    let asked = Instant::now();
    let mut stream = proxy.dial();
    stream.write_all(&request(1, target.parse().unwrap(), b"")).unwrap();
    let (code, _) = read_reply(&mut stream);
    (code, asked.elapsed())
}

#[test]
fn every_way_to_fail_to_reach_a_target_has_its_reason_and_is_told_at_once() {
    in_namespace("every_way_to_fail_to_reach_a_target_has_its_reason_and_is_told_at_once", || {
        let router = Router::new();
        for (kind, network) in [("unreachable", "10.9.11.0/24"), ("prohibit", "10.9.12.0/24")] {
            router.ip(&format!("route add {kind} {network}"));
        }
        ip("route add unreachable 10.9.21.0/24");
        ip("route add prohibit 10.9.22.0/24");
        ip("route add blackhole 10.9.23.0/24");
        let proxy = Proxy::start(PERMIT_ALL, &["--connect-timeout", "9"]);
        for (id, (target, reason)) in [
            ("10.9.0.2:1", "refused"),
            ("127.0.0.1:1", "refused"),
            ("10.9.11.1:80", "unreachable"),
            // A router's "prohibited" is the same error to a socket as "unreachable".
            ("10.9.12.1:80", "unreachable"),
            ("10.9.21.1:80", "unreachable"),
            ("10.9.22.1:80", "prohibited"),
            ("10.9.23.1:80", "connect-failed"),
            ("10.8.0.1:80", "unreachable"),
        ]
        .into_iter()
        .enumerate()
        {
            let (code, took) = ask(&proxy, target);
            assert_eq!(code, 91, "{target}");
            assert!(took < Duration::from_millis(200), "{target}: {took:?}");
            assert_eq!(proxy.access(id as u64 + 1).field("reason"), reason, "{target}");
        }
    });
}

#[test]
fn a_target_that_swallows_everything_is_given_up_at_the_connect_timeout() {
    in_namespace("a_target_that_swallows_everything_is_given_up_at_the_connect_timeout", || {
        let router = Router::new();
        router.ip("route add blackhole 10.9.13.0/24");
        let proxy = Proxy::start(PERMIT_ALL, &["--connect-timeout", "1"]);
        let (code, took) = ask(&proxy, "10.9.13.1:80");
        assert_eq!(code, 91);
        assert!(took >= Duration::from_millis(900), "{took:?}");
        assert!(took < Duration::from_millis(1500), "{took:?}");
        assert_eq!(proxy.access(1).field("reason"), "connect-timeout");
        // A client that leaves ends it before that, and its descriptors go.
        let proxy = Proxy::start(PERMIT_ALL, &["--connect-timeout", "60"]);
        let before = proxy.descriptors();
        let mut leaving = proxy.dial();
        leaving.write_all(&request(1, "10.9.13.1:80".parse().unwrap(), b"")).unwrap();
        proxy.wait_log("reading-request -> connecting");
        let left = Instant::now();
        drop(leaving);
        assert_eq!(proxy.access(1).field("reason"), "client-left");
        assert!(left.elapsed() < Duration::from_secs(2), "{:?}", left.elapsed());
        wait_until("its descriptors", || (proxy.descriptors() == before).then_some(()));
    });
}

/// The kernel's own limit is minutes; here the idle time-out is the shorter one.
#[test]
fn a_peer_that_vanishes_with_data_on_the_way_is_given_up_and_others_do_not_notice() {
    in_namespace(
        "a_peer_that_vanishes_with_data_on_the_way_is_given_up_and_others_do_not_notice",
        || {
            let router = Router::new();
            let echo = common::echo_server();
            let target = TcpListener::bind("10.9.0.1:0").unwrap();
            let far_target = target.local_addr().unwrap().to_string().parse().unwrap();
            // Pulling the cable takes one client away; another one stays.
            let rule_file = common::scratch_directory().join("socks.conf");
            fs::write(&rule_file, PERMIT_ALL).unwrap();
            let flags = ["-l", "10.9.0.1:0", "--nameserver", "127.0.0.1:1", "--idle-timeout", "2"];
            let mut command = socku(&flags);
            command.arg("-c").arg(&rule_file);
            let proxy = Proxy::spawn(command, rule_file);
            let mut near = proxy.connect(echo);
            let mut far = far_client(&router, &proxy, far_target);
            let mut server = accept(&target);
            // More than the sockets in between can hold: some of it stays with the proxy.
            server.set_nonblocking(true).unwrap();
            ip("link set near down");
            let mut sent = 0;
            let stuck = wait_until("the way to be full", || match server.write(&[7; 65536]) {
                Ok(count) => {
                    sent += count;
                    None
                }
                Err(_) => Some(Instant::now()),
            });
            assert!(sent > 0);
            while stuck.elapsed() < Duration::from_secs(1) {
                near.write_all(b"tick").unwrap();
                near.read_exact(&mut [0; 4]).unwrap();
            }
            let access = wait_until("the session to end", || {
                near.write_all(b"tick").unwrap();
                near.read_exact(&mut [0; 4]).unwrap();
                proxy.log().into_iter().find(|line| line.contains(" access] id=2 "))
            });
            assert!(access.contains(" reason=idle-timeout "), "{access}");
            // The target learns that its transfer was cut.
            server.set_nonblocking(false).unwrap();
            let error = with_deadline(server).read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
            let _ = far.kill();
            let _ = far.wait();
        },
    );
}

/// A client in the router's namespace that asks for `target` and reads nothing but the reply.
fn far_client(router: &Router, proxy: &Proxy, target: SocketAddrV4) -> Child {
    let octets: String = request(1, target, b"").iter().map(|b| format!("\\x{b:02x}")).collect();
    let script = format!(
        "exec 3<>/dev/tcp/{}/{}; printf '{octets}' >&3; exec sleep 60",
        proxy.address.ip(),
        proxy.address.port()
    );
    let mut command = Command::new("nsenter");
    command.args(["--net", "--target", &router.0.id().to_string(), "bash", "-c", &script]);
    let child = command.stdin(Stdio::null()).spawn().unwrap();
    proxy.wait_log("id=2 connecting -> relaying");
    child
}

/// With small buffers in the kernel, a little is enough to hold up each of many.
#[test]
fn a_thousand_stalled_readers_take_what_is_documented_and_nobody_elses_service() {
    const STALLED: usize = 1000;
    in_namespace(
        "a_thousand_stalled_readers_take_what_is_documented_and_nobody_elses_service",
        || {
            for limit in ["net.ipv4.tcp_wmem=4096 16384 16384", "net.ipv4.tcp_rmem=4096 8192 8192"]
            {
                let set = Command::new("sysctl").args(["-qw", limit]).status().unwrap();
                assert!(set.success(), "{limit}");
            }
            socku::privileges::raise_descriptor_limit();
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
                // What the README says of 1,100 sessions.
                let documented = 1100 * 5 * 1024 + (64 << 20);
                let grown = proxy.resident_bytes().saturating_sub(before);
                println!("{STALLED} stalled readers {mode:?}: {} KiB", grown / 1024);
                assert!(grown <= documented, "{grown} bytes");
                drop(stalled);
            }
        },
    );
}
