//! One run: the turns of the loop over what a scenario makes of everything, and the end.

use crate::actors::{Actor, Cast, Client, Role};
use crate::addresses::Lack;
use crate::kernel::{Happening, Kernel};
use crate::lines::{self, field};
use crate::names::HOSTS;
use crate::outcome::Outcome;
use crate::random::Random;
use crate::reloads::{History, Reload, servers};
use crate::rules;
use crate::scenario::Scenario;
use crate::sim_net::SimNet;
use crate::upgrades::{BUFFER_SIZES, Upgrades};
use crate::users::USERS;
use socku::internals::dns::{self, Hosts, Resolver};
use socku::internals::reactor::Reactor;
use socku::internals::reason::CloseReason;
use socku::internals::rules::RuleSet;
use socku::internals::settings::Settings;
use socku::internals::users::Users;
use std::cell::RefCell;
use std::rc::Rc;

/// A run that takes more turns goes round in circles.
const TURNS_MAX: u64 = 60_000;
/// Most turns in succession that find nothing to do.
const IDLE_TURNS_MAX: u64 = 500;
/// Longer than any deadline.
const LONGEST_MS: u64 = 20_001;

/// What a new program reads from its files.
pub struct Files {
    pub settings: Settings,
    pub rules: RuleSet,
    pub resolver: Resolver,
    pub users: Option<Users>,
}

struct World {
    reactor: Reactor<SimNet>,
    kernel: Rc<RefCell<Kernel>>,
    held_max: u64,
    /// The loop was woken for reloads.
    has_reloads: bool,
    /// Turns without progress so far, and in succession.
    idle: (u64, u64),
    upgrades: Upgrades,
    mode: crate::scenario::Mode,
    outcome: Outcome,
}

