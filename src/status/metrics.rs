//! The metrics: one table has the name, the meaning and the values of each. docs/metrics.md lists
//! them for operators.

use super::exposition::Exposition;
use super::exposition::Kind::{self, Counter, Gauge};
use super::view::View;
use crate::limit::Limit;
use crate::reason::CloseReason;
use crate::session::StateKind;
use crate::sizes::{PIPE_BYTES, SMALL_BYTES};
use crate::stats::{COMMANDS, PROTOCOLS};

/// A metric.
pub struct Metric {
    /// Its name; that of a counter ends in `_total`.
    pub name: &'static str,
    /// Whether it only grows.
    pub kind: Kind,
    /// Its meaning, for the text and for docs/metrics.md.
    pub help: &'static str,
    /// Writes its samples: always the same ones, so that rates have a start, except that a value
    /// that the system does not tell is left out.
    samples: fn(&View<'_>, &mut Exposition),
}

/// All metrics, as text.
pub fn text(view: &View<'_>, open_metrics: bool) -> String {
    let mut text = Exposition::new(open_metrics);
    for metric in METRICS {
        text.begin(metric.name, metric.kind, metric.help);
        (metric.samples)(view, &mut text);
    }
    text.finish()
}

macro_rules! metrics {
    ($($kind:ident $name:literal $help:literal |$view:ident, $out:ident| $samples:expr;)*) => {
        /// All of them, in the order of the text.
        pub const METRICS: &[Metric] = &[$(Metric {
            name: $name,
            kind: $kind,
            help: $help,
            samples: |$view, $out| $samples,
        },)*];
    };
}

metrics! {
    Gauge "socku_build_info" "The version of the program, as a label; always 1."
        |view, out| out.sample(&[("version", view.version)], 1);
    Gauge "process_start_time_seconds" "When the process started, in seconds since 1970."
        |view, out| out.sample(&[], seconds(view.process.started_unix_ms));
    Gauge "socku_draining" "1 while no client is accepted and sessions may finish, before the end."
        |view, out| out.sample(&[], u8::from(view.draining));

    Gauge "socku_sessions" "Open sessions, by state."
        |view, out| for state in StateKind::OPEN {
            out.sample(&[("state", state.word())], view.stats.in_state(state));
        };
    Counter "socku_sessions_opened_total" "Sessions opened."
        |view, out| out.sample(&[], view.stats.opened);
    Counter "socku_sessions_ended_total" "Sessions ended, by the reason that the log gives."
        |view, out| for &reason in CloseReason::ALL {
            out.sample(&[("reason", reason.word())], view.stats.closed(reason));
        };
    Counter "socku_requests_total" "Requests read, by protocol and command."
        |view, out| for protocol in PROTOCOLS {
            for command in COMMANDS {
                let count = view.stats.requests(protocol, command);
                let (protocol, command) = (protocol.to_string(), command.to_string());
                out.sample(&[("protocol", &protocol), ("command", &command)], count);
            }
        };
    Counter "socku_relayed_bytes_total"
        "Bytes delivered, up to targets and down to clients, those of open sessions included."
        |view, out| {
            out.sample(&[("direction", "up")], view.stats.up_bytes);
            out.sample(&[("direction", "down")], view.stats.down_bytes);
        };
    Counter "socku_connections_shed_total"
        "Connections reset without a session, because their address was at twice --max-per-source."
        |view, out| out.sample(&[], view.stats.shed);
    Counter "socku_accept_failures_total" "How often accept lacked descriptors or memory."
        |view, out| out.sample(&[], view.usage.accept_failures);
    Counter "socku_failed_logins_total" "Sessions ended by a wrong user or password."
        |view, out| out.sample(&[], view.stats.closed(CloseReason::BadPassword));
    Counter "socku_ident_queries_total" "Queries sent to identds."
        |view, out| out.sample(&[], view.usage.ident_queries);

    Gauge "socku_limit" "Most that there may be of what a limit counts; +Inf without one."
        |view, out| for &limit in Limit::ALL {
            match view.usage.most(limit) {
                Some(most) => out.sample(&[("limit", limit.word())], most),
                None => out.sample(&[("limit", limit.word())], "+Inf"),
            }
        };
    Counter "socku_limit_reached_total" "How often a limit was reached; the table of limits in docs/operating.md says what is counted."
        |view, out| for &limit in Limit::ALL {
            out.sample(&[("limit", limit.word())], view.stats.reached(limit));
        };
    Gauge "socku_buffers_lent" "Buffers that hold bytes, by size."
        |view, out| {
            out.sample(&[("size", "small")], view.usage.small_buffers);
            out.sample(&[("size", "large")], view.usage.large_buffers);
        };
    Gauge "socku_buffers_lent_bytes" "Bytes of the buffers that are lent, by size."
        |view, out| {
            let large = view.usage.large_buffers * view.usage.large_buffer_bytes;
            out.sample(&[("size", "small")], view.usage.small_buffers * SMALL_BYTES);
            out.sample(&[("size", "large")], large);
        };
    Gauge "socku_buffers_kept_bytes" "Bytes of free buffers that are kept for the next bytes."
        |view, out| out.sample(&[], view.usage.kept_buffer_bytes);
    Gauge "socku_pipes_lent" "Pipes that hold bytes of sustained flows."
        |view, out| out.sample(&[], view.usage.pipes);
    Gauge "socku_pipes_kept" "Free pipes that are kept."
        |view, out| out.sample(&[], view.usage.kept_pipes);
    Gauge "socku_pipe_bytes" "Bytes that one pipe holds at most."
        |_view, out| out.sample(&[], PIPE_BYTES);

    Gauge "process_open_fds" "Open descriptors; before Linux 6.2 counted up to 4096."
        |view, out| if let Some(count) = view.process.descriptors {
            out.sample(&[], count);
        };
    Gauge "process_max_fds" "Most descriptors that may be open."
        |view, out| out.sample(&[], view.process.descriptors_max);
    Gauge "process_resident_memory_bytes" "Memory in use."
        |view, out| if let Some(bytes) = view.process.resident_bytes {
            out.sample(&[], bytes);
        };
    Counter "process_cpu_seconds_total" "Processor time used, by the process and for it."
        |view, out| if let Some(ms) = view.process.cpu_ms {
            out.sample(&[], seconds(ms));
        };

    Gauge "socku_dns_queries" "Queries to name servers in flight."
        |view, out| out.sample(&[], view.usage.dns_queries);
    Gauge "socku_dns_waiting_sessions" "Sessions that wait for a name."
        |view, out| out.sample(&[], view.usage.dns_waiters);
    Counter "socku_dns_queries_sent_total" "Queries sent to name servers, retries included."
        |view, out| out.sample(&[], view.usage.dns.sent);
    Counter "socku_dns_queries_ended_total"
        "Queries answered, failed (the server could not answer) or timed out."
        |view, out| {
            let dns = view.usage.dns;
            out.sample(&[("result", "answered")], dns.answered);
            out.sample(&[("result", "failed")], dns.failed);
            out.sample(&[("result", "timed-out")], dns.timed_out);
        };
    Gauge "socku_dns_cache_entries" "Answers in the cache, expired ones included."
        |view, out| out.sample(&[], view.usage.dns_cached);
    Counter "socku_dns_cache_lookups_total"
        "Questions (one for each address family of a name) that the cache answered, or did not."
        |view, out| {
            out.sample(&[("result", "hit")], view.usage.dns.cache_hits);
            out.sample(&[("result", "miss")], view.usage.dns.cache_misses);
        };

    Gauge "socku_rules" "Rules in force."
        |view, out| out.sample(&[], view.usage.rules);
    Gauge "socku_users" "Users who can log in."
        |view, out| out.sample(&[], view.usage.users);
    Counter "socku_reloads_total"
        "Files read again, with success or with an error, which changes nothing."
        |view, out| {
            out.sample(&[("result", "success")], view.process.reloads.good);
            out.sample(&[("result", "error")], view.process.reloads.failed);
        };

    Gauge "socku_log_waiting_bytes" "Bytes of log lines that wait for the reader of the log."
        |view, out| out.sample(&[], view.process.log_waiting_bytes);
    Counter "socku_log_lines_dropped_total" "Log lines dropped because the reader was too slow."
        |view, out| out.sample(&[], view.process.log_dropped);

    Counter "socku_loop_turns_total" "Turns of the event loop."
        |view, out| out.sample(&[], view.stats.turns);
    Counter "socku_loop_events_total" "Events that the kernel has reported."
        |view, out| out.sample(&[], view.stats.events);
    Counter "socku_turns_without_progress_total"
        "Turns of the loop that did not wait, without an event of a socket, in which nothing happened."
        |view, out| out.sample(&[], view.stats.idle_turns);
}

/// Milliseconds as seconds.
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

#[cfg(test)]
#[path = "metrics_test.rs"]
mod tests;
