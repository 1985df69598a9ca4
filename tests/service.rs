//! The program under a service manager: what it is told, and the sockets that it passes. The
//! manager's socket is one of the test.

#![cfg(feature = "service")]

mod common;

use common::tools::can_run;
use common::{
    DEADLINE, PERMIT_ALL, Proxy, accept, echo_server, listener, read_reply, request,
    scratch_directory, socku, wait_until, with_deadline,
};
use socku::server::Builder;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A service manager's socket, and its name as NOTIFY_SOCKET has it.
struct Manager {
    socket: UnixDatagram,
    name: String,
}

impl Manager {
    fn at_path() -> Manager {
        // Relative to the working directory of this process, paths are short enough for a socket.
        let path = PathBuf::from(format!("/tmp/socku-notify-{}-{}", std::process::id(), count()));
        let _ = fs::remove_file(&path);
        Manager::new(UnixDatagram::bind(&path).unwrap(), path.display().to_string())
    }

    fn abstract_one() -> Manager {
        let name = format!("socku-notify-{}-{}", std::process::id(), count());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        Manager::new(UnixDatagram::bind_addr(&address).unwrap(), format!("@{name}"))
    }

    fn new(socket: UnixDatagram, name: String) -> Manager {
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Manager { socket, name }
    }

    /// The next message.
    fn message(&self) -> String {
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).expect("a message");
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    /// Nothing more has come.
    fn assert_silent(&self) {
        self.socket.set_nonblocking(true).unwrap();
        let error = self.socket.recv(&mut [0; 4096]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        self.socket.set_nonblocking(false).unwrap();
    }

    fn start(&self, rules: &str, flags: &[&str]) -> Proxy {
        let mut command = socku(flags);
        command.env("NOTIFY_SOCKET", &self.name);
        Proxy::start_by(command, rules, flags)
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.name);
    }
}

fn count() -> u32 {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// The monotonic time in microseconds.
fn now_us() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}

fn assert_reloading(message: &str, earliest_us: i64) {
    let at =
        message.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap_or_else(|| panic!("{message}"));
    let at: i64 = at.parse().unwrap();
    assert!((earliest_us..=now_us()).contains(&at), "{at}, from {earliest_us}");
}

#[test]
fn the_manager_is_told_of_start_reload_and_stop() {
    for manager in [Manager::at_path(), Manager::abstract_one()] {
        let mut proxy = manager.start(PERMIT_ALL, &["--drain-timeout", "7"]);
        let listening = format!("STATUS=listening on {}; 1 rule", proxy.address);
        assert_eq!(manager.message(), format!("READY=1\n{listening}"));

        let before = now_us();
        proxy.signal("HUP");
        assert_reloading(&manager.message(), before);
        assert_eq!(manager.message(), format!("READY=1\n{listening}"));
        manager.assert_silent();

        let session = proxy.connect(echo_server());
        proxy.signal("TERM");
        let stopping = "STATUS=stopping; 1 session may finish";
        assert_eq!(
            manager.message(),
            format!("STOPPING=1\nEXTEND_TIMEOUT_USEC=12000000\n{stopping}")
        );
        // It cannot become ready any more.
        proxy.signal("HUP");
        proxy.wait_logs("1 rule in force", 2);
        drop(session);
        assert_eq!(proxy.wait_exit(), Some(0));
        manager.assert_silent();
    }
}

/// Its socket is handed over: a new program may not be able to reach it.
#[cfg(feature = "upgrade")]
#[test]
fn the_manager_is_told_by_the_program_after_an_upgrade_as_well() {
    let manager = Manager::at_path();
    let proxy = manager.start(PERMIT_ALL, &[]);
    let listening = format!("STATUS=listening on {}; 1 rule", proxy.address);
    assert_eq!(manager.message(), format!("READY=1\n{listening}"));
    fs::remove_file(&manager.name).unwrap();
    proxy.signal("USR2");
    assert_eq!(manager.message(), format!("READY=1\n{listening}"));
    proxy.wait_log("upgraded from socku");
    proxy.signal("HUP");
    assert!(manager.message().starts_with("RELOADING=1\n"));
}

