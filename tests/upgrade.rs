//! USR2: the process becomes the program that is now on disk, and nothing is lost.

#![cfg(feature = "upgrade")]

mod common;

use common::servers::{NameServer, addresses, ask, is_root};
use common::tools::status_field;
use common::traffic::{self, End};
use common::upgrade::Upgradable;
use common::{
    MODES, PERMIT_ALL, accept, dial_from, echo_server, listener, read_all, read_reply, request,
    wait_until,
};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    sendmsg, socketpair,
};
use std::fs;
use std::io::{BufRead, BufReader, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn echo(mut stream: &TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).unwrap();
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, text.as_bytes());
}

/// Both ends of a CONNECT.
fn connect(proxy: &Upgradable) -> (TcpStream, TcpStream) {
    let (server, target) = listener();
    let client = proxy.connect(target);
    (client, accept(&server))
}

#[test]
fn relays_continue_through_upgrades_byte_for_byte() {
    const PIECE: usize = 3 << 20;
    for flags in MODES {
        let mut proxy = Upgradable::start(PERMIT_ALL, flags);
        let (download, source) = connect(&proxy);
        let (upload, sink) = connect(&proxy);
        let (closed, answering) = connect(&proxy);
        traffic::send(&closed, 0, 1000);
        closed.shutdown(Shutdown::Write).unwrap();
        let (stalled, blocked) = connect(&proxy);
        let blocked_at = traffic::send_until_blocked(&blocked, 0, 64 << 20);
        for round in 0..3 {
            let (from, to) = (round * PIECE, (round + 1) * PIECE);
            thread::scope(|scope| {
                scope.spawn(|| traffic::send(&source, from, to));
                scope.spawn(|| traffic::send(&upload, from, to));
                // In the midst of both.
                traffic::receive(&download, from, from + PIECE / 3);
                proxy.upgrade();
                scope.spawn(|| traffic::receive(&sink, from, to));
                traffic::receive(&download, from + PIECE / 3, to);
            });
            traffic::send(&answering, round * 1000, (round + 1) * 1000);
            traffic::receive(&closed, round * 1000, (round + 1) * 1000);
        }
        traffic::receive(&answering, 0, 1000);
        blocked.shutdown(Shutdown::Write).unwrap();
        assert_eq!(traffic::receive_to_end(&stalled, 0), (blocked_at, End::Fin));
        for (client, target) in [(&download, &source), (&upload, &sink), (&closed, &answering)] {
            target.shutdown(Shutdown::Write).unwrap();
            assert_eq!(read_all(&mut client.try_clone().unwrap()), b"");
        }
        drop((download, source, upload, sink, closed, answering, stalled, blocked));
        for (id, up, down) in
            [(1, 0, 3 * PIECE), (2, 3 * PIECE, 0), (3, 1000, 3000), (4, 0, blocked_at)]
        {
            let access = proxy.access(id);
            let (up, down) = (up.to_string(), down.to_string());
            assert_eq!((access.field("up"), access.field("down")), (&*up, &*down), "{access:?}");
            assert_eq!(access.field("reason"), "done");
        }
        proxy.wait_idle();
    }
}

