//! Network namespaces for tests: nothing in them reaches any other machine, and they end with the
//! processes in them.

use super::tools::can_run;
use super::wait_until;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Set in the process that runs a test inside its namespace, to the namespace outside.
const INSIDE: &str = "SOCKU_TEST_INSIDE";
/// A port of the router where no socket listens.
const CLOSED: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 9, 0, 2), 1);
const PROGRAMS: [&str; 7] = ["ip", "unshare", "nsenter", "sysctl", "sleep", "bash", "python3"];

/// Runs the test of this name again in its own namespace, where `body` is called.
pub fn in_namespace(test: &str, body: impl FnOnce()) {
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

pub fn run(program: &str, arguments: &str) {
    let status = Command::new(program).args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "{program} {arguments}");
}

/// `ip` in this namespace.
pub fn ip(arguments: &str) {
    assert!(std::env::var_os(INSIDE).is_some(), "only inside the test's own namespace");
    run("ip", arguments);
    let words: Vec<&str> = arguments.split(' ').collect();
    if let ["addr", "add", address, "dev", "lo", ..] = words[..]
        && let Ok(address) = address.split('/').next().unwrap().parse::<Ipv6Addr>()
    {
        wait_until_reached(address);
    }
}

/// The kernel adds the route of an IPv6 address a moment after the command that adds the address.
fn wait_until_reached(address: Ipv6Addr) {
    let digits = format!("{:032x} 80 ", u128::from(address));
    let route = || {
        let routes = fs::read_to_string("/proc/net/ipv6_route").unwrap();
        // The flags are the last word but one; the first bit is RTF_LOCAL.
        let is_local = |line: &str| {
            let flags = line.split_whitespace().rev().nth(1);
            flags.is_some_and(|flags| flags.starts_with('8'))
        };
        routes.lines().any(|line| line.starts_with(&digits) && is_local(line)).then_some(())
    };
    wait_until("the route of an address", route);
}

/// A second namespace: a router at the other end of a cable.
///
/// ```text
/// this namespace: near 10.9.0.1/24 ---- far 10.9.0.2/24: the other
/// ```
///
/// 10.9.0.0/16 is routed to it.
pub struct Router(pub Child);

impl Router {
    pub fn new() -> Router {
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
        // The kernel limits ICMP errors to one peer per second; a test causes more.
        router.enter("sysctl -qw net.ipv4.icmp_ratelimit=0");
        // Until then a packet may be lost, and would be retransmitted a second later.
        wait_until("the cable to carry", || {
            let answer = TcpStream::connect_timeout(&CLOSED.into(), Duration::from_millis(100));
            (answer.err()?.kind() == ErrorKind::ConnectionRefused).then_some(())
        });
        router
    }

    pub fn enter(&self, command: &str) {
        run("nsenter", &format!("--net --target {} {command}", self.0.id()));
    }

    pub fn bash(&self, script: &str) {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &self.0.id().to_string(), "bash", "-c", script]);
        assert!(command.status().unwrap().success(), "{script}");
    }

    pub fn ip(&self, arguments: &str) {
        self.enter(&format!("ip {arguments}"));
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
