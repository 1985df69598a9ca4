//! One run: what the seed makes of everything, the turns, and the end.

use crate::actors::{Actor, Cast, Client};
use crate::kernel::{DESCRIPTORS_MANY, Happening, Kernel, Mood, Seen};
use crate::lines::{self, field};
use crate::plan::{HOSTS, Plan};
use crate::random::Random;
use crate::rules;
use crate::sim_net::{PROXY, SimNet};
use socku::dns::{self, Hosts, Resolver};
use socku::reactor::Reactor;
use socku::rules::RuleSet;
use socku::settings::{Durations, Settings};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddrV4;
use std::rc::Rc;

/// A run that takes more turns goes round in circles.
const TURNS_MAX: u64 = 60_000;

/// How bytes are to be relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Copied,
    Spliced,
}

impl Mode {
    pub const BOTH: [Mode; 2] = [Mode::Copied, Mode::Spliced];
}

/// What runs came to, for a look at whether they tested anything.
#[derive(Debug, Default)]
pub struct Outcome {
    pub sessions: u64,
    pub turns: u64,
    pub bytes: u64,
    pub spliced: u64,
    /// By mode.
    pub seen: [Seen; 2],
    pub reasons: BTreeMap<String, u64>,
    pub failed: BTreeSet<u64>,
}

impl Outcome {
    pub fn add(&mut self, other: &Outcome) {
        self.sessions += other.sessions;
        self.turns += other.turns;
        self.bytes += other.bytes;
        self.spliced += other.spliced;
        for (seen, other) in self.seen.iter_mut().zip(&other.seen) {
            seen.add(other);
        }
        for (reason, count) in &other.reasons {
            *self.reasons.entry(reason.clone()).or_default() += count;
        }
        self.failed.extend(&other.failed);
    }

    /// With enough seeds, every kind of end has been seen.
    pub fn assert_it_was_a_test(&self, seeds: u64) {
        if seeds < 256 {
            return;
        }
        for reason in [
            "done",
            "client-reset",
            "target-reset",
            "client-lost",
            "target-lost",
            "client-left",
            "request-timeout",
            "connect-timeout",
            "bind-timeout",
            "idle-timeout",
            "half-close-timeout",
            "bad-version",
            "bad-command",
            "user-too-long",
            "empty-name",
            "bad-name",
            "dns-not-found",
            "dns-no-data",
            "dns-server-failure",
            "no-rule",
            "denied",
            "no-ident",
            "other-user",
            "impossible-target",
            "refused",
            "unreachable",
            "prohibited",
            "wrong-peer",
            "no-resources",
            "too-many-from-source",
            "stopped",
        ] {
            assert!(self.reasons.contains_key(reason), "no session ended with {reason}");
        }
        assert!(self.reasons["done"] > seeds / 2, "{} transfers are done", self.reasons["done"]);
        for seen in &self.seen {
            assert!(seen.urgent > seeds / 8, "{} urgent bytes were passed on", seen.urgent);
            assert!(seen.waiting_resets > seeds / 8, "{} resets waited", seen.waiting_resets);
            assert!(seen.bursts > seeds / 32, "{} early resets", seen.bursts);
        }
        let met = self.seen[Mode::Spliced as usize].splices_at_mark;
        assert!(met > 0, "no splice met an urgent byte");
        assert!(self.spliced > seeds * 1000, "{} bytes went through pipes", self.spliced);
    }
}

fn settings(random: &mut Random, mode: Mode) -> Settings {
    // A flow goes on through a pipe once it has filled a buffer.
    let sizes: &[u64] = match mode {
        Mode::Copied => &[1024, 1025, 2048, 5000, 65_536],
        Mode::Spliced => &[1024, 1025, 2048],
    };
    let bind_ports = random.chance(25).then(|| 40_000..=40_000 + random.below(3) as u16);
    let mut duration = |low, high| random.within(low, high);
    let reset_poll_ms = duration(1, 30);
    let durations = Durations {
        request_ms: duration(500, 5_000),
        ident_ms: duration(300, 3_000),
        resolve_ms: duration(4_000, 6_000),
        connect_ms: duration(1_000, 8_000),
        attempt_delay_ms: duration(20, 500),
        leave_ms: duration(100, 1_000),
        bind_ms: duration(500, 5_000),
        idle_ms: Some(duration(1_000, 20_000)),
        half_close_ms: duration(1_000, 10_000),
        keepalive_ms: duration(500, 20_000),
        linger_ms: duration(500, 3_000),
        reset_poll_ms,
        slow_reset_poll_ms: 10 * reset_poll_ms,
    };
    Settings {
        outbound: random.chance(20).then_some(PROXY),
        bind_address: None,
        bind_ports,
        max_sessions: if random.chance(30) { random.within(1, 6) as usize } else { 1000 },
        max_per_source: random.chance(20).then(|| random.within(1, 3) as u32),
        buffer_bytes: random.pick(sizes) as usize,
        buffer_budget_bytes: random.pick(&[0, 10_000, 64 << 20]) as usize,
        durations,
        pipes_max: if mode == Mode::Spliced { random.within(1, 8) as usize } else { 0 },
        drain_timeout_ms: random.within(1, 5_000),
    }
}

