//! The status listener of the program: metrics, page and events, and clients that misbehave. What
//! takes longer, such as time-outs, is in tests/status/run.

#![cfg(feature = "status")]

mod common;

use common::*;
use std::io::{ErrorKind, PipeReader, Read, Write};
use std::net::{Shutdown, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const STATUS: &[&str] = &["--status", "127.0.0.1:0"];
/// Longer than the time between two events.
const QUIET: Duration = Duration::from_millis(1500);

/// Where the status page of a proxy is.
fn status_address(proxy: &Proxy) -> SocketAddrV4 {
    let line = proxy.wait_log("status page at http://");
    let (_, rest) = line.split_once("http://").unwrap();
    rest.trim_end_matches('/').parse().unwrap()
}

fn start(rules: &str, more: &[&str]) -> (Proxy, SocketAddrV4) {
    let proxy = Proxy::start(rules, &[STATUS, more].concat());
    let address = status_address(&proxy);
    (proxy, address)
}

fn dial(address: SocketAddrV4) -> TcpStream {
    with_deadline(TcpStream::connect(address).unwrap())
}

/// Sends bytes and reads the answer to its end: head and body.
fn exchange(address: SocketAddrV4, request: &[u8]) -> (String, String) {
    let mut stream = dial(address);
    stream.write_all(request).unwrap();
    answer(stream)
}

fn answer(mut stream: TcpStream) -> (String, String) {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.into(), body.into())
}

fn request_for(path: &str, more: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{more}\r\n").into_bytes()
}

fn metrics(address: SocketAddrV4) -> String {
    let (head, body) = exchange(address, &request_for("/metrics", ""));
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    body
}

/// The value of a sample.
fn value(text: &str, sample: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {sample}")).parse().unwrap()
}

fn wait_metric(address: SocketAddrV4, sample: &str, expected: f64) {
    wait_until(&format!("{sample} {expected}"), || {
        (value(&metrics(address), sample) == expected).then_some(())
    });
}

/// A stream of events.
struct Events(TcpStream, Vec<u8>);

