//! A snapshot of the proxy as JSON: what `/snapshot` and `/events` send and the page shows.
//! docs/status.md describes it for scripts.
//!
//! Its size is bounded, however many sessions there are. Bytes from the network are escaped as in
//! the log.

use super::refusal::{Refusal, RefusedHost};
use super::survey::{Groups, Sum, Survey, Target};
use super::trouble::{Trouble, troubles};
use super::view::{SessionView, View};
use crate::access::ShownName;
use crate::address::IpPort;
use crate::escape::Escaped;
use crate::limit::Limit;
use crate::reason::CloseReason;
use crate::session::StateKind;
use crate::wire::Host;
use serde::Serializer;
use serde::ser::{Serialize, SerializeMap};
use std::cmp::Reverse;
use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

/// The form of the snapshot. It changes when a key goes or changes its meaning, not when one comes.
const FORMAT: u32 = 1;

/// The state of the proxy as one line of JSON, without a line break. Walks over the sessions of
/// the view.
pub fn snapshot(view: &mut View<'_>) -> String {
    let survey = Survey::of(&mut view.sessions);
    serde_json::to_string(&Snapshot { view, survey }).expect("only strings are keys")
}

struct Snapshot<'a, 'b> {
    view: &'a View<'b>,
    survey: Survey<'b>,
}

impl Serialize for Snapshot<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (view, survey) = (self.view, &self.survey);
        let states = StateKind::OPEN.map(|kind| (kind.word(), view.stats.in_state(kind) as u64));
        let reasons = CloseReason::ALL.iter();
        let closed = reasons.map(|&reason| (reason.word(), view.stats.closed(reason)));
        let closed_as = |is_one: fn(CloseReason) -> bool| -> u64 {
            let reasons = CloseReason::ALL.iter().filter(|&&reason| is_one(reason));
            reasons.map(|&reason| view.stats.closed(reason)).sum()
        };
        let totals = [
            ("opened", view.stats.opened),
            ("rejected", closed_as(CloseReason::is_refusal)),
            ("failed", closed_as(CloseReason::is_failure)),
            ("up", view.stats.up_bytes),
            ("down", view.stats.down_bytes),
        ];
        let warnings = [
            ("accept-failures", view.usage.accept_failures),
            ("connections-shed", view.stats.shed),
            ("failed-reloads", view.process.reloads.failed),
            ("log-lines-dropped", view.process.log_dropped),
        ];

        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("format", &FORMAT)?;
        map.serialize_entry("version", view.version)?;
        map.serialize_entry("host", &Text(Escaped(&view.process.host)))?;
        map.serialize_entry("listening", &view.process.listening)?;
        map.serialize_entry("process_started_unix_ms", &view.process.started_unix_ms)?;
        map.serialize_entry("now_ms", &view.now)?;
        map.serialize_entry("uptime_ms", &view.uptime_ms)?;
        map.serialize_entry("draining", &view.draining)?;
        map.serialize_entry("trouble", &Troubles(view))?;
        map.serialize_entry("memory_bytes", &view.process.resident_bytes)?;
        map.serialize_entry("totals", &Counts(&totals))?;
        map.serialize_entry("open", &view.session_count)?;
        map.serialize_entry("states", &Counts(&greatest_first(states)))?;
        map.serialize_entry("sessions", &Listed(&survey.listed))?;
        map.serialize_entry("closed", &Counts(&greatest_first(closed)))?;
        map.serialize_entry("rejections", &Rejections(view))?;
        map.serialize_entry("sources", &Shown(&survey.sources, Source))?;
        map.serialize_entry("targets", &Shown(&survey.targets, ShownTarget::new))?;
        map.serialize_entry("limits", &Limits(view, survey))?;
        map.serialize_entry("warnings", &Counts(&greatest_first(warnings)))?;
        map.end()
    }
}

/// What is wrong now.
struct Troubles<'a, 'b>(&'a View<'b>);

impl Serialize for Troubles<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(troubles(self.0).iter().map(OneTrouble))
    }
}

struct OneTrouble<'a>(&'a Trouble);

impl Serialize for OneTrouble<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("name", self.0.name)?;
        map.serialize_entry("text", &self.0.text)?;
        map.serialize_entry("until_ms", &self.0.until)?;
        map.end()
    }
}

/// Those that are not zero.
fn greatest_first<'a>(counts: impl IntoIterator<Item = (&'a str, u64)>) -> Vec<(&'a str, u64)> {
    let mut counts: Vec<_> = counts.into_iter().filter(|&(_, count)| count > 0).collect();
    counts.sort_by_key(|&(_, count)| Reverse(count));
    counts
}

/// Numbers by their words.
struct Counts<'a>(&'a [(&'a str, u64)]);

impl Serialize for Counts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// What can be displayed, as a string.
struct Text<T>(T);

impl<T: Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// The sessions one by one.
struct Listed<'a>(&'a [SessionView<'a>]);

impl Serialize for Listed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(One))
    }
}

struct One<'a>(&'a SessionView<'a>);

