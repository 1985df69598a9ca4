//! Which files count as scripts, and how their lines go out.

use super::*;
use std::os::unix::fs::symlink;

/// A directory of its own, with plain files `a` and `b.txt` in it.
fn directory(name: &str) -> Directory {
    let path = std::env::temp_dir().join(format!("socku-script-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir(&path).unwrap();
    fs::write(path.join("b.txt"), "ls\nexit\n").unwrap();
    fs::write(path.join("a"), "exit\n").unwrap();
    Directory(path)
}

fn lines(bytes: &str) -> Vec<String> {
    let mut script = Script::new(bytes);
    std::iter::from_fn(|| script.next_line()).map(|line| String::from_utf8(line).unwrap()).collect()
}

#[test]
fn every_line_goes_out_with_one_line_end() {
    assert_eq!(lines(""), [""; 0]);
    assert_eq!(lines("ls\nexit"), ["ls\n", "exit\n"]);
    assert_eq!(lines("ls\r\n\r\n\nexit\n"), ["ls\n", "\n", "\n", "exit\n"]);
    assert_eq!(lines("a\rb\r\r\n"), ["a\rb\r\n"]);
}

#[test]
fn only_plain_files_are_listed_and_read() {
    let directory = directory("plain");
    let path = &directory.0;
    fs::write(path.join(".hidden"), "exit\n").unwrap();
    fs::create_dir(path.join("sub")).unwrap();
    fs::write(path.join("sub/inner"), "exit\n").unwrap();
    symlink("/etc/passwd", path.join("outside")).unwrap();
    symlink("a", path.join("inside")).unwrap();
    let fifo = path.join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let socket = std::os::unix::net::UnixListener::bind(path.join("socket")).unwrap();

    assert_eq!(directory.list(), ["a", "b.txt"]);
    assert_eq!(directory.read("b.txt").unwrap().next_line().unwrap(), b"ls\n");
    for (name, expected) in [
        ("", "no script was chosen"),
        (".", "not the name of a script"),
        ("..", "not the name of a script"),
        ("../a", "not the name of a script"),
        ("/etc/passwd", "not the name of a script"),
        ("sub/inner", "not the name of a script"),
        ("a/", "not the name of a script"),
        (".hidden", "not the name of a script"),
        ("a\0", "not the name of a script"),
        (&"x".repeat(256), "not the name of a script"),
        ("sub", "the script is not a plain file"),
        ("outside", "the script is not a plain file"),
        ("inside", "the script is not a plain file"),
        ("fifo", "the script is not a plain file"),
        ("socket", "the script is not a plain file"),
        ("none", "the script cannot be read: entity not found"),
    ] {
        assert_eq!(directory.read(name).unwrap_err().to_string(), expected, "{name:?}");
    }
    drop(socket);
    fs::remove_dir_all(path).unwrap();
}

#[test]
fn a_script_may_have_its_most_bytes_and_not_one_more() {
    let directory = directory("long");
    let file = directory.0.join("a");
    fs::write(&file, vec![b'x'; SCRIPT_BYTES_MAX as usize]).unwrap();
    assert_eq!(directory.read("a").unwrap().bytes.len() as u64, SCRIPT_BYTES_MAX);
    fs::write(&file, vec![b'x'; SCRIPT_BYTES_MAX as usize + 1]).unwrap();
    assert!(matches!(directory.read("a"), Err(ScriptError::TooLong)));
    fs::remove_dir_all(&directory.0).unwrap();
}

#[test]
fn a_directory_that_is_not_there_has_no_scripts() {
    let directory = Directory("/nonexistent/scripts".into());
    assert_eq!(directory.list(), [""; 0]);
    assert!(directory.read("a").is_err());
}
