//! Descriptors: shortages of them, and that other programs inherit none.

#![cfg(feature = "server")]

mod common;

use common::machine::{Stopwatch, replace};
use common::servers::{NameServer, addresses};
use common::tools::{can_run, status_field};
use common::{
    PERMIT_ALL, Proxy, accept, echo_server, listener, read_reply, request, request_4a,
    scratch_directory, wait_until, with_deadline,
};
use std::collections::VecDeque;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// Set on a descriptor that is closed on exec (octal, in fdinfo).
const CLOSE_ON_EXEC: u32 = 0o2000000;

/// The program with a descriptor limit set once it runs: at its start it would adapt to it.
fn start_with_room_for(descriptors: u32) -> Proxy {
    start_with(descriptors, &[])
}

/// The same with more flags.
fn start_with(descriptors: u32, flags: &[&str]) -> Proxy {
    let proxy = Proxy::start(PERMIT_ALL, &[flags, &["--max-sessions", "1000"]].concat());
    limit(&proxy, descriptors);
    proxy
}

/// Sets the descriptor limit, which leaves descriptors in use open.
fn limit(proxy: &Proxy, descriptors: u32) {
    let limit = format!("--nofile={descriptors}:{descriptors}");
    let pid = proxy.pid().to_string();
    let status = Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap();
    assert!(status.success());
}

/// How many descriptors below this number are in use. Above the limit there may be inherited ones.
fn below(proxy: &Proxy, number: u32) -> usize {
    numbers(proxy.pid()).iter().filter(|&&n| n < number).count()
}

/// The descriptors of a process.
fn numbers(pid: u32) -> Vec<u32> {
    let names = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().map(|entry| entry.unwrap());
    names.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Whether a descriptor of a process is inherited by its children, and its file.
fn is_inheritable(pid: u32, number: u32) -> Option<(bool, PathBuf)> {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).ok()?;
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
    let flags = u32::from_str_radix(flags.trim(), 8).unwrap();
    let name = fs::read_link(format!("/proc/{pid}/fd/{number}")).ok()?;
    Some((flags & CLOSE_ON_EXEC == 0, name))
}

fn ask(proxy: &Proxy, target: SocketAddrV4) -> TcpStream {
    let mut stream = proxy.dial();
    stream.write_all(&request(1, target, b"")).unwrap();
    stream
}

/// Opens idle connections until the proxy logs that it can accept no more; the last one waits.
fn fill(proxy: &Proxy) -> Vec<TcpStream> {
    let mut idle = Vec::new();
    let is_full = || proxy.log().iter().any(|line| line.contains("accepting clients: "));
    loop {
        // All earlier lines are in the log once the dump is.
        proxy.dump();
        if is_full() {
            return idle;
        }
        let before = below(proxy, 40);
        idle.push(proxy.dial());
        wait_until("it to be accepted", || (below(proxy, 40) > before || is_full()).then_some(()));
    }
}

#[test]
fn without_descriptors_clients_wait_and_are_served_once_some_are_free() {
    if !can_run(&["prlimit"]) {
        return;
    }
    let proxy = start_with_room_for(40);
    let echo = echo_server();
    let mut idle = fill(&proxy);
    assert_eq!(below(&proxy, 40), 40);
    // Only the kernel has accepted these.
    let mut waiting: Vec<TcpStream> = (0..4).map(|_| ask(&proxy, echo)).collect();
    let errors = || {
        let log = proxy.log();
        log.iter().filter(|line| line.contains("accepting clients: ")).count()
    };
    let started = Instant::now();
    // All earlier lines are in the log once the dump is.
    proxy.dump();
    let (before, ticks) = (errors(), proxy.cpu_ticks());
    // Two seconds in which nothing can be done: the test is what happens in this time.
    std::thread::sleep(Duration::from_secs(2));
    let ticks = proxy.cpu_ticks() - ticks;
    let lines = wait_until("an error line", || Some(errors() - before).filter(|&n| n > 0));
    let seconds = started.elapsed().as_secs() as usize + 1;
    assert!(ticks <= 10, "{ticks} ticks of CPU time");
    assert!(lines <= seconds, "{lines} errors in {seconds} seconds");
    assert!(waiting.iter().all(is_silent), "no client was refused");
    // All at once: a client accepted with the last descriptor would have none for its target.
    proxy.pause();
    idle.drain(..16);
    let freed = Stopwatch::start(&proxy);
    proxy.resume();
    for stream in &mut waiting {
        assert_eq!(read_reply(stream).0, 90);
    }
    assert!(freed.elapsed() < Duration::from_secs(1), "{:?}", freed.elapsed());
    for stream in &mut waiting {
        stream.write_all(b"served").unwrap();
        stream.read_exact(&mut [0; 6]).unwrap();
    }
}

