//! Changes of the rule file, made in every way: each takes effect, or the log says why not. Nothing
//! else wakes the proxy.

#![cfg(feature = "server")]

mod common;

use common::tools::{can_run, status_field};
use common::{
    DEADLINE, PERMIT_ALL, Proxy, echo_server, read_reply, request, scratch_directory, socku,
    wait_until,
};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const REFUSE_ALL: &str = "deny cb *.*.*.*\n";

/// The proxy with this rule file, which may be of any kind.
fn start(rule_file: PathBuf) -> Proxy {
    let mut command = socku(&["-l", "127.0.0.1:0", "--nameserver", "127.0.0.1:1", "-c"]);
    command.arg(&rule_file);
    Proxy::spawn(command, rule_file)
}

/// The reply code of a CONNECT.
fn code(proxy: &Proxy, target: SocketAddrV4) -> u8 {
    let mut stream = proxy.dial();
    stream.write_all(&request(1, target, b"")).unwrap();
    read_reply(&mut stream).0
}

fn wait_code(what: &str, proxy: &Proxy, target: SocketAddrV4, expected: u8) {
    wait_until(what, || (code(proxy, target) == expected).then_some(()));
}

fn assert_echo(mut stream: &TcpStream) {
    stream.write_all(b"still there").unwrap();
    let mut back = [0; 11];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"still there");
}

/// Two versions of a directory with rules, as laid out by Kubernetes and installers: `socks.conf`
/// is a link through `..data`, `current` a link to a release, `plain` a directory.
fn lay_out(at: &Path) {
    for (directory, rules) in [("..1", PERMIT_ALL), ("..2", REFUSE_ALL), ("plain", PERMIT_ALL)] {
        fs::create_dir(at.join(directory)).unwrap();
        fs::write(at.join(directory).join("socks.conf"), rules).unwrap();
    }
    symlink("..1", at.join("..data")).unwrap();
    symlink("..data/socks.conf", at.join("socks.conf")).unwrap();
    symlink("..1", at.join("current")).unwrap();
}

fn flip(link: &Path, target: &str) {
    let new = link.with_file_name("..data_tmp");
    symlink(target, &new).unwrap();
    fs::rename(new, link).unwrap();
}

type Change = fn(&Path);
/// Changes, one after another, and the reply code of a CONNECT after each.
type Changes = &'static [(Change, u8)];

#[test]
fn a_change_of_any_part_of_the_path_takes_effect() {
    let cases: [(&str, &str, Changes); 4] = [
        (
            "the flip of a Kubernetes volume",
            "socks.conf",
            &[
                (|at| flip(&at.join("..data"), "..2"), 91),
                (|at| flip(&at.join("..data"), "..1"), 90),
                (|at| fs::write(at.join("..1/socks.conf"), REFUSE_ALL).unwrap(), 91),
            ],
        ),
        (
            "a link to a directory that is moved",
            "current/socks.conf",
            &[
                (|at| flip(&at.join("current"), "..2"), 91),
                (|at| flip(&at.join("current"), "plain"), 90),
            ],
        ),
        (
            "a directory that is replaced",
            "plain/socks.conf",
            &[
                (
                    |at| {
                        fs::rename(at.join("plain"), at.join("old")).unwrap();
                        fs::rename(at.join("..2"), at.join("plain")).unwrap();
                    },
                    91,
                ),
                (|at| fs::write(at.join("plain/socks.conf"), PERMIT_ALL).unwrap(), 90),
            ],
        ),
        (
            "a directory that is removed and created again",
            "plain/socks.conf",
            &[(
                |at| {
                    fs::remove_dir_all(at.join("plain")).unwrap();
                    fs::create_dir(at.join("plain")).unwrap();
                    fs::write(at.join("plain/socks.conf"), REFUSE_ALL).unwrap();
                },
                91,
            )],
        ),
    ];
    let echo = echo_server();
    for (what, rule_file, changes) in cases {
        let directory = scratch_directory();
        lay_out(&directory);
        let mut proxy = start(directory.join(rule_file));
        let running = proxy.connect(echo);
        for (number, (change, expected)) in changes.iter().enumerate() {
            change(&directory);
            wait_code(&format!("{what}, change {number}"), &proxy, echo, *expected);
        }
        assert_echo(&running);
        drop(running);
        proxy.wait_idle();
    }
}