#[test]
fn every_other_state_of_a_session_continues_as_well() {
    let echo_at = echo_server();
    let may_answer = Arc::new(AtomicBool::new(false));
    let answers = may_answer.clone();
    let server = NameServer::start(move |question| match answers.load(Ordering::Relaxed) {
        true => addresses(question, &[[127, 0, 0, 1]]),
        false => Vec::new(),
    });
    let rules = "permit cb *.*.*.*\npermit c late.test\n";
    let mut proxy = Upgradable::start(
        rules,
        &["--nameserver", &server.address.to_string(), "--dns-timeout", "60"],
    );
    // A request half sent; a name that nobody answers for; a BIND; a target that drops each SYN.
    let text = request(1, echo_at, b"bob");
    let mut half = proxy.dial();
    half.write_all(&text[..5]).unwrap();
    let mut resolving = ask(&proxy, b"late.test", echo_at.port());
    wait_until("the query", || server.seen().pop());
    let mut binding = proxy.dial();
    binding.write_all(&request(2, SocketAddrV4::new(LOCALHOST, 0), b"")).unwrap();
    let advertised = read_reply(&mut binding).1;
    let (full, full_at, filler) = traffic::full_listener();
    let mut connecting = proxy.dial();
    connecting.write_all(&request(1, full_at, b"")).unwrap();
    proxy.wait_logs(" connecting", 1);
    proxy.upgrade();
    // The next program asks for the name again, and need not wait for its time to do so.
    may_answer.store(true, Ordering::Relaxed);
    proxy.upgrade();
    half.write_all(&text[5..]).unwrap();
    assert_eq!(read_reply(&mut half).0, 90);
    echo(&half, "whole");
    assert_eq!(read_reply(&mut resolving).0, 90);
    echo(&resolving, "resolved");
    let peer = dial_from(LOCALHOST, advertised);
    assert_eq!(read_reply(&mut binding).0, 90);
    traffic::send(&peer, 0, 100_000);
    traffic::receive(&binding, 0, 100_000);
    drop((full.accept().unwrap(), filler));
    assert_eq!(read_reply(&mut connecting).0, 90);
    drop((half, resolving, binding, peer, connecting, full));
    assert_eq!(proxy.access(1).field("user"), "bob");
    assert_eq!(proxy.access(2).field("target"), format!("late.test:{}", echo_at.port()));
    assert_eq!(proxy.access(3).field("down"), "100000");
    proxy.wait_idle();
}

#[test]
fn no_client_is_refused_and_nothing_leaks_while_programs_change() {
    let echo_at = echo_server();
    let mut proxy = Upgradable::start(PERMIT_ALL, &[]);
    let kept: Vec<_> = (0..20).map(|_| proxy.connect(echo_at)).collect();
    proxy.upgrade();
    let stdin = fs::read_link(format!("/proc/{}/fd/0", proxy.pid())).unwrap();
    assert_eq!(stdin.to_str(), Some("/dev/null"));
    let (descriptors, address) = (proxy.descriptors(), proxy.address);
    let (mut resident, is_over) = (0, AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let mut client = dial_from(LOCALHOST, address);
                client.write_all(&request(1, echo_at, b"")).unwrap();
                assert_eq!(read_reply(&mut client).0, 90);
                echo(&client, "a new one");
            }
        });
        for round in 0..12 {
            proxy.upgrade();
            kept.iter().for_each(|stream| echo(stream, &format!("round {round}")));
            resident = if round == 2 { proxy.resident_bytes() } else { resident };
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let line = proxy.wait_log("upgraded from socku ");
    assert!(line.contains(concat!(" to socku ", env!("CARGO_PKG_VERSION"), ": ")), "{line}");
    assert!(line.ends_with("20 sessions, 1 listener taken over"), "{line}");
    assert!(proxy.resident_bytes() < resident + (4 << 20), "memory grows");
    assert_eq!(proxy.children(), "");
    wait_until("the descriptors", || (proxy.descriptors() == descriptors).then_some(()));
    drop(kept);
    proxy.wait_idle();
}

#[test]
fn a_program_that_cannot_take_over_changes_nothing_and_the_log_says_why() {
    let mut proxy = Upgradable::start(PERMIT_ALL, &[]);
    let kept = proxy.connect(echo_server());
    let version = env!("CARGO_PKG_VERSION");
    let old = "#!/bin/sh\necho \"socku: Unrecognized option: 'upgrade-trial'\" >&2; exit 2\n";
    let other = format!("#!/bin/sh\necho socku {version} accepts hand-over 999\n");
    let failing = format!("#!/bin/sh\necho socku {version} accepts hand-over 1\nexit 1\n");
    let replaced = format!(
        "#!/bin/sh\ncp \"$0\" \"$0.other\"; mv \"$0.other\" \"$0\"\n\
         echo socku {version} accepts hand-over 1\n"
    );
    for (script, expected) in [
        ("#!/bin/sh\nexit 0\n", "exit status: 0; it said nothing"),
        ("#!/bin/sh\nexit 1\n", "exit status: 1; it said nothing"),
        ("#!/bin/sh\nkill -11 $$\n", "signal: 11 (SIGSEGV); it said nothing"),
        (old, "exit status: 2; it said \"socku: Unrecognized option"),
        (&other, "it said \"socku 0.1.0 accepts hand-over 999\""),
        (&failing, "exit status: 1; it said"),
        (&replaced, "it was replaced since the trial began"),
        ("a text\n", ""),
        ("#!/bin/sh\nkill -9 $$\n", "signal: 9"),
        (
            "#!/bin/sh\nprintf 'two\\nlines \\033'\nyes | head -c 300000\n",
            "two\\nlines \\u{1b}y\\ny",
        ),
    ] {
        proxy.install_script(script);
        let line = proxy.failed_upgrade();
        assert!(line.contains(expected) && line.len() < 2000, "{expected:?} in {line}");
        echo(&kept, "goes on");
    }
    fs::remove_file(&proxy.program).unwrap();
    assert!(proxy.failed_upgrade().contains("No such file"));
    proxy.install_program();
    fs::write(&proxy.rule_file, "permit nonsense\n").unwrap();
    let line = proxy.failed_upgrade();
    assert!(line.contains("socks.conf:1: "), "{line}");
    fs::write(&proxy.rule_file, PERMIT_ALL).unwrap();
    proxy.upgrade();
    echo(&kept, "goes on");
    drop(kept);
    proxy.wait_idle();
}