impl Serialize for One<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let SessionView { session, up, down } = *self.0;
        let request = session.request();
        let target = request.host().map(|host| Text(ShownTarget::new((host, request.port))));
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &session.id)?;
        map.serialize_entry("client", &Text(session.client))?;
        map.serialize_entry("user", &Text(Escaped(request.user())))?;
        map.serialize_entry("proto", &request.protocol.map(Text))?;
        map.serialize_entry("command", &request.command.map(Text))?;
        map.serialize_entry("target", &target)?;
        map.serialize_entry("address", &session.address().map(Text))?;
        map.serialize_entry("rule", &session.rule())?;
        map.serialize_entry("state", session.state().word())?;
        map.serialize_entry("started_ms", &session.started)?;
        map.serialize_entry("up", &up)?;
        map.serialize_entry("down", &down)?;
        map.end()
    }
}

/// The latest rejections, the latest first.
struct Rejections<'a, 'b>(&'a View<'b>);

impl Serialize for Rejections<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.recent_refusals.iter().rev().map(Rejection))
    }
}

struct Rejection<'a>(&'a Refusal);

impl Serialize for Rejection<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let one = self.0;
        let host = one.host.as_ref().map(|host| match host {
            RefusedHost::Address(ip) => Host::Address(*ip),
            RefusedHost::Name(name) => Host::Name(name),
        });
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("at_ms", &one.at)?;
        map.serialize_entry("client", &Text(one.client))?;
        map.serialize_entry("user", &Text(Escaped(&one.user)))?;
        map.serialize_entry("command", &one.command.map(Text))?;
        map.serialize_entry("target", &host.map(|host| Text(ShownTarget::new((host, one.port)))))?;
        map.serialize_entry("rule", &one.rule)?;
        map.serialize_entry("reason", one.reason.word())?;
        map.end()
    }
}

/// Groups of sessions, and how the name of one is shown.
struct Shown<'a, K, F>(&'a Groups<K>, F);

impl<K: Copy, D: Display, F: Fn(K) -> D> Serialize for Shown<'_, K, F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Shown(groups, show) = self;
        let rows = |groups: &[(K, Sum)]| -> Vec<Group<D>> {
            groups.iter().map(|&(name, sum)| Group(show(name), sum)).collect()
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("count", &groups.count)?;
        map.serialize_entry("by_sessions", &rows(&groups.by_sessions))?;
        map.serialize_entry("by_bytes", &rows(&groups.by_bytes))?;
        map.end()
    }
}

struct Group<D>(D, Sum);

impl<D: Display> Serialize for Group<D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Group(name, Sum { sessions, up, down }) = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &Text(name))?;
        map.serialize_entry("sessions", sessions)?;
        map.serialize_entry("up", up)?;
        map.serialize_entry("down", down)?;
        map.end()
    }
}

/// A source as limits count it: an IPv4 address, or a network of IPv6.
struct Source(IpAddr);

impl Display for Source {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(network) => write!(f, "{network}/64"),
        }
    }
}

/// A target as the log shows it.
struct ShownTarget<'a>(Target<'a>);

impl<'a> ShownTarget<'a> {
    fn new(target: Target<'a>) -> ShownTarget<'a> {
        ShownTarget(target)
    }
}

impl Display for ShownTarget<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            (Host::Name(name), port) => write!(f, "{}:{port}", ShownName(name)),
            (Host::Address(ip), port) => IpPort { ip, port }.fmt(f),
        }
    }
}

/// How full the limits are.
struct Limits<'a, 'b>(&'a View<'b>, &'a Survey<'b>);

impl Serialize for Limits<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Limits(View { usage, process, stats, session_count, .. }, survey) = self;
        let busiest = survey.sources.by_sessions.first().map_or(0, |(_, sum)| sum.sessions);
        let used = |limit| match limit {
            Limit::Sessions => *session_count as u64,
            Limit::PerSource => busiest,
            Limit::Buffers => usage.large_buffers as u64,
            Limit::Pipes => usage.pipes as u64,
            // Each BIND that waits listens on one port.
            Limit::BindPorts => stats.in_state(StateKind::AwaitingBind) as u64,
            Limit::Attempts => usage.attempts as u64,
            Limit::Queries => usage.dns_queries as u64,
        };
        let limits = Limit::ALL.iter().map(|&limit| {
            let most = usage.most(limit).map(|most| most as u64);
            Level(limit.word(), used(limit), most)
        });
        let most = Some(process.descriptors_max);
        let descriptors = process.descriptors.map(|open| Level("descriptors", open, most));
        serializer.collect_seq(limits.chain(descriptors))
    }
}

/// The name of a limit, what is used, and the most.
struct Level(&'static str, u64, Option<u64>);

impl Serialize for Level {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Level(name, used, max) = self;
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("name", name)?;
        map.serialize_entry("used", used)?;
        map.serialize_entry("max", max)?;
        map.end()
    }
}

#[cfg(test)]
#[path = "snapshot_test.rs"]
mod tests;
