use super::*;
use crate::rules::RuleSet;
use crate::session::{Env, PlainSurroundings as Plain, Session};
use crate::stats::{Standing, Stats};
use crate::status::refusal::Refusals;
use crate::status::survey::{LISTED_MAX, TOP_MAX};
use crate::status::trouble::DROPPED_LINES_MS;
use crate::status::view::{Process, Reached, Usage};
use crate::time::Millis;
use serde_json::{Value, json};

/// A session that has ended, as the counters see it.
const CLOSED: Standing =
    Standing { state: StateKind::Closed, request: None, up_bytes: 0, down_bytes: 0 };

/// A session at time 1000 that has asked to connect to a name or, without one, to 192.0.2.9.
fn asked(id: u64, client: &str, user: &[u8], name: &[u8]) -> Session {
    let rules = RuleSet::parse(b"deny c * user eve\npermit c *\n").unwrap();
    let now = 1000;
    let env = Env { now, attempt_delay_ms: 250, rules: &rules, users: None, surroundings: &Plain };
    let mut session = Session::new(id, client.parse::<std::net::SocketAddr>().unwrap().into(), now);
    let mut bytes = vec![4, 1, 0, 80];
    bytes.extend(if name.is_empty() { [192, 0, 2, 9] } else { [0, 0, 0, 1] });
    bytes.extend([user, b"\0"].concat());
    if !name.is_empty() {
        bytes.extend([name, b"\0"].concat());
    }
    session.handle_bytes(&bytes, &env);
    session
}

/// One that relays.
fn relaying(id: u64, client: &str) -> Session {
    let mut session = asked(id, client, b"bob", b"");
    session.handle_connected(0, ([192, 0, 2, 1], 5000).into(), 1000);
    session
}

/// What a view has besides its sessions.
struct Rest {
    now: Millis,
    stats: Stats,
    refusals: Refusals,
    usage: Usage,
    process: Process,
    draining: bool,
}

impl Default for Rest {
    fn default() -> Rest {
        Rest {
            now: 5000,
            stats: Stats::default(),
            refusals: Refusals::default(),
            usage: Usage::default(),
            process: Process::default(),
            draining: false,
        }
    }
}

/// The snapshot of sessions with so many bytes up and down, parsed.
fn shown(sessions: &[(Session, u64, u64)]) -> Value {
    shown_with(sessions, &Rest::default())
}

fn shown_with(sessions: &[(Session, u64, u64)], rest: &Rest) -> Value {
    let text = text_of(sessions, rest);
    assert!(!text.contains('\n'), "one line");
    serde_json::from_str(&text).unwrap()
}

fn text_of(sessions: &[(Session, u64, u64)], rest: &Rest) -> String {
    let views = sessions.iter().map(|&(ref session, up, down)| SessionView { session, up, down });
    snapshot(&mut View {
        now: rest.now,
        uptime_ms: 4500,
        version: "1.2.3",
        stats: &rest.stats,
        sessions: Box::new(views),
        session_count: sessions.len(),
        recent_refusals: rest.refusals.latest(),
        usage: rest.usage.clone(),
        process: rest.process.clone(),
        draining: rest.draining,
    })
}

#[test]
fn a_session_is_shown_as_far_as_it_is_known() {
    let fresh = Session::new(8, IpPort::new([10, 0, 0, 2], 4000), 4000);
    let value = shown(&[(relaying(7, "[2001:db8::1]:4001"), 12, 34), (fresh, 0, 0)]);
    assert_eq!(
        value["sessions"],
        json!([
            {
                "id": 7, "client": "[2001:db8::1]:4001", "user": "bob", "proto": "4",
                "command": "connect", "target": "192.0.2.9:80", "address": "192.0.2.9:80",
                "rule": 2, "state": "relaying", "started_ms": 1000, "up": 12, "down": 34,
            },
            {
                "id": 8, "client": "10.0.0.2:4000", "user": "", "proto": null, "command": null,
                "target": null, "address": null, "rule": null, "state": "reading-request",
                "started_ms": 4000, "up": 0, "down": 0,
            },
        ])
    );
    assert_eq!(value["open"], 2);
}

#[test]
fn bytes_from_the_network_are_escaped_as_in_the_log_and_bounded() {
    let user = b"<script>\"\\\xe2\x80\xae\x01";
    let value = shown(&[(asked(1, "10.0.0.2:4000", user, b"a b\xff"), 0, 0)]);
    let session = &value["sessions"][0];
    assert_eq!(session["user"], r"<script>\x22\x5c\xe2\x80\xae\x01");
    assert_eq!(session["target"], r"a\x20b\xff:80");
    assert_eq!(value["targets"]["by_sessions"][0]["name"], r"a\x20b\xff:80");
    // The longest that there are, in the form that takes the most room, as often as can be.
    let many: Vec<_> = (0..300)
        .map(|id| {
            let name = [&[0xff; 250][..], id.to_string().as_bytes()].concat();
            let client = format!("[2001:db8:{id:x}::ffff:ffff:ffff:ffff]:65535");
            (asked(id, &client, &[0xff; 512], &name), u64::MAX / 1000, u64::MAX / 1000)
        })
        .collect();
    let mut rest = Rest::default();
    rest.refusals.keep();
    many.iter().for_each(|(one, ..)| rest.refusals.record(one, CloseReason::Denied, 5));
    let text = text_of(&many, &rest);
    assert!(text.len() < 256 << 10, "{} bytes", text.len());
}

