//! The settings of the loop, from those of the proxy and from what the process may use.

use crate::config::Config;
use crate::dns::QUERIES_MAX;
use crate::limits;
use crate::pool::{LARGE_BUDGET_BYTES, PIPES_MAX, SPARE_PIPES_MAX};
use crate::rules::AddressPattern;
use crate::settings::{Durations, SESSION_BYTES_MAX, Settings};
use crate::status::CLIENTS_MAX;
use crate::time::Millis;

/// Descriptors kept for other uses than sessions: standard input and the like, poll, signals, the
/// waker, the rule file, and a third one that some sessions need for a moment. Listeners are added.
pub const RESERVED_DESCRIPTORS: u64 = 24;
/// Effectively unlimited; the links of sessions are counted in 32 bits.
const SESSIONS_MAX: u64 = 1 << 20;
/// Most attempts to connect beside the first of each session. They take descriptors from no session.
const EXTRA_ATTEMPTS_MAX: usize = 256;
/// A client that closed its side while its target is being reached may have half-closed: it has
/// longer than a lost SYN or two take.
const LEAVE_MS: Millis = 10_000;
/// A refused client has this long to close its side.
const LINGER_MS: Millis = 2000;

/// How often to look whether everything before a reset has arrived: at first, and later.
const RESET_POLL_MS: Millis = 20;
const SLOW_RESET_POLL_MS: Millis = 500;

/// A relay that is idle for so long has its target's connection probed from then on.
const KEEPALIVE_MS: Millis = 300_000;

/// How long after an attempt the next address of a name is tried beside it (RFC 8305, section 8).
const ATTEMPT_DELAY_MS: Millis = 250;

/// The resolver's own deadline comes first; this is for the case that it does not.
const RESOLVE_SLACK_MS: Millis = 1000;

/// Most questions to name servers in flight. Their sockets are not counted among those of the
/// sessions that wait for them, which may hold two others meanwhile: client and identd.
pub fn queries_max(descriptors: u64) -> usize {
    portion(descriptors, 16, QUERIES_MAX).max(2)
}

/// One of so many descriptors, at most this number. There may be more of them than fit a usize.
fn portion(descriptors: u64, one_of: u64, most: usize) -> usize {
    (descriptors / one_of).min(most as u64) as usize
}

/// Most sessions with descriptors for so many, and most bytes of relay buffers; all of it fits into
/// so many bytes of memory.
fn shares(by_descriptors: u64, memory: u64) -> (usize, usize) {
    // A quarter for relay buffers, half for everything else of sessions, and the rest is slack.
    let buffer_budget_bytes = (LARGE_BUDGET_BYTES as u64).min(memory / 4) as usize;
    let by_memory = memory / 2 / SESSION_BYTES_MAX as u64;
    (by_descriptors.min(by_memory).clamp(1, SESSIONS_MAX) as usize, buffer_budget_bytes)
}

