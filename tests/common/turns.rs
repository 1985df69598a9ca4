//! The loop itself, in this thread, turn by turn.

use super::servers::{Question, no_address};
use super::{DEADLINE, machine, with_deadline};
use socku::internals::address::PerFamily;
use socku::internals::dns::{Hosts, Resolver, ResolverSettings};
use socku::internals::net::{MioNet, Net};
use socku::internals::reactor::Reactor;
use socku::internals::rules::RuleSet;
use socku::internals::settings::{Durations, LogFormat, Settings};
use socku::internals::time::Millis;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::time::Instant;

pub const HOUR_MS: Millis = 3_600_000;
/// The name server of those who ask none.
pub const NOBODY: SocketAddrV4 = machine::CLOSED;

/// What a loop goes by.
struct Plan {
    rules: String,
    server: SocketAddrV4,
    settings: Settings,
}

impl Plan {
    fn files(&self) -> (RuleSet, Resolver) {
        let names = ResolverSettings {
            servers: vec![self.server.into()],
            timeout_ms: HOUR_MS,
            total_timeout_ms: HOUR_MS,
            ..ResolverSettings::default()
        };
        let resolver = Resolver::new(names, Hosts::default(), Box::new(|| 4711));
        (RuleSet::parse(self.rules.as_bytes()).unwrap(), resolver)
    }
}

/// A loop of this thread.
pub struct Loop {
    plan: Plan,
    pub reactor: Reactor<MioNet>,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Loop {
    /// A loop that listens on loopback. Times that are not shortened never come.
    pub fn start(rules: &str, server: SocketAddrV4, shorten: fn(&mut Durations)) -> Loop {
        let mut durations = Durations {
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
            linger_ms: HOUR_MS,
            reset_poll_ms: HOUR_MS,
            slow_reset_poll_ms: HOUR_MS,
        };
        shorten(&mut durations);
        let settings = Settings {
            outbound: PerFamily::default(),
            bind_address: PerFamily::default(),
            bind_ports: None,
            max_sessions: 1000,
            max_per_source: None,
            balancers: Vec::new(),
            extra_attempts_max: 1000,
            buffer_bytes: 4096,
            buffer_budget_bytes: 1 << 20,
            pipes_max: 0,
            durations,
            drain_timeout_ms: HOUR_MS,
            log_format: LogFormat::Text,
        };
        let rules = rules.to_string();
        let plan = Plan { rules, server, settings };
        let (rules, resolver) = plan.files();
        let net = MioNet::new().unwrap();
        let mut reactor = Reactor::new(net, plan.settings.clone(), rules, resolver);
        let address = reactor.listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        Loop { plan, reactor, address }
    }

    /// Connects to it.
    pub fn dial(&self) -> TcpStream {
        let stream = with_deadline(TcpStream::connect(self.address).unwrap());
        stream.set_nonblocking(true).unwrap();
        stream
    }

    /// Runs turns until the condition holds; it is checked after every turn.
    pub fn turn_until(
        &mut self,
        what: &str,
        mut condition: impl FnMut(&mut Reactor<MioNet>) -> bool,
    ) {
        let until = Instant::now() + DEADLINE;
        while !condition(&mut self.reactor) {
            assert!(Instant::now() < until, "waited in vain for {what}");
            let soon = self.reactor.net().now() + 20;
            self.reactor.turn(Some(soon)).unwrap();
        }
    }

    /// Takes everything in that has happened, without waiting for more.
    pub fn settle(&mut self) {
        for _ in 0..20 {
            self.reactor.skip_wait();
            self.reactor.turn(None).unwrap();
        }
    }
}

/// Its upgrade.
#[cfg(feature = "upgrade")]
impl Loop {
    /// The loop that takes its place, with what it hands over.
    pub fn upgraded(self) -> Loop {
        self.upgraded_with(|_| ())
    }

    /// The same with other settings.
    pub fn upgraded_with(mut self, change: impl FnOnce(&mut Settings)) -> Loop {
        let export = self.reactor.export();
        let bytes = export.handover.encode();
        let copies = export.descriptors.iter().map(|lent| lent.try_clone_to_owned().unwrap());
        let given: Vec<_> = copies.collect();
        drop(self.reactor);
        let handover = socku::internals::handover::Handover::decode(&bytes, given.len()).unwrap();
        let net = MioNet::with_origin(handover.origin_ns).unwrap();
        change(&mut self.plan.settings);
        let (settings, (rules, resolver)) = (self.plan.settings.clone(), self.plan.files());
        let reactor = Reactor::import(net, settings, rules, resolver, None, handover, given);
        Loop { reactor: reactor.unwrap(), ..self }
    }
}

/// The question for IPv4 addresses that a name server was asked. The name has no others.
pub fn question(server: &UdpSocket) -> Question {
    loop {
        let mut bytes = [0; 512];
        let (length, from) = server.recv_from(&mut bytes).unwrap();
        let question = Question::read(&bytes[..length], false, from, 0);
        if !question.is_aaaa {
            return question;
        }
        server.send_to(&no_address(&question)[0], from).unwrap();
    }
}

/// A name server on loopback that answers when a test does.
pub fn name_server() -> (UdpSocket, SocketAddrV4) {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(DEADLINE)).unwrap();
    let port = server.local_addr().unwrap().port();
    (server, SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}
