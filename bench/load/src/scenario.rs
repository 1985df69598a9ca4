//! The course of a run and its figures, for each mode.

use std::io;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::engine::Engine;
use crate::options::{Mode, Options};
use crate::process::{CpuSample, Memory, Tree};
use crate::report::Report;

/// Handshakes under way at once while many sessions are opened.
const OPENING_MAX: u64 = 64;
/// Time for what is on its way when sessions are idle, before memory is read.
const SETTLE: Duration = Duration::from_millis(300);
/// Time for targets to see the end of their sessions.
const CLOSE_PATIENCE: Duration = Duration::from_secs(3);

/// Runs what the options ask for.
pub fn run(options: &Options) -> io::Result<Report> {
    let deadline = Instant::now() + options.deadline;
    let mut engine =
        Engine::new(options.places(), options.plan(), options.sender, options.listen, deadline)?;
    let report = match options.mode {
        Mode::Bulk => bulk(&mut engine, options)?,
        Mode::Short => short(&mut engine, options)?,
        Mode::PingPong => ping_pong(&mut engine, options)?,
        Mode::Idle => idle(&mut engine, options)?,
        Mode::Target => {
            let until = Instant::now() + options.window;
            engine.turn_until(Some(until.min(deadline)), |_| Ok(false))?;
            return Ok(Report::default());
        }
    };
    let left = engine.close_all(CLOSE_PATIENCE)?;
    let (failed, failure) = engine.failures();
    let report = report.number("failed", failed as f64).number("left", left as f64);
    Ok(match failure {
        Some(failure) => report.text("failure", failure),
        None => report,
    })
}

/// CPU of both sides over a stretch of time.
struct Meter {
    proxy: Option<Tree>,
    load: Tree,
}

struct Reading {
    at: Instant,
    proxy: Option<CpuSample>,
    load: CpuSample,
}

impl Meter {
    fn new(options: &Options) -> Meter {
        let own = i32::try_from(std::process::id()).expect("pids are 22 bits at most");
        Meter { proxy: options.pid.map(Tree::new), load: Tree::new(own) }
    }

    fn read(&self) -> Reading {
        Reading { at: Instant::now(), proxy: self.proxy.map(Tree::cpu), load: self.load.cpu() }
    }

    /// The figures since `start`, with CPU also per `units` of what was done.
    fn report(&self, start: &Reading, units: f64) -> Report {
        let end = self.read();
        let seconds = (end.at - start.at).as_secs_f64();
        let load = end.load.seconds_since(&start.load);
        let report = Report::default()
            .number("seconds", seconds)
            .number("rate", units / seconds)
            .number("load_cpu_per_unit", load / units)
            .number("load_busy", load / seconds);
        match (&end.proxy, &start.proxy) {
            (Some(end), Some(start)) => {
                let cpu = end.seconds_since(start);
                report.number("cpu_per_unit", cpu / units).number("busy", cpu / seconds)
            }
            _ => report,
        }
    }

    fn memory(&self) -> io::Result<Option<Memory>> {
        self.proxy.map(Tree::memory).transpose()
    }
}

/// Starts sessions until `count` are open, a few at a time.
fn open(engine: &mut Engine, count: u64) -> io::Result<()> {
    engine.turn_until(None, |engine| {
        let opened = engine.ledger().totals.opened;
        let (failed, _) = engine.failures();
        while engine.started() < count + failed && engine.started() - opened - failed < OPENING_MAX
        {
            engine.start()?;
        }
        Ok(opened >= count)
    })?;
    Ok(())
}

/// Unit: gigabyte (10^9 bytes) received.
fn bulk(engine: &mut Engine, options: &Options) -> io::Result<Report> {
    let meter = Meter::new(options);
    open(engine, options.sessions as u64)?;
    engine.turn_until(Some(Instant::now() + options.warmup), |_| Ok(false))?;
    let (start, received) = (meter.read(), engine.received());
    engine.turn_until(Some(start.at + options.window), |_| Ok(false))?;
    let gigabytes = (engine.received() - received) as f64 / 1e9;
    Ok(with_memory(meter.report(&start, gigabytes), meter.memory()?))
}