#[test]
fn of_many_sessions_the_oldest_the_newest_and_those_with_the_most_bytes_are_listed() {
    let count = 20_000;
    // In an order that is not theirs, as in a slab.
    let sessions: Vec<_> = (0..count)
        .map(|at| at * 7919 % count)
        .map(|id| {
            let client = format!("10.0.{}.{}:4000", id / 250, id % 250);
            (relaying(id, &client), if id / 50 == 200 { id } else { 0 }, 0)
        })
        .collect();
    let value = shown(&sessions);
    let ids: Vec<u64> = value["sessions"].as_array().unwrap().iter().map(id_of).collect();
    // Of those with the most bytes, 10,000 to 10,049, there is room for the greatest 40.
    let wanted = (0..40).chain(10_010..10_050).chain(count - 20..count);
    assert_eq!(ids, wanted.collect::<Vec<_>>());
    assert_eq!((&value["open"], &value["sources"]["count"]), (&json!(count), &json!(count)));
    for group in ["sources", "targets"].map(|name| &value[name]) {
        for order in ["by_sessions", "by_bytes"] {
            assert!(group[order].as_array().unwrap().len() <= TOP_MAX);
        }
    }
    assert!(value.to_string().len() < 64 << 10);
}

#[test]
fn as_many_as_may_be_listed_are_all_listed_each_once() {
    for count in [1, LISTED_MAX as u64 - 1, LISTED_MAX as u64] {
        let sessions: Vec<_> = (0..count).map(|id| (relaying(id, "10.0.0.2:1"), 5, 5)).collect();
        let value = shown(&sessions);
        let ids: Vec<u64> = value["sessions"].as_array().unwrap().iter().map(id_of).collect();
        assert_eq!(ids, (0..count).collect::<Vec<_>>());
    }
}

fn id_of(session: &Value) -> u64 {
    session["id"].as_u64().unwrap()
}

#[test]
fn sources_and_targets_are_ordered_by_sessions_and_by_bytes() {
    let value = shown(&[
        (asked(1, "[2001:db8::1]:1", b"", b"one.example"), 1, 2),
        (asked(2, "[2001:db8::2]:1", b"", b"one.example"), 3, 4),
        (asked(3, "10.0.0.2:1", b"", b"two.example"), 50, 500),
        (asked(4, "10.0.0.3:1", b"", b"two.example"), 0, 0),
        (Session::new(5, IpPort::new([10, 0, 0, 4], 1), 0), 0, 0),
    ]);
    let sources = &value["sources"];
    assert_eq!(sources["count"], 4);
    let network = json!({ "name": "2001:db8::/64", "sessions": 2, "up": 4, "down": 6 });
    let largest = json!({ "name": "10.0.0.2", "sessions": 1, "up": 50, "down": 500 });
    assert_eq!((&sources["by_sessions"][0], &sources["by_sessions"][1]), (&network, &largest));
    assert_eq!((&sources["by_bytes"][0], &sources["by_bytes"][1]), (&largest, &network));
    // Equal ones have an order as well, or they would change places in the page.
    let names = |value: &Value| {
        let groups = value["sources"]["by_sessions"].as_array().unwrap();
        groups.iter().map(|group| group["name"].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&value)[2..], ["\"10.0.0.3\"", "\"10.0.0.4\""]);
    let targets = &value["targets"]["by_sessions"];
    assert_eq!((&targets[0]["name"], &targets[0]["down"]), (&json!("two.example:80"), &json!(500)));
    assert_eq!((&value["targets"]["count"], &targets[1]["sessions"]), (&json!(2), &json!(2)));
}

#[test]
fn rejections_come_with_their_rules_the_latest_first() {
    let mut rest = Rest::default();
    rest.refusals.keep();
    let first = asked(1, "10.0.0.2:4000", b"eve", b"");
    rest.refusals.record(&first, CloseReason::Denied, 3000);
    let second = Session::new(2, IpPort::new([10, 0, 0, 3], 4000), 3500);
    rest.refusals.record(&second, CloseReason::NoMethod, 4000);
    let value = shown_with(&[], &rest);
    assert_eq!(
        value["rejections"],
        json!([
            {
                "at_ms": 4000, "client": "10.0.0.3:4000", "user": "", "command": null,
                "target": null, "rule": null, "reason": "no-method",
            },
            {
                "at_ms": 3000, "client": "10.0.0.2:4000", "user": "eve", "command": "connect",
                "target": "192.0.2.9:80", "rule": 1, "reason": "denied",
            },
        ])
    );
}

