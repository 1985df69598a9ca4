//! The resolver against servers that lie, stall and fail, from a seed: every waiter is answered
//! exactly once and in time, and no query, cache entry or socket is left over.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::query::{Transmit, Transport};
use super::server::*;
use super::*;
use crate::name::Name;

/// xorshift64*: all randomness of a run comes from its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

enum Event {
    Ask(u64),
    Leave(u64),
    Datagram(u64, Vec<u8>),
    Stream(u64, Vec<u8>),
    Error(u64),
}

/// A waiter, as the test expects it.
struct Waiting {
    name: Name,
    deadline: u64,
}

struct World {
    resolver: Resolver,
    random: Random,
    now: u64,
    events: BTreeMap<(u64, u64), Event>,
    serial: u64,
    /// The open sockets, and the name that each queries.
    open: BTreeMap<u64, String>,
    waiting: BTreeMap<u64, Waiting>,
    /// Until when each name needs no query, because its answer is cached.
    fresh: BTreeMap<String, u64>,
    /// When the last bytes of each TCP connection arrive, so that its bytes stay in order.
    streams: BTreeMap<u64, u64>,
    /// How likely a server is to answer correctly, in per cent.
    honesty: u64,
    asked: usize,
    found: usize,
    /// How often all queries were in use.
    crowded: usize,
}

const WAITERS: u64 = 300;
const NAMES: u64 = 90;
const DOMAIN: &str = "search example";

/// The truth about a name: short names and those ending in 0 do not exist, those ending in 1
/// have no address, those ending in 2 are aliases.
fn truth(text: &str) -> (u16, Vec<Vec<u8>>) {
    let number = text.strip_prefix('n').and_then(|rest| rest.strip_suffix(".example"));
    let Some(number) = number.and_then(|digits| digits.parse::<u64>().ok()) else {
        return (RA | NXDOMAIN, vec![]);
    };
    let address = a("&", 30, [10, 0, 0, number as u8]);
    match number % 10 {
        0 => (RA | NXDOMAIN, vec![]),
        1 => (RA, vec![]),
        2 => (RA, vec![cname("&", 20, "alias.x"), a("alias.x", 30, [10, 0, 0, number as u8])]),
        _ => (RA, vec![address]),
    }
}

/// Few sources, one of which asks half of the questions.
fn source(waiter: u64) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, (waiter % 8).saturating_sub(3) as u8).into()
}

