//! The resolver against servers that lie, stall and fail, from a seed: every waiter is answered
//! exactly once and in time, with the addresses of both families as far as they came, and no query,
//! cache entry or socket is left over.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::family::Family;
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
    Reload,
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
    /// The open sockets, and the question of each.
    open: BTreeMap<u64, Asked>,
    /// The queries that get a true answer with a TTL, and the one to which a message just came.
    lasting: BTreeSet<u64>,
    answering: Option<u64>,
    waiting: BTreeMap<u64, Waiting>,
    /// Until when each question needs no query, because its answer is cached.
    fresh: BTreeMap<Asked, u64>,
    /// How often the settings were replaced: the servers and their answers differ each time.
    generation: u8,
    options: &'static str,
    /// When the last bytes of each TCP connection arrive, so that its bytes stay in order.
    streams: BTreeMap<u64, u64>,
    /// How likely a server is to answer correctly, in per cent.
    honesty: u64,
    asked: usize,
    found: usize,
    /// How many had addresses of both families, and how many IPv4 only although there were others.
    both: usize,
    cut_off: usize,
    /// How often all queries were in use.
    crowded: usize,
}

type Asked = (String, Family);

const WAITERS: u64 = 300;
const NAMES: u64 = 90;
const DOMAIN: &str = "search example";
/// The shortest time that a true answer is kept here.
const FRESH_MS: u64 = 15_000;

/// The truth about a name, by its number: short names and those ending in 0 do not exist, those
/// ending in 1 have no address, and the others have those that the table tells. A server says of
/// names in 7 that they do not exist when it is asked for AAAA.
fn truth(text: &str, family: Family, generation: u8) -> (u16, Vec<Vec<u8>>) {
    let Some(number) = number(text).filter(|number| number % 10 != 0) else {
        return (RA | NXDOMAIN, vec![]);
    };
    let list = known_addresses(number, generation);
    let of_family = list.iter().filter(|address| address.is_ipv6() == (family == Family::V6));
    let record = |owner: &str, address: &IpAddr| match address {
        IpAddr::V4(address) => a(owner, 30, address.octets()),
        IpAddr::V6(address) => aaaa(owner, 30, &address.to_string()),
    };
    match (number % 10, family) {
        (7, Family::V6) => (RA | NXDOMAIN, vec![]),
        (2 | 5, _) => {
            let found = of_family.map(|address| record("alias.x", address));
            (RA, std::iter::once(cname("&", 20, "alias.x")).chain(found).collect())
        }
        _ => (RA, of_family.map(|address| record("&", address)).collect()),
    }
}

fn number(text: &str) -> Option<u8> {
    text.strip_prefix('n')?.strip_suffix(".example")?.parse().ok()
}

fn known_addresses(number: u8, generation: u8) -> Vec<IpAddr> {
    let (six, four) = match number % 10 {
        0 | 1 => (0, 0),
        2 | 3 => (0, 1),
        4 => (2, 0),
        7 => (0, 2),
        8 => (16, 16),
        _ => (1, 2),
    };
    let v4 = |last| Ipv4Addr::new(10, generation, last, number).into();
    let v6 = |last: u8| {
        let [generation, last, number] = [generation, last, number].map(u16::from);
        Ipv6Addr::new(0x2001, 0xdb8, generation, 0, 0, 0, last, number).into()
    };
    (0..six).map(v6).chain((0..four).map(v4)).collect()
}

/// Few sources of both families, one of which asks half of the questions.
fn source(waiter: u64) -> IpAddr {
    match (waiter % 8).saturating_sub(3) as u8 {
        last @ 0..=2 => Ipv4Addr::new(127, 0, 0, last).into(),
        last => Ipv6Addr::from([last; 16]).into(),
    }
}