/// It accepts on trial, but cannot be executed then.
#[test]
fn a_failed_exec_gives_up_nothing() {
    let mut proxy = Upgradable::start(PERMIT_ALL, &[]);
    let kept = proxy.connect(echo_server());
    let descriptors = proxy.descriptors();
    let accepting = format!(
        "#!/bin/sh\nchmod 644 \"$0\"\necho socku {} accepts hand-over 1\n",
        env!("CARGO_PKG_VERSION"),
    );
    proxy.install_script(&accepting);
    assert!(proxy.failed_upgrade().contains("Permission denied"));
    echo(&kept, "goes on");
    assert_eq!(proxy.descriptors(), descriptors);
    let stdin = fs::read_link(format!("/proc/{}/fd/0", proxy.pid())).unwrap();
    assert_eq!(stdin.to_str(), Some("/dev/null"));
    assert_eq!(proxy.connect(echo_server()).peer_addr().unwrap(), proxy.address.into());
    // Signals arrive again.
    proxy.dump();
    proxy.install_program();
    proxy.upgrade();
    echo(&kept, "goes on");
    drop(kept);
    proxy.wait_idle();
}

/// A program of another version that hands on to this one, and spoils a file between its trial and
/// its start.
#[test]
fn files_that_become_bad_after_the_trial_end_no_session() {
    let mut proxy = Upgradable::start(PERMIT_ALL, &[]);
    let echo_at = echo_server();
    let kept = proxy.connect(echo_at);
    let rules = proxy.rule_file.display();
    proxy.install_script(&format!(
        "#!/bin/sh\ncase \"$*\" in *--upgrade-trial=*)\necho permit nonsense > {rules}\n\
         echo socku 9.8.7 accepts hand-over 1\nexit\nesac\nexec {} \"$@\"\n",
        env!("CARGO_BIN_EXE_socku"),
    ));
    proxy.upgrade();
    proxy.wait_log("upgrade: becoming socku 9.8.7");
    proxy.wait_log("everything new is denied until it is right");
    echo(&kept, "goes on");
    assert_eq!(proxy.refusal(&request(1, echo_at, b"")).0, 91);
    fs::write(&proxy.rule_file, PERMIT_ALL).unwrap();
    proxy.wait_log("1 rule in force");
    drop((proxy.connect(echo_at), kept));
    proxy.wait_idle();
}

