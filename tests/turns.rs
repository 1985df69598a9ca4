//! One turn of the loop hands out a bounded number of answers and deadlines: thousands that come
//! due together must not hold up other sessions. The loop runs here, turn by turn.

mod common;

use common::machine::can_open;
use common::servers::*;
use common::*;
use socku::dns::{Hosts, Resolver, Settings as DnsSettings};
use socku::net::MioNet;
use socku::reactor::Reactor;
use socku::rules::RuleSet;
use socku::settings::{Durations, Settings};
use socku::time::Millis;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

/// More than one turn's worth.
const WAITERS: usize = 400;
const PER_TURN: usize = 64;
/// Both ends of each are in this program, for two tests at once.
const DESCRIPTORS: u64 = 4 * WAITERS as u64 + 100;
const HOUR_MS: Millis = 3_600_000;

struct Loop {
    reactor: Reactor<MioNet>,
    address: SocketAddrV4,
}

impl Loop {
    fn start(rules: &str, server: SocketAddrV4, linger_ms: Millis) -> Loop {
        let durations = Durations {
            request_ms: HOUR_MS,
            ident_ms: HOUR_MS,
            resolve_ms: HOUR_MS,
            connect_ms: HOUR_MS,
            attempt_delay_ms: HOUR_MS,
            leave_ms: HOUR_MS,
            bind_ms: HOUR_MS,
            idle_ms: Some(HOUR_MS),
            half_close_ms: HOUR_MS,
            keepalive_ms: HOUR_MS,
            linger_ms,
            reset_poll_ms: HOUR_MS,
            slow_reset_poll_ms: HOUR_MS,
        };
        let settings = Settings {
            outbound: None,
            bind_address: None,
            bind_ports: None,
            max_sessions: 2 * WAITERS,
            max_per_source: None,
            buffer_bytes: 4096,
            buffer_budget_bytes: 1 << 20,
            pipes_max: 0,
            durations,
            drain_timeout_ms: HOUR_MS,
        };
        let names = DnsSettings {
            servers: vec![server.into()],
            timeout_ms: HOUR_MS,
            total_timeout_ms: HOUR_MS,
            ..DnsSettings::default()
        };
        let resolver = Resolver::new(names, Hosts::default(), Box::new(|| 4711));
        let rules = RuleSet::parse(rules.as_bytes()).unwrap();
        let mut reactor = Reactor::new(MioNet::new().unwrap(), settings, rules, resolver);
        let address = reactor.listen(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
        Loop { reactor, address }
    }

    fn dial(&self) -> TcpStream {
        let stream = with_deadline(TcpStream::connect(self.address).unwrap());
        stream.set_nonblocking(true).unwrap();
        stream
    }

    /// Turns until the condition holds; it is asked after every turn.
    fn turn_until(&mut self, what: &str, mut condition: impl FnMut(&mut Reactor<MioNet>) -> bool) {
        let until = Instant::now() + DEADLINE;
        while !condition(&mut self.reactor) {
            assert!(Instant::now() < until, "waited in vain for {what}");
            self.reactor.turn().unwrap();
        }
    }
}

/// RELIABILITY F29.
#[test]
fn many_who_wait_for_one_name_are_answered_over_several_turns() {
    if !can_open(DESCRIPTORS) {
        return;
    }
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(DEADLINE)).unwrap();
    let port = server.local_addr().unwrap().port();
    let at = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    // The address is not permitted: answers are replies, and nothing is connected to.
    let rules = "permit c 127.9.0.0/16\n";
    let mut proxy = Loop::start(rules, at, HOUR_MS);
    let mut clients: Vec<TcpStream> = Vec::new();
    for _ in 0..WAITERS {
        let mut client = proxy.dial();
        client.write_all(&request_4a(1, b"name.test", 80, b"")).unwrap();
        clients.push(client);
    }
    proxy.turn_until("all to wait", |reactor| reactor.resolver().waiters() == WAITERS);
    let mut bytes = [0; 512];
    let (length, from) = server.recv_from(&mut bytes).unwrap();
    let question = Question {
        bytes: bytes[..length].to_vec(),
        name: "name.test".into(),
        tcp: false,
        from,
        number: 0,
    };
    server.send_to(&addresses(&question, &[[127, 0, 0, 1]])[0], from).unwrap();
    // All are due in the turn in which the datagram comes, and that one hands out its part.
    let mut left = WAITERS;
    proxy.turn_until("all to be answered", |reactor| {
        let now_left = reactor.resolver().waiters() + reactor.resolver().answers();
        assert!(left - now_left <= PER_TURN, "{} answers in a turn", left - now_left);
        left = now_left;
        left == 0
    });
    for client in &mut clients {
        client.set_nonblocking(false).unwrap();
        assert_eq!(read_reply(client).0, 91);
    }
}

#[test]
fn deadlines_that_come_together_are_handled_over_several_turns() {
    if !can_open(DESCRIPTORS) {
        return;
    }
    const LINGER_MS: Millis = 1_000;
    let nobody = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1);
    let mut proxy = Loop::start(PERMIT_ALL, nobody, LINGER_MS);
    // Refused, and not closing: each session ends when its time to linger does.
    let mut clients: Vec<TcpStream> = (0..WAITERS).map(|_| proxy.dial()).collect();
    clients.iter_mut().for_each(|client| client.write_all(&[4, 9]).unwrap());
    proxy.turn_until("all to come", |reactor| reactor.stats().opened == WAITERS as u64);
    // The wait makes all of them due at once, so that nothing but the bound spreads them.
    thread::sleep(Duration::from_millis(LINGER_MS));
    let mut left = proxy.reactor.session_count();
    proxy.turn_until("all to end", |reactor| {
        let now_left = reactor.session_count();
        assert!(left - now_left <= PER_TURN, "{} deadlines in a turn", left - now_left);
        left = now_left;
        left == 0
    });
}