fn mood(random: &mut Random) -> Mood {
    let (harsh, few) = (random.chance(40), random.chance(25));
    let is_wide = random.chance(20);
    let mut often = |most| if random.chance(60) { 0 } else { random.within(1, most) };
    Mood {
        interrupts: often(15),
        races: often(30),
        short: often(60),
        spurious: often(300),
        want: if harsh { often(30) } else { 0 },
        latency_ms: often(40),
        descriptors: if few { random.within(5, 15) as usize } else { DESCRIPTORS_MANY },
        full_masks: random.chance(50),
        jump_at: random.chance(10).then(|| random.within(1_000, 8_000)),
        no_splice: random.chance(10),
        piece_bytes: if is_wide { 40_000 } else { random.pick(&[5, 4_096, 40_000]) },
        is_wide,
        events_per_poll: random.pick(&[1, 3, 1000]) as usize,
    }
}

struct World {
    reactor: Reactor<SimNet>,
    kernel: Rc<RefCell<Kernel>>,
    held_max: u64,
    mode: Mode,
    outcome: Outcome,
}

/// Runs one seed to its end; panics when something does not hold.
pub fn run(seed: u64, mode: Mode, trace: bool) -> Outcome {
    let mut random = Random::new(seed);
    lines::take();
    let mut world = World::new(&mut random, mode, trace);
    let stop_at = random.chance(8).then(|| random.within(500, 6_000));
    let drain_at = random.chance(15).then(|| random.within(500, 6_000));
    loop {
        world.turn();
        let now = world.kernel.borrow().now;
        if drain_at.is_some_and(|at| at <= now) && !world.reactor.is_draining() {
            world.kernel.borrow_mut().checks.stopped = true;
            world.reactor.drain();
        }
        if world.reactor.is_drain_over() {
            world.reactor.stop();
            world.judge_lines();
        }
        if stop_at.is_some_and(|at| at <= now) {
            world.kernel.borrow_mut().checks.stopped = true;
            world.reactor.stop();
            world.judge_lines();
            break;
        }
        if world.kernel.borrow().checks.asleep || world.reactor.is_drained() {
            break;
        }
    }
    world.end()
}

impl World {
    fn new(random: &mut Random, mode: Mode, trace: bool) -> World {
        let settings = settings(random, mode);
        let list = rules::random_rules(random);
        let text = rules::text(&list);
        let count = random.within(1, 14);
        let clients: Vec<_> =
            (0..count as usize).map(|place| Client::new(Plan::random(random), place)).collect();
        let cast = Cast {
            rules: list,
            clients,
            entrances: [1080, 1081].map(|port| SocketAddrV4::new(PROXY, port)),
            max_sessions: settings.max_sessions,
            max_per_source: settings.max_per_source,
            few_ports: settings.bind_ports.is_some(),
            durations: settings.durations.clone(),
            longest_ms: 20_001,
            honesty: random.pick(&[100, 70, 0]),
        };
        if trace {
            println!("{settings:?}\n{text}");
            cast.clients
                .iter()
                .enumerate()
                .for_each(|(place, c)| println!("{place}: {:?}", c.plan));
        }
        let mood = mood(random);
        let entrances = cast.entrances;
        let held_max = (settings.buffer_bytes as u64).max(1024).max(16 * mood.piece_bytes);
        let mut kernel = Kernel::new(Random::new(random.next()), mood, cast, trace);
        for place in 0..kernel.cast.clients.len() {
            kernel.actors.push(Actor::Client);
            let start = kernel.cast.clients[place].plan.start;
            kernel.after(start, Happening::Wake(place));
        }
        let kernel = Rc::new(RefCell::new(kernel));
        // No rules refuse everything, though no file may be without any.
        let rules = match text.as_str() {
            "" => RuleSet::default(),
            _ => RuleSet::parse(text.as_bytes()).expect("rules"),
        };
        let mut ids = Random::new(random.next());
        let names = dns::Settings {
            servers: vec![
                "10.3.0.1:53".parse().expect("an address"),
                "10.3.0.2:53".parse().expect("an address"),
            ],
            timeout_ms: 500,
            attempts: 2,
            total_timeout_ms: 3_000,
            ..dns::Settings::default()
        };
        let resolver =
            Resolver::new(names, Hosts::parse(HOSTS), Box::new(move || ids.next() as u16));
        let mut reactor = Reactor::new(SimNet(kernel.clone()), settings, rules, resolver);
        for entrance in entrances {
            reactor.listen(entrance).expect("an entrance");
        }
        World { reactor, kernel, held_max, mode, outcome: Outcome::default() }
    }