/// Whether no byte and no end has arrived.
fn is_silent(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let error = stream.peek(&mut [0]).err();
    stream.set_nonblocking(false).unwrap();
    error.is_some_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

/// With the last descriptor a client could only be refused: it is accepted when there are two.
#[test]
fn one_free_descriptor_refuses_no_client_and_a_second_one_serves_one() {
    if !can_run(&["prlimit"]) {
        return;
    }
    let proxy = start_with_room_for(40);
    let echo = echo_server();
    // The last of these may wait as well.
    let mut idle = VecDeque::from(fill(&proxy));
    let mut waiting: Vec<TcpStream> = (0..20).map(|_| ask(&proxy, echo)).collect();
    for served in 1..=3 {
        drop(idle.pop_front());
        proxy.wait_logs("reason=client-left", 2 * served - 1);
        // Accept is retried within this time, without effect.
        std::thread::sleep(Duration::from_millis(500));
        assert!(waiting.iter().all(is_silent), "refused with the last descriptor");
        drop(idle.pop_front());
        let mut one = wait_until("one to be served", || {
            let place = waiting.iter().position(|stream| !is_silent(stream))?;
            Some(waiting.swap_remove(place))
        });
        assert_eq!(read_reply(&mut one).0, 90);
        one.write_all(b"served").unwrap();
        one.read_exact(&mut [0; 6]).unwrap();
        assert!(waiting.iter().all(is_silent), "the others wait");
        idle.push_back(one);
    }
}

/// Only clients that can be served completely are accepted; the others wait.
#[test]
fn few_descriptors_limit_the_sessions_and_no_client_is_refused() {
    if !can_run(&["prlimit"]) {
        return;
    }
    let proxy = Proxy::start_limited(64, PERMIT_ALL, &["--max-sessions", "1000"]);
    let warning = proxy.wait_log("--max-sessions 1000: limited to ");
    let most = warning.split("limited to ").nth(1).unwrap().split(',').next().unwrap();
    let most: usize = most.parse().unwrap();
    assert!((10..30).contains(&most), "{warning}");
    let echo = echo_server();
    let mut running: Vec<TcpStream> = (0..most).map(|_| proxy.connect(echo)).collect();
    let mut waiting: Vec<TcpStream> = (0..20).map(|_| ask(&proxy, echo)).collect();
    for _ in 0..20 {
        assert!(waiting.iter().all(is_silent), "beyond the limit clients wait");
        drop(running.pop());
        let mut one = wait_until("one to be served", || {
            let place = waiting.iter().position(|stream| !is_silent(stream))?;
            Some(waiting.swap_remove(place))
        });
        assert_eq!(read_reply(&mut one).0, 90);
        running.insert(0, one);
    }
    assert!(!proxy.log().iter().any(|line| line.contains("no-resources")));
}

#[test]
fn a_client_without_a_descriptor_for_its_target_is_refused_and_others_continue() {
    if !can_run(&["prlimit"]) {
        return;
    }
    let proxy = start_with_room_for(40);
    let echo = echo_server();
    let mut running = proxy.connect(echo);
    let mut asking = proxy.dial();
    let _idle = fill(&proxy);
    asking.write_all(&request(1, echo, b"")).unwrap();
    assert_eq!(read_reply(&mut asking).0, 91);
    drop(asking);
    assert_eq!(proxy.access(2).field("reason"), "no-resources");
    running.write_all(b"unharmed").unwrap();
    running.read_exact(&mut [0; 8]).unwrap();
}

/// The two questions about a name may have only one descriptor between them.
#[test]
fn a_silent_aaaa_server_refuses_no_name_when_descriptors_are_short() {
    if !can_run(&["prlimit"]) {
        return;
    }
    let target = echo_server();
    let server = NameServer::start_both(|question| match question.is_aaaa {
        true => vec![],
        false => addresses(question, &[[127, 0, 0, 1]]),
    });
    let flags = ["--nameserver", &server.address.to_string(), "--dns-timeout", "4"];
    let proxy = start_with(40, &flags);
    let mut idle = fill(&proxy);
    idle.drain(..8);
    let asking: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = proxy.dial();
            stream.write_all(&request_4a(1, b"one.test", target.port(), b"")).unwrap();
            stream
        })
        .collect();
    for mut stream in asking {
        assert_eq!(read_reply(&mut stream).0, 90);
    }
}

