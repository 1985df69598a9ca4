//! Errors of the kernel, injected by strace.

#![cfg(feature = "server")]

mod common;

use common::machine::replace;
use common::socks5::greeting;
use common::tools::{Strace, can_run};
use common::{
    MODES, PERMIT_ALL, Proxy, accept, echo_server, listener, read_all, read_reply, request, reset,
    scratch_directory, wait_until,
};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::thread;
use std::time::Duration;

fn attach(proxy: &Proxy, expressions: &[&str]) -> Strace {
    Strace::attach(proxy.pid(), &scratch_directory(), expressions)
}

fn assert_echo(stream: &mut TcpStream) {
    stream.write_all(b"hello").unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"hello");
}

fn ask(proxy: &Proxy, command: u8, target: SocketAddrV4) -> TcpStream {
    let mut stream = proxy.dial();
    stream.write_all(&request(command, target, b"")).unwrap();
    stream
}

#[test]
fn a_target_socket_that_cannot_be_opened_costs_only_its_session() {
    if !can_run(&["strace"]) {
        return;
    }
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let echo = echo_server();
    let mut running = proxy.connect(echo);
    let mut id = 1;
    for call in ["socket", "epoll_ctl"] {
        for error in ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ENOSPC"] {
            for command in [1, 2] {
                // A client's own connection is registered before its target's socket.
                let when = if call == "socket" { 1 } else { 2 };
                let inject = format!("inject={call}:error={error}:when={when}");
                let strace = attach(&proxy, &[&format!("trace={call}"), &inject]);
                let mut refused = ask(&proxy, command, echo);
                assert_eq!(read_reply(&mut refused).0, 91, "{error} of {call}");
                assert_eq!(refused.read(&mut [0]).unwrap(), 0, "an orderly close");
                drop(refused);
                id += 1;
                assert_eq!(proxy.access(id).field("reason"), "no-resources", "{error} of {call}");
                assert_eq!(strace.injected(), 1);
                let mut next = proxy.connect(echo);
                assert_echo(&mut next);
                id += 1;
            }
        }
    }
    assert_echo(&mut running);
}

#[test]
fn a_client_that_cannot_be_registered_gets_reply_91_and_the_next_is_served() {
    if !can_run(&["strace"]) {
        return;
    }
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let echo = echo_server();
    let mut running = proxy.connect(echo);
    for error in ["ENOMEM", "ENOSPC"] {
        let inject = format!("inject=epoll_ctl:error={error}:when=1");
        let strace = attach(&proxy, &["trace=epoll_ctl", &inject]);
        let mut refused = proxy.dial();
        assert_eq!(read_reply(&mut refused).0, 91);
        drop(refused);
        assert_echo(&mut proxy.connect(echo));
        assert_eq!(strace.injected(), 1);
    }
    assert_echo(&mut running);
}

/// The client waits in the kernel's queue until there is room for it, so that its greeting is there
/// when it is accepted.
#[test]
fn a_client_of_socks5_that_cannot_be_registered_is_told_in_its_own_protocol() {
    if !can_run(&["strace"]) {
        return;
    }
    let mut proxy = Proxy::start(PERMIT_ALL, &["--max-sessions", "1"]);
    let held = proxy.connect(echo_server());
    let mut refused = proxy.dial();
    refused.write_all(&greeting(&[0])).unwrap();
    let strace = attach(&proxy, &["trace=epoll_ctl", "inject=epoll_ctl:error=ENOMEM:when=1"]);
    drop(held);
    assert_eq!(read_all(&mut refused), [5, 255]);
    assert_eq!(strace.injected(), 1);
    drop((refused, strace));
    proxy.wait_idle();
}

#[test]
fn accept_continues_after_every_error() {
    if !can_run(&["strace"]) {
        return;
    }
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let echo = echo_server();
    let mut running = proxy.connect(echo);
    for error in [
        "ECONNABORTED",
        "EPROTO",
        "ENETDOWN",
        "EPERM",
        "EINTR",
        "EMFILE",
        "ENFILE",
        "ENOBUFS",
        "ENOMEM",
    ] {
        let inject = format!("inject=accept4:error={error}:when=1..3");
        let strace = attach(&proxy, &["trace=accept4", &inject]);
        // The connection is still in the kernel's queue: it is accepted without another event.
        let mut served = ask(&proxy, 1, echo);
        assert_eq!(read_reply(&mut served).0, 90, "{error}");
        assert_echo(&mut served);
        assert_eq!(strace.injected(), 3, "{error}");
    }
    assert_echo(&mut running);
    let errors = proxy.log().iter().filter(|line| line.contains("accepting clients")).count();
    assert!(0 < errors && errors <= 4, "{errors}");
}