#[test]
fn a_bad_file_ends_the_reload_and_shows_in_the_status_until_it_is_repaired() {
    let manager = Manager::at_path();
    let proxy = manager.start(PERMIT_ALL, &[]);
    let listening = format!("STATUS=listening on {}; ", proxy.address);
    assert_eq!(manager.message(), format!("READY=1\n{listening}1 rule"));
    let next = || {
        loop {
            // The change is noticed without the signal as well, before it or after.
            let message = manager.message();
            if message.starts_with("READY=1") {
                return message;
            }
        }
    };
    fs::write(&proxy.rule_file, "permit q 1.2.3.4\n").unwrap();
    proxy.signal("HUP");
    let message = next();
    let error = format!("1 rule; not reloaded: {}:1: found `q`", proxy.rule_file.display());
    assert!(message.starts_with(&format!("READY=1\n{listening}{error}")), "{message}");
    fs::write(&proxy.rule_file, "permit c *\npermit b *\n").unwrap();
    // Without a signal nobody waits for it.
    let repaired = format!("{listening}2 rules");
    wait_until("the repair", || (manager.message() == repaired).then_some(()));
}

#[test]
fn a_manager_that_does_not_read_never_blocks_the_proxy() {
    let manager = Manager::at_path();
    let echo = echo_server();
    let proxy = manager.start(PERMIT_ALL, &[]);
    // More than a socket's queue has room for (net.unix.max_dgram_qlen).
    let queue: usize =
        fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen").unwrap().trim().parse().unwrap();
    // Each reload sends two.
    for times in 1..=queue / 2 + 5 {
        proxy.signal("HUP");
        proxy.wait_logs("1 rule in force", times);
    }
    let mut session = proxy.connect(echo);
    session.write_all(b"x").unwrap();
    session.read_exact(&mut [0]).unwrap();
    proxy.wait_log("notifying the service manager: ");
}

#[test]
fn a_manager_that_only_root_can_reach_is_still_reached_by_another_user() {
    if !can_run(&[]) {
        return;
    }
    let manager = Manager::at_path();
    fs::set_permissions(&manager.name, fs::Permissions::from_mode(0o600)).unwrap();
    let proxy = manager.start(PERMIT_ALL, &["--user", "nobody"]);
    assert!(manager.message().starts_with("READY=1\n"));
    proxy.signal("HUP");
    assert!(manager.message().starts_with("RELOADING=1\n"));
}

#[test]
fn a_manager_that_is_gone_is_only_worth_a_warning() {
    let mut command = socku(&[]);
    command.env("NOTIFY_SOCKET", "/nonexistent/notify");
    let proxy = Proxy::start_by(command, PERMIT_ALL, &[]);
    proxy.wait_log("NOTIFY_SOCKET \"/nonexistent/notify\": ");
    proxy.connect(echo_server());
}

/// The program with these descriptors as 3 and 4, as a manager passes them; `pid` is the shell's
/// word for LISTEN_PID.
fn passing(descriptors: Vec<OwnedFd>, pid: &str, flags: &[&str]) -> Command {
    let program = socku(flags);
    let count = descriptors.len();
    let mut command = Command::new("sh");
    let script = format!(
        "LISTEN_FDS={count} LISTEN_PID={pid} LISTEN_FDNAMES=x:y; \
         export LISTEN_FDS LISTEN_PID LISTEN_FDNAMES; \
         exec \"$0\" \"$@\" 3<&0 4<&1 </dev/null >/dev/null"
    );
    command.args(["-c", &script]).arg(program.get_program()).args(program.get_args());
    command.env("RUST_LOG", "debug");
    let mut descriptors = descriptors.into_iter();
    command.stdin(descriptors.next().map_or(Stdio::null(), Stdio::from));
    command.stdout(descriptors.next().map_or(Stdio::null(), Stdio::from));
    command
}

fn rule_file(rules: &str) -> PathBuf {
    let file = scratch_directory().join("socks.conf");
    fs::write(&file, rules).unwrap();
    file
}

/// Starts the proxy on these sockets.
fn start_on(descriptors: Vec<OwnedFd>, flags: &[&str]) -> Proxy {
    let file = rule_file("permit cb *\n");
    let mut command = passing(descriptors, "$$", flags);
    command.arg("-c").arg(&file).args(["--nameserver", "127.0.0.1:1"]);
    Proxy::spawn(command, file)
}