/// The query they wait for needs a descriptor as well.
#[test]
fn clients_waiting_for_a_name_are_served_in_turn_when_descriptors_are_short() {
    if !can_run(&["prlimit"]) {
        return;
    }
    let target = echo_server();
    for names in [&["one.test"][..], &["a.test", "b.test", "c.test", "d.test"]] {
        let server = NameServer::start(|question| {
            // Longer than until accept is tried again.
            std::thread::sleep(Duration::from_millis(700));
            addresses(question, &[[127, 0, 0, 1]])
        });
        let proxy = start_with(40, &["--nameserver", &server.address.to_string()]);
        let mut idle = fill(&proxy);
        // Enough for three sessions, and for the last of these, which waits to be accepted.
        idle.drain(..8);
        let asking: Vec<TcpStream> = (0..8)
            .map(|place| {
                let mut stream = proxy.dial();
                let name = names[place % names.len()].as_bytes();
                stream.write_all(&request_4a(1, name, target.port(), b"")).unwrap();
                stream
            })
            .collect();
        for mut stream in asking {
            assert_eq!(read_reply(&mut stream).0, 90, "{names:?}");
            stream.write_all(b"served").unwrap();
            stream.read_exact(&mut [0; 6]).unwrap();
        }
    }
}

#[test]
fn a_bind_with_two_descriptors_accepts_its_peer() {
    if !can_run(&["prlimit"]) {
        return;
    }
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let mut client = proxy.dial();
    client.write_all(&request(2, "127.0.0.1:21".parse().unwrap(), b"")).unwrap();
    let (granted, at) = read_reply(&mut client);
    assert_eq!(granted, 90);
    let in_use = numbers(proxy.pid());
    limit(&proxy, (0..).find(|number| !in_use.contains(number)).unwrap());
    let mut peer = TcpStream::connect(at).unwrap();
    assert_eq!(read_reply(&mut client).0, 90);
    peer.write_all(b"served").unwrap();
    client.read_exact(&mut [0; 6]).unwrap();
}

#[test]
fn the_rules_are_reloaded_even_without_a_free_descriptor() {
    if !can_run(&["prlimit"]) {
        return;
    }
    let proxy = start_with_room_for(40);
    let echo = echo_server();
    let mut asking = proxy.dial();
    let _idle = fill(&proxy);
    let bad = format!("{PERMIT_ALL}permit x\n");
    replace(&proxy.rule_file, &bad);
    let error = proxy.wait_log("the rules in force stay");
    assert!(error.contains(":2: found `x`"), "{error}");
    replace(&proxy.rule_file, "deny c *.*.*.*\ndeny b *.*.*.*\n");
    proxy.wait_log("2 rules in force");
    assert_eq!(below(&proxy, 40), 40, "the spare descriptor is set aside again");
    asking.write_all(&request(1, echo, b"")).unwrap();
    assert_eq!(read_reply(&mut asking).0, 91);
    drop(asking);
    assert_eq!(proxy.access(1).field("reason"), "denied");
}

