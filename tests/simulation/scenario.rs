//! All that a seed decides before a run begins; what happens in it follows from that.

use crate::addresses::{Lack, PROXY_V4, PROXY_V6, unspecified};
use crate::kernel::{DESCRIPTORS_MANY, Mood};
use crate::names::NAMES;
use crate::plan::{Fashion, Plan};
use crate::random::Random;
use crate::reloads::Reload;
use crate::rules::{self, Rule};
use crate::upgrades;
use socku::internals::address::PerFamily;
use socku::internals::settings::{Durations, LogFormat, Settings};
use std::fmt;
use std::net::SocketAddr;

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
    /// Which users file is in force at first, if there is one at all.
    pub users: Option<usize>,
    pub entrances: Vec<SocketAddr>,
    pub clients: Vec<Plan>,
    pub mood: Mood,
    /// How likely a name server behaves, in per cent.
    pub honesty: u64,
    /// How likely its answers over UDP are truncated.
    pub truncates: u64,
    /// When something that the proxy goes by is replaced, and by what.
    pub reloads: Vec<(u64, Reload)>,
    /// How likely the program is replaced after a turn, in per mille.
    pub upgrades: u64,
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
        let lack = match random.below(20) {
            0 => Lack::RouteV4,
            1 | 2 => Lack::RouteV6,
            3 | 4 => Lack::V6,
            _ => Lack::Nothing,
        };
        let entrances = entrances(random, lack);
        let settings = settings(random, mode, lack);
        let rules = rules::random_rules(random);
        let users = random.chance(60).then_some(0);
        let entrance = random.below(entrances.len() as u64) as usize;
        let guesses = users.and(random.chance(7).then_some(entrance));
        let count = random.within(if guesses.is_some() { 6 } else { 1 }, 17);
        // Where all ask for the same name, they share questions and the cache.
        let favourite = [random.pick(&NAMES)];
        let fashion = Fashion {
            names: if random.chance(30) { &favourite[..] } else { &NAMES },
            entrances: &entrances,
            socks5: random.pick(&[0, 60, 60, 100]),
            v6: if lack == Lack::V6 { 10 } else { random.pick(&[0, 50, 50, 100]) },
            passwords: if users.is_some() { 60 } else { 15 },
            right: if guesses.is_some() { 15 } else { 80 },
            guesses,
        };
        let clients: Vec<_> = (0..count).map(|_| Plan::random(random, &fashion)).collect();
        let reloads = reloads(random, &clients, users.is_some());
        Scenario {
            mode,
            settings,
            rules,
            users,
            clients,
            honesty: random.pick(&[100, 70, 0]),
            truncates: random.pick(&[0, 0, 10, 80]),
            mood: mood(random, lack, entrances.len()),
            entrances,
            kernel_seed: random.next(),
            ids_seed: random.next(),
            stop_at: random.chance(8).then(|| random.within(500, 6_000)),
            drain_at: random.chance(15).then(|| random.within(500, 6_000)),
            reloads,
            upgrades: upgrades::chance(seed),
        }
    }
}

/// Many of them come just after a client.
fn reloads(random: &mut Random, clients: &[Plan], has_users: bool) -> Vec<(u64, Reload)> {
    let count = if random.chance(40) { random.within(1, 5) } else { 0 };
    let reload = |_| {
        let client = random.below(clients.len() as u64);
        let start = clients[client as usize].start;
        let at = if random.chance(30) { random.below(5_000) } else { start + random.below(150) };
        (at, Reload::random(random, has_users))
    };
    (0..count).map(reload).collect()
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.settings)?;
        writeln!(f, "{:?}", self.mood)?;
        writeln!(f, "honesty {} %, truncated {} %", self.honesty, self.truncates)?;
        writeln!(f, "entrances {:?}, users {:?}", self.entrances, self.users)?;
        writeln!(f, "upgrades {} per mille", self.upgrades)?;
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

fn settings(random: &mut Random, mode: Mode, lack: Lack) -> Settings {
    // A flow goes on through a pipe once it has filled a buffer.
    let sizes: &[u64] = match mode {
        Mode::Copied => &[1024, 1025, 2048, 5000, 65_536],
        Mode::Spliced => &[1024, 1025, 2048],
    };
    let bind_ports = random.chance(25).then(|| 40_000..=40_000 + random.below(3) as u16);
    // The resolver gives up after three seconds, or is not waited for as long as that.
    let resolve_ms = random.pick(&[600, 600, 4_000]);
    let mut duration = |low, high| random.within(low, high);
    let reset_poll_ms = duration(1, 30);
    let durations = Durations {
        request_ms: duration(500, 5_000),
        ident_ms: duration(300, 3_000),
        resolve_ms: duration(resolve_ms, resolve_ms + 600),
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
        outbound: outbound(random, lack),
        bind_address: PerFamily::default(),
        bind_ports,
        max_sessions: if random.chance(30) { random.within(1, 6) as usize } else { 1000 },
        extra_attempts_max: 1000,
        max_per_source: random.chance(20).then(|| random.within(1, 3) as u32),
        balancers: Vec::new(),
        buffer_bytes: random.pick(sizes) as usize,
        buffer_budget_bytes: random.pick(&[0, 10_000, 64 << 20]) as usize,
        durations,
        pipes_max: if mode == Mode::Spliced { random.within(1, 8) as usize } else { 0 },
        drain_timeout_ms: random.within(1, 5_000),
        log_format: LogFormat::Text,
    }
}

fn mood(random: &mut Random, lack: Lack, entrances: usize) -> Mood {
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
        descriptors: if few { entrances + random.within(3, 13) as usize } else { DESCRIPTORS_MANY },
        lack,
        full_masks: random.chance(50),
        jump_at: random.chance(10).then(|| random.within(1_000, 8_000)),
        no_splice: random.chance(10),
        piece_bytes: if is_wide { 40_000 } else { random.pick(&[5, 4_096, 40_000]) },
        is_wide,
        events_per_poll: random.pick(&[1, 3, 1000]) as usize,
    }
}

fn outbound(random: &mut Random, lack: Lack) -> PerFamily {
    let mut outbound = PerFamily::default();
    if random.chance(20) {
        outbound.set(PROXY_V4);
    }
    if random.chance(20) && lack != Lack::V6 {
        outbound.set(PROXY_V6);
    }
    outbound
}

/// Two of IPv4, and one or two of IPv6.
fn entrances(random: &mut Random, lack: Lack) -> Vec<SocketAddr> {
    let mut entrances = vec![(PROXY_V4, 1080).into(), (PROXY_V4, 1081).into()];
    if lack != Lack::V6 {
        entrances.push((PROXY_V6, 1080).into());
        if random.chance(50) {
            entrances.push((unspecified(true), 1082).into());
        }
    }
    entrances
}