/// Unit: session, from connect to close.
///
/// With `--count`, that many sessions are measured and `--warmup-count` come before them; the
/// last ones end without new ones beside them. Without, time decides.
fn short(engine: &mut Engine, options: &Options) -> io::Result<Report> {
    let meter = Meter::new(options);
    let all = options.count.map_or(u64::MAX, |count| count + options.warmup_count);
    let busy = |engine: &mut Engine, until: Option<Instant>, sessions: u64| {
        engine.turn_until(until, |engine| {
            while engine.clients() < options.sessions && engine.started() < all {
                engine.start()?;
            }
            let ended = engine.started() - engine.clients() as u64;
            Ok(ended >= sessions)
        })
    };
    match options.count {
        Some(_) => busy(engine, None, options.warmup_count)?,
        None => busy(engine, Some(Instant::now() + options.warmup), all)?,
    };
    let start = meter.read();
    let finished = engine.ledger().totals.finished;
    engine.ledger().sessions.clear();
    let until = options.count.is_none().then(|| start.at + options.window);
    busy(engine, until, all)?;
    let finished = engine.ledger().totals.finished - finished;
    let report = meter.report(&start, finished as f64).number("sessions", finished as f64);
    let times = &engine.ledger().sessions;
    let report =
        report.number("p50_us", times.quantile_us(0.50)).number("p99_us", times.quantile_us(0.99));
    Ok(with_memory(report, meter.memory()?))
}

/// Unit: round trip.
fn ping_pong(engine: &mut Engine, options: &Options) -> io::Result<Report> {
    let meter = Meter::new(options);
    open(engine, options.sessions as u64)?;
    engine.turn_until(Some(Instant::now() + options.warmup), |_| Ok(false))?;
    let (start, pings) = (meter.read(), engine.ledger().totals.pings);
    engine.ledger().round_trips.clear();
    engine.turn_until(Some(start.at + options.window), |_| Ok(false))?;
    let pings = engine.ledger().totals.pings - pings;
    let report = meter.report(&start, pings as f64);
    let times = &engine.ledger().round_trips;
    Ok(report
        .number("p50_us", times.quantile_us(0.50))
        .number("p99_us", times.quantile_us(0.99))
        .number("p999_us", times.quantile_us(0.999)))
}

/// Opens sessions, reads the memory they take, stands still for as long as the caller wants, and
/// checks that every session is alive.
fn idle(engine: &mut Engine, options: &Options) -> io::Result<Report> {
    let meter = Meter::new(options);
    let sessions = options.sessions as u64;
    let before = meter.memory()?;
    let start = meter.read();
    open(engine, sessions)?;
    engine.turn_until(None, |engine| Ok(engine.ledger().totals.pings >= sessions))?;
    let opening = meter.report(&start, sessions as f64);
    engine.turn_until(Some(Instant::now() + SETTLE), |_| Ok(false))?;
    let after = meter.memory()?;
    let quiet = meter.read();
    stand_still(options.hold)?;
    let idle = meter.read();
    let woken = engine.wake_all()?;
    let pings = engine.ledger().totals.pings + woken;
    engine.turn_until(Some(Instant::now() + Duration::from_secs(10)), |engine| {
        Ok(engine.ledger().totals.pings >= pings)
    })?;
    let alive = engine.ledger().totals.pings + woken - pings;
    let mut report = opening.number("sessions", sessions as f64).number("alive", alive as f64);
    if let (Some(before), Some(after)) = (before, after) {
        let per_session =
            |after: u64, before: u64| (after as f64 - before as f64) / sessions as f64;
        report = report
            .number("rss_start", before.rss as f64)
            .number("pss_start", before.pss as f64)
            .number("rss_per_session", per_session(after.rss, before.rss))
            .number("pss_per_session", per_session(after.pss, before.pss));
    }
    if let (Some(idle), Some(quiet)) = (&idle.proxy, &quiet.proxy) {
        report = report.number("idle_cpu_s", idle.seconds_since(quiet));
    }
    Ok(with_memory(report, after))
}

/// Says on standard output that the sessions are idle, and waits for a line on standard input.
fn stand_still(hold: Duration) -> io::Result<()> {
    if hold.is_zero() {
        return Ok(());
    }
    println!("idle");
    let stdin = io::stdin();
    let timeout = Timespec { tv_sec: hold.as_secs() as _, tv_nsec: hold.subsec_nanos() as _ };
    poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&timeout))?;
    Ok(())
}

fn with_memory(report: Report, memory: Option<Memory>) -> Report {
    match memory {
        Some(memory) => report.number("rss", memory.rss as f64).number("pss", memory.pss as f64),
        None => report,
    }
}
