//! The console as a web server runs it, through the proxy, against shells whose every byte is
//! written here.

#![cfg(all(feature = "server", feature = "console"))]

mod common;

use common::machine::CLOSED;
use common::{PERMIT_ALL, Proxy, accept, listener, request, request_4a, scratch_directory};
use common::{wait_until, with_deadline};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddrV4, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};

/// A step of a shell.
enum Step {
    /// Send these bytes, byte by byte if the flag is set.
    Say(Vec<u8>),
    Dribble(Vec<u8>),
    /// Read exactly this line.
    Hear(&'static str),
    /// Wait until the test says so.
    Gate(Receiver<()>),
    /// Close for writing; nothing more may come.
    Bye,
}

fn say(bytes: impl AsRef<[u8]>) -> Step {
    Step::Say(bytes.as_ref().to_vec())
}

/// A shell for one connection that goes through these steps.
fn shell(steps: Vec<Step>) -> (SocketAddrV4, JoinHandle<()>) {
    let (listener, address) = listener();
    (address, thread::spawn(move || perform(&listener, steps)))
}

fn perform(listener: &TcpListener, steps: Vec<Step>) {
    let mut stream = accept(listener);
    stream.set_nodelay(true).unwrap();
    for step in steps {
        match step {
            Step::Say(bytes) => stream.write_all(&bytes).unwrap(),
            Step::Dribble(bytes) => {
                bytes.chunks(1).for_each(|byte| stream.write_all(byte).unwrap())
            }
            Step::Hear(line) => {
                let mut heard = vec![0; line.len()];
                stream.read_exact(&mut heard).unwrap();
                assert_eq!(String::from_utf8_lossy(&heard), line);
            }
            Step::Gate(gate) => gate.recv_timeout(common::DEADLINE).unwrap(),
            Step::Bye => stream.shutdown(std::net::Shutdown::Write).unwrap(),
        }
    }
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(String::from_utf8_lossy(&rest), "", "sent ahead of its prompt");
}

fn gate() -> (Sender<()>, Step) {
    let (opener, gate) = mpsc::channel();
    (opener, Step::Gate(gate))
}

/// The running console, and its columns as far as they have been read.
struct Console {
    child: Child,
    lines: Option<Receiver<String>>,
    head: String,
    columns: BTreeMap<String, String>,
    ended: bool,
}

/// The lines of a pipe as they come. Once they are taken no more, the pipe is closed at the next one.
fn lines_of(pipe: ChildStdout) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = String::new();
        while pipe.read_line(&mut line).unwrap() != 0 {
            if sender.send(std::mem::take(&mut line)).is_err() {
                return;
            }
        }
    });
    lines
}

fn scripts(files: &[(&str, &str)]) -> PathBuf {
    let directory = scratch_directory();
    for (name, text) in files {
        fs::write(directory.join(name), text).unwrap();
    }
    directory
}

fn query(proxy: SocketAddrV4, rows: &[(SocketAddrV4, &str)]) -> String {
    let row = |(at, (address, script)): (usize, &(SocketAddrV4, &str))| {
        format!("h{at}={}&p{at}={}&f{at}={script}&", address.ip(), address.port())
    };
    let rows: String = rows.iter().enumerate().map(row).collect();
    format!("{rows}sh={}&sp={}", proxy.ip(), proxy.port())
}

impl Console {
    fn start(query: &str, scripts: PathBuf, environment: &[(&str, &str)]) -> Console {
        let mut command = Command::new(env!("CARGO_BIN_EXE_socku-console"));
        command.env("QUERY_STRING", query).env("SOCKU_SCRIPTS", scripts);
        command.envs(environment.iter().copied()).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = Some(lines_of(child.stdout.take().unwrap()));
        Console { child, lines, head: String::new(), columns: BTreeMap::new(), ended: false }
    }

    /// Reads one line of the page: a piece for a column, or part of the page around them.
    fn step(&mut self) {
        let line = match self.lines.as_ref().unwrap().recv_timeout(common::DEADLINE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => return self.ended = true,
            Err(RecvTimeoutError::Timeout) => panic!("no line, not even a keep-alive"),
        };
        let Some((function, rest)) =
            line.strip_prefix("<script>").and_then(|piece| piece.split_once('('))
        else {
            self.head += &line;
            return;
        };
        let (at, rest) = rest.split_once(",'").unwrap();
        let html = rest.strip_suffix("')</script>\n").unwrap();
        let column = match function {
            "show" => format!("s{at}"),
            "ended" => format!("e{at}"),
            other => panic!("{other} in {line}"),
        };
        *self.columns.entry(column).or_default() += &read(html);
    }