#[test]
fn an_interrupted_poll_is_repeated() {
    if !can_run(&["strace"]) {
        return;
    }
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let mut stream = proxy.connect(echo_server());
    let calls = "epoll_wait,epoll_pwait,epoll_pwait2";
    let (trace, inject) =
        (format!("trace={calls}"), format!("inject={calls}:error=EINTR:when=1+2"));
    let strace = attach(&proxy, &[&trace, &inject]);
    for _ in 0..20 {
        assert_echo(&mut stream);
    }
    assert!(strace.injected() >= 10, "{}", strace.injected());
}

#[test]
fn interrupted_and_refused_reads_and_writes_lose_nothing() {
    if !can_run(&["strace"]) {
        return;
    }
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let mut stream = proxy.connect(echo_server());
    let calls = "recvfrom,sendto,read,write,readv,writev,recvmsg,sendmsg,splice";
    let trace = format!("trace={calls}");
    let inject = format!("inject={calls}:error=EINTR:when=2+3");
    let strace = attach(&proxy, &[&trace, &inject]);
    let sent: Vec<u8> = (0..1u32 << 18).flat_map(u32::to_be_bytes).collect();
    let mut writer = stream.try_clone().unwrap();
    let bytes = sent.clone();
    let writing = std::thread::spawn(move || writer.write_all(&bytes).unwrap());
    let mut back = vec![0; sent.len()];
    stream.read_exact(&mut back).unwrap();
    writing.join().unwrap();
    assert!(back == sent, "the echo equals what was sent");
    assert!(strace.injected() >= 2, "{}", strace.injected());
}

#[test]
fn a_pipe_that_cannot_be_opened_does_not_stop_a_relay() {
    if !can_run(&["strace"]) {
        return;
    }
    for error in ["EMFILE", "ENFILE", "ENOMEM"] {
        let proxy = Proxy::start(PERMIT_ALL, &[]);
        let mut stream = proxy.connect(echo_server());
        let inject = format!("inject=pipe2:error={error}");
        let strace = attach(&proxy, &["trace=pipe2", &inject]);
        let sent: Vec<u8> = (0..1u32 << 20).flat_map(u32::to_be_bytes).collect();
        let mut writer = stream.try_clone().unwrap();
        let bytes = sent.clone();
        let writing = std::thread::spawn(move || writer.write_all(&bytes).unwrap());
        let mut back = vec![0; sent.len()];
        stream.read_exact(&mut back).unwrap();
        writing.join().unwrap();
        assert!(back == sent, "the echo equals what was sent");
        assert!(strace.injected() > 0, "a sustained flow asks for a pipe");
    }
}

#[test]
fn a_rule_file_that_cannot_be_opened_keeps_the_rules() {
    if !can_run(&["strace"]) {
        return;
    }
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let echo = echo_server();
    for (count, (call, error)) in
        [("openat", "EMFILE"), ("openat", "ENFILE"), ("openat", "EIO"), ("read", "EIO")]
            .iter()
            .enumerate()
    {
        let path = proxy.rule_file.to_str().unwrap();
        let inject = format!("inject={call}:error={error}");
        let expressions = [&format!("trace={call}"), inject.as_str()];
        let strace = Strace::attach_to_path(proxy.pid(), &scratch_directory(), path, &expressions);
        replace(&proxy.rule_file, "deny c *.*.*.*\n");
        proxy.wait_logs("the rules in force stay", count + 1);
        assert!(strace.injected() > 0);
        drop(proxy.connect(echo));
    }
    replace(&proxy.rule_file, "deny c *.*.*.*\n");
    proxy.wait_log("1 rule in force");
    assert_eq!(read_reply(&mut ask(&proxy, 1, echo)).0, 91);
}