fn settings(generation: u8, options: &str) -> ResolverSettings {
    let server = |last| format!("nameserver 127.0.{generation}.{last}\n");
    let text = format!("{}{}{}{options}{DOMAIN}", server(1), server(2), server(3));
    ResolverSettings::from_resolv_conf(text.as_bytes(), |_| None)
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let options = ["", "options rotate\n", "options attempts:5 timeout:1\n"];
        let options = options[random.below(3) as usize];
        let mut ids = Random(random.next() | 1);
        let ids = Box::new(move || ids.next() as u16);
        let honesty = [0, 30, 70, 100][random.below(4) as usize];
        let mut world = World {
            resolver: Resolver::new(settings(0, options), Hosts::default(), ids),
            random,
            now: 1_000,
            events: BTreeMap::new(),
            serial: 0,
            open: BTreeMap::new(),
            lasting: BTreeSet::new(),
            answering: None,
            waiting: BTreeMap::new(),
            fresh: BTreeMap::new(),
            generation: 0,
            options,
            streams: BTreeMap::new(),
            honesty,
            asked: 0,
            found: 0,
            both: 0,
            cut_off: 0,
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
        if world.random.chance(50) {
            for _ in 0..3 {
                let at = world.random.below(spread_ms);
                world.after(at, Event::Reload);
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
                self.answering = None;
                self.resolver.handle_timeout(self.now);
            }
            self.drain();
        }
        assert!(self.waiting.is_empty(), "{} never answered", self.waiting.len());
        assert!(self.open.is_empty(), "sockets left open: {:?}", self.open);
        assert_eq!((self.resolver.waiters(), self.resolver.queries()), (0, 0));
    }

    fn handle(&mut self, event: Event) {
        self.answering = match event {
            Event::Datagram(key, _) | Event::Stream(key, _) => Some(key),
            _ => None,
        };
        match event {
            Event::Ask(waiter) => self.ask(waiter),
            Event::Leave(waiter) => {
                self.resolver.cancel(self.now, waiter);
                self.waiting.remove(&waiter);
            }
            Event::Reload => {
                self.generation += 1;
                self.fresh.clear();
                self.resolver.set_settings(settings(self.generation, self.options));
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
        while let Some(key) = self.resolver.poll_close() {
            let asked = self.open.remove(&key).expect("closed what was not open");
            if self.answering == Some(key) && self.lasting.contains(&key) {
                self.fresh.insert(asked, self.now + FRESH_MS);
            }
        }
        while let Some(transmit) = self.resolver.poll_transmit() {
            self.transmitted(transmit);
        }
        while let Some((waiter, answer)) = self.resolver.poll_answer() {
            let waiting =
                self.waiting.remove(&waiter).expect("answered once, and only while waiting");
            assert!(self.now <= waiting.deadline, "answered late");
            self.check(&waiting.name, answer);
        }
        assert!(self.open.len() <= QUERIES_MAX && self.resolver.queries() == self.open.len());
        self.crowded += usize::from(self.open.len() == QUERIES_MAX);
        assert_eq!(self.resolver.waiters(), self.waiting.len());
        assert!(self.resolver.cached() <= 512);
    }

    fn check(&mut self, name: &Name, answer: Result<Resolved, DnsError>) {
        let itself = name.as_str().to_owned();
        let completed = format!("{itself}.example");
        let by_search = !name.is_absolute() && !itself.contains('.');
        let answered = if by_search { &completed } else { &itself };
        let number = number(answered).filter(|number| number % 10 != 0);
        let truth = number.map(|number| known_addresses(number, self.generation));
        match answer {
            Ok(found) => {
                assert_eq!(found.name.as_str(), answered, "the name that was answered");
                self.check_addresses(&found.addresses, &truth.expect("a name that exists"));
            }
            Err(DnsError::NotFound) => assert_eq!(truth, None, "{name}"),
            Err(DnsError::NoData) => assert_eq!(truth, Some(vec![]), "{name}"),
            Err(DnsError::ServerFailure | DnsError::Timeout) => {
                assert!(self.honesty < 100, "honest servers answer");
            }
        }
    }

    /// True addresses, the families in turn. IPv4 is never missing where servers are honest.
    fn check_addresses(&mut self, found: &[IpAddr], truth: &[IpAddr]) {
        assert!((1..=ADDRESSES_MAX).contains(&found.len()));
        assert!(found.iter().all(|address| truth.contains(address)), "{found:?} of {truth:?}");
        let count = |list: &[IpAddr], is_ipv6| {
            list.iter().filter(|address| address.is_ipv6() == is_ipv6).count()
        };
        let [(six, true_six), (four, true_four)] =
            [true, false].map(|is_ipv6| (count(found, is_ipv6), count(truth, is_ipv6)));
        let turns = 2 * six.min(four);
        assert!(found[..turns].windows(2).all(|pair| pair[0].is_ipv6() != pair[1].is_ipv6()));
        let most = |other: usize| if other == 0 { ADDRESSES_MAX } else { ADDRESSES_MAX / 2 };
        assert!(six == 0 || six == true_six.min(most(four)), "{found:?} of {truth:?}");
        assert!(four == 0 || four == true_four.min(most(six)), "{found:?} of {truth:?}");
        assert!(four > 0 || true_four == 0 || self.honesty < 100, "IPv4 is missing");
        self.found += 1;
        self.both += usize::from(six > 0 && four > 0);
        self.cut_off += usize::from(six == 0 && true_six > 0 && self.honesty == 100);
    }

    fn transmitted(&mut self, transmit: Transmit) {
        self.asked += 1;
        let tcp = transmit.transport == Transport::Tcp;
        let query = transmit.bytes[if tcp { 2 } else { 0 }..].to_vec();
        let Seen { name: text, family, .. } = see(&query);
        let asked = (text.clone(), family);
        let in_flight = self.open.values().any(|other| *other == asked);
        assert!(!in_flight, "{asked:?} is already in flight");
        let is_fresh = self.fresh.get(&asked).is_some_and(|until| *until > self.now);
        assert!(!is_fresh, "{asked:?} is cached");
        let IpAddr::V4(server) = transmit.server.ip() else { panic!("another server") };
        assert_eq!(server.octets()[2], self.generation, "a server of the past");
        assert!(self.wanted().contains(&text), "no waiter for {text}");
        self.open.insert(transmit.key, asked);
        let honest = self.random.chance(self.honesty);
        let delay = 1 + self.random.below(if honest { 300 } else { 6_000 });
        match honest {
            true => self.answer_truly(transmit.key, tcp, &query, delay),
            false => self.misbehave(transmit.key, tcp, &query, delay),
        }
    }

    /// The names that waiters may be asking for.
    fn wanted(&self) -> BTreeSet<String> {
        let names = self.waiting.values().map(|waiting| waiting.name.to_string());
        names.flat_map(|name| [format!("{name}.example"), name]).collect()
    }

    fn answer_truly(&mut self, key: u64, tcp: bool, query: &[u8], delay: u64) {
        let Seen { name, family, .. } = see(query);
        let (flags, records) = truth(&name, family, self.generation);
        let known = number(&name).map(|number| known_addresses(number, self.generation));
        let lacks = known.is_some_and(|list| {
            !list.is_empty() && list.iter().all(|one| one.is_ipv6() != (family == Family::V6))
        });
        // Some servers do not say how long a name has no address of a family.
        let is_silent = lacks && flags == RA && key.is_multiple_of(3);
        if !is_silent {
            self.lasting.insert(key);
        }
        let authority = if is_silent { vec![] } else { vec![soa("example", 15, 15)] };
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

    fn misbehave(&mut self, key: u64, tcp: bool, query: &[u8], delay: u64) {
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
                self.answer_truly(key, tcp, query, 60 + delay);
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
                self.answer_truly(key, tcp, query, delay);
                self.answer_truly(key, tcp, query, delay);
                self.after(delay, Event::Error(key));
            }
        }
    }
}

#[test]
fn every_waiter_is_answered_once_and_in_time() {
    let (mut asked, mut found, mut both, mut cut_off, mut crowded) = (0, 0, 0, 0, 0);
    for seed in 1..=50 {
        let mut world = World::new(seed);
        let run = std::panic::AssertUnwindSafe(|| world.run());
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("seed {seed}, at {} ms", world.now);
            std::panic::resume_unwind(panic);
        }
        asked += world.asked;
        found += world.found;
        both += world.both;
        cut_off += world.cut_off;
        crowded += world.crowded;
    }
    assert!(
        asked > 5_000 && found > 5_000,
        "{asked} queries, {found} addresses: too few to test anything"
    );
    assert!(both > 1_000 && cut_off > 100, "{both} with both families, {cut_off} cut off");
    assert!(
        crowded > 1_000,
        "all queries were in use only {crowded} times: sources hardly competed"
    );
}