impl Events {
    fn open(address: SocketAddrV4) -> Events {
        let mut stream = dial(address);
        stream.write_all(&request_for("/events", "")).unwrap();
        let mut events = Events(stream, Vec::new());
        let head = events.until("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("text/event-stream"), "{head}");
        events
    }

    /// Everything up to this text; `None` when nothing comes within the stream's time-out.
    fn until(&mut self, end: &str) -> Option<String> {
        loop {
            let text = String::from_utf8_lossy(&self.1).into_owned();
            if let Some(at) = text.find(end) {
                self.1.drain(..at + end.len());
                return Some(text[..at].into());
            }
            let mut piece = [0; 4096];
            match self.0.read(&mut piece) {
                Ok(0) => panic!("the stream has ended after {text:?}"),
                Ok(n) => self.1.extend_from_slice(&piece[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The next event.
    fn next(&mut self) -> Option<String> {
        let event = self.until("\n\n")?;
        let data = event.strip_prefix("data: ").unwrap_or_else(|| panic!("{event:?}"));
        assert!(data.starts_with('{') && data.ends_with('}') && !data.contains('\n'), "{data}");
        Some(data.into())
    }

    /// Reads until nothing comes any more.
    fn settle(&mut self) {
        self.0.set_read_timeout(Some(2 * QUIET)).unwrap();
        let until = Instant::now() + DEADLINE;
        while self.next().is_some() {
            assert!(Instant::now() < until, "events that never end");
        }
        self.0.set_read_timeout(Some(QUIET)).unwrap();
    }
}

#[test]
fn each_request_has_its_answer() {
    let (_proxy, address) = start(PERMIT_ALL, &[]);
    for (request, status, field) in [
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 200, "Content-Type: text/html"),
        ("HEAD / HTTP/1.1\r\nHost: localhost:1\r\n\r\n", 200, "Content-Type: text/html"),
        ("GET /metrics HTTP/1.0\r\n\r\n", 200, "Content-Type: text/plain; version=0.0.4"),
        (
            "GET /metrics HTTP/1.1\r\nHost: [::1]:1\r\nAccept: application/openmetrics-text\r\n\r\n",
            200,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        (
            "GET /snapshot HTTP/1.1\r\nHost: localhost\r\n\r\n",
            200,
            "Content-Type: application/json",
        ),
        ("HEAD /snapshot HTTP/1.1\r\nHost: localhost\r\n\r\n", 200, "application/json"),
        ("HEAD /events HTTP/1.1\r\nHost: localhost\r\n\r\n", 200, "text/event-stream"),
        ("GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, ""),
        ("POST /metrics HTTP/1.1\r\nHost: localhost\r\n\r\nbody", 405, "Allow: GET, HEAD"),
        ("GET / HTTP/1.1\r\nHost: attacker.example\r\n\r\n", 403, ""),
        ("GET / HTTP/1.1\r\n\r\n", 400, ""),
        ("\x04\x01\0\x50\x7f\0\0\x01\0", 400, ""),
    ] {
        let (head, body) = exchange(address, request.as_bytes());
        let expected = format!("HTTP/1.1 {status} ");
        assert!(head.starts_with(&expected) && head.contains(field), "{request}: {head}");
        for field in ["Content-Security-Policy: ", "Cache-Control: no-store", "nosniff"] {
            assert!(head.contains(field), "{request}: {head}");
        }
        assert_eq!(body.is_empty(), request.starts_with("HEAD"), "{request}");
        assert_eq!(body.ends_with("# EOF\n"), head.contains("openmetrics"), "{request}");
    }
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let (head, _) = exchange(address, &long.as_bytes()[..20_000]);
    assert!(head.starts_with("HTTP/1.1 431 "), "{head}");
}

#[test]
fn an_answer_is_whole_whatever_follows_its_request() {
    let (proxy, address) = start(PERMIT_ALL, &[]);
    let again = request_for("/metrics", "");
    let garbage: Vec<u8> = (0..40_000u32).map(|n| (n * 7) as u8).collect();
    for rest in [again.repeat(100), garbage] {
        let (head, body) = exchange(address, &[request_for("/metrics", ""), rest].concat());
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
    }
    // One that goes on for ever is not listened to for ever.
    let mut stream = dial(address);
    stream.write_all(&request_for("/", "")).unwrap();
    wait_until("the end", || stream.write_all(&[b'x'; 10_000]).err());
    assert_eq!(value(&metrics(address), "socku_sessions_opened_total"), 0.0);
    assert!(!proxy.log().iter().any(|line| line.contains("WARN")), "{:?}", proxy.log());
}

#[test]
fn twenty_clients_at_once_are_all_answered() {
    let (_proxy, address) = start(PERMIT_ALL, &[]);
    // All are connected before any asks: some wait to be accepted.
    let streams: Vec<TcpStream> = (0..20).map(|_| dial(address)).collect();
    for mut stream in &streams {
        stream.write_all(&request_for("/metrics", "")).unwrap();
    }
    for stream in streams {
        assert!(answer(stream).1.contains("socku_build_info"));
    }
}

#[test]
fn pages_that_are_open_leave_room_for_metrics() {
    let (_proxy, address) = start(PERMIT_ALL, &[]);
    let mut open: Vec<Events> = (0..12).map(|_| Events::open(address)).collect();
    let (head, _) = exchange(address, &request_for("/events", ""));
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    metrics(address);
    open.pop();
    wait_until("a place", || {
        let mut stream = dial(address);
        stream.write_all(&request_for("/events", "")).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        (&status == b"HTTP/1.1 200").then_some(())
    });
}

#[test]
fn counters_of_open_sessions_are_up_to_date() {
    let (listener, target) = listener();
    let (proxy, address) = start(PERMIT_ALL, &[]);
    let mut client = dial(proxy.address);
    wait_metric(address, "socku_sessions{state=\"reading-request\"}", 1.0);
    client.write_all(&request(1, target, b"bob")).unwrap();
    assert_eq!(read_reply(&mut client).0, 90);
    let mut peer = accept(&listener);
    client.write_all(b"12345").unwrap();
    peer.write_all(b"123").unwrap();
    client.read_exact(&mut [0; 3]).unwrap();
    peer.read_exact(&mut [0; 5]).unwrap();
    let up = "socku_relayed_bytes_total{direction=\"up\"}";
    let down = "socku_relayed_bytes_total{direction=\"down\"}";
    wait_metric(address, up, 5.0);
    let text = metrics(address);
    assert_eq!(value(&text, down), 3.0);
    assert_eq!(value(&text, "socku_sessions{state=\"relaying\"}"), 1.0);
    assert_eq!(value(&text, "socku_sessions{state=\"reading-request\"}"), 0.0);
    assert_eq!(value(&text, "socku_requests_total{protocol=\"4\",command=\"connect\"}"), 1.0);
    assert_eq!(value(&text, "socku_sessions_ended_total{reason=\"done\"}"), 0.0);
    drop((client, peer));
    wait_metric(address, "socku_sessions_ended_total{reason=\"done\"}", 1.0);
    let text = metrics(address);
    assert_eq!((value(&text, up), value(&text, down)), (5.0, 3.0));
    assert_eq!(value(&text, "socku_sessions{state=\"relaying\"}"), 0.0);
}

#[test]
fn no_client_of_the_proxy_reaches_the_status_listener_through_it() {
    let (proxy, address) = start(PERMIT_ALL, &[]);
    let mut client = dial(proxy.address);
    client.write_all(&request(1, address, b"")).unwrap();
    assert_eq!(read_reply(&mut client).0, 91);
    drop(client);
    proxy.wait_log("reason=loop");
}

#[test]
fn a_page_that_is_open_costs_nothing_while_nothing_changes() {
    let (proxy, address) = start(PERMIT_ALL, &[]);
    let mut events = Events::open(address);
    events.next().expect("the first event comes at once");
    events.settle();
    let turns = "socku_loop_turns_total";
    let before = value(&metrics(address), turns);
    assert_eq!(events.next(), None, "an event without a change");
    let after = value(&metrics(address), turns);
    // Those are of the requests for metrics.
    assert!(after - before < 20.0, "{} turns while nothing happened", after - before);
    // A change is told, at most once a second, and then there is silence again.
    let began = Instant::now();
    drop(dial(proxy.address));
    events.0.set_read_timeout(Some(DEADLINE)).unwrap();
    let event = events.next().expect("a change is told");
    if !event.contains("client-left") {
        let event = events.next().expect("so is the next");
        assert!(event.contains("client-left"), "{event}");
    }
    assert!(began.elapsed() < DEADLINE / 2);
}

#[test]
fn events_come_at_most_once_a_second_while_something_changes() {
    let (proxy, address) = start(PERMIT_ALL, &[]);
    let mut events = Events::open(address);
    events.next().unwrap();
    let began = Instant::now();
    events.0.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    let mut count = 0;
    while began.elapsed() < Duration::from_millis(2800) {
        drop(dial(proxy.address));
        count += u32::from(events.next().is_some());
    }
    assert!((1..=3).contains(&count), "{count} events in 2.8 seconds");
}

#[test]
fn clients_that_say_nothing_stop_no_session() {
    let (listener, target) = listener();
    let (proxy, address) = start(PERMIT_ALL, &[]);
    let silent: Vec<TcpStream> = (0..40).map(|_| dial(address)).collect();
    let mut client = dial(proxy.address);
    client.write_all(&request(1, target, b"")).unwrap();
    assert_eq!(read_reply(&mut client).0, 90);
    let mut peer = accept(&listener);
    peer.write_all(b"x").unwrap();
    client.read_exact(&mut [0]).unwrap();
    drop(silent);
    metrics(address);
}

#[test]
fn metrics_are_served_when_sessions_have_all_descriptors() {
    let proxy = Proxy::start_limited(128, PERMIT_ALL, &[STATUS, &["--splice", "off"]].concat());
    let address = status_address(&proxy);
    let most = value(&metrics(address), "socku_limit{limit=\"sessions\"}");
    let clients: Vec<TcpStream> = (0..most as usize + 5).map(|_| dial(proxy.address)).collect();
    wait_metric(address, "socku_sessions{state=\"reading-request\"}", most);
    let text = metrics(address);
    assert!(value(&text, "process_open_fds") < value(&text, "process_max_fds"));
    drop(clients);
}

#[test]
fn the_pages_are_served_until_the_last_session_has_ended() {
    let (proxy, address) = start(PERMIT_ALL, &[]);
    let client = dial(proxy.address);
    wait_metric(address, "socku_sessions{state=\"reading-request\"}", 1.0);
    let mut events = Events::open(address);
    assert!(events.next().unwrap().contains("\"draining\":false"));
    proxy.signal("TERM");
    assert!(events.next().unwrap().contains("\"draining\":true"));
    assert_eq!(value(&metrics(address), "socku_draining"), 1.0);
    client.shutdown(Shutdown::Both).unwrap();
    proxy.wait_log("stopped");
}

/// One look: no stream, and no other event is awaited.
fn snapshot(address: SocketAddrV4) -> String {
    let (head, body) = exchange(address, &request_for("/snapshot", ""));
    assert!(head.starts_with("HTTP/1.1 200 ") && body.ends_with("}\n"), "{head} {body}");
    body
}

/// Puts new rules in place at once, so that no part of them is read.
fn replace_rules(proxy: &Proxy, rules: &str) {
    let next = proxy.rule_file.with_extension("next");
    std::fs::write(&next, rules).unwrap();
    std::fs::rename(&next, &proxy.rule_file).unwrap();
}

fn wait_trouble(address: SocketAddrV4, part: &str) {
    wait_until(part, || snapshot(address).contains(part).then_some(()));
}

#[test]
fn a_snapshot_of_an_idle_proxy_comes_at_once_and_says_which_proxy_it_is() {
    let (proxy, address) = start(PERMIT_ALL, &[]);
    let body = snapshot(address);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert!(body.contains(&format!("\"host\":\"{}\"", host.trim_end())), "{body}");
    assert!(body.contains(&format!("\"listening\":[\"{}\"]", proxy.address)), "{body}");
    assert!(body.contains("\"trouble\":[]"), "{body}");
    // A proxy that ends is still the same.
    let _client = dial(proxy.address);
    wait_metric(address, "socku_sessions{state=\"reading-request\"}", 1.0);
    proxy.signal("TERM");
    wait_metric(address, "socku_draining", 1.0);
    assert!(snapshot(address).contains(&proxy.address.to_string()));
}

#[test]
fn a_bad_rule_file_is_trouble_until_it_is_mended() {
    let (proxy, address) = start(PERMIT_ALL, &[]);
    replace_rules(&proxy, "permit nonsense\n");
    proxy.wait_log("the rules in force stay");
    wait_trouble(address, "{\"name\":\"failed-reload\",\"text\":\"");
    assert!(snapshot(address).contains(&format!("{}:1: ", proxy.rule_file.display())));
    replace_rules(&proxy, PERMIT_ALL);
    wait_trouble(address, "\"trouble\":[]");
    assert!(snapshot(address).contains("\"failed-reloads\":1"), "it is still counted");
}

#[test]
fn sessions_at_their_limit_are_trouble_as_long_as_they_are() {
    let (proxy, address) = start(PERMIT_ALL, &["--max-sessions", "2"]);
    let clients: Vec<TcpStream> = (0..3).map(|_| dial(proxy.address)).collect();
    wait_trouble(address, "{\"name\":\"sessions\",\"text\":\"all 2 sessions are in use");
    assert!(snapshot(address).contains("open-file limit\",\"until_ms\":null}"));
    drop(clients);
    wait_trouble(address, "\"open\":0,");
    let body = snapshot(address);
    assert!(
        body.contains("\"name\":\"sessions\"") && !body.contains("\"until_ms\":null"),
        "{body}"
    );
}

/// The end of the log, which is not read while this is set.
struct PausedLog(PipeReader, Arc<AtomicBool>);

impl Read for PausedLog {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.1.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.0.read(buffer)
    }
}

#[test]
fn lines_of_the_log_that_are_lost_are_trouble() {
    let rule_file = scratch_directory().join("socks.conf");
    std::fs::write(&rule_file, PERMIT_ALL).unwrap();
    let mut command = socku(&[STATUS, &["-l", "127.0.0.1:0", "-c"]].concat());
    command.arg(&rule_file);
    let (reader, writer) = std::io::pipe().unwrap();
    let is_paused = Arc::new(AtomicBool::new(false));
    let log = PausedLog(reader, is_paused.clone());
    let proxy = Proxy::spawn_with(command, rule_file, writer, log);
    let address = status_address(&proxy);
    is_paused.store(true, Ordering::Relaxed);
    // As long as a line can be. A request to port 0 is rejected at once.
    let request = request(1, "192.0.2.1:0".parse().unwrap(), &[0xff; 500]);
    wait_until("lines to be dropped", || {
        for _ in 0..100 {
            let mut client = dial(proxy.address);
            client.write_all(&request).unwrap();
            read_reply(&mut client);
        }
        snapshot(address).contains("{\"name\":\"log-lines-dropped\",\"text\":\"").then_some(())
    });
    is_paused.store(false, Ordering::Relaxed);
    proxy.wait_log("the reader is too slow");
}

#[test]
fn an_address_beyond_loopback_is_warned_about_and_one_of_loopback_is_not() {
    let warning = "anybody who reaches this address sees";
    let (proxy, _) = start(PERMIT_ALL, &[]);
    assert!(!proxy.log().iter().any(|line| line.contains(warning)));
    let proxy = Proxy::start(PERMIT_ALL, &["--status", "0.0.0.0:0"]);
    proxy.wait_log(warning);
    let at = status_address(&proxy);
    metrics(SocketAddrV4::new([127, 0, 0, 1].into(), at.port()));
}

#[test]
fn an_address_in_use_is_an_error_that_names_the_flag() {
    let (_listener, taken) = listener();
    let address = SocketAddr::from(taken).to_string();
    let rules = scratch_directory().join("socks.conf");
    std::fs::write(&rules, PERMIT_ALL).unwrap();
    let mut command = socku(&["-l", "127.0.0.1:0", "--status", &address, "-c"]);
    let output = command.arg(&rules).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("socku: --status") && text.contains(&address), "{text}");
}