/// The kernel detects peers that vanish; its times are too long for a test. A user time-out would
/// cut off readers that pause.
#[test]
fn both_sides_have_keepalive_and_no_user_timeout() {
    if !can_run(&["strace"]) {
        return;
    }
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let (_server, target) = listener();
    let strace = attach(&proxy, &["trace=setsockopt"]);
    let mut stream = proxy.connect(target);
    strace.wait_call("SO_OOBINLINE, [1]");
    // The others are set once a session has relayed for a second.
    let options = ["TCP_NODELAY, [1]", "SO_KEEPALIVE, [1]", "TCP_KEEPIDLE, [600]"];
    wait_until("the target's options", || {
        stream.write_all(b"x").unwrap();
        let calls = fs::read_to_string(&strace.calls).unwrap();
        options.iter().all(|option| calls.contains(option)).then_some(())
    });
    let first = fs::read_to_string(&strace.calls).unwrap();
    drop(strace);
    // Accepted connections inherit the options of their listener.
    let strace = attach(&proxy, &["trace=setsockopt"]);
    let mut binding = ask(&proxy, 2, target);
    assert_eq!(read_reply(&mut binding).0, 90);
    let inherited = options.iter().chain(&["SO_OOBINLINE, [1]"]);
    inherited.for_each(|option| drop(strace.wait_call(option)));
    let calls = first + &fs::read_to_string(&strace.calls).unwrap();
    assert!(!calls.contains("TCP_USER_TIMEOUT"), "{calls}");
}

/// A call that is not needed for the bytes to arrive may fail, at the cost of speed.
#[test]
fn a_failed_option_or_splice_costs_no_session() {
    if !can_run(&["strace"]) {
        return;
    }
    // A listener has three options before SO_OOBINLINE that may fail; a BIND would set them.
    for (trace, inject) in [
        ("setsockopt", "inject=setsockopt:error=ENOMEM:when=2+2"),
        ("splice", "inject=splice:error=ENOMEM"),
        ("splice", "inject=splice:error=ENOMEM:when=2+3"),
        ("splice", "inject=splice:error=ENOBUFS:when=3+5"),
    ] {
        let proxy = Proxy::start(PERMIT_ALL, &[]);
        let echo = echo_server();
        let strace = attach(&proxy, &[&format!("trace={trace}"), inject]);
        let mut stream = proxy.connect(echo);
        assert_echo(&mut stream);
        let sent: Vec<u8> = (0..1u32 << 20).flat_map(u32::to_be_bytes).collect();
        let mut writer = stream.try_clone().unwrap();
        let bytes = sent.clone();
        let writing = thread::spawn(move || writer.write_all(&bytes).unwrap());
        let mut back = vec![0; sent.len()];
        stream.read_exact(&mut back).unwrap_or_else(|error| panic!("{inject}: {error}"));
        writing.join().unwrap();
        assert!(back == sent, "the echo equals what was sent");
        assert!(strace.injected() > 0, "{inject}");
    }
}

/// Each poll is delayed, so that the loop finds all events of the meantime at once.
#[test]
fn a_target_that_accepts_sends_and_resets_within_one_turn_was_connected() {
    if !can_run(&["strace"]) {
        return;
    }
    for mode in MODES {
        let mut proxy = Proxy::start(PERMIT_ALL, mode);
        let (listener, target) = listener();
        let calls = "epoll_wait,epoll_pwait,epoll_pwait2";
        let inject = format!("inject={calls}:delay_enter=100000");
        let strace = attach(&proxy, &[&format!("trace={calls}"), &inject]);
        for id in 1..=5 {
            let mut stream = ask(&proxy, 1, target);
            let mut at_target = accept(&listener);
            at_target.write_all(b"banner").unwrap();
            reset(at_target);
            assert_eq!(read_reply(&mut stream).0, 90);
            let mut banner = Vec::new();
            let error = stream.read_to_end(&mut banner).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
            assert_eq!(banner, b"banner");
            let access = proxy.access(id);
            assert_eq!((access.field("reason"), access.field("down")), ("target-reset", "6"));
        }
        drop(strace);
        proxy.wait_idle();
    }
}

#[test]
fn idle_sessions_cause_no_system_call() {
    if !can_run(&["strace"]) {
        return;
    }
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let echo = echo_server();
    let mut idle: Vec<TcpStream> = (0..20).map(|_| proxy.connect(echo)).collect();
    idle.iter_mut().for_each(assert_echo);
    proxy.wait_asleep();
    let strace = attach(&proxy, &["trace=all"]);
    // The test is that nothing happens. Attaching may interrupt the poll once.
    std::thread::sleep(Duration::from_secs(1));
    let calls = fs::read_to_string(&strace.calls).unwrap();
    let others = calls.lines().filter(|line| !line.contains("epoll_") && !line.contains("restart"));
    assert_eq!(others.count(), 0, "{calls}");
    assert!(calls.lines().count() <= 3, "{calls}");
    idle.iter_mut().for_each(assert_echo);
}