#[test]
fn no_other_process_can_hand_over_anything() {
    let rule_file = common::scratch_directory().join("socks.conf");
    fs::write(&rule_file, PERMIT_ALL).unwrap();
    let (sender, receiver) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let file = fs::File::open(&rule_file).unwrap();
    let descriptors = [file.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    let message = [&b"socku-exec/1"[..], &[0; 8]].concat();
    sendmsg(&sender, &[IoSlice::new(&message)], &mut control, SendFlags::empty()).unwrap();
    let mut command = common::socku(&["-l", "127.0.0.1:0", "-c"]);
    command.arg(&rule_file).stdin(receiver);
    let proxy = common::Proxy::spawn(command, rule_file);
    assert!(!proxy.log().iter().any(|line| line.contains("upgraded from")));
    drop(proxy.connect(echo_server()));
}

#[test]
fn a_program_on_trial_inherits_no_descriptor() {
    let proxy = Upgradable::start(PERMIT_ALL, &[]);
    let _kept = connect(&proxy);
    proxy.install_script("#!/bin/sh\nls -l /proc/self/fd > \"$0.seen\"\n");
    proxy.failed_upgrade();
    let seen = fs::read_to_string(proxy.program.with_extension("seen")).unwrap();
    assert!(seen.contains(" 0 -> /memfd:socku-hand-over"), "{seen}");
    assert!(!seen.contains("socket:") && !seen.contains("anon_inode:"), "{seen}");
}

/// Signals to the group of the proxy are for the proxy.
#[test]
fn a_program_on_trial_has_a_process_group_of_its_own() {
    let proxy = Upgradable::start(PERMIT_ALL, &[]);
    let group = |pid: &str| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit(") ").next().unwrap().split(' ').nth(2).unwrap().to_string()
    };
    proxy.install_script("#!/bin/sh\ncat /proc/$$/stat > \"$0.seen\"\n");
    proxy.failed_upgrade();
    let seen = fs::read_to_string(proxy.program.with_extension("seen")).unwrap();
    let of_trial = seen.rsplit(") ").next().unwrap().split(' ').nth(2).unwrap();
    assert_ne!(of_trial, group(&proxy.pid().to_string()));
}

/// Some supervisors start their programs like that; the kernel then tells of no ended child.
#[test]
fn a_proxy_that_was_started_with_sigchld_ignored_can_be_upgraded() {
    let directory = common::scratch_directory();
    let mut proxy = Upgradable::start_after("trap '' CHLD", &directory, PERMIT_ALL, &[]);
    let kept = proxy.connect(echo_server());
    proxy.upgrade();
    echo(&kept, "goes on");
    proxy.install_script("#!/bin/sh\nexit 1\n");
    assert!(proxy.failed_upgrade().contains("it said nothing"));
    echo(&kept, "goes on");
}

/// Another file of those that are looked for must not come into force because this one is missing.
#[test]
fn the_rule_file_in_use_is_the_one_that_a_new_program_reads() {
    let directory = common::scratch_directory();
    let (program, rule_file) = (directory.join("socku"), directory.join("socks.conf"));
    fs::copy(env!("CARGO_BIN_EXE_socku"), &program).unwrap();
    fs::write(&rule_file, PERMIT_ALL).unwrap();
    let mut command = std::process::Command::new(&program);
    command.current_dir(&directory).args(["-l", "127.0.0.1:0"]).env("RUST_LOG", "info");
    let proxy = common::Proxy::spawn(command, rule_file.clone());
    fs::rename(&rule_file, directory.join("elsewhere")).unwrap();
    proxy.signal("USR2");
    proxy.wait_log("it said \"socku: socks.conf: no such file");
    fs::rename(directory.join("elsewhere"), &rule_file).unwrap();
    proxy.signal("USR2");
    proxy.wait_log("upgraded from socku");
}

#[test]
fn requests_around_an_upgrade_are_all_obeyed() {
    let mut proxy = Upgradable::start(PERMIT_ALL, &[]);
    let kept = proxy.connect(echo_server());
    for _ in 0..50 {
        proxy.signal("USR2");
    }
    proxy.wait_log("upgraded from");
    fs::write(&proxy.rule_file, "permit c *.*.*.*\ndeny b *.*.*.*\n").unwrap();
    for signal in ["USR2", "HUP", "USR1"] {
        proxy.signal(signal);
    }
    proxy.wait_log(" dump] sessions=1 ");
    wait_until("the new rules", || {
        let mut client = proxy.dial();
        client.write_all(&request(2, SocketAddrV4::new(LOCALHOST, 0), b"")).unwrap();
        (read_reply(&mut client).0 == 91).then_some(())
    });
    echo(&kept, "goes on");
    proxy.signal("USR2");
    proxy.signal("TERM");
    proxy.wait_log(" may finish");
    echo(&kept, "goes on");
    proxy.signal("USR2");
    proxy.wait_log("no upgrade: stopping");
    drop(kept);
    assert_eq!(proxy.wait_exit(), Some(0));
}