    /// Reads on until this column has this text.
    fn wait_column(&mut self, column: &str, text: &str) {
        while self.column(column) != text {
            assert!(!self.ended, "{column}: {:?}, expected {text:?}", self.column(column));
            self.step();
        }
    }

    fn column(&self, column: &str) -> &str {
        self.columns.get(column).map_or("", |text| text)
    }

    /// Reads everything to the end.
    fn finish(&mut self) {
        while !self.ended {
            self.step();
        }
        assert!(self.child.wait().unwrap().success());
        assert!(self.head.ends_with("</body>\n</html>\n"), "{}", self.head);
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A piece as a browser shows it: the string literal, then HTML with `<b>` and `<em>`.
fn read(literal: &str) -> String {
    let mut html = String::new();
    let mut source = literal.chars();
    while let Some(character) = source.next() {
        assert!(!matches!(character, '\'' | '\n' | '\r' | '\u{2028}' | '\u{2029}'), "{literal}");
        html.push(match (character, character == '\\') {
            (_, true) => match source.next() {
                Some('\\') => '\\',
                Some('u') => {
                    let digits: String = source.by_ref().take(4).collect();
                    char::from_u32(u32::from_str_radix(&digits, 16).unwrap()).unwrap()
                }
                other => panic!("escape {other:?}"),
            },
            (plain, false) => plain,
        });
    }
    let text = html.replace("<b>", "\u{1}").replace("</b>", "\u{2}");
    let text = text.replace("<em>", "\u{3}").replace("</em>", "\u{4}");
    assert!(!text.contains(['<', '>']), "{literal}");
    let text = text.replace("&NewLine;", "\n").replace("&lt;", "<").replace("&gt;", ">");
    let text = text.replace("&quot;", "\"").replace("&#39;", "'");
    let text = text.replace('\u{1}', "<b>").replace('\u{2}', "</b>");
    let text = text.replace('\u{3}', "<em>").replace('\u{4}', "</em>");
    text.replace("&amp;", "&")
}

#[test]
fn prompts_commands_and_results_stand_in_their_order_to_the_byte() {
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let (address, shell) = shell(vec![
        say("** welcome **\n%"),
        say(" "),
        Step::Hear("ls\n"),
        say("a\r\nb\n% "),
        Step::Hear("cat 'x'\n"),
        Step::Dribble("<é> 中 &amp; 😀\\n '\"\u{1b}[1m\t\0|\n</script>\n% ".into()),
        Step::Hear("\n"),
        say(b"\xff\xe2\x82 no line end% "),
        Step::Hear("exit <é>\n"),
        say(b"bye \xf0\x9f"),
        Step::Bye,
    ]);
    let scripts = scripts(&[("t1.txt", "ls\r\ncat 'x'\n\nexit <é>")]);
    let mut console = Console::start(&query(proxy.address, &[(address, "t1.txt")]), scripts, &[]);
    console.finish();
    shell.join().unwrap();
    assert_eq!(
        console.column("s0"),
        "** welcome **\n% <b>ls\n</b>a\nb\n% <b>cat 'x'\n</b>\
         <é> 中 &amp; 😀\\n '\"\u{1b}[1m\t\u{fffd}|\n</script>\n% <b>\n</b>\
         \u{fffd}\u{fffd} no line end% <b>exit <é>\n</b>bye \u{fffd}"
    );
    assert_eq!(console.column("e0"), "closed");
}

#[test]
fn five_sessions_run_at_once_and_none_waits_for_another() {
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let (mut openers, mut shells, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    for at in 0..5 {
        let (opener, gate) = gate();
        let steps = vec![
            say(format!("shell {at}\n% ")),
            Step::Hear("go\n"),
            gate,
            say("gone\n% "),
            Step::Hear("exit\n"),
            Step::Bye,
        ];
        let (address, shell) = shell(steps);
        openers.push(opener);
        shells.push(shell);
        rows.push((address, "t.txt"));
    }
    let scripts = scripts(&[("t.txt", "go\nexit\n")]);
    let mut console = Console::start(&query(proxy.address, &rows), scripts, &[]);
    // All are open, and what they said is there, while none can go on.
    for at in 0..5 {
        console.wait_column(&format!("s{at}"), &format!("shell {at}\n% <b>go\n</b>"));
    }
    // The last one goes to its end while the others stand still.
    for (at, opener) in openers.iter().enumerate().rev() {
        opener.send(()).unwrap();
        console.wait_column(&format!("e{at}"), "closed");
        let text = format!("shell {at}\n% <b>go\n</b>gone\n% <b>exit\n</b>");
        assert_eq!(console.column(&format!("s{at}")), text);
        assert!((0..at).all(|other| console.column(&format!("e{other}")).is_empty()));
    }
    console.finish();
    shells.into_iter().for_each(|shell| shell.join().unwrap());
}

#[test]
fn nothing_is_sent_ahead_of_a_prompt() {
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    // Bytes after the one line that is due make the shell fail.
    let steps = vec![say("% "), Step::Hear("a\n"), say("50% \ndone\n %\n"), Step::Bye];
    let (address, shell) = shell(steps);
    let scripts = scripts(&[("t.txt", "a\nb\nc\n")]);
    let mut console = Console::start(&query(proxy.address, &[(address, "t.txt")]), scripts, &[]);
    console.finish();
    shell.join().unwrap();
    assert_eq!(console.column("s0"), "% <b>a\n</b>50% \ndone\n %\n");
    assert_eq!(console.column("e0"), "closed");
}

#[test]
fn a_script_without_exit_ends_the_shell_by_closing() {
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let (listener, address) = listener();
    let scripts = scripts(&[("t.txt", "a\n")]);
    let mut console = Console::start(&query(proxy.address, &[(address, "t.txt")]), scripts, &[]);
    let mut stream = accept(&listener);
    stream.write_all(b"% % ").unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "a\n");
    stream.write_all(b"bye\n").unwrap();
    drop(stream);
    console.finish();
    assert_eq!(console.column("s0"), "% <b>a\n</b>% bye\n");
}

#[test]
fn a_session_that_fails_says_why_in_its_own_column() {
    let rules = "deny c 127.0.0.9\npermit c *.*.*.*\n";
    let proxy = Proxy::start(rules, &[]);
    let (address, shell) = shell(vec![say("% "), Step::Hear("exit\n"), Step::Bye]);
    let scripts = scripts(&[("t.txt", "exit\n")]);
    let query = format!(
        "h0=127.0.0.1&p0={}&f0=..%2Ft.txt&h1=127.0.0.9&p1=80&f1=t.txt&h2=127.0.0.1&p2=x&f2=t.txt&\
         h3=127.0.0.1&p3={}&f3=t.txt&h4=127.0.0.1&p4={}&f4=t.txt&sh=127.0.0.1&sp={}",
        address.port(),
        address.port(),
        CLOSED.port(),
        proxy.address.port()
    );
    let mut console = Console::start(&query, scripts, &[]);
    console.finish();
    shell.join().unwrap();
    let refused = "<em>the SOCKS proxy rejected the request: it is not allowed or failed, the proxy \
                   does not say why</em>";
    for (column, text) in [
        ("s0", "<em>not the name of a script</em>"),
        ("s1", refused),
        ("s2", "<em>the port must be a number from 1 to 65535</em>"),
        ("s3", "% <b>exit\n</b>"),
        ("s4", refused),
    ] {
        assert_eq!(console.column(column), text, "{column}");
    }
    let states = ["failed", "failed", "failed", "closed", "failed"];
    for (at, state) in states.iter().enumerate() {
        assert_eq!(console.column(&format!("e{at}")), *state, "{at}");
    }
}

/// The request that a proxy of our own gets for `host`, and the console that sent it.
fn request_for(host: &str, reply: &[u8], length: usize) -> (Vec<u8>, TcpStream, Console) {
    let (listener, address) = listener();
    let query = format!("h0={host}&p0=7001&f0=t.txt&sh=127.0.0.1&sp={}", address.port());
    let console = Console::start(&query, scripts(&[("t.txt", "exit\n")]), &[]);
    let mut stream = accept(&listener);
    let mut asked = vec![0; length];
    stream.read_exact(&mut asked).unwrap();
    stream.write_all(reply).unwrap();
    (asked, stream, console)
}

#[test]
fn a_name_goes_to_the_proxy_as_socks4a_and_an_address_as_socks4() {
    // The bytes after the reply in one packet belong to the session.
    let granted = b"\0\x5a\0\0\0\0\0\0hello\n% ";
    let expected = request_4a(1, b"shell.example", 7001, b"");
    let (asked, mut stream, mut console) = request_for("Shell.Example", granted, expected.len());
    assert_eq!(asked, expected);
    let mut line = [0; 5];
    stream.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"exit\n");
    drop(stream);
    console.finish();
    assert_eq!(console.column("s0"), "hello\n% <b>exit\n</b>");

    let expected = request(1, "127.0.0.1:7001".parse().unwrap(), b"");
    let (asked, stream, mut console) =
        request_for("127.0.0.1", b"\0\x5d\0\0\0\0\0\0", expected.len());
    assert_eq!(asked, expected);
    drop(stream);
    console.finish();
    assert_eq!(
        console.column("s0"),
        "<em>the SOCKS proxy rejected the request: the identd of this host names another user</em>"
    );
}

#[test]
fn a_server_without_socks_and_one_that_is_not_there_give_different_reasons() {
    let asked = request(1, "127.0.0.1:7001".parse().unwrap(), b"").len();
    let (_, stream, mut console) = request_for("127.0.0.1", b"HTTP/1.1 400 <b>", asked);
    console.finish();
    drop(stream);
    assert_eq!(
        console.column("s0"),
        "<em>this is not how a SOCKS proxy answers: 48 54 54 50 2f 31 2e 31</em>"
    );
    let (_, stream, mut console) = request_for("127.0.0.1", b"\0\x5a", asked);
    drop(stream);
    console.finish();
    assert_eq!(
        console.column("s0"),
        "<em>the SOCKS proxy closed the connection within its answer: 00 5a</em>"
    );
}

#[test]
fn silence_ends_a_session_at_its_time_outs() {
    let (listener, address) = listener();
    let scripts = scripts(&[("t.txt", "exit\n")]);
    let limit = [("SOCKU_IDLE_TIMEOUT", "1")];
    let mut console =
        Console::start(&query(address, &[(address, "t.txt")]), scripts.clone(), &limit);
    let mut stream = accept(&listener);
    // The shell's word comes with the proxy's: it cannot be late.
    stream.write_all(b"\0\x5a\0\0\0\0\0\0wait\n").unwrap();
    console.finish();
    assert_eq!(console.column("s0"), "wait\n<em>nothing for 1 seconds: given up</em>");

    // This listener takes the connection and never answers the request.
    let limit = [("SOCKU_CONNECT_TIMEOUT", "1")];
    let mut console = Console::start(&query(address, &[(address, "t.txt")]), scripts, &limit);
    console.finish();
    assert_eq!(
        console.column("s0"),
        format!("<em>time-out while waiting for the reply of the SOCKS proxy at {address}</em>")
    );
}

#[test]
fn everything_ends_when_the_browser_leaves() {
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let (listener, address) = listener();
    let scripts = scripts(&[("t.txt", "exit\n")]);
    let mut console = Console::start(&query(proxy.address, &[(address, "t.txt")]), scripts, &[]);
    let mut stream = accept(&listener);
    stream.write_all(b"silent from here on\n").unwrap();
    console.wait_column("s0", "silent from here on\n");
    console.lines = None;
    wait_until("the console to end", || console.child.try_wait().unwrap());
    let mut rest = Vec::new();
    let _ = with_deadline(stream).read_to_end(&mut rest);
    assert_eq!(rest, b"");
}

/// The whole answer to a request that starts no session.
fn answer(environment: &[(&str, &str)], scripts: &PathBuf) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_socku-console"));
    command.env_remove("QUERY_STRING").env("SOCKU_SCRIPTS", scripts).stdin(Stdio::null());
    let output = command.envs(environment.iter().copied()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn without_rows_there_is_the_panel() {
    let scripts = scripts(&[("t1.txt", ""), (".hidden", ""), ("a&b", "")]);
    fs::create_dir(scripts.join("directory")).unwrap();
    let panel = answer(&[], &scripts);
    assert!(panel.starts_with("Content-Type: text/html; charset=utf-8\r\n"));
    assert_eq!(panel.matches("<option value=\"t1.txt\">").count(), 5);
    assert_eq!(panel.matches("<option value=\"a&amp;b\">").count(), 5);
    assert!(!panel.contains(".hidden") && !panel.contains("directory\""));
    assert_eq!(answer(&[("QUERY_STRING", "")], &scripts), panel);
    let filled = answer(&[("QUERY_STRING", "h0=&p0=&f0=t1.txt&sh=%22%3E&sp=9")], &scripts);
    assert!(filled.contains("Nothing to connect to"));
    assert_eq!(filled.matches("<option value=\"t1.txt\" selected>").count(), 1);
    assert!(filled.contains("value=\"&quot;&gt;\""));
}

#[test]
fn only_get_and_head_are_answered_and_a_query_has_its_limit() {
    let scripts = scripts(&[]);
    let row = ("QUERY_STRING", "h0=127.0.0.1&p0=1&f0=t&sh=127.0.0.1&sp=1");
    let head = answer(&[("REQUEST_METHOD", "HEAD"), row], &scripts);
    assert!(head.starts_with("Content-Type: ") && head.ends_with("\r\n\r\n"));
    let post = answer(&[("REQUEST_METHOD", "POST"), row], &scripts);
    assert!(post.starts_with("Status: 405 Method Not Allowed\r\n"));
    let long = "x".repeat(20_000);
    let long = answer(&[("REQUEST_METHOD", "GET"), ("QUERY_STRING", &long)], &scripts);
    assert!(long.starts_with("Status: 414 URI Too Long\r\n"));
}
