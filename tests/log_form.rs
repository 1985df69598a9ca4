//! The form of the log: causes in access lines, JSON, the journal, and docs/logging.md.

#![cfg(all(feature = "json", feature = "service"))]

mod common;

use common::machine::{CLOSED, own_address};
use common::tools::can_run;
use common::{
    PERMIT_ALL, Proxy, accept, echo_server, listener, read_all, read_reply, request, reset,
    scratch_directory, socku, wait_until,
};
use serde_json::{Map, Value};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

const JSON: [&str; 2] = ["--log-format", "json"];

/// The object of a line, which has nothing else in it.
fn object(line: &str) -> Map<String, Value> {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// Opens a BIND for a peer at loopback; returns the client and the advertised address.
fn bind(proxy: &Proxy) -> (TcpStream, SocketAddrV4) {
    let mut client = proxy.dial();
    client.write_all(&request(2, "127.0.0.1:20".parse().unwrap(), b"")).unwrap();
    let (code, advertised) = read_reply(&mut client);
    assert_eq!(code, 90);
    (client, advertised)
}

#[test]
fn the_access_line_of_a_session_names_the_error_that_ended_it() {
    let (taken, port) = listener();
    let ports = format!("{0}-{0}", port.port());
    let proxy = Proxy::start(PERMIT_ALL, &["--bind-ports", &ports]);
    assert_eq!(proxy.refusal(&request(1, CLOSED, b"")).0, 91);
    assert_eq!(proxy.refusal(&request(2, port, b"")).0, 91);
    let (target, address) = listener();
    let client = proxy.connect(address);
    reset(accept(&target));
    // The reset is passed on.
    assert!((&client).read(&mut [0]).is_err());
    let client = proxy.connect(address);
    let _target = accept(&target);
    reset(client);
    let stopped = proxy.connect(address);
    proxy.signal("TERM");
    proxy.wait_log("stopping; ");
    proxy.signal("TERM");
    for (id, reason, error) in [
        (1, "refused", Some("ECONNREFUSED")),
        (2, "bind-failed", Some("EADDRINUSE")),
        (3, "target-reset", Some("ECONNRESET")),
        (4, "client-reset", Some("ECONNRESET")),
        (5, "stopped", None),
    ] {
        let line = proxy.access(id);
        assert_eq!(line.field("reason"), reason);
        let shown = line.0.contains(" error=").then(|| line.field("error"));
        assert_eq!(shown, error, "{line:?}");
    }
    drop((stopped, taken));
}

#[test]
fn a_bind_tells_where_it_listens_and_what_it_advertised() {
    let proxy = Proxy::start(PERMIT_ALL, &["--bind-address", "203.0.113.9"]);
    drop(bind(&proxy).0);
    let line = proxy.access(1);
    let port = line.field("listening").strip_prefix("127.0.0.1:").unwrap();
    assert_eq!(line.field("advertised"), format!("203.0.113.9:{port}"));
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let (client, advertised) = bind(&proxy);
    proxy.signal("USR1");
    let open = proxy.wait_log(" dump] id=1 ");
    assert!(open.contains(&format!(" listening={advertised} ")), "{open}");
    drop(client);
    let line = proxy.access(1);
    assert_eq!(line.field("listening"), advertised.to_string());
    assert!(!line.0.contains(" advertised="), "{line:?}");
}

#[test]
fn a_client_that_does_not_speak_socks_is_shown_with_its_first_bytes() {
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 secret of the hello";
    let strange: [(&[u8], &str, Option<&str>); 4] = [
        (hello, r"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x20secr", Some("tls")),
        (b"CONNECT a.b:443 HTTP/1.1\r\n\r\n", r"CONNECT\x20a.b:443\x20", Some("http")),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n", r"PROXY\x20TCP4\x201.2.3", Some("proxy-v1")),
        (b"\xff", r"\xff", None),
    ];
    for (id, (bytes, shown, word)) in (1..).zip(strange) {
        let mut client = proxy.dial();
        client.write_all(bytes).unwrap();
        // A close over unread bytes would be a reset.
        assert!(read_all(&mut client).is_empty());
        let line = proxy.access(id);
        assert_eq!(line.field("bytes"), shown);
        let found = line.0.contains(" looks-like=").then(|| line.field("looks-like"));
        assert_eq!((line.field("reason"), found), ("bad-version", word));
    }
}

/// At level debug, with a dump, and to the error that ends a program.
#[test]
fn as_json_every_line_is_an_object_and_sessions_have_members() {
    let mut proxy = Proxy::start(PERMIT_ALL, &JSON);
    assert_eq!(proxy.refusal(&request(1, CLOSED, b"b b\"\\\xff")).0, 91);
    let (open, _) = bind(&proxy);
    proxy.signal("USR1");
    let dumped = object(&proxy.wait_log("\"logger\":\"dump\",\"id\":"));
    assert_eq!((&dumped["id"], &dumped["state"]), (&2.into(), &"awaiting-bind".into()));
    let address = proxy.address.to_string();
    let second = socku(&JSON).args(["-l", &address, "-c"]).arg(&proxy.rule_file).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let text = String::from_utf8(second.stderr).unwrap();
    let error = object(text.lines().last().unwrap());
    assert_eq!((&error["level"], &error["logger"]), (&"ERROR".into(), &"socku".into()));
    assert!(error["message"].as_str().unwrap().contains(&address), "{text}");
    drop(open);
    proxy.signal("TERM");
    assert_eq!(proxy.wait_exit(), Some(0));
    proxy.wait_log("\"stopped\"");
    let objects: Vec<_> = proxy.log().iter().map(|line| object(line)).collect();
    let access = objects.iter().find(|one| one["logger"] == "access").unwrap();
    assert_eq!(access["user"], r"b\x20b\x22\x5c\xff");
    assert_eq!((&access["id"], &access["reply"]), (&1.into(), &91.into()));
    assert_eq!(access["error"], "ECONNREFUSED");
    for one in &objects {
        let time = one["time"].as_str().unwrap();
        assert!(time.len() == "2026-11-30T08:00:00.000Z".len() && time.ends_with('Z'), "{time}");
        assert!(one.contains_key("message") != one.contains_key("id"), "{one:?}");
    }
    let levels: Vec<_> = objects.iter().map(|one| one["level"].as_str().unwrap()).collect();
    assert!(levels.contains(&"DEBUG") && levels.contains(&"INFO"), "{levels:?}");
}

/// Many sessions for a reader that takes little at a time, through the smallest pipe: objects are
/// whole, and those that are dropped are reported.
#[test]
fn under_a_flood_with_a_slow_reader_no_object_is_torn() {
    const SESSIONS: usize = 1_500;
    let (reader, stderr) = std::io::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&stderr, 4096).unwrap();
    let rule_file = scratch_directory().join("socks.conf");
    fs::write(&rule_file, PERMIT_ALL).unwrap();
    let mut command = socku(&JSON);
    command.args(["-l", "127.0.0.1:0", "--nameserver", &CLOSED.to_string(), "-c"]);
    command.arg(&rule_file).env("RUST_LOG", "info");
    let mut child = command.stderr(stderr).spawn().unwrap();
    drop(command);
    let mut lines = BufReader::with_capacity(512, reader).lines().map(Result::unwrap);
    let address: SocketAddrV4 = lines
        .by_ref()
        .map(|line| object(&line))
        .find_map(|line| line["message"].as_str()?.strip_prefix("listening on ")?.parse().ok())
        .unwrap();
    let user = [0xff; 200];
    for _ in 0..SESSIONS {
        let mut client = common::with_deadline(TcpStream::connect(address).unwrap());
        client.write_all(&request(1, CLOSED, &user)).unwrap();
        assert_eq!(read_reply(&mut client).0, 91);
    }
    let (mut ended, mut dropped) = (0, 0);
    for (number, line) in lines.enumerate() {
        let one = object(&line);
        let message = one.get("message").map(|message| message.as_str().unwrap());
        let lost = message.and_then(|text| text.strip_prefix("dropped ")?.split(' ').next());
        dropped += lost.map_or(0, |count| count.parse::<usize>().unwrap());
        ended += usize::from(one["logger"] == "access");
        if ended + dropped == SESSIONS {
            break;
        }
        if number % 64 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
    assert!(dropped > 0, "the reader was slow enough to lose lines");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The program with a standard error that its environment calls the journal's, or not.
fn start_under(stderr: OwnedFd, reader: File, is_journal: bool, flags: &[&str]) -> Proxy {
    let stderr = File::from(stderr);
    let at = stderr.metadata().unwrap();
    let inode = if is_journal { at.ino() } else { at.ino() + 1 };
    let rule_file = scratch_directory().join("socks.conf");
    fs::write(&rule_file, PERMIT_ALL).unwrap();
    let mut command = socku(flags);
    command.args(["-l", "127.0.0.1:0", "--nameserver", &CLOSED.to_string(), "-c"]);
    command.arg(&rule_file).env("JOURNAL_STREAM", format!("{}:{inode}", at.dev()));
    Proxy::spawn_with(command, rule_file, stderr, reader)
}

#[test]
fn under_the_journal_each_line_has_its_priority_and_nothing_twice() {
    let socket = || {
        let (reader, stderr) = UnixStream::pair().unwrap();
        (OwnedFd::from(stderr), File::from(OwnedFd::from(reader)))
    };
    let pipe = || {
        let (reader, stderr) = std::io::pipe().unwrap();
        (OwnedFd::from(stderr), File::from(OwnedFd::from(reader)))
    };
    for (stderr, reader) in [socket(), pipe()] {
        let proxy = start_under(stderr, reader, true, &[]);
        proxy.refusal(&request(1, CLOSED, b""));
        let line = proxy.wait_log("[access] ");
        assert!(line.starts_with("<6>[access] id=1 client=127.0.0.1:"), "{line}");
        proxy.signal("TERM");
        proxy.wait_log("stopped");
        let levels = |line: &String| line.starts_with("<6>[") || line.starts_with("<7>[");
        assert!(proxy.log().iter().all(levels), "{:?}", proxy.log());
    }
    let (stderr, reader) = socket();
    let proxy = start_under(stderr, reader, true, &JSON);
    let line = proxy.wait_log("listening on ");
    assert_eq!(object(line.strip_prefix("<6>").unwrap())["level"], "INFO");
    let (stderr, reader) = socket();
    let proxy = start_under(stderr, reader, false, &[]);
    assert!(proxy.wait_log("listening on ").contains("Z INFO  socku::server] "));
}

#[test]
fn the_error_that_ends_the_program_has_a_priority_under_the_journal() {
    let (mut reader, stderr) = std::io::pipe().unwrap();
    let stderr = File::from(OwnedFd::from(stderr));
    let at = stderr.metadata().unwrap();
    let mut command = socku(&["--wrong"]);
    command.env("JOURNAL_STREAM", format!("{}:{}", at.dev(), at.ino()));
    assert_eq!(command.stderr(stderr).status().unwrap().code(), Some(2));
    drop(command);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("<3>socku: ") && text.lines().count() == 1, "{text}");
}

/// As logrotate does it with `copytruncate`, and as the documents say of `>`.
#[test]
fn a_log_file_may_be_truncated_if_it_was_opened_to_append() {
    for is_appended in [true, false] {
        let directory = scratch_directory();
        let (path, rule_file) = (directory.join("log"), directory.join("socks.conf"));
        fs::write(&rule_file, PERMIT_ALL).unwrap();
        let file = File::options().create(true).append(is_appended).write(true).open(&path);
        let address = own_address(100 + u8::from(is_appended));
        let address = SocketAddrV4::new(address, 1080);
        let mut command = socku(&["-l", &address.to_string(), "-c"]);
        command.arg(&rule_file).env("RUST_LOG", "info");
        let mut child = command.stderr(file.unwrap()).spawn().unwrap();
        let refuse = |id: u64| {
            let mut client =
                wait_until("the program to listen", || TcpStream::connect(address).ok());
            client.write_all(&request(1, CLOSED, b"")).unwrap();
            assert_eq!(read_reply(&mut client).0, 91);
            drop(client);
            wait_until("the access line", || {
                let text = fs::read_to_string(&path).unwrap();
                text.contains(&format!(" access] id={id} ")).then_some(text)
            })
        };
        let copy = refuse(1);
        File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        let text = refuse(2);
        assert_eq!(text.starts_with('\0'), !is_appended);
        let rest = text.trim_start_matches('\0');
        assert!(rest.starts_with('[') && rest.lines().count() == 1, "{rest:?}");
        let hole = if is_appended { 0 } else { copy.len() };
        assert_eq!(text.len() - rest.len(), hole);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// The page for operators.
fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/logging.md");
    fs::read_to_string(path).unwrap()
}

/// The lines of code on the page that contain this.
fn examples(text: &str) -> Vec<String> {
    let page = page();
    let lines = page.lines().filter_map(|line| line.strip_prefix("    "));
    lines.filter(|line| line.contains(text)).map(String::from).collect()
}

/// The pairs or members of a line that do not differ from one session to the next.
fn constants(line: &str) -> Vec<(String, String)> {
    let all: Vec<(String, String)> = match line.starts_with('{') {
        true => object(line).into_iter().map(|(name, value)| (name, value.to_string())).collect(),
        false => {
            let pairs = line.split(' ').filter_map(|pair| pair.split_once('='));
            pairs.map(|(name, value)| (name.into(), value.into())).collect()
        }
    };
    let differ = ["time", "client", "target", "address", "ms"];
    all.into_iter().filter(|(name, _)| !differ.contains(&name.as_str())).collect()
}

#[test]
fn the_examples_of_the_documents_are_what_the_program_writes() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let shown = examples("error");
    for (flags, start) in [(&[][..], "[20"), (&JSON, "{\"time\"")] {
        let proxy = Proxy::start(PERMIT_ALL, flags);
        proxy.refusal(&request(1, CLOSED, b"bob"));
        let line = proxy.wait_log("ECONNREFUSED");
        let example = shown.iter().find(|example| example.starts_with(start)).unwrap();
        assert_eq!(constants(example), constants(&line));
        assert!(constants(&line).len() >= 10, "{line}");
        let is_in_readme = readme.contains(&format!("\n    {example}\n"));
        assert!(is_in_readme || !flags.is_empty(), "README.md has another line than {example}");
    }
}

#[test]
fn the_queries_of_the_documents_find_what_they_are_for() {
    if !can_run(&["jq"]) {
        return;
    }
    let proxy = Proxy::start(PERMIT_ALL, &JSON);
    for _ in 0..2 {
        proxy.refusal(&request(1, CLOSED, b""));
    }
    let mut relayed = proxy.connect(echo_server());
    relayed.write_all(b"12345").unwrap();
    relayed.read_exact(&mut [0; 5]).unwrap();
    drop(relayed);
    proxy.wait_logs("\"logger\":\"access\"", 3);
    let directory = scratch_directory();
    fs::write(directory.join("socku.log"), proxy.log().join("\n")).unwrap();
    let run = |line: &str| {
        let mut command = Command::new("sh");
        let output = command.args(["-c", line]).current_dir(&directory).output().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let queries = examples("jq -");
    assert_eq!(queries.len(), 3, "{queries:?}");
    assert_eq!(run(&queries[0]).trim(), format!("2 {}", CLOSED));
    let sums: Value = serde_json::from_str(&run(&queries[1])).unwrap();
    let expected = serde_json::json!([{"client": "127.0.0.1", "up": 5, "down": 5}]);
    assert_eq!(sums, expected);
    let journal = queries[2].split_once(" | ").unwrap().1;
    let filter = journal.split("    #").next().unwrap();
    let done = run(&format!("cat socku.log | {filter}"));
    assert_eq!(done.lines().count(), 1, "{done}");
}

#[test]
fn a_wrong_format_is_an_error_of_the_command_line() {
    let output = socku(&["--log-format", "xml"]).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text, "socku: --log-format \"xml\": expected text or json\n");
}