    fn turn(&mut self) {
        self.reactor.turn().expect("no turn fails");
        self.judge_lines();
        let waiters = self.reactor.resolver().waiters();
        let kernel = self.kernel.borrow();
        assert!(waiters <= kernel.askers(), "a question for nobody");
        let ((small, large), (pipes, _)) = (self.reactor.lent_buffers(), self.reactor.pipes());
        assert!(pipes > 0 || kernel.piped == 0, "bytes in a spare pipe");
        kernel.check_balance(small + large + pipes, self.held_max);
        let stats = self.reactor.stats();
        let open = stats.opened - stats.closed_total();
        assert_eq!(open, self.reactor.session_count() as u64, "opened - closed");
        assert!(kernel.checks.turns < TURNS_MAX, "no end after {} turns", kernel.checks.turns);
        assert!(kernel.descriptors() <= kernel.mood.descriptors, "descriptors");
        assert!(open <= kernel.cast.max_sessions as u64, "more sessions than allowed");
    }

    fn judge_lines(&mut self) {
        for line in lines::take() {
            let mut kernel = self.kernel.borrow_mut();
            let address = field(&line, "client").parse().ok();
            let place = kernel.cast.clients.iter().position(|c| c.address == address);
            let place = place.expect("an access line is about a client");
            let reason = field(&line, "reason").to_string();
            kernel.check_reason(place, &reason, field(&line, "reply"));
            if reason == "target-reset" && kernel.client(place).has_burst {
                kernel.seen.bursts += 1;
            }
            let ms = field(&line, "ms").parse().expect("milliseconds");
            kernel.check_age(place, &reason, ms);
            assert!(kernel.cast.clients[place].reason.is_none(), "two access lines");
            *self.outcome.reasons.entry(reason.clone()).or_default() += 1;
            kernel.cast.clients[place].reason = Some(reason);
        }
    }

    /// Everything is given back.
    fn end(mut self) -> Outcome {
        assert_eq!(self.reactor.session_count(), 0, "sessions that never end");
        assert_eq!(self.reactor.lent_buffers(), (0, 0), "buffers that were not given back");
        let (pipes, spare) = self.reactor.pipes();
        assert_eq!(
            (pipes, self.kernel.borrow().pipes),
            (0, spare),
            "pipes that were not given back"
        );
        assert_eq!(self.reactor.resolver().waiters(), 0, "waiters for nothing");
        let mut kernel = self.kernel.borrow_mut();
        assert_eq!(kernel.held.len(), 0, "connections left open");
        assert!(kernel.listeners.len() <= 2, "listeners left open");
        // The wire goes on without the proxy.
        while let Some(at) = kernel.next_at() {
            kernel.now = kernel.now.max(at);
            kernel.step();
        }
        for place in 0..kernel.cast.clients.len() {
            kernel.check_client_was_told(place);
        }
        let stats = self.reactor.stats();
        self.outcome.sessions = stats.opened;
        self.outcome.turns = kernel.checks.turns;
        self.outcome.bytes = stats.up_bytes + stats.down_bytes;
        self.outcome.spliced = kernel.spliced;
        self.outcome.seen[self.mode as usize] = kernel.seen;
        drop(kernel);
        self.outcome
    }
}
