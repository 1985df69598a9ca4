//! Properties of the machine that the tests run on: free ports and descriptors, and how long
//! threads wait for a processor.

use super::Proxy;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

/// A loopback address where no socket listens. Its port is never handed out to a program that asks
/// for any port, so no other test will listen there.
pub const CLOSED: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1);
/// Ports below those that the kernel hands out.
const FIXED_PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Whether this program may open this many descriptors, after raising its soft limit. If not,
/// prints that the test is skipped, or fails if `CI` is set.
pub fn can_open(descriptors: u64) -> bool {
    let is_enough = socku::internals::limits::raise_descriptor_limit() >= descriptors;
    assert!(is_enough || std::env::var_os("CI").is_none(), "{descriptors} descriptors are needed");
    if !is_enough {
        eprintln!("skipped: needs {descriptors} descriptors");
    }
    is_enough
}

/// This many sessions, or as many as there are descriptors for, at two per session.
pub fn sessions(wanted: usize) -> usize {
    // Some are for pipes and the like.
    let room = (socku::internals::limits::raise_descriptor_limit() as usize - 600) / 2;
    if room < wanted {
        eprintln!("{room} sessions instead of {wanted}: too few descriptors");
    }
    wanted.min(room)
}

/// A loopback address for fixed ports: a concurrent run of the tests has others, and no connection
/// of a test has one as its source.
pub fn own_address(last: u8) -> Ipv4Addr {
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 128 | high, low, last)
}

/// Two adjacent ports of 127.0.0.1 that are free and stay free: the kernel hands out neither, and
/// another run of the tests starts its search elsewhere.
pub fn two_free_ports() -> (u16, u16) {
    let start = std::process::id() as usize * 2 % FIXED_PORTS.len();
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let mut lower = FIXED_PORTS.cycle().skip(start).step_by(2).take(FIXED_PORTS.len() / 2);
    let low = lower.find(|low| is_free(low) && is_free(&(low + 1))).unwrap();
    (low, low + 1)
}

/// Replaces a file atomically: a reader gets the old text or the new text, never a part, and the
/// change is a single event.
pub fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, file).unwrap();
}

/// Measures a time as it would be on an otherwise idle machine.
pub struct Stopwatch<'a> {
    proxy: &'a Proxy,
    started: Instant,
    kept_waiting: Duration,
}

impl Stopwatch<'_> {
    /// Starts measuring work of the proxy and the calling thread.
    pub fn start(proxy: &Proxy) -> Stopwatch<'_> {
        Stopwatch { proxy, started: Instant::now(), kept_waiting: both_kept_waiting(proxy) }
    }

    /// The time since then, without the time that the two waited for a processor.
    pub fn elapsed(&self) -> Duration {
        let elapsed = self.started.elapsed();
        elapsed.saturating_sub(both_kept_waiting(self.proxy) - self.kept_waiting)
    }
}

fn both_kept_waiting(proxy: &Proxy) -> Duration {
    kept_waiting(&proxy.pid().to_string()) + kept_waiting("thread-self")
}

/// How long a thread has waited for a processor since it was started.
pub fn kept_waiting(thread: &str) -> Duration {
    let text = fs::read_to_string(format!("/proc/{thread}/schedstat")).unwrap_or_default();
    let nanoseconds = text.split(' ').nth(1).map_or(0, |field| field.parse().unwrap());
    Duration::from_nanos(nanoseconds)
}