#[test]
fn the_proxy_is_described_by_its_counters_and_limits() {
    let mut rest = Rest {
        usage: Usage {
            sessions_max: 50,
            large_buffers: 3,
            attempts: 2,
            attempts_max: 8,
            large_buffer_bytes: 1 << 16,
            buffer_budget_bytes: 64 << 20,
            ..Usage::default()
        },
        process: Process { descriptors: Some(20), descriptors_max: 1024, ..Process::default() },
        draining: true,
        ..Rest::default()
    };
    let stats = &mut rest.stats;
    (stats.shed, stats.up_bytes, stats.down_bytes) = (3, 100, 200);
    use CloseReason::*;
    for reason in [Done, Done, Denied, Loop, DnsTimeout, TargetRefused, NoResources] {
        stats.count_opened(CLOSED);
        stats.count_closed(reason);
    }
    let standings = [StateKind::AwaitingBind, StateKind::Relaying, StateKind::Relaying];
    standings.into_iter().for_each(|state| stats.count_opened(Standing { state, ..CLOSED }));
    let open = [(relaying(1, "10.0.0.2:1"), 1, 2), (relaying(2, "10.0.0.2:2"), 0, 0)];
    let text = text_of(&open, &rest);
    assert!(
        text.contains(r#""states":{"relaying":2,"awaiting-bind":1}"#),
        "the most first: {text}"
    );
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&value["format"], &value["version"]), (&json!(1), &json!("1.2.3")));
    assert_eq!((&value["now_ms"], &value["uptime_ms"]), (&json!(5000), &json!(4500)));
    assert_eq!((&value["draining"], &value["memory_bytes"]), (&json!(true), &Value::Null));
    assert_eq!(
        value["totals"],
        json!({ "opened": 10, "rejected": 2, "failed": 3, "up": 100, "down": 200 })
    );
    assert_eq!(
        value["closed"],
        json!({
            "done": 2, "denied": 1, "loop": 1, "dns-timeout": 1, "refused": 1, "no-resources": 1,
        })
    );
    assert_eq!(value["warnings"], json!({ "connections-shed": 3 }));
    assert_eq!(
        value["limits"],
        json!([
            { "name": "sessions", "used": 2, "max": 50 },
            { "name": "per-source", "used": 2, "max": null },
            { "name": "buffers", "used": 3, "max": 1024 },
            { "name": "pipes", "used": 0, "max": 0 },
            { "name": "bind-ports", "used": 1, "max": null },
            { "name": "attempts", "used": 2, "max": 8 },
            { "name": "queries", "used": 0, "max": 0 },
            { "name": "descriptors", "used": 20, "max": 1024 },
        ])
    );
}

#[test]
fn the_proxy_is_known_by_its_host_and_its_addresses() {
    let mut rest = Rest::default();
    rest.process.host = b"gate\xffway<b>".to_vec();
    rest.process.listening = ["0.0.0.0:1080", "[::1]:1080"].map(|at| at.parse().unwrap()).to_vec();
    let value = shown_with(&[], &rest);
    assert_eq!(value["host"], r"gate\xffway<b>");
    assert_eq!(value["listening"], json!(["0.0.0.0:1080", "[::1]:1080"]));
}

#[test]
fn trouble_is_what_is_wrong_now_and_says_how_long_that_holds() {
    let mut rest = Rest::default();
    assert_eq!(shown_with(&[], &rest)["trouble"], json!([]));
    let meaning = || String::from("all are in use");
    rest.usage.reached = vec![
        Reached { limit: Limit::Sessions, until: None, meaning: meaning() },
        Reached { limit: Limit::Pipes, until: Some(9000), meaning: meaning() },
    ];
    rest.process.bad_files = vec!["a.conf:3: no".into(), "\u{1b}".repeat(1000)];
    (rest.process.log_dropped, rest.process.log_dropped_at) = (17, Some(4000));
    let value = shown_with(&[], &rest);
    let trouble = value["trouble"].as_array().unwrap();
    let found: Vec<_> = trouble.iter().map(|one| (&one["name"], &one["until_ms"])).collect();
    assert_eq!(
        found,
        [
            (&json!("failed-reload"), &Value::Null),
            (&json!("failed-reload"), &Value::Null),
            (&json!("sessions"), &Value::Null),
            (&json!("pipes"), &json!(9000)),
            (&json!("log-lines-dropped"), &json!(4000 + DROPPED_LINES_MS)),
        ]
    );
    let text = |place: usize| trouble[place]["text"].as_str().unwrap();
    assert!(text(0).starts_with("a.conf:3: no; "), "{}", text(0));
    assert!(text(1).len() < 300, "a long error is cut");
    assert_eq!(text(2), "all are in use");
    assert!(text(4).starts_with("17 so far; "), "{}", text(4));
    // Long ago, and an error that is mended.
    rest.now = 4000 + DROPPED_LINES_MS;
    (rest.usage.reached, rest.process.bad_files) = Default::default();
    assert_eq!(shown_with(&[], &rest)["trouble"], json!([]));
    assert_eq!(shown_with(&[], &rest)["warnings"]["log-lines-dropped"], 17);
}