/// How the program ends that is started with these descriptors.
fn refused(descriptors: Vec<OwnedFd>, flags: &[&str]) -> Output {
    let file = rule_file(PERMIT_ALL);
    let mut command = passing(descriptors, "$$", flags);
    let mut child = command.arg("-c").arg(&file).stderr(Stdio::piped()).spawn().unwrap();
    let until = Instant::now() + DEADLINE;
    while child.try_wait().unwrap().is_none() && Instant::now() < until {
        thread::sleep(Duration::from_millis(5));
    }
    // One that serves says so in its last line.
    let _ = child.kill();
    child.wait_with_output().unwrap()
}

fn dial(address: impl Into<SocketAddr>) -> TcpStream {
    with_deadline(TcpStream::connect(address.into()).unwrap())
}

fn has_ipv6() -> bool {
    TcpListener::bind("[::1]:0").is_ok()
}

/// A listener for IPv6 only or for both families.
fn ipv6_listener(is_only_ipv6: bool, address: &str) -> TcpListener {
    let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None).unwrap();
    socket.set_only_v6(is_only_ipv6).unwrap();
    socket.bind(&address.parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(16).unwrap();
    socket.into()
}

#[test]
fn passed_sockets_are_listened_on_and_no_other() {
    let (v4, v6) = (listener(), has_ipv6().then(|| ipv6_listener(true, "[::1]:0")));
    let ipv6 = v6.as_ref().map(|v6| v6.local_addr().unwrap());
    let descriptors = [Some(v4.0.into()), v6.map(OwnedFd::from)].into_iter().flatten().collect();
    let mut proxy = start_on(descriptors, &[]);
    assert_eq!(proxy.address, v4.1);
    let echo = echo_server();
    for address in [Some(v4.1.into()), ipv6].into_iter().flatten() {
        proxy.wait_log(&format!("listening on {address}"));
        let mut stream = dial(address);
        stream.write_all(&request(1, echo, b"")).unwrap();
        assert_eq!(read_reply(&mut stream).0, 90, "{address}");
    }
    // They are the proxy's own: a target behind them would be a loop.
    let mut stream = proxy.dial();
    stream.write_all(&request(1, v4.1, b"")).unwrap();
    assert_eq!(read_reply(&mut stream).0, 91);
    assert_eq!(proxy.wait_logs("listening on ", 1).len(), 1 + usize::from(ipv6.is_some()));
    let environment = fs::read_to_string(format!("/proc/{}/environ", proxy.pid())).unwrap();
    assert!(environment.contains("LISTEN_FDS="), "what it was started with");
    for number in [3, 4].iter().take(1 + usize::from(ipv6.is_some())) {
        let info = fs::read_to_string(format!("/proc/{}/fdinfo/{number}", proxy.pid())).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
        let flags = u32::from_str_radix(flags, 8).unwrap();
        assert_eq!(flags & 0o2_004_000, 0o2_004_000, "close-on-exec and non-blocking: {flags:o}");
    }
    proxy.signal("TERM");
    assert_eq!(proxy.wait_exit(), Some(0));
}

#[test]
fn clients_that_come_while_nobody_serves_are_served_after_the_restart() {
    let (socket, address) = listener();
    let echo = echo_server();
    let duplicate = || vec![OwnedFd::from(socket.try_clone().unwrap())];
    let mut first = start_on(duplicate(), &[]);
    let mut session = first.connect(echo);
    first.signal("TERM");
    first.wait_log("stopping; 1 session may finish");
    let early: Vec<_> = (0..20).map(|_| dial(address)).collect();
    for mut client in &early {
        client.write_all(&request(1, echo, b"")).unwrap();
    }
    session.write_all(b"y").unwrap();
    session.read_exact(&mut [0]).unwrap();
    drop(session);
    assert_eq!(first.wait_exit(), Some(0));
    let late = dial(address);
    (&late).write_all(&request(1, echo, b"")).unwrap();
    let second = start_on(duplicate(), &[]);
    for mut client in early.into_iter().chain([late]) {
        assert_eq!(read_reply(&mut client).0, 90);
    }
    assert_eq!(second.address, address);
}

