//! The library's server, embedded in this program and controlled by its handle from another thread.

#![cfg(all(feature = "server", feature = "client"))]

mod common;

use common::machine::replace;
use common::{
    DEADLINE, echo_server, listener, read_all, scratch_directory, wait_until, with_deadline,
};
use socku::client::{self, Client};
use socku::server::{Builder, Error, Handle, Server, Step};
use std::error::Error as _;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Mutex;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const PERMIT: &str = "permit c 127.*.*.*\n";
const DENY: &str = "deny c 127.*.*.*\n";
const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A server that runs in a thread of its own.
struct Running {
    address: SocketAddr,
    handle: Handle,
    thread: JoinHandle<Result<(), Error>>,
}

fn run(builder: Builder) -> Running {
    // No test may ask a name server of the machine.
    let server = builder.listen(ANY_PORT).nameserver("127.0.0.1:1".parse().unwrap()).start();
    let server = server.unwrap();
    let (address, handle) = (server.addresses()[0], server.handle());
    Running { address, handle, thread: thread::spawn(move || server.run()) }
}

impl Running {
    fn client(&self) -> Client {
        Client::new(self.address).connect_timeout(DEADLINE).reply_timeout(DEADLINE)
    }

    /// A session that has relayed something.
    fn session(&self, echo: SocketAddrV4) -> TcpStream {
        let mut stream = with_deadline(self.client().connect(echo).unwrap().0);
        assert_echo(&mut stream);
        stream
    }

    fn wait_end(self) {
        wait_until("the end of the server", || self.thread.is_finished().then_some(()));
        self.thread.join().unwrap().unwrap();
    }
}

fn assert_echo(stream: &mut TcpStream) {
    stream.write_all(b"ping").unwrap();
    let mut back = [0; 4];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"ping");
}

/// Waits until the proxy accepts no more clients.
fn wait_refused(address: SocketAddr) {
    wait_until("the listener to close", || TcpStream::connect(address).err());
}

#[test]
fn server_and_handle_can_go_to_other_threads() {
    fn is_send<T: Send>() {}
    fn is_shared<T: Send + Sync + Clone>() {}
    is_send::<Server>();
    is_shared::<Handle>();
    is_send::<Error>();
}