/// Runs a scenario to its end; panics when something does not hold.
pub fn run(scenario: &Scenario, trace: bool) -> Outcome {
    lines::take();
    let mut world = World::new(scenario, trace);
    loop {
        world.turn();
        world.reload(scenario);
        world = world.upgrade(scenario);
        let now = world.kernel.borrow().now;
        if scenario.drain_at.is_some_and(|at| at <= now) && !world.reactor.is_draining() {
            world.kernel.borrow_mut().checks.stopped = true;
            world.reactor.drain();
        }
        if world.reactor.is_drain_over() {
            world.reactor.stop();
            world.judge_lines();
        }
        if scenario.stop_at.is_some_and(|at| at <= now) {
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

/// No rules refuse everything, though no file may be without any.
fn rule_set(list: &[rules::Rule]) -> RuleSet {
    match rules::text(list).as_str() {
        "" => RuleSet::default(),
        text => RuleSet::parse(text.as_bytes()).expect("rules"),
    }
}

fn dns_settings(generation: usize, has_v6: bool) -> dns::ResolverSettings {
    dns::ResolverSettings {
        servers: servers(generation, has_v6),
        timeout_ms: 500,
        attempts: 2,
        rotate: generation % 2 == 1,
        total_timeout_ms: 3_000,
        ..dns::ResolverSettings::default()
    }
}

/// What a program that starts now finds in its files.
fn files(scenario: &Scenario, history: &History) -> Files {
    let has_v6 = scenario.mood.lack != Lack::V6;
    let mut ids = Random::new(scenario.ids_seed);
    let ids = Box::new(move || ids.next() as u16);
    let hosts = Hosts::parse(HOSTS[history.hosts_now()]);
    let users = |number: usize| Users::parse(USERS[number].as_bytes()).expect("users");
    Files {
        settings: scenario.settings.clone(),
        rules: rule_set(history.rules(history.rules_now())),
        resolver: Resolver::new(dns_settings(history.servers_now(), has_v6), hosts, ids),
        users: history.users.map(users),
    }
}

impl World {
    fn new(scenario: &Scenario, trace: bool) -> World {
        let settings = scenario.settings.clone();
        let plans = scenario.clients.iter().enumerate();
        let cast = Cast {
            clients: plans.map(|(place, plan)| Client::new(plan.clone(), place)).collect(),
            entrances: scenario.entrances.clone(),
            outbound: settings.outbound,
            max_sessions: settings.max_sessions,
            max_per_source: settings.max_per_source,
            few_ports: settings.bind_ports.is_some(),
            durations: settings.durations.clone(),
            longest_ms: LONGEST_MS,
            honesty: scenario.honesty,
            truncates: scenario.truncates,
        };
        let mood = scenario.mood.clone();
        let sizes_after = if scenario.upgrades > 0 { &BUFFER_SIZES[..] } else { &[1024] };
        let size_after = sizes_after.iter().copied().max().unwrap_or(0);
        let held_max = (settings.buffer_bytes as u64).max(size_after).max(16 * mood.piece_bytes);
        let history = History::new(scenario.rules.clone(), scenario.users);
        let random = Random::new(scenario.kernel_seed);
        let mut kernel = Kernel::new(random, mood, cast, history, trace);
        for place in 0..kernel.cast.clients.len() {
            kernel.actors.push(Actor::Client);
            let start = kernel.cast.clients[place].plan.start;
            kernel.after(start, Happening::Wake(place));
        }
        for (number, (at, _)) in scenario.reloads.iter().enumerate() {
            kernel.after(*at, Happening::Reload(number));
        }
        let kernel = Rc::new(RefCell::new(kernel));
        let Files { settings, rules, resolver, users } = files(scenario, &kernel.borrow().history);
        let mut reactor = Reactor::new(SimNet(kernel.clone()), settings, rules, resolver);
        users.into_iter().for_each(|users| reactor.set_users(users));
        for entrance in &scenario.entrances {
            reactor.listen(*entrance).expect("an entrance");
        }
        let (mode, outcome) = (scenario.mode, Outcome::default());
        let upgrades = Upgrades::new(scenario.upgrades, scenario.kernel_seed);
        World {
            reactor,
            kernel,
            held_max,
            has_reloads: false,
            idle: (0, 0),
            upgrades,
            mode,
            outcome,
        }
    }

    fn turn(&mut self) {
        let woken = self.reactor.turn(None).expect("no turn fails");
        let is_due = !self.kernel.borrow().reloads_due.is_empty();
        assert!(woken == 0 || is_due, "the embedder is woken for nothing");
        self.has_reloads = woken == 1;
        self.judge_lines();
        let waiters = self.reactor.resolver().waiters();
        let kernel = self.kernel.borrow();
        assert!(waiters <= kernel.askers(), "a question for nobody");
        let ((small, large), (pipes, _)) = (self.reactor.lent_buffers(), self.reactor.pipes());
        assert!(pipes > 0 || kernel.piped == 0, "bytes in a spare pipe");
        kernel.check_interests();
        kernel.check_balance(small + large + pipes, self.held_max);
        let stats = self.reactor.stats();
        let is_idle = stats.idle_turns > self.idle.0;
        self.idle = (stats.idle_turns, if is_idle { self.idle.1 + 1 } else { 0 });
        assert!(self.idle.1 < IDLE_TURNS_MAX, "{} turns without progress", self.idle.1);
        let open = stats.opened - stats.closed_total();
        assert_eq!(open, self.reactor.session_count() as u64, "opened - closed");
        assert!(kernel.checks.turns < TURNS_MAX, "no end after {} turns", kernel.checks.turns);
        assert!(kernel.descriptors() <= kernel.mood.descriptors, "descriptors");
        assert!(open <= kernel.cast.max_sessions as u64, "more sessions than allowed");
    }

    /// Puts in force what was reloaded, as the embedder of the loop does between two turns.
    fn reload(&mut self, scenario: &Scenario) {
        if !std::mem::take(&mut self.has_reloads) {
            return;
        }
        let due = std::mem::take(&mut self.kernel.borrow_mut().reloads_due);
        let calls = self.kernel.borrow().journal.sum();
        for number in due {
            let (_, reload) = &scenario.reloads[number];
            self.kernel.borrow_mut().note_reload(reload);
            match reload {
                Reload::Rules(list) => self.reactor.set_rules(rule_set(list)),
                Reload::Hosts(number) => {
                    self.reactor.resolver().set_hosts(Hosts::parse(HOSTS[*number]));
                }
                Reload::Servers => {
                    let generation = self.kernel.borrow().history.servers_now();
                    let has_v6 = scenario.mood.lack != Lack::V6;
                    self.reactor.resolver().set_settings(dns_settings(generation, has_v6));
                }
                Reload::Users(number) => {
                    let users = Users::parse(USERS[*number].as_bytes()).expect("users");
                    self.reactor.set_users(users);
                }
            }
        }
        let after = self.kernel.borrow().journal.sum();
        assert_eq!(calls, after, "a reload by itself makes a call");
    }

    /// Replaces the program, now and then. One that is stopping is not replaced.
    fn upgrade(mut self, scenario: &Scenario) -> World {
        if self.reactor.is_draining() || !self.upgrades.is_due() {
            return self;
        }
        let files = || files(scenario, &self.kernel.borrow().history);
        let reactor = self.upgrades.perform(self.reactor, &self.kernel, files);
        World { reactor, ..self }
    }

    fn judge_lines(&mut self) {
        for line in lines::take() {
            let mut kernel = self.kernel.borrow_mut();
            kernel.journal.note(&line);
            let address = field(&line, "client").parse().ok();
            let place = kernel.cast.clients.iter().position(|c| c.address == address);
            let place = place.expect("an access line is about a client");
            let reason = field(&line, "reason").to_string();
            kernel.check_reason(place, &reason);
            kernel.check_line(place, &reason, &line);
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
        // A loop that is stopped closes those to name servers in a turn that does not come.
        let is_excused = |conn: &&usize| {
            kernel.checks.stopped && kernel.conns[**conn].role == Some(Role::NameServer)
        };
        let left = kernel.held.iter().filter(|conn| !is_excused(conn)).count();
        assert_eq!(left, 0, "connections left open");
        assert!(kernel.listeners.len() <= kernel.cast.entrances.len(), "listeners left open");
        // The wire goes on without the proxy.
        while let Some(at) = kernel.next_at() {
            kernel.now = kernel.now.max(at);
            kernel.step();
        }
        for place in 0..kernel.cast.clients.len() {
            kernel.check_client_was_told(place);
        }
        let stats = self.reactor.stats();
        for &reason in CloseReason::ALL {
            let lines = self.outcome.reasons.get(reason.word()).copied().unwrap_or(0);
            assert_eq!(stats.closed(reason), lines, "the counter of {reason}");
        }
        self.outcome.sessions = stats.opened;
        if kernel.is_calm() {
            self.outcome.calm_sessions = stats.opened;
            self.outcome.fruitless = kernel.checks.fruitless;
            kernel.check_wakes(stats.opened);
        }
        self.outcome.turns = kernel.checks.turns;
        self.outcome.bytes = stats.up_bytes + stats.down_bytes;
        self.outcome.spliced = kernel.spliced;
        self.outcome.journal = kernel.journal.sum();
        self.outcome.seen[self.mode as usize] = kernel.seen;
        drop(kernel);
        self.outcome
    }
}
