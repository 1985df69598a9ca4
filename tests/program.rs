//! The program's command line: flags, output, errors and exit codes; and what docs/rules.md says
//! of them.

#![cfg(feature = "server")]
#![cfg_attr(
    not(feature = "default"),
    allow(dead_code, unused_imports, reason = "only tests of an optional part use it")
)]

mod common;

use common::machine::CLOSED;
use common::{PERMIT_ALL, Proxy, echo_server, request, scratch_directory, socku};
use std::fs::{self, File, Permissions};
use std::net::{SocketAddrV4, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

const PAGE: &str = include_str!("../docs/rules.md");

/// Exit code, standard output and standard error.
fn outcome(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The command lines of the page's examples, with the lines shown below each.
fn examples() -> Vec<(String, Vec<String>)> {
    let mut examples: Vec<(String, Vec<String>)> = Vec::new();
    let mut is_open = false;
    for line in PAGE.lines() {
        if let Some(command) = line.strip_prefix("$ socku ") {
            examples.push((command.into(), Vec::new()));
            is_open = true;
        } else if line.starts_with("```") {
            is_open = false;
        } else if is_open {
            examples.last_mut().unwrap().1.push(line.into());
        }
    }
    examples
}

#[cfg(feature = "default")]
#[test]
fn the_examples_of_the_page_print_what_it_shows() {
    let directory = scratch_directory();
    fs::copy("socks.conf", directory.join("socks.conf")).unwrap();
    fs::write(directory.join("bad.conf"), "permit c 1.2.3.4\npermit x 1.2.3.4\n").unwrap();
    fs::write(directory.join("web.conf"), "# web\npermit c 10.0.0.0/8 port 443\n").unwrap();
    let examples = examples();
    assert!(examples.len() >= 5, "{examples:?}");
    for (command, shown) in examples {
        let arguments: Vec<&str> = match command.split_once(" \"") {
            Some((flags, question)) => {
                flags.split(' ').chain([question.trim_end_matches('"')]).collect()
            }
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
        let expected = format!("socku {}", env!("CARGO_PKG_VERSION"));
        assert_eq!((code, out.lines().next(), error.as_str()), (0, Some(&*expected), ""));
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
        (&["-l", "localhost:1090"], "--listen", "expected ADDR:PORT, an address and no name"),
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
}

#[cfg(feature = "explain")]
#[test]
fn a_bad_question_is_exit_code_2_and_one_line() {
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/socks.conf");
    let error = complaint(2, &["-c", rules, "-e", "c 1.2.3.4"]);
    assert!(error.contains("--explain") && error.contains("HOST:PORT"), "{error}");
}

#[test]
fn an_error_at_run_time_is_exit_code_1_and_one_line_with_flag_or_file() {
    let (taken, address) = common::listener();
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/socks.conf");
    let address = address.to_string();
    let listen = format!("socku: --listen {address}: ");
    let many: Vec<&str> = ["-l", "127.0.0.1:0"].repeat(33);
    let many = [&["-c", rules][..], &many].concat();
    for (arguments, place, what) in [
        (&[][..], "socks.conf, /etc/socku/socks.conf", "expected a rule file"),
        (&["-t"], "socks.conf", "expected a rule file"),
        (&["-c", "no-such.conf"], "no-such.conf", "expected a rule file"),
        (&["-t", "-c", "."], ".:", "found a directory, expected a regular file"),
        (&["-c", rules, "-l", &address], &*listen, "Address already in use"),
        (&["-c", rules, "-l", &address], &*listen, "each socku needs --reuse-port"),
        (&["-c", rules, "-l", "203.0.113.78:0"], "--listen 203.0.113.78:0: ", "Cannot assign"),
        (&many, "--listen", "expected at most 32 addresses"),
        (&["-c", rules, "-u", "no-such-user"], "--user", "no user \"no-such-user\""),
        (&["-c", rules, "-u", "root:no-such"], "--user", "no group \"no-such\""),
        (&["-c", rules, "-u", "54321"], "--user", "expected UID:GROUP"),
        (
            &["-c", rules, "-o", "203.0.113.78"],
            "--outbound \"203.0.113.78\"",
            "expected an address of",
        ),
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
    let question = ["-e", "c 1.2.3.4:80"];
    let question = if cfg!(feature = "explain") { &question[..] } else { &["-t"] };
    for arguments in [&["-t"][..], question, &[], &["-l", "127.0.0.1:0"]] {
        let error = complaint(1, &[arguments, &["-c", file]].concat());
        assert!(error.starts_with(&expected), "{error}");
    }
    fs::write(file, vec![b'x'; 1 << 20]).unwrap();
    assert!(complaint(1, &["-t", "-c", file]).len() < 400, "a long line is not repeated");
}

/// The lines of standard error of `-t` with these flags, which must fail.
fn errors_of_test(arguments: &[&str]) -> Vec<String> {
    let (code, out, error) = outcome(&mut socku(&[&["-t"], arguments].concat()));
    assert_eq!((code, out.as_str()), (1, ""), "{arguments:?}: {error}");
    error.lines().map(str::to_string).collect()
}

#[test]
fn a_test_gives_all_errors_of_files_and_flags() {
    let directory = scratch_directory();
    let [rules, users] = ["rules", "users"].map(|name| directory.join(name).display().to_string());
    fs::write(&rules, "permit c 1.2.3\npermit c 1.2.3.4\npermit x *\n").unwrap();
    fs::write(&users, "alice:secret\nnobody\nalice:other\n").unwrap();
    fs::set_permissions(&users, Permissions::from_mode(0o644)).unwrap();
    let flags =
        ["-o", "203.0.113.78", "-l", "203.0.113.77:0", "-l", "127.0.0.1:9", "-l", "0.0.0.0:9"];
    let files = ["-c", &rules, "--users", &users, "-u", "no-such-user"];
    let errors = errors_of_test(&[&files[..], &flags].concat());
    let expected = [
        format!("{rules}:1: found `1.2.3`, expected four octets"),
        format!("{rules}:3: found `x`, expected `c`"),
        format!("{users}: its mode is 0644, expected one that keeps others out"),
        format!("{users}:2: found a line without a colon, expected NAME:PASSWORD"),
        format!("{users}:3: found a second user `alice`, expected each name once"),
        "--outbound \"203.0.113.78\": expected an address of this host".into(),
        "--listen 203.0.113.77:0: Cannot assign".into(),
        "--listen 0.0.0.0:9: --listen 127.0.0.1:9 has its port already".into(),
        "--user: no user \"no-such-user\" in /etc/passwd".into(),
    ];
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    for (error, expected) in errors.iter().zip(expected) {
        assert!(error.starts_with(&format!("socku: {expected}")), "{error}");
    }
    fs::write(&rules, "wrong\n".repeat(250)).unwrap();
    let errors = errors_of_test(&["-c", &rules, "-o", "203.0.113.78"]);
    assert_eq!((errors.len(), errors[100].as_str()), (101, "socku: and 151 more"));
    assert!(errors_of_test(&["-c", "no-such", "-o", "203.0.113.78"]).len() == 2);
}

#[cfg(feature = "dead-rules")]
#[test]
fn a_test_warns_as_a_start_would_and_marks_rules_that_never_match() {
    let rules = "deny c 10.0.0.0/8\npermit c 10.1.1.1\npermit c any\npermit b 224.0.0.0/4\npermit c * auth\n";
    let proxy = Proxy::start(rules, &["-l", "0.0.0.0:0", "--max-sessions", "1000000"]);
    proxy.wait_log("line 4: never matches");
    let file = proxy.rule_file.to_str().unwrap();
    let arguments = ["-t", "-c", file, "-l", "0.0.0.0:0", "--max-sessions", "1000000"];
    let (code, out, error) = outcome(&mut socku(&arguments));
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    for line in [
        "   1: deny c 10.*.*.*\n",
        "   2: permit c 10.1.1.1   (never matches)\n",
        "   4: permit b 224.0.0.0/4   (never matches)\n",
        "warning: --max-sessions 1000000: limited to ",
        "line 2: permits every client",
        "line 2: never matches (`permit c 10.1.1.1`): line 1 matches first\n",
        "line 3: `any` is taken for the name of a host (`permit c any`)",
        "line 4: never matches (`permit b 224.0.0.0/4`): it cannot be the target of a connection\n",
        "line 5: `auth` matches nobody",
    ] {
        assert!(out.contains(line), "{line}\n{out}");
    }
    let logged: Vec<_> = proxy.log().into_iter().filter(|line| line.contains("WARN")).collect();
    let warnings: Vec<_> = out.lines().filter_map(|line| line.strip_prefix("warning: ")).collect();
    assert_eq!(logged.len(), warnings.len(), "{logged:#?}\n{warnings:#?}");
    for warning in warnings {
        assert!(logged.iter().any(|line| line.ends_with(warning)), "{warning}\n{logged:#?}");
    }
}

#[test]
fn a_test_warns_about_a_last_line_that_a_reload_would_refuse() {
    let file = scratch_directory().join("rules");
    fs::write(&file, "permit c 9.9.9.9").unwrap();
    let (code, out, _) = outcome(&mut socku(&["-t", "-c", file.to_str().unwrap()]));
    let expected = "warning: .*: found a last line without a newline, expected one after every rule; \
                    a reload will refuse the file";
    let (front, end) = expected.split_once(".*").unwrap();
    let line = out.lines().last().unwrap();
    assert!(code == 0 && line.starts_with(front) && line.ends_with(end), "{out}");
}

#[test]
fn a_start_and_a_test_find_ports_that_are_taken_twice_and_shared_ones_are_not() {
    let file = scratch_directory().join("rules");
    fs::write(&file, "permit c 9.9.9.9\n").unwrap();
    let test = |flags: &[&str]| {
        let (code, _, error) =
            outcome(&mut socku(&[&["-t", "-c", file.to_str().unwrap()], flags].concat()));
        (code, error)
    };
    let both = ["-l", "127.0.0.1:9", "-l", "0.0.0.0:9"];
    let taken = "socku: --listen 0.0.0.0:9: --listen 127.0.0.1:9 has its port already\n";
    assert_eq!(test(&both), (1, taken.into()));
    let start = ["-c", file.to_str().unwrap(), both[0], both[1], both[2], both[3]];
    assert_eq!(complaint(1, &start), taken);
    assert_eq!(test(&[&both[..], &["--reuse-port"]].concat()), (0, String::new()));
}

#[cfg(feature = "status")]
#[test]
fn a_start_and_a_test_find_an_address_of_the_status_page_that_cannot_be_had() {
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/socks.conf");
    let (taken, address) = common::listener();
    let address = address.to_string();
    let start = ["-c", rules, "-l", "127.0.0.1:0", "--status", &address];
    let error = complaint(1, &start);
    assert!(error.starts_with(&format!("socku: --status {address}: ")), "{error}");
    assert!(error.contains("in use"), "{error}");
    let test = |flags: &[&str]| complaint(1, &[&["-t", "-c", rules], flags].concat());
    let both = ["-l", "127.0.0.1:9", "--reuse-port", "--status", "127.0.0.1:9"];
    let expected = "socku: --status 127.0.0.1:9: --listen 127.0.0.1:9 has its port already\n";
    assert_eq!(test(&both), expected);
    assert_eq!(complaint(1, &[&["-c", rules], &both[..]].concat()), expected);
    let error = test(&["--status", "203.0.113.77:9100"]);
    assert!(error.starts_with("socku: --status 203.0.113.77:9100: Cannot"), "{error}");
    drop(taken);
}

#[cfg(all(feature = "status", feature = "explain"))]
#[test]
fn the_status_page_of_a_running_proxy_makes_no_test_fail_and_is_never_a_target() {
    let proxy = Proxy::start("permit c 127.*.*.*\n", &["--status", "127.0.0.1:0"]);
    let line = proxy.wait_log("status page at http://");
    let status = line.rsplit('/').nth(1).unwrap();
    let file = proxy.rule_file.to_str().unwrap();
    let (code, out, error) = outcome(&mut socku(&["-t", "-c", file, "--status", status]));
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    // Not even of a question.
    let any = format!("0.0.0.0:{}", status.rsplit(':').next().unwrap());
    for flags in [["--status", status], ["--status", &any], ["-l", status]] {
        let question = format!("c {status}");
        let (code, ..) = outcome(socku(&["-e", &question, "-c", file]).args(flags));
        assert_eq!(code, 3, "{flags:?}");
    }
}

#[test]
fn a_running_proxy_makes_no_test_fail() {
    let proxy = Proxy::start("permit c 127.*.*.*\n", &[]);
    let address = proxy.address.to_string();
    let file = proxy.rule_file.to_str().unwrap();
    let (code, out, error) = outcome(&mut socku(&["-t", "-c", file, "-l", &address]));
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
}

#[cfg(feature = "explain")]
#[test]
fn the_socket_of_a_running_proxy_is_never_the_target_of_a_question() {
    let proxy = Proxy::start("permit c 127.*.*.*\n", &[]);
    let address = proxy.address.to_string();
    let question = format!("c {address}");
    let arguments = ["-e", &question, "-c", proxy.rule_file.to_str().unwrap(), "-l", &address];
    let (code, out, _) = outcome(&mut socku(&arguments));
    assert_eq!((code, out.as_str()), (3, "deny: the proxy's own socket (a loop)\n"));
    let wildcard = format!("0.0.0.0:{}", proxy.address.port());
    let (code, ..) = outcome(&mut socku(&[&arguments[..5], &[&wildcard]].concat()));
    assert_eq!(code, 3);
    let (code, ..) = outcome(&mut socku(&arguments[..4]));
    assert_eq!(code, 0, "it is another program's");
}

#[cfg(feature = "explain")]
#[test]
fn a_question_is_decided_as_a_running_proxy_decides() {
    let rules = "deny c 127.0.0.9\npermit c 127.0.0.0/16 from 127.0.0.1 port 1-65000\n\
                 permit c 127.1.*.* user bob\npermit b 9.9.9.9\n";
    let proxy = Proxy::start(rules, &["-l", "0.0.0.0:0"]);
    let wildcard = proxy.wait_logs("listening on ", 1).pop().unwrap();
    let port: u16 = wildcard.rsplit(':').next().unwrap().parse().unwrap();
    let (file, listen) = (proxy.rule_file.to_str().unwrap(), format!("0.0.0.0:{port}"));
    let closed = CLOSED.port();
    let targets = [
        ("127.0.0.9", closed, "bob"),
        ("127.0.0.8", closed, "bob"),
        ("127.0.0.8", 65001, "bob"),
        ("127.0.0.8", port, "bob"),
        ("127.2.0.1", port, "bob"),
        ("127.1.0.1", closed, "bob"),
        ("127.1.0.1", closed, "eve"),
        ("127.1.0.1", 0, "bob"),
        ("224.0.0.1", 80, "bob"),
        ("0.1.0.1", 80, "bob"),
        ("9.9.9.9", 80, "bob"),
    ];
    for (id, (address, port, user)) in (1..).zip(targets) {
        let target = SocketAddrV4::new(address.parse().unwrap(), port);
        assert_eq!(proxy.refusal(&request(1, target, user.as_bytes())).0, 91);
        let line = proxy.access(id);
        let question = format!("c {target} user {user}");
        let (code, out, _) = outcome(&mut socku(&["-c", file, "-l", &listen, "-e", &question]));
        let denied = ["denied", "no-rule", "loop", "impossible-target"];
        let expected = if denied.contains(&line.field("reason")) { 3 } else { 0 };
        assert_eq!(code, expected, "{line:?}\n{out}");
        let words = match (line.field("reason"), line.field("rule")) {
            ("no-rule", _) => "no rule matches; nearest: line ".into(),
            ("loop", _) => "the proxy's own socket".into(),
            ("impossible-target", _) => "are never the target of a connection".into(),
            (_, rule) => format!(": line {rule}: "),
        };
        assert!(out.contains(&words), "{line:?}\n{out}");
    }
}

#[test]
fn a_start_tells_what_it_starts_with() {
    let rules = "permit c 127.*.*.*\n";
    let proxy = Proxy::start(rules, &["--max-sessions", "7"]);
    let line = proxy.wait_log("socku ");
    let (version, file) = (env!("CARGO_PKG_VERSION"), proxy.rule_file.display());
    let expected = format!("socku {version}: rules from {file}: 1 rule; at most 7 sessions");
    assert!(line.contains("INFO") && line.ends_with(&expected), "{line}");
    let log = proxy.log();
    let place = |text: &str| log.iter().position(|line| line.contains(text)).unwrap();
    assert!(place(&expected) < place("listening on "));
    fs::write(&proxy.rule_file, "permit c 127.*.*.*\npermit c ::1\n").unwrap();
    assert!(proxy.wait_log("in force").ends_with(": 2 rules in force"));
    fs::write(&proxy.rule_file, rules).unwrap();
    assert!(proxy.wait_logs("in force", 2)[1].ends_with(": 1 rule in force"));
}

#[cfg(feature = "explain")]
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
    fs::write(directory.join("socks.conf"), "permit c 9.9.9.9\n").unwrap();
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
