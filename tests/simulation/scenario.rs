//! All that a seed decides before a run begins; what happens in it follows from that.

use crate::kernel::{DESCRIPTORS_MANY, Mood};
use crate::plan::{NAMES, Plan};
use crate::random::Random;
use crate::reloads::Reload;
use crate::rules::{self, Rule};
use crate::sim_net::PROXY;
use socku::internals::settings::{Durations, Settings};
use std::fmt;

/// How bytes are to be relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    Copied,
    Spliced,
}

impl Mode {
    pub const BOTH: [Mode; 2] = [Mode::Copied, Mode::Spliced];
}

#[derive(Clone)]
pub struct Scenario {
    pub mode: Mode,
    pub settings: Settings,
    pub rules: Vec<Rule>,
    pub clients: Vec<Plan>,
    pub mood: Mood,
    /// How likely a name server behaves, in per cent.
    pub honesty: u64,
    /// How likely its answers over UDP are truncated.
    pub truncates: u64,
    /// When something that the proxy goes by is replaced, and by what.
    pub reloads: Vec<(u64, Reload)>,
    pub stop_at: Option<u64>,
    pub drain_at: Option<u64>,
    /// Seeds of what happens in the kernel, and of the ids of questions.
    pub kernel_seed: u64,
    pub ids_seed: u64,
}

impl Scenario {
    pub fn random(seed: u64, mode: Mode) -> Scenario {
        let mut random = Random::new(seed);
        let random = &mut random;
        let settings = settings(random, mode);
        let rules = rules::random_rules(random);
        let count = random.within(1, 14);
        // Where all ask for the same name, they share questions and the cache.
        let favourite = [random.pick(&NAMES)];
        let names = if random.chance(30) { &favourite[..] } else { &NAMES };
        let clients: Vec<_> = (0..count).map(|_| Plan::random(random, names)).collect();
        let reloads = reloads(random, &clients);
        Scenario {
            mode,
            settings,
            rules,
            clients,
            honesty: random.pick(&[100, 70, 0]),
            truncates: random.pick(&[0, 0, 10, 80]),
            mood: mood(random),
            kernel_seed: random.next(),
            ids_seed: random.next(),
            stop_at: random.chance(8).then(|| random.within(500, 6_000)),
            drain_at: random.chance(15).then(|| random.within(500, 6_000)),
            reloads,
        }
    }
}

/// Many of them come just after a client.
fn reloads(random: &mut Random, clients: &[Plan]) -> Vec<(u64, Reload)> {
    let count = if random.chance(40) { random.within(1, 5) } else { 0 };
    let reload = |_| {
        let client = random.below(clients.len() as u64);
        let start = clients[client as usize].start;
        let at = if random.chance(30) { random.below(5_000) } else { start + random.below(150) };
        (at, Reload::random(random))
    };
    (0..count).map(reload).collect()
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.settings)?;
        writeln!(f, "{:?}", self.mood)?;
        writeln!(f, "honesty {} %, truncated {} %", self.honesty, self.truncates)?;
        writeln!(f, "stop at {:?}, drain at {:?}", self.stop_at, self.drain_at)?;
        write!(f, "{}", rules::text(&self.rules))?;
        for (at, reload) in &self.reloads {
            writeln!(f, "reload at {at}: {reload}")?;
        }
        for (place, plan) in self.clients.iter().enumerate() {
            writeln!(f, "{place}: {plan:?}")?;
        }
        Ok(())
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
        extra_attempts_max: 1000,
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