#[test]
fn an_invalid_file_changes_nothing_and_the_log_says_why() {
    let cases: [(&str, Change); 8] = [
        (": found no rule, expected at least one; to refuse everything, write", |file| {
            fs::write(file, "").unwrap();
        }),
        (": found no rule", |file| fs::write(file, "# permit cb *.*.*.*\n").unwrap()),
        (":1: found `perm`, expected `permit` or `deny`", |file| fs::write(file, "perm").unwrap()),
        // As left by a full disk: this permits more than the intended text.
        (": found a last line without a newline", |file| {
            fs::write(file, "permit cb *.*.*.* from 127.0.0.1").unwrap();
        }),
        (": no such file, expected", |file| fs::remove_file(file).unwrap()),
        (": found a FIFO, expected a regular file", |file| {
            let new = file.with_file_name("fifo");
            mknodat(CWD, &new, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
            fs::rename(new, file).unwrap();
        }),
        (": found 943718400 bytes or more, expected at most 16777216", |file| {
            let new = file.with_file_name("sparse");
            File::create(&new).unwrap().set_len(900 << 20).unwrap();
            fs::rename(new, file).unwrap();
        }),
        (": found a directory, expected a regular file", |file| {
            fs::remove_file(file).unwrap();
            fs::create_dir(file).unwrap();
        }),
    ];
    let echo = echo_server();
    for (expected, change) in cases {
        let mut proxy = Proxy::start(PERMIT_ALL, &[]);
        let running = proxy.connect(echo);
        change(&proxy.rule_file);
        let text = format!("{}{expected}", proxy.rule_file.display());
        let error = proxy.wait_log(&text);
        assert!(error.contains("ERROR") && error.ends_with("; the rules in force stay"), "{error}");
        assert_eq!(code(&proxy, echo), 90, "{expected}");
        assert_echo(&running);
        // The file is valid again and takes effect. The error was logged once.
        let new = proxy.rule_file.with_file_name("new");
        fs::write(&new, REFUSE_ALL).unwrap();
        if proxy.rule_file.is_dir() {
            fs::remove_dir(&proxy.rule_file).unwrap();
        }
        fs::rename(new, &proxy.rule_file).unwrap();
        wait_code(expected, &proxy, echo, 91);
        let errors = proxy.log().iter().filter(|line| line.contains(&text)).count();
        assert_eq!(errors, 1, "{:?}", proxy.log());
        drop(running);
        proxy.signal("TERM");
        assert_eq!(proxy.wait_exit(), Some(0), "{expected}");
    }
}

#[test]
fn a_file_missing_at_hup_is_read_when_it_appears() {
    let (echo, proxy) = (echo_server(), Proxy::start(PERMIT_ALL, &[]));
    fs::remove_file(&proxy.rule_file).unwrap();
    proxy.wait_logs("the rules in force stay", 1);
    proxy.signal("HUP");
    proxy.wait_logs("the rules in force stay", 2);
    fs::write(&proxy.rule_file, REFUSE_ALL).unwrap();
    wait_code("the new file", &proxy, echo, 91);
}

#[test]
fn an_invalid_file_is_an_error_at_start_and_for_test_and_explain() {
    let directory = scratch_directory();
    let at = |name: &str| directory.join(name);
    fs::write(at("empty"), "\n").unwrap();
    mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    File::create(at("sparse")).unwrap().set_len(900 << 20).unwrap();
    for (name, expected) in [
        ("empty", ": found no rule, expected at least one"),
        ("fifo", ": found a FIFO, expected a regular file"),
        ("sparse", ": found 943718400 bytes or more, expected at most 16777216"),
        ("", "/: found a directory, expected a regular file"),
        ("none", ": no such file, expected a rule file"),
    ] {
        for flags in [&["-l", "127.0.0.1:0"][..], &["-t"], &["-e", "c 1.2.3.4:80"]] {
            if flags[0] == "-e" && cfg!(not(feature = "explain")) {
                continue;
            }
            let output = within_deadline(socku(flags).arg("-c").arg(at(name)));
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{name} {flags:?}: {error}");
            let expected =
                format!("{}{expected}", at(name).display().to_string().trim_end_matches('/'));
            assert!(error.contains(&expected), "{name} {flags:?}: {error}");
        }
    }
}

/// Runs a command that must end by itself.
fn within_deadline(command: &mut Command) -> Output {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let until = Instant::now() + DEADLINE;
    while child.try_wait().unwrap().is_none() && Instant::now() < until {
        thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    child.wait_with_output().unwrap()
}

const IN_FORCE: &str = " 50001 rules in force";

/// One piece of it is read in each turn of the loop, and sessions are served in between.
#[test]
fn sessions_continue_while_a_long_file_is_read() {
    let (echo, proxy) = (echo_server(), Proxy::start(PERMIT_ALL, &[]));
    let running = proxy.connect(echo);
    let new = proxy.rule_file.with_file_name("new");
    let descriptors = format!("/proc/{}/fd", proxy.pid());
    let is_being_read = || {
        let mut open = fs::read_dir(&descriptors).unwrap().filter_map(Result::ok);
        open.any(|entry| fs::read_link(entry.path()).is_ok_and(|path| path == proxy.rule_file))
    };
    for round in 1.. {
        assert!(round <= 10, "no session was served while the file was read");
        fs::write(&new, format!("{PERMIT_ALL}{}", "deny c 9.9.9.9\n".repeat(50_000))).unwrap();
        fs::rename(&new, &proxy.rule_file).unwrap();
        wait_until("the change to be detected", || {
            (is_being_read() || in_force(&proxy) >= round).then_some(())
        });
        assert_echo(&running);
        let was_read = is_being_read();
        proxy.wait_logs(IN_FORCE, round);
        if was_read {
            break;
        }
    }
}

fn in_force(proxy: &Proxy) -> usize {
    proxy.log().iter().filter(|line| line.contains(IN_FORCE)).count()
}

/// How often the process has gone to sleep, once it sleeps.
fn sleeps(pid: u32) -> u64 {
    wait_until("the process to sleep", || {
        status_field(pid, "State").starts_with('S').then_some(())
    });
    status_field(pid, "voluntary_ctxt_switches").parse().unwrap()
}

/// The proxy in its own mount namespace, where `etc` is /etc.
fn start_with_etc(etc: &Path, rule_file: PathBuf) -> Proxy {
    let script = "mount --bind \"$1\" /etc && exec \"$2\" -l 127.0.0.1:0 -c \"$3\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script, "sh"]).arg(etc).arg(env!("CARGO_BIN_EXE_socku"));
    command.arg(&rule_file);
    Proxy::spawn(command, rule_file)
}

#[test]
fn changes_of_other_files_do_not_wake_an_idle_proxy() {
    if !can_run(&["unshare", "mount"]) {
        return;
    }
    let etc = scratch_directory();
    fs::write(etc.join("hosts"), "127.0.0.1 localhost\n").unwrap();
    fs::write(etc.join("resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
    fs::write(etc.join("socks.conf"), PERMIT_ALL).unwrap();
    let proxy = start_with_etc(&etc, PathBuf::from("/etc/socks.conf"));
    let before = sleeps(proxy.pid());
    for round in 0..20 {
        let (file, new) = (etc.join(format!("passwd-{round}")), etc.join("passwd.new"));
        fs::write(&file, "root").unwrap();
        fs::write(&new, "root").unwrap();
        fs::rename(&new, &file).unwrap();
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert_eq!(sleeps(proxy.pid()), before, "round {round}");
    }
    for (name, text) in [
        ("hosts", "/etc/hosts: read again"),
        ("resolv.conf", "/etc/resolv.conf: read again"),
        ("socks.conf", "1 rule in force"),
    ] {
        let text_before = fs::read(etc.join(name)).unwrap();
        fs::write(etc.join(name), text_before).unwrap();
        proxy.wait_log(text);
    }
    assert!(sleeps(proxy.pid()) > before);
}

/// A file mounted over another causes no event; HUP detects it.
#[test]
fn hup_reads_a_file_mounted_meanwhile_and_watches_it() {
    if !can_run(&["unshare", "mount", "nsenter"]) {
        return;
    }
    let (etc, echo) = (scratch_directory(), echo_server());
    fs::write(etc.join("socks.conf"), PERMIT_ALL).unwrap();
    fs::write(etc.join("mounted"), REFUSE_ALL).unwrap();
    let proxy = start_with_etc(&etc, PathBuf::from("/etc/socks.conf"));
    assert_eq!(code(&proxy, echo), 90);
    let mut mount = Command::new("nsenter");
    mount.args(["-t", &proxy.pid().to_string(), "-m", "mount", "--bind"]);
    assert!(mount.args(["/etc/mounted", "/etc/socks.conf"]).status().unwrap().success());
    proxy.signal("HUP");
    proxy.wait_logs("1 rule in force", 1);
    assert_eq!(code(&proxy, echo), 91);
    fs::write(etc.join("mounted"), PERMIT_ALL).unwrap();
    wait_code("the mounted file", &proxy, echo, 90);
}