#[test]
fn every_descriptor_is_closed_on_exec() {
    let proxy = Proxy::start(PERMIT_ALL, &["-l", "127.0.0.1:0", "-l", "127.0.0.1:0"]);
    let (server, target) = listener();
    let (mut near, mut far) = (proxy.connect(target), accept(&server));
    // A sustained flow leaves a spare pipe.
    let sending = std::thread::spawn(move || near.write_all(&vec![7; 8 << 20]).map(|()| near));
    far.read_exact(&mut vec![0; 8 << 20]).unwrap();
    let _near = sending.join().unwrap().unwrap();
    let _reading = proxy.dial();
    let mut binding = proxy.dial();
    binding.write_all(&request(2, target, b"")).unwrap();
    let (code, at) = read_reply(&mut binding);
    assert_eq!(code, 90);
    let peer = with_deadline(TcpStream::connect(at).unwrap());
    assert_eq!(read_reply(&mut binding).0, 90);
    let mut awaiting = proxy.dial();
    awaiting.write_all(&request(2, target, b"")).unwrap();
    assert_eq!(read_reply(&mut awaiting).0, 90);
    let (mut seen, mut pipes) = (0, 0);
    for number in numbers(proxy.pid()).into_iter().filter(|&number| number > 2) {
        let (inheritable, name) = is_inheritable(proxy.pid(), number).unwrap();
        // The tests themselves may have been started with inheritable descriptors.
        let is_inherited = is_inheritable(std::process::id(), number) == Some((true, name.clone()));
        assert!(!inheritable || is_inherited, "{number}: {name:?}");
        seen += usize::from(!is_inherited);
        pipes += usize::from(!is_inherited && name.to_string_lossy().starts_with("pipe:"));
    }
    // Two listeners, two relays, one session reading its request, one listening, and the rest.
    assert!(seen >= 2 + 4 + 1 + 2 + 3 + 2, "{seen}");
    assert!(pipes >= 2, "{pipes}");
    drop(peer);
}

#[test]
fn after_dropping_privileges_none_is_left_and_the_proxy_works() {
    if !can_run(&["setpriv"]) {
        return;
    }
    let echo = echo_server();
    // In a directory that other users can read, unlike perhaps the build directory.
    let directory = std::env::temp_dir().join(format!("socku-user-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let rule_file = directory.join("socks.conf");
    fs::write(&rule_file, PERMIT_ALL).unwrap();
    let flags = ["-l", "127.0.0.1:0", "--nameserver", "127.0.0.1:1", "-u", "54321:12345", "-c"];
    let mut command = Command::new("setpriv");
    command.args(["--groups", "4,5", env!("CARGO_BIN_EXE_socku")]).args(flags).arg(&rule_file);
    let proxy = Proxy::spawn(command, rule_file);
    for (field, expected) in [
        ("Uid", "54321\t54321\t54321\t54321"),
        ("Gid", "12345\t12345\t12345\t12345"),
        ("Groups", ""),
        ("CapInh", "0000000000000000"),
        ("CapPrm", "0000000000000000"),
        ("CapEff", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Threads", "1"),
    ] {
        assert_eq!(status_field(proxy.pid(), field), expected, "{field}");
    }
    drop(proxy.connect(echo));
    replace(&proxy.rule_file, "deny c *.*.*.*\n");
    proxy.wait_log("1 rule in force");
    assert_eq!(read_reply(&mut ask(&proxy, echo)).0, 91);
    assert!(!proxy.log().iter().any(|line| line.contains("WARN")), "{:?}", proxy.log());
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_user_who_cannot_read_the_rules_is_warned_about_and_the_rules_stay() {
    use std::os::unix::fs::PermissionsExt;
    if !can_run(&[]) {
        return;
    }
    let file = scratch_directory().join("socks.conf");
    fs::write(&file, PERMIT_ALL).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let flags = ["-l", "127.0.0.1:0", "--nameserver", "127.0.0.1:1", "-u", "54321:12345", "-c"];
    let mut command = common::socku(&flags);
    command.arg(&file);
    let proxy = Proxy::spawn(command, file);
    proxy.wait_log("--user may not read it, so changes will not take effect");
    proxy.signal("HUP");
    let error = proxy.wait_log("the rules in force stay");
    assert!(error.contains("Permission denied"), "{error}");
    drop(proxy.connect(echo_server()));
}