#[test]
fn a_stop_during_a_trial_ends_it_and_there_is_no_upgrade() {
    let mut proxy = Upgradable::start(PERMIT_ALL, &[]);
    let kept = proxy.connect(echo_server());
    proxy.install_script(&format!(
        "#!/bin/sh\ncase \"$*\" in *--upgrade-trial=*)\nuntil test -e \"$0.go\"; do sleep 0.01; done\n\
         echo socku 9.8.7 accepts hand-over 1\nexit\nesac\nexec {} \"$@\"\n",
        env!("CARGO_BIN_EXE_socku"),
    ));
    proxy.signal("USR2");
    proxy.wait_log("upgrade: trying");
    proxy.signal("USR2");
    proxy.wait_log("no upgrade: a program is being tried already");
    proxy.signal("TERM");
    proxy.wait_log("stopping; 1 session may finish");
    fs::write(proxy.program.with_extension("go"), "").unwrap();
    proxy.wait_log("no upgrade: stopping");
    wait_until("the program on trial to end", || proxy.children().is_empty().then_some(()));
    echo(&kept, "goes on");
    drop(kept);
    assert_eq!(proxy.wait_exit(), Some(0));
}

#[test]
fn a_slow_reader_of_the_log_misses_no_line() {
    const SESSIONS: usize = 400;
    let rule_file = common::scratch_directory().join("socks.conf");
    fs::write(&rule_file, "deny c *.*.*.*\n").unwrap();
    let mut command = common::socku(&["-l", "127.0.0.1:0", "--nameserver", "127.0.0.1:1", "-c"]);
    command.arg(&rule_file).env("RUST_LOG", "info").stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let address = lines.find_map(|line| Some(line.split_once("listening on ")?.1.to_string()));
    let address: SocketAddrV4 = address.unwrap().parse().unwrap();
    let target = SocketAddrV4::new(LOCALHOST, 9);
    for _ in 0..SESSIONS {
        let mut client = dial_from(LOCALHOST, address);
        client.write_all(&request(1, target, &[b'u'; 80])).unwrap();
        assert_eq!(read_reply(&mut client).0, 91);
        assert_eq!(read_all(&mut client), b"");
    }
    // By now the pipe is full, and lines wait.
    let signal = |name| Command::new("kill").args(["-s", name, &child.id().to_string()]).status();
    // Addresses are random: another program has others.
    let places = || fs::read_to_string(format!("/proc/{}/maps", child.id())).unwrap();
    let before = places().lines().next().map(String::from);
    assert!(signal("USR2").unwrap().success());
    wait_until("the next program", || {
        let now = places().lines().next().map(String::from);
        (now.is_some() && now != before).then_some(())
    });
    let mut seen = 0;
    for line in lines.by_ref() {
        seen += usize::from(line.contains(" access] id="));
        if line.contains("upgraded from") {
            break;
        }
    }
    assert_eq!(seen, SESSIONS);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_proxy_that_has_given_up_root_stays_the_other_user() {
    if !is_root() {
        return;
    }
    // Where the other user can reach it.
    let place = std::env::temp_dir().join(format!("socku-upgrade-{}", std::process::id()));
    fs::create_dir_all(&place).unwrap();
    let mut proxy = Upgradable::start_in(&place, PERMIT_ALL, &["--user", "54321:54322"]);
    let kept = proxy.connect(echo_server());
    proxy.upgrade();
    echo(&kept, "goes on");
    assert_eq!(status_field(proxy.pid(), "Uid"), ["54321"; 4].join("\t"));
    assert_eq!(status_field(proxy.pid(), "Gid"), ["54322"; 4].join("\t"));
    assert_eq!(status_field(proxy.pid(), "NoNewPrivs"), "1");
    // A file that this user cannot read would end the next start.
    fs::set_permissions(&proxy.rule_file, fs::Permissions::from_mode(0o600)).unwrap();
    let line = proxy.failed_upgrade();
    assert!(line.contains("Permission denied"), "{line}");
    echo(&kept, "goes on");
    fs::remove_dir_all(place).unwrap();
}
