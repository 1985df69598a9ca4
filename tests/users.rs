//! The users file: read at start and by `-t`, read again when it changes, and never open to others.

#![cfg(feature = "server")]

mod common;

use common::tools::can_run;
use common::{PERMIT_ALL, Proxy, scratch_directory, socku};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const ONE: &str = "alice:secret\n";
const TWO: &str = "# two of them\nalice:secret\nbob: two words: # all of it\n";

/// A users file with this text that only its owner can read.
fn users_file(text: &str) -> PathBuf {
    let file = scratch_directory().join("users");
    write(&file, text);
    file
}

/// Replaces the file as a whole, so that it is read once.
fn write(file: &Path, text: &str) {
    let new = file.with_file_name("new");
    let _ = fs::remove_file(&new);
    fs::write(&new, text).unwrap();
    set_mode(&new, 0o600);
    fs::rename(new, file).unwrap();
}

fn set_mode(file: &Path, mode: u32) {
    fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
}

fn start(file: &Path) -> Proxy {
    Proxy::start(PERMIT_ALL, &["--users", file.to_str().unwrap()])
}

/// How many users are in force.
fn in_force(proxy: &Proxy) -> usize {
    let dump = proxy.dump();
    let (_, users) = dump.split_once(" users=").unwrap();
    users.split(' ').next().unwrap().parse().unwrap()
}

/// The line that says so once a change has taken effect.
fn wait_in_force(proxy: &Proxy, file: &Path, users: usize) {
    let noun = if users == 1 { "user" } else { "users" };
    let line = proxy.wait_log(&format!("{}: {users} {noun} in force", file.display()));
    assert!(line.contains("INFO"), "{line}");
    assert_eq!(in_force(proxy), users);
}