#[test]
fn urgent_bytes_of_a_client_that_came_before_the_start_keep_their_place() {
    let (socket, address) = listener();
    let (target, target_address) = listener();
    let mut client = dial(address);
    client.write_all(&request(1, target_address, b"")).unwrap();
    client.write_all(b"before").unwrap();
    let client = socket2::Socket::from(client);
    client.send_out_of_band(b"!").unwrap();
    let mut client = TcpStream::from(client);
    client.write_all(b"after").unwrap();
    let _proxy = start_on(vec![socket.into()], &[]);
    let server = socket2::Socket::from(accept(&target));
    server.set_out_of_band_inline(true).unwrap();
    let mut bytes = [0; 12];
    TcpStream::from(server).read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"before!after");
}

#[test]
fn sockets_passed_to_another_process_are_left_alone() {
    let (socket, address) = listener();
    let file = rule_file(PERMIT_ALL);
    for pid in ["1", "", "x"] {
        let mut command =
            passing(vec![socket.try_clone().unwrap().into()], pid, &["-l", "127.0.0.1:0"]);
        command.arg("-c").arg(&file);
        let proxy = Proxy::spawn(command, file.clone());
        assert_ne!(proxy.address, address, "LISTEN_PID={pid}");
    }
}

/// Set in the process that has sockets passed to it, to their address.
const PASSED: &str = "SOCKU_TEST_PASSED";

#[test]
fn an_embedder_takes_passed_sockets_only_if_told_to_and_the_variables_are_gone_then() {
    let test = "an_embedder_takes_passed_sockets_only_if_told_to_and_the_variables_are_gone_then";
    let Ok(passed) = std::env::var(PASSED) else {
        let (socket, address) = listener();
        let mut command = Command::new("sh");
        let script =
            "LISTEN_FDS=1 LISTEN_PID=$$; export LISTEN_FDS LISTEN_PID; exec \"$0\" \"$@\" 3<&0";
        command.args(["-c", script]).arg(std::env::current_exe().unwrap()).args(["--exact", test]);
        command.env(PASSED, address.to_string()).stdin(OwnedFd::from(socket));
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    };
    let builder = Builder::with_rules(PERMIT_ALL).nameserver("127.0.0.1:1".parse().unwrap());
    let own = builder.clone().listen("127.0.0.1:0".parse().unwrap());
    let address = |builder: Builder| builder.start().unwrap().addresses()[0].to_string();
    assert_ne!(address(own.clone()), passed);
    assert_eq!(address(builder.service(true)), passed);
    for variable in ["LISTEN_FDS", "LISTEN_PID"] {
        assert_eq!(std::env::var_os(variable), None);
    }
    assert_ne!(address(own.service(true)), passed);
}

#[test]
fn other_descriptors_are_refused_and_named() {
    let tcp = || OwnedFd::from(listener().0);
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let unix = scratch_directory().join("unix");
    let silent = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    silent.bind(&"127.0.0.1:0".parse::<SocketAddrV4>().unwrap().into()).unwrap();
    let mut cases: Vec<(Vec<OwnedFd>, &[&str], &str)> = vec![
        (vec![tcp(), udp.into()], &[], "descriptor 4 is a UDP socket"),
        (vec![UnixListener::bind(&unix).unwrap().into()], &[], "descriptor 3 is a Unix socket"),
        (vec![UnixDatagram::unbound().unwrap().into()], &[], "descriptor 3 is a Unix socket"),
        (vec![fs::File::open("/dev/null").unwrap().into()], &[], "descriptor 3 is no TCP socket"),
        (vec![silent.into()], &[], " does not listen, expected a listening one"),
        (
            vec![tcp()],
            &["-l", "127.0.0.1:1080"],
            "--listen \"127.0.0.1:1080\": expected none beside",
        ),
    ];
    if has_ipv6() {
        let both = ipv6_listener(false, "[::]:0");
        cases.push((vec![both.into()], &[], "accepts IPv4 as well, expected one for IPv6 only"));
        let mapped = ipv6_listener(false, "[::ffff:127.0.0.1]:0");
        cases.push((vec![mapped.into()], &[], "accepts IPv4 as well, expected one for IPv6 only"));
    }
    for (descriptors, flags, expected) in cases {
        let output = refused(descriptors, flags);
        let error = String::from_utf8(output.stderr).unwrap();
        let last = error.lines().last().unwrap_or_default();
        assert!(last.starts_with("socku: ") && last.contains(expected), "{expected}: {error}");
        assert_eq!(output.status.code(), Some(1));
    }
}