#[test]
fn a_stop_lets_sessions_finish_and_a_second_one_ends_them() {
    let echo = echo_server();
    for (stops, ends_itself) in [(1, true), (2, false)] {
        let server = run(Builder::with_rules(PERMIT));
        let mut session = server.session(echo);
        server.handle.stop();
        wait_refused(server.address);
        assert_echo(&mut session);
        assert!(!server.thread.is_finished());
        if ends_itself {
            session.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(read_all(&mut session), b"");
        } else {
            (1..stops).for_each(|_| server.handle.clone().stop());
            let error = session.read(&mut [0; 1]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
        server.wait_end();
    }
}

#[test]
fn two_stops_at_once_end_a_server_that_has_sessions() {
    let server = run(Builder::with_rules(PERMIT));
    let mut session = server.session(echo_server());
    server.handle.stop();
    server.handle.stop();
    assert_eq!(session.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    let handle = server.handle.clone();
    server.wait_end();
    // Nothing is left to stop or reload.
    handle.stop();
    handle.reload();
}

#[test]
fn a_stop_before_the_server_runs_counts() {
    let server = Builder::with_rules(PERMIT).listen(ANY_PORT).start().unwrap();
    server.handle().stop();
    server.run().unwrap();
}

#[test]
fn the_drain_time_out_ends_sessions_after_a_stop() {
    let server = run(Builder::with_rules(PERMIT).drain_timeout(Duration::from_millis(300)));
    let mut session = server.session(echo_server());
    let stopped = Instant::now();
    server.handle.stop();
    assert_eq!(session.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(stopped.elapsed() >= Duration::from_millis(300));
    server.wait_end();
}

/// The log of all servers in this program.
struct Log;

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LINES.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

fn wait_logged(text: &str, count: usize) {
    wait_until(text, || {
        let lines = LINES.lock().unwrap();
        (lines.iter().filter(|line| line.contains(text)).count() == count).then_some(())
    });
}

#[test]
fn a_reload_reads_the_rules_again_and_sessions_go_on() {
    log::set_logger(&Log).unwrap();
    log::set_max_level(log::LevelFilter::Info);
    let echo = echo_server();
    let file = scratch_directory().join("rules");
    fs::write(&file, PERMIT).unwrap();
    let server = run(Builder::with_rule_file(&file));
    let mut session = server.session(echo);
    // Nothing has changed, so it is the handle alone that makes it read.
    for count in 1..=2 {
        server.handle.reload();
        wait_logged(&format!("{}: 1 rule in force", file.display()), count);
    }
    replace(&file, DENY);
    server.handle.reload();
    let is_denied = || matches!(server.client().connect(echo), Err(client::Error::Rejected(_)));
    wait_until("the new rules", || is_denied().then_some(()));
    assert_echo(&mut session);
    drop(session);
    server.handle.stop();
    server.wait_end();
}

#[test]
fn rules_given_as_text_stay_over_a_reload() {
    let echo = echo_server();
    let server = run(Builder::with_rules(PERMIT));
    server.handle.reload();
    drop(server.session(echo));
    server.handle.stop();
    server.wait_end();
}

#[test]
fn the_address_has_the_port_that_was_chosen_and_clients_may_connect_before_run() {
    let server = Builder::with_rules(PERMIT).listen(ANY_PORT).listen(ANY_PORT).start().unwrap();
    let [one, other] = server.addresses() else { panic!("{server:?}") };
    assert!(one.port() != 0 && other.port() != 0 && one != other);
    drop(TcpStream::connect(one).unwrap());
}

#[test]
fn an_error_of_a_start_says_what_was_found_and_expected_and_has_its_source() {
    let (_taken, taken) = listener();
    let taken = SocketAddr::V4(taken);
    let listen = Builder::with_rules(PERMIT).listen(taken).start().unwrap_err();
    assert!(matches!(&listen, Error::Listen { address, .. } if *address == taken));
    let front = format!("--listen {taken}: something listens there already (to share a port,");
    assert!(listen.to_string().starts_with(&front), "{listen}");
    let source = listen.source().unwrap().downcast_ref::<std::io::Error>().unwrap();
    assert_eq!(source.kind(), ErrorKind::AddrInUse);

    let setting = Builder::with_rules(PERMIT).buffer_size(7).start().unwrap_err();
    let Error::Setting(setting) = setting else { panic!("{setting:?}") };
    assert_eq!((setting.flag, &*setting.found), ("buffer-size", "7"));
    assert_eq!(setting.expected, "bytes from 1024 to 16777216");
    let setting = Builder::with_rules(PERMIT).connect_timeout(Duration::MAX).start().unwrap_err();
    assert!(matches!(setting, Error::Setting(setting) if setting.flag == "connect-timeout"));

    let rules = Builder::with_rules("permit c 1.2.3.4\npermit q 1.2.3.4\n").start().unwrap_err();
    assert!(matches!(rules, Error::Rules(_)));
    assert!(rules.to_string().starts_with("rules:2: found `q`, expected"), "{rules}");
    let users = Builder::with_rules(PERMIT).users("alice:secret\nsecret\n").start().unwrap_err();
    assert!(matches!(users, Error::Users(_)));
    assert_eq!(users.to_string(), "users:2: found a line without a colon, expected NAME:PASSWORD");
    let missing = Builder::with_rules(PERMIT).users_file("/no/such/file").start().unwrap_err();
    assert!(missing.to_string().starts_with("/no/such/file: "), "{missing}");
    let missing = Builder::with_rule_file("/no/such/file").start().unwrap_err();
    assert!(missing.to_string().starts_with("/no/such/file: "), "{missing}");
    assert_ne!(Step::EventLoop.to_string(), Step::Wait.to_string());
}

#[test]
fn an_outbound_address_of_another_host_is_an_error_at_start() {
    let start = |address: &str| {
        let builder = Builder::with_rules(PERMIT).listen(ANY_PORT);
        builder.outbound(address.parse().unwrap()).start()
    };
    for (address, found) in [("203.0.113.78", "203.0.113.78"), ("2001:db8::7", "2001:db8::7")] {
        let Error::Setting(setting) = start(address).unwrap_err() else { panic!("{address}") };
        assert_eq!((setting.flag, &*setting.found), ("outbound", found));
        assert!(setting.expected.starts_with("an address of this host ("), "{setting}");
    }
    drop(start("127.0.0.1").unwrap());
    // Without its link, nothing can be said of it.
    drop(start("fe80::7").unwrap());
}

#[test]
fn users_given_as_text_are_not_shown() {
    let builder = Builder::with_rules(PERMIT).listen(ANY_PORT).users("alice:secret");
    let numbers = format!("{:?}", b"secret");
    let shown = format!("{builder:?}");
    assert!(shown.contains("Text") && !shown.contains(numbers.trim_matches(['[', ']'])), "{shown}");
    drop(builder.start().unwrap());
}

#[cfg(feature = "status")]
#[test]
fn an_embedded_server_says_where_its_status_page_is() {
    let server = Builder::with_rules(PERMIT).listen(ANY_PORT).status(ANY_PORT);
    let server = server.nameserver("127.0.0.1:1".parse().unwrap()).start().unwrap();
    let (status, handle) = (server.status_address().unwrap(), server.handle());
    let running = thread::spawn(move || server.run());
    let mut stream = with_deadline(TcpStream::connect(status).unwrap());
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let text = String::from_utf8(read_all(&mut stream)).unwrap();
    assert!(text.contains("\nsocku_rules 1\n"), "{text}");
    handle.stop();
    running.join().unwrap().unwrap();
    let (_taken, address) = listener();
    let error = Builder::with_rules(PERMIT).listen(ANY_PORT).status(address.into()).start();
    let Err(error @ Error::Listen { flag: "status", .. }) = error else { panic!("{error:?}") };
    assert_eq!(error.to_string(), format!("--status {address}: something listens there already"));
}