/// Exit code, standard output and standard error.
fn outcome(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn without_a_users_file_there_is_no_user() {
    assert_eq!(in_force(&Proxy::start(PERMIT_ALL, &[])), 0);
}

#[test]
fn a_change_of_the_users_file_takes_effect_and_so_does_hup() {
    let file = users_file(ONE);
    let mut proxy = start(&file);
    assert_eq!(in_force(&proxy), 1);
    write(&file, TWO);
    wait_in_force(&proxy, &file, 2);
    // Written in place: it is read once its writer has closed it.
    fs::write(&file, TWO.to_string() + "carol:x\r\n").unwrap();
    wait_in_force(&proxy, &file, 3);
    proxy.signal("HUP");
    proxy.wait_logs("3 users in force", 2);
    fs::remove_file(&file).unwrap();
    proxy.wait_log("the users in force stay");
    write(&file, ONE);
    wait_in_force(&proxy, &file, 1);
    assert!(!proxy.log().iter().any(|line| line.contains("secret")), "{:?}", proxy.log());
    proxy.wait_idle();
}

type Change = fn(&Path);

#[test]
fn a_bad_users_file_changes_nothing_and_the_log_says_why() {
    let cases: [(&str, Change); 8] = [
        (": found no user, expected at least one line NAME:PASSWORD", |file| write(file, "")),
        (":2: found a line without a colon, expected NAME:PASSWORD", |file| {
            write(file, "alice:secret\nsecret\n");
        }),
        (":3: found a second user `alice`, expected each name once", |file| {
            write(file, "alice:secret\n\nalice:secret\n");
        }),
        (": found a last line without a newline, expected one after every user", |file| {
            write(file, "alice:secret\nbob:sec");
        }),
        (
            ": its mode is 0644, expected one that keeps others out, for example: chmod 640 ",
            |file| {
                set_mode(file, 0o644);
            },
        ),
        (": no such file, expected", |file| fs::remove_file(file).unwrap()),
        (": found a FIFO, expected a regular file", |file| {
            let new = file.with_file_name("fifo");
            mknodat(CWD, &new, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
            fs::rename(new, file).unwrap();
        }),
        (": found a directory, expected a regular file", |file| {
            fs::remove_file(file).unwrap();
            fs::create_dir(file).unwrap();
        }),
    ];
    for (expected, change) in cases {
        let file = users_file(TWO);
        let proxy = start(&file);
        change(&file);
        let error = proxy.wait_log(&format!("{}{expected}", file.display()));
        assert!(error.contains("ERROR") && error.ends_with("; the users in force stay"), "{error}");
        assert!(!error.contains("secret"), "{error}");
        assert_eq!(in_force(&proxy), 2, "{expected}");
        proxy.signal("HUP");
        proxy.wait_logs(expected, 2);
        assert_eq!(in_force(&proxy), 2, "{expected}");
        if file.is_dir() {
            fs::remove_dir(&file).unwrap();
        }
        write(&file, ONE);
        wait_in_force(&proxy, &file, 1);
    }
}

#[test]
fn a_mode_that_is_put_right_takes_effect() {
    let file = users_file(ONE);
    let proxy = start(&file);
    set_mode(&file, 0o666);
    proxy.wait_log("its mode is 0666");
    set_mode(&file, 0o640);
    wait_in_force(&proxy, &file, 1);
}

#[test]
fn a_bad_users_file_is_an_error_at_start_and_for_test() {
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/socks.conf");
    let file = users_file("# comment\nalice:secret\nbob\n");
    let path = file.to_str().unwrap();
    let check = |expected: &str| {
        for flags in [&["-l", "127.0.0.1:0"][..], &["-t"]] {
            let (code, out, error) = outcome(socku(flags).args(["-c", rules, "--users", path]));
            assert_eq!((code, &*out), (1, ""), "{flags:?}: {error}");
            let expected = format!("socku: {path}{expected}\n");
            assert_eq!(error, expected, "{flags:?}");
        }
    };
    check(":3: found a line without a colon, expected NAME:PASSWORD");
    write(&file, "\n");
    check(": found no user, expected at least one line NAME:PASSWORD");
    write(&file, ONE);
    set_mode(&file, 0o604);
    let mode = "one that keeps others out, for example: chmod 640 ";
    check(&format!(": its mode is 0604, expected {mode}{path}"));
    fs::remove_file(&file).unwrap();
    check(": no such file, expected a users file");
    fs::create_dir(&file).unwrap();
    check(": found a directory, expected a regular file");
}

#[test]
fn test_prints_the_number_of_users_after_the_rules() {
    let rules = scratch_directory().join("rules");
    fs::write(&rules, "permit c 9.9.9.9 auth\n").unwrap();
    // At start nobody is writing the file, so that its last line may lack its end.
    let file = users_file(TWO.trim_end());
    let mut command = socku(&["-t", "-c", rules.to_str().unwrap(), "--users"]);
    let (code, out, error) = outcome(command.arg(&file));
    let users = format!("{}: 2 users\n", file.display());
    let expected =
        format!("   1: permit c 9.9.9.9 auth\n   -: deny everything else\n{users}warning: ");
    assert_eq!((code, error), (0, String::new()));
    // That a reload would not take it is a warning.
    assert!(out.starts_with(&expected) && out.lines().count() == 4, "{out}");
    assert!(out.contains("found a last line without a newline"), "{out}");
}

/// A file of root's that was read before root was given up.
#[test]
fn a_users_file_that_the_user_cannot_read_again_is_warned_about() {
    if !can_run(&[]) {
        return;
    }
    // Each part of the way there has to be open to the user.
    let directory = std::env::temp_dir().join(format!("socku-users-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    set_mode(&directory, 0o755);
    let file = directory.join("users");
    write(&file, ONE);
    let flags = ["--users", file.to_str().unwrap(), "-u", "54321:54321"];
    let proxy = Proxy::start(PERMIT_ALL, &flags);
    let warning = format!("{}: Permission denied", file.display());
    let line = proxy.wait_log(&warning);
    assert!(line.contains("WARN"), "{line}");
    assert!(line.ends_with("; --user may not read it, so changes will not take effect"), "{line}");
    drop(proxy);
    // And `-t` finds it before.
    let rules = directory.join("rules");
    fs::write(&rules, "permit c 127.*.*.*\n").unwrap();
    let test = || outcome(socku(&["-t", "-c", rules.to_str().unwrap()]).args(flags));
    let (code, out, error) = test();
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert!(out.contains(&format!("warning: {warning}")), "{out}");
    set_mode(&file, 0o640);
    rustix::fs::chown(&file, None, Some(rustix::process::Gid::from_raw(54321))).unwrap();
    assert!(!test().1.contains("Permission denied"));
    let proxy = Proxy::start(PERMIT_ALL, &flags);
    let mut writer = fs::File::options().append(true).open(&file).unwrap();
    writer.write_all(b"bob:x\n").unwrap();
    drop(writer);
    wait_in_force(&proxy, &file, 2);
    assert!(!proxy.log().iter().any(|line| line.contains(&warning)), "{:?}", proxy.log());
    drop(proxy);
    fs::remove_dir_all(&directory).unwrap();
}