fn expected(text: &str) -> Result<Addresses, DnsError> {
    let (flags, records) = truth(text);
    let number = text.trim_start_matches('n').split('.').next().unwrap().parse().unwrap_or(0);
    match records.len() {
        0 if flags & 15 == NXDOMAIN => Err(DnsError::NotFound),
        0 => Err(DnsError::NoData),
        _ => Ok(addresses(&[[10, 0, 0, number]])),
    }
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let servers = "nameserver 127.0.0.1\nnameserver 127.0.0.2\nnameserver 127.0.0.3\n";
        let options = ["", "options rotate\n", "options attempts:5 timeout:1\n"];
        let options = options[random.below(3) as usize];
        let settings =
            ResolverSettings::from_resolv_conf(format!("{servers}{options}{DOMAIN}").as_bytes());
        let mut ids = Random(random.next() | 1);
        let ids = Box::new(move || ids.next() as u16);
        let honesty = [0, 30, 70, 100][random.below(4) as usize];
        let mut world = World {
            resolver: Resolver::new(settings, Hosts::default(), ids),
            random,
            now: 1_000,
            events: BTreeMap::new(),
            serial: 0,
            open: BTreeMap::new(),
            waiting: BTreeMap::new(),
            fresh: BTreeMap::new(),
            streams: BTreeMap::new(),
            honesty,
            asked: 0,
            found: 0,
            crowded: 0,
        };
        // In the short run there are more questions than queries.
        let spread_ms = [40_000, 500][world.random.below(2) as usize];
        for waiter in 0..WAITERS {
            let at = world.random.below(spread_ms);
            world.after(at, Event::Ask(waiter));
            if world.random.chance(20) {
                let later = at + world.random.below(8_000);
                world.after(later, Event::Leave(waiter));
            }
        }
        world
    }

    fn after(&mut self, delay: u64, event: Event) {
        self.serial += 1;
        self.events.insert((self.now + delay, self.serial), event);
    }

    fn run(&mut self) {
        loop {
            let event = self.events.first_key_value().map(|(&(at, _), _)| at);
            let Some(next) = event.into_iter().chain(self.resolver.deadline()).min() else { break };
            self.now = self.now.max(next);
            if event == Some(next) {
                let (_, event) = self.events.pop_first().unwrap();
                self.handle(event);
            } else {
                self.resolver.handle_timeout(self.now);
            }
            self.drain();
        }
        assert!(self.waiting.is_empty(), "{} never answered", self.waiting.len());
        assert!(self.open.is_empty(), "sockets left open: {:?}", self.open);
        assert_eq!((self.resolver.waiters(), self.resolver.queries()), (0, 0));
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Ask(waiter) => self.ask(waiter),
            Event::Leave(waiter) => {
                self.resolver.cancel(self.now, waiter);
                self.waiting.remove(&waiter);
            }
            // Events for a closed socket may still come: the resolver ignores them.
            Event::Datagram(key, bytes) => self.resolver.handle_datagram(self.now, key, &bytes),
            Event::Stream(key, bytes) => self.resolver.handle_stream_bytes(self.now, key, &bytes),
            Event::Error(key) => self.resolver.handle_error(self.now, key),
        }
    }

    fn ask(&mut self, waiter: u64) {
        let number = self.random.below(NAMES);
        let text = match self.random.below(3) {
            0 => format!("n{number}"),
            1 => format!("n{number}.example"),
            _ => format!("N{number}.Example."),
        };
        let name = name(&text);
        match self.resolver.resolve(self.now, &name, source(waiter), waiter) {
            Lookup::Waiting => {
                let deadline = self.now + TOTAL_TIMEOUT_MS;
                self.waiting.insert(waiter, Waiting { name, deadline });
            }
            Lookup::Done(answer) => self.check(&name, answer),
        }
    }

    fn drain(&mut self) {
        let mut closed = Vec::new();
        while let Some(key) = self.resolver.poll_close() {
            closed.push(self.open.remove(&key).expect("closed what was not open"));
        }
        while let Some(transmit) = self.resolver.poll_transmit() {
            self.transmitted(transmit);
        }
        while let Some((waiter, answer)) = self.resolver.poll_answer() {
            let waiting =
                self.waiting.remove(&waiter).expect("answered once, and only while waiting");
            assert!(self.now <= waiting.deadline, "answered late");
            if !matches!(answer, Err(DnsError::ServerFailure | DnsError::Timeout)) {
                let answered = answer.as_ref().map_or(&waiting.name, |found| &found.name);
                // The shortest TTL that a true answer has here.
                let until = self.now + 15_000;
                let asked = closed.iter().filter(|name| *name == answered.as_str());
                self.fresh.extend(asked.map(|name| (name.clone(), until)));
            }
            self.check(&waiting.name, answer);
        }
        assert!(self.open.len() <= QUERIES_MAX && self.resolver.queries() == self.open.len());
        self.crowded += usize::from(self.open.len() == QUERIES_MAX);
        assert_eq!(self.resolver.waiters(), self.waiting.len());
        assert!(self.resolver.cached() <= 256);
    }

    fn check(&mut self, name: &Name, answer: Result<Resolved, DnsError>) {
        let itself = name.as_str().to_owned();
        let completed = format!("{itself}.example");
        let by_search = !name.is_absolute() && !itself.contains('.');
        let answered = if by_search { &completed } else { &itself };
        let truth = expected(answered);
        match answer {
            Err(DnsError::ServerFailure | DnsError::Timeout) => {
                assert!(self.honesty < 100, "honest servers answer");
            }
            answer => {
                self.found += usize::from(answer.is_ok());
                let found = answer.map(|found| {
                    assert_eq!(found.name.as_str(), answered, "the name that was answered");
                    found.addresses
                });
                assert_eq!(found, truth, "{name}");
            }
        }
    }

    fn transmitted(&mut self, transmit: Transmit) {
        self.asked += 1;
        let tcp = transmit.transport == Transport::Tcp;
        let query = transmit.bytes[if tcp { 2 } else { 0 }..].to_vec();
        let text = see(&query).name;
        let in_flight = self.open.values().any(|other| *other == text);
        assert!(!in_flight, "{text} is already in flight");
        assert!(self.fresh.get(&text).is_none_or(|until| *until <= self.now), "{text} is cached");
        let wanted: BTreeSet<String> = self
            .waiting
            .values()
            .flat_map(|waiting| [waiting.name.to_string(), format!("{}.example", waiting.name)])
            .collect();
        assert!(wanted.contains(&text), "no waiter for {text}");
        self.open.insert(transmit.key, text.clone());
        let honest = self.random.chance(self.honesty);
        let delay = 1 + self.random.below(if honest { 300 } else { 6_000 });
        match honest {
            true => self.answer_truly(transmit.key, tcp, &query, &text, delay),
            false => self.misbehave(transmit.key, tcp, &query, &text, delay),
        }
    }

    fn answer_truly(&mut self, key: u64, tcp: bool, query: &[u8], text: &str, delay: u64) {
        let (flags, records) = truth(text);
        let authority = if records.is_empty() { vec![soa("example", 15, 15)] } else { vec![] };
        let message = reply(query, flags, &records, &authority);
        self.deliver(key, tcp, message, delay);
    }

    fn deliver(&mut self, key: u64, tcp: bool, message: Vec<u8>, delay: u64) {
        if !tcp {
            return self.after(delay, Event::Datagram(key, message));
        }
        let stream = framed(&message);
        let cut = self.random.below(stream.len() as u64) as usize;
        for part in [&stream[..cut], &stream[cut..]] {
            let earliest = self.streams.get(&key).map_or(0, |until| until.saturating_sub(self.now));
            let delay = delay.max(earliest) + self.random.below(50);
            self.streams.insert(key, self.now + delay);
            self.after(delay, Event::Stream(key, part.to_vec()));
        }
    }

    fn misbehave(&mut self, key: u64, tcp: bool, query: &[u8], text: &str, delay: u64) {
        let code = |flags| reply(query, flags, &[], &[]);
        match self.random.below(12) {
            0 | 1 => {}
            2 => self.after(delay, Event::Error(key)),
            3 => self.deliver(key, tcp, code(RA | SERVFAIL), delay),
            4 => self.deliver(key, tcp, code(RA | REFUSED), delay),
            5 => self.deliver(key, tcp, code(FORMERR), delay),
            6 => self.deliver(key, tcp, code(RA | TC), delay),
            7 => {
                // A forgery with another id, then the true answer, which must win.
                let mut wrong = reply(query, RA, &[a("&", 60, [6, 6, 6, 6])], &[]);
                wrong[0] ^= 0x55;
                self.deliver(key, tcp, wrong, 1);
                self.answer_truly(key, tcp, query, text, 60 + delay);
            }
            8 => {
                let junk = (0..self.random.below(64)).map(|_| self.random.next() as u8).collect();
                let kind = if tcp { Event::Stream } else { Event::Datagram };
                self.after(delay, kind(key, junk));
            }
            9 => {
                let cut = self.random.below(query.len() as u64) as usize;
                self.deliver(key, tcp, query[..cut].to_vec(), delay);
            }
            10 => self.deliver(key, tcp, reply(query, RA, &[cname("&", 9, "&")], &[]), delay),
            _ => {
                self.answer_truly(key, tcp, query, text, delay);
                self.answer_truly(key, tcp, query, text, delay);
                self.after(delay, Event::Error(key));
            }
        }
    }
}

#[test]
fn every_waiter_is_answered_once_and_in_time() {
    let (mut asked, mut found, mut crowded) = (0, 0, 0);
    for seed in 1..=100 {
        let mut world = World::new(seed);
        let run = std::panic::AssertUnwindSafe(|| world.run());
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("seed {seed}, at {} ms", world.now);
            std::panic::resume_unwind(panic);
        }
        asked += world.asked;
        found += world.found;
        crowded += world.crowded;
    }
    assert!(
        asked > 5_000 && found > 5_000,
        "{asked} queries, {found} addresses: too few to test anything"
    );
    assert!(
        crowded > 1_000,
        "all queries were in use only {crowded} times: sources hardly competed"
    );
}