/// The settings of the loop, and what is to be warned about: that they have less than was asked for,
/// or more than is safe.
pub fn settings(config: &Config, descriptors: u64, listeners: usize) -> (Settings, Vec<String>) {
    // With few descriptors, they are for sessions rather than for pipes.
    let pipes_max = if config.splice { portion(descriptors, 32, PIPES_MAX) } else { 0 };
    let pipe_ends = if config.splice { 2 * (pipes_max + SPARE_PIPES_MAX) } else { 0 };
    let extra_attempts_max = portion(descriptors, 32, EXTRA_ATTEMPTS_MAX);
    let status = config.status.map_or(0, |_| 1 + CLIENTS_MAX);
    let others = listeners + status + pipe_ends + queries_max(descriptors) + extra_attempts_max;
    let reserved = RESERVED_DESCRIPTORS + others as u64;
    let by_descriptors = descriptors.saturating_sub(reserved) / 2;
    let (sessions_max, buffer_budget_bytes) = shares(by_descriptors, limits::memory_left());
    let mut warnings = Vec::new();
    if let Some(sessions) = config.max_sessions.filter(|&sessions| sessions > sessions_max) {
        warnings.push(format!(
            "--max-sessions {sessions}: limited to {sessions_max}, which is what {descriptors} \
             open files and the memory limit allow"
        ));
    }
    if let Some(address) = config.status.filter(|address| !address.ip().is_loopback()) {
        warnings.push(format!(
            "--status {address}: anybody who reaches this address sees who uses the proxy, and for \
             what"
        ));
    }
    for (address, _) in config.proxy_protocol.iter().filter(|(_, bits)| *bits == 0) {
        warnings.push(format!(
            "--proxy-protocol {address}/0: every client may claim any address; name the balancers"
        ));
    }
    let settings = Settings {
        outbound: config.outbound,
        bind_address: config.bind_address,
        bind_ports: config.bind_ports.clone(),
        max_sessions: config.max_sessions.map_or(sessions_max, |n| n.min(sessions_max)),
        extra_attempts_max,
        max_per_source: config.max_per_source,
        balancers: balancers(config),
        buffer_bytes: config.buffer_bytes,
        buffer_budget_bytes,
        pipes_max,
        durations: durations(config),
        drain_timeout_ms: config.drain_timeout_ms,
        log_format: config.log_format,
    };
    (settings, warnings)
}

/// The load balancers, whose connections begin with a PROXY header.
pub fn balancers(config: &Config) -> Vec<AddressPattern> {
    let networks = config.proxy_protocol.iter();
    networks.map(|&(address, bits)| AddressPattern::network(address, bits)).collect()
}

fn durations(config: &Config) -> Durations {
    Durations {
        request_ms: config.request_timeout_ms,
        ident_ms: config.ident_timeout_ms,
        resolve_ms: config.dns_timeout_ms + RESOLVE_SLACK_MS,
        connect_ms: config.connect_timeout_ms,
        attempt_delay_ms: ATTEMPT_DELAY_MS,
        leave_ms: LEAVE_MS,
        bind_ms: config.bind_timeout_ms,
        idle_ms: config.idle_timeout_ms,
        half_close_ms: config.half_close_timeout_ms,
        keepalive_ms: KEEPALIVE_MS,
        linger_ms: LINGER_MS,
        reset_poll_ms: RESET_POLL_MS,
        slow_reset_poll_ms: SLOW_RESET_POLL_MS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_and_buffers_fit_into_the_memory_of_a_32_bit_process() {
        for descriptors in [0, 100, 1 << 19, 1 << 20, 1 << 32, u64::MAX] {
            for memory in [1 << 20, 64 << 20, i32::MAX as u64, isize::MAX as u64, u64::MAX] {
                let (sessions, buffer_bytes) = shares(descriptors, memory);
                let most = sessions as u128 * SESSION_BYTES_MAX as u128 + buffer_bytes as u128;
                assert!(most <= u128::from(memory), "{descriptors} descriptors, {memory} bytes");
            }
        }
    }

    #[test]
    fn the_largest_settings_overflow_nothing() {
        let config =
            Config { max_sessions: Some(1 << 20), buffer_bytes: 16 << 20, ..Config::default() };
        config.check().unwrap();
        // As many descriptors as would wrap around in a usize of 32 bits.
        for descriptors in [1 << 32, u64::MAX] {
            let (settings, _) = settings(&config, descriptors, 1);
            assert_eq!(queries_max(descriptors), QUERIES_MAX);
            assert_eq!(settings.pipes_max, PIPES_MAX);
            let (process, _) = settings.memory_max_bytes();
            let all = settings.max_sessions as u128 * SESSION_BYTES_MAX as u128;
            assert_eq!(process as u128, all + settings.buffer_budget_bytes as u128);
            // The slots of all sessions and both buffers of each come to more than 32 bits.
            let beyond =
                Settings { max_sessions: 1 << 20, buffer_budget_bytes: usize::MAX, ..settings };
            assert!(beyond.memory_max_bytes().0 > 1 << 31);
        }
    }
}
