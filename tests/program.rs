//! The program's command line: flags, output, errors and exit codes; and what the README says
//! of them.

#![cfg(feature = "server")]

mod common;

use common::{PERMIT_ALL, Proxy, echo_server, scratch_directory, socku};
use std::fs::{self, File};
use std::net::TcpStream;
use std::process::{Command, Stdio};

const README: &str = include_str!("../README.md");

/// Exit code, standard output and standard error.
fn outcome(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The command lines of the README's indented shell examples, with the lines shown below each.
fn examples() -> Vec<(String, Vec<String>)> {
    let mut examples: Vec<(String, Vec<String>)> = Vec::new();
    let mut is_open = false;
    for line in README.lines() {
        if let Some(command) = line.strip_prefix("    $ socku ") {
            examples.push((command.into(), Vec::new()));
            is_open = true;
        } else if let Some(shown) = line.strip_prefix("    ").filter(|_| is_open) {
            examples.last_mut().unwrap().1.push(shown.into());
        } else {
            is_open = false;
        }
    }
    examples
}

#[test]
fn the_examples_of_the_readme_print_what_it_shows() {
    let directory = scratch_directory();
    fs::copy("socks.conf", directory.join("socks.conf")).unwrap();
    fs::write(directory.join("bad.conf"), "permit c 1.2.3.4\npermit x 1.2.3.4\n").unwrap();
    let examples = examples();
    assert!(examples.len() >= 5, "{examples:?}");
    for (command, shown) in examples {
        let arguments: Vec<&str> = match command.split_once(" \"") {
            Some((flag, question)) => vec![flag, question.trim_end_matches('"')],
            None => command.split(' ').collect(),
        };
        let (code, out, error) = outcome(socku(&arguments).current_dir(&directory));
        assert_eq!((out + &error).lines().collect::<Vec<_>>(), shown, "{command}");
        let expected = match shown[0].split(':').next() {
            Some("socku") => 1,
            Some("deny") => 3,
            _ => 0,
        };
        assert_eq!(code, expected, "{command}");
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    for flag in ["-V", "--version"] {
        let (code, out, error) = outcome(&mut socku(&[flag]));
        let expected = format!("socku {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!((code, out, error), (0, expected, String::new()));
    }
}

/// Runs with these arguments, expects this code and one line of error; the line.
fn complaint(code: i32, arguments: &[&str]) -> String {
    let directory = scratch_directory();
    let (found, out, error) = outcome(socku(arguments).current_dir(&directory));
    assert_eq!((found, out.as_str()), (code, ""), "{arguments:?}: {error}");
    assert!(error.ends_with('\n') && error.lines().count() == 1, "{arguments:?}: {error:?}");
    assert!(error.starts_with("socku: "), "{arguments:?}: {error}");
    error
}

#[test]
fn a_wrong_command_line_is_exit_code_2_and_one_line_with_flag_and_expectation() {
    for (arguments, flag, expected) in [
        (&["--listen", "nowhere"][..], "--listen", "expected ADDR:PORT"),
        (&["-l", "127.0.0.1:99999"], "--listen", "expected ADDR:PORT"),
        (&["-o", "localhost"], "--outbound", "expected an IPv4 or IPv6 address"),
        (&["--bind-address", "x"], "--bind-address", "expected an IPv4 or IPv6 address"),
        (&["--bind-ports", "2000-1000"], "--bind-ports", "expected LOW-HIGH"),
        (&["--nameserver", "dns.example"], "--nameserver", "expected ADDR[:PORT]"),
        (&["--max-sessions", "many"], "--max-sessions", "expected a number from 1"),
        (&["--max-per-source", "0"], "--max-per-source", "expected a number from 1"),
        (&["--request-timeout", "0"], "--request-timeout", "expected whole seconds"),
        (&["--ident-timeout", "0"], "--ident-timeout", "expected whole seconds"),
        (&["--dns-timeout", "x"], "--dns-timeout", "expected whole seconds"),
        (&["--connect-timeout", "1s"], "--connect-timeout", "expected whole seconds"),
        (&["--bind-timeout", "-1"], "--bind-timeout", "expected whole seconds"),
        (&["--idle-timeout", "0.5"], "--idle-timeout", "expected whole seconds"),
        (&["--half-close-timeout", ""], "--half-close-timeout", "expected whole seconds"),
        (&["--drain-timeout", "99999999999"], "--drain-timeout", "expected whole seconds"),
        (&["--buffer-size", "1"], "--buffer-size", "expected bytes from"),
        (&["--no-such-flag"], "no-such-flag", "see --help"),
        (&["--a\nb"], "a?b", "see --help"),
        (&["-t", "extra\nline"], "extra", "expected options only"),
        (&["-c"], "'c'", "see --help"),
    ] {
        let error = complaint(2, arguments);
        assert!(error.contains(flag) && error.contains(expected), "{arguments:?}: {error}");
    }
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/socks.conf");
    let error = complaint(2, &["-c", rules, "-e", "c 1.2.3.4"]);
    assert!(error.contains("--explain") && error.contains("HOST:PORT"), "{error}");
}

#[test]
fn an_error_at_run_time_is_exit_code_1_and_one_line_with_flag_or_file() {
    let (taken, address) = common::listener();
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/socks.conf");
    let address = address.to_string();
    let many: Vec<&str> = ["-l", "127.0.0.1:0"].repeat(33);
    let many = [&["-c", rules][..], &many].concat();
    for (arguments, place, what) in [
        (&[][..], "socks.conf, /etc/socku/socks.conf", "expected a rule file"),
        (&["-t"], "socks.conf", "expected a rule file"),
        (&["-c", "no-such.conf"], "no-such.conf", "expected a rule file"),
        (&["-t", "-c", "."], ".:", "found a directory, expected a regular file"),
        (&["-c", rules, "-l", &address], "--listen", "Address already in use"),
        (&["-c", rules, "-l", "192.0.2.1:0"], "--listen", "Cannot assign"),
        (&many, "--listen", "expected at most 32 addresses"),
        (&["-c", rules, "-u", "no-such-user"], "--user", "no user \"no-such-user\""),
        (&["-c", rules, "-u", "root:no-such"], "--user", "no group \"no-such\""),
        (&["-c", rules, "-u", "54321"], "--user", "expected UID:GROUP"),
    ] {
        let error = complaint(1, arguments);
        assert!(error.contains(place) && error.contains(what), "{arguments:?}: {error}");
    }
    drop(taken);
}

#[test]
fn the_error_of_a_bad_rule_file_names_file_and_line_wherever_it_is_read() {
    let file = scratch_directory().join("rules");
    fs::write(&file, "\u{feff}# first\r\npermit c 1.2.3.4\r\npermit c 1.2.3\r\n").unwrap();
    let file = file.to_str().unwrap();
    let expected = format!("socku: {file}:3: found `1.2.3`, expected four octets");
    for arguments in [&["-t"][..], &["-e", "c 1.2.3.4:80"], &[], &["-l", "127.0.0.1:0"]] {
        let error = complaint(1, &[arguments, &["-c", file]].concat());
        assert!(error.starts_with(&expected), "{error}");
    }
    fs::write(file, vec![b'x'; 1 << 20]).unwrap();
    assert!(complaint(1, &["-t", "-c", file]).len() < 400, "a long line is not repeated");
}

#[test]
fn explain_exits_with_3_for_a_no_and_with_0_otherwise() {
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/socks.conf");
    for (question, expected) in [
        ("c 140.113.1.1:80", 0),
        ("c 127.0.0.1:80 from 10.0.0.2", 3),
        ("c 224.1.1.1:80", 3),
        ("c www.example.com:80", 0),
        ("c www.example.com:0", 3),
        ("c [2001:db8::1]:443 from 2001:db8:1::2 user alice", 0),
        ("c [::1]:80 from ::1", 0),
        ("c [::1]:80 from 2001:db8:1::2 user alice auth", 3),
        ("c www.example.com=[fd00:ec2::254]:80", 3),
    ] {
        let (code, out, error) = outcome(&mut socku(&["-c", rules, "-e", question]));
        assert_eq!((code, error.as_str()), (expected, ""), "{question}: {out}");
    }
}

#[test]
fn standard_output_that_takes_nothing_is_an_error_and_no_panic() {
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/socks.conf");
    for arguments in [&["-h"][..], &["-V"], &["-t", "-c", rules]] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = socku(arguments).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.starts_with("socku: writing to standard output: "), "{error}");
        assert_eq!(error.lines().count(), 1);
    }
    let full = File::options().write(true).open("/dev/full").unwrap();
    let status = socku(&["--wrong"]).stderr(full).status().unwrap();
    assert_eq!(status.code(), Some(2));
}

#[test]
fn the_rule_file_is_socks_conf_of_the_directory_when_none_is_named() {
    let directory = scratch_directory();
    fs::write(directory.join("socks.conf"), "permit c 9.9.9.9").unwrap();
    let (code, out, _) = outcome(socku(&["-t"]).current_dir(&directory));
    assert_eq!((code, out.as_str()), (0, "   1: permit c 9.9.9.9\n   -: deny everything else\n"));
}

#[test]
fn the_listening_lines_name_the_ports_that_were_chosen_and_all_of_them_answer() {
    let flags = ["-l", "127.0.0.1:0", "--listen", "127.0.0.2:0", "-l", "127.0.0.1:0"];
    let proxy = Proxy::start(PERMIT_ALL, &flags);
    let mut addresses = Vec::new();
    for line in proxy.wait_logs("listening on ", 3) {
        assert!(line.contains("INFO"), "{line}");
        let address = line.rsplit(' ').next().unwrap().to_string();
        assert!(!address.ends_with(":0"));
        TcpStream::connect(&address).unwrap();
        addresses.push(address);
    }
    assert!(addresses[1].starts_with("127.0.0.2:") && addresses[0] != addresses[2]);
}

#[test]
fn the_shipped_rules_let_local_programs_reach_local_services() {
    let proxy = Proxy::start(include_str!("../socks.conf"), &[]);
    drop(proxy.connect(echo_server()));
    let rule = include_str!("../socks.conf").lines().position(|l| l.starts_with("permit cb 127."));
    assert_eq!(proxy.access(1).field("rule"), (rule.unwrap() + 1).to_string());
    assert!(!proxy.log().iter().any(|line| line.contains("WARN")), "{:?}", proxy.log());
}

#[test]
fn listening_beyond_loopback_warns_about_each_danger_once() {
    let proxy = Proxy::start(PERMIT_ALL, &["-l", "0.0.0.0:0"]);
    let file = proxy.rule_file.display().to_string();
    assert!(proxy.wait_log("permits every client").contains(&format!("{file}: line 1: ")));
    proxy.wait_log("lets other hosts reach services of this one");
    proxy.signal("HUP");
    proxy.wait_logs("permits every client", 2);
    let warnings = proxy.log().iter().filter(|line| line.contains("WARN")).count();
    assert!(warnings <= 4, "{:?}", proxy.log());
}
