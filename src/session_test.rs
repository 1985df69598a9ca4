//! Every state transition against a table, and the result of each event.

#[path = "session/attempts_test.rs"]
mod attempts_in_parallel;
#[path = "session/families_test.rs"]
mod families;
#[path = "session/life_test.rs"]
mod life;
#[cfg(feature = "proxy-protocol")]
#[path = "session/proxied_test.rs"]
mod proxied;
#[path = "session/socks5_test.rs"]
mod socks5;

use super::*;
use crate::name;
use crate::settings::Durations;
use crate::wire::Host;
use std::io;
use std::net::Ipv4Addr;

const CLIENT: IpPort = IpPort { ip: v4(10, 0, 0, 2), port: 50_000 };
const OWN: SocketAddr = SocketAddr::new(v4(10, 0, 0, 1), 1080);
const GOOD: IpAddr = v4(10, 2, 0, 1);
const BAD: IpAddr = v4(10, 3, 0, 1);
const ZERO: IpAddr = v4(0, 0, 0, 0);
const LOCALHOST: IpAddr = v4(127, 0, 0, 1);

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

/// The delay after an attempt until the next address is tried.
const DELAY_MS: Millis = 250;
const DURATIONS: Durations = Durations {
    request_ms: 30_000,
    ident_ms: 15_000,
    resolve_ms: 11_000,
    connect_ms: 120_000,
    attempt_delay_ms: DELAY_MS,
    leave_ms: 10_000,
    bind_ms: 120_000,
    idle_ms: None,
    half_close_ms: 300_000,
    keepalive_ms: 300_000,
    linger_ms: 2_000,
    reset_poll_ms: 20,
    slow_reset_poll_ms: 500,
};

/// Surroundings without a search list.
struct Plain;

impl Surroundings for Plain {
    fn is_own(&self, target: IpPort) -> io::Result<bool> {
        Ok(target == OWN.into())
    }

    fn may_log_in(&self, _: IpAddr) -> bool {
        true
    }

    fn possible_names(&self, name: &Name) -> Vec<Name> {
        vec![name.clone()]
    }
}

/// The environment at a time.
fn env_at(rules: &RuleSet, now: Millis) -> Env<'_> {
    Env { now, attempt_delay_ms: DELAY_MS, rules, users: None, surroundings: &Plain }
}

fn env(rules: &RuleSet) -> Env<'_> {
    env_at(rules, 0)
}

/// An answer of the resolver.
fn resolved(text: &str, addresses: &[IpAddr]) -> Resolved {
    match name::classify(text.as_bytes()) {
        Ok(name::Classified::Name(name)) => Resolved { name, addresses: addresses.into() },
        other => panic!("{text}: {other:?}"),
    }
}

fn rules(text: &str) -> RuleSet {
    RuleSet::parse(text.as_bytes()).unwrap()
}

/// A request octet by octet; with a name it is SOCKS4A.
fn request(command: u8, address: IpAddr, port: u16, name: &str) -> Vec<u8> {
    let mut bytes = vec![4, command];
    bytes.extend(port.to_be_bytes());
    let IpAddr::V4(address) = address else { panic!("SOCKS4 has no IPv6 addresses") };
    bytes.extend(if name.is_empty() { address.octets() } else { [0, 0, 0, 1] });
    bytes.extend(b"bob\0");
    if !name.is_empty() {
        bytes.extend(name.bytes());
        bytes.push(0);
    }
    bytes
}

/// A session that has received this request under these rules, and its action.
fn start(rules: &RuleSet, bytes: &[u8]) -> (Session, Action) {
    let mut session = Session::new(1, CLIENT, 0);
    let (_, action) = session.handle_bytes(bytes, &env(rules));
    (session, action)
}

/// An attempt to connect to port 80 of an address.
fn connect(attempt: usize, address: IpAddr) -> Action {
    let target = SocketAddr::new(address, 80);
    Action::Connect { attempt, target, replaces_oldest: false }
}

fn rejection(reason: CloseReason) -> Action {
    Action::Send(Answer::Reply(Reply::rejected(reason.status())))
}

fn grant(address: SocketAddr) -> Action {
    Action::Send(Answer::Reply(Reply::granted(address)))
}

const READING: State = State::ReadingRequest { stage: Stage::First, is_welcome: true };

#[test]
fn every_state_transition_matches_the_table() {
    use State::*;
    let (why, other) = (CloseReason::Denied, CloseReason::TargetRefused);
    let candidate = Candidate { address: GOOD, line: 1, ident: Ident::No };
    let candidates = Candidates::new([candidate]).unwrap();
    let states = [
        READING,
        Resolving { command: Command::Connect, queries_ident: false },
        Identifying(Plan::Bind(Peers::Any)),
        Connecting(Attempts::new(candidates)),
        AwaitingBind(Peers::Any),
        Relaying,
        Rejecting(why),
        Closed(why),
        Closed(other),
        Closed(CloseReason::Stopped),
    ];
    // Rows and columns in the same order; `x` is legal.
    let table = [
        "xxxxx.xxxx", // reading the request
        "..xxx.xxxx", // resolving
        "...xx.xxxx", // identifying
        ".....xxxxx", // connecting
        ".....xxxxx", // awaiting the peer of a BIND
        ".......xxx", // relaying: a refusal would be read as the target's bytes
        ".......x.x", // rejecting: the reason stays, unless the proxy stops
        "..........", // closed
        "..........",
        "..........",
    ];
    for (from, row) in states.iter().zip(table) {
        for (to, cell) in states.iter().zip(row.chars()) {
            assert_eq!(from.may_become(to), cell == 'x', "{from} -> {to}");
        }
    }
}

#[test]
fn an_illegal_state_transition_panics() {
    let mut session = Session::new(1, CLIENT, 0);
    session.close(CloseReason::ClientLeft, 0);
    let again = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        session.reject(CloseReason::Denied, 0);
    }));
    assert!(again.is_err());
    assert_eq!(session.state(), &State::Closed(CloseReason::ClientLeft));
}

#[test]
fn a_request_leads_to_the_action_that_the_rules_require() {
    use CloseReason::*;
    let some = "permit cb 10.2.*.*\ndeny cb 10.3.*.*\npermit c *.example";
    let strict = "permit cb 10.2.*.* ident";
    let no = |reason| (rejection(reason), State::Rejecting(reason).to_string());
    let yes = |action, state: &str| (action, state.to_string());
    let bind = |listen_for| yes(Action::Listen(listen_for), "awaiting-bind");
    let queried = || yes(Action::QueryIdent, "identifying");
    for (text, bytes, expected) in [
        (some, request(1, GOOD, 80, ""), yes(connect(0, GOOD), "connecting")),
        (some, request(1, GOOD, 80, "10.2.0.1"), yes(connect(0, GOOD), "connecting")),
        (some, request(1, BAD, 80, ""), no(Denied)),
        (some, request(1, v4(10, 4, 0, 1), 80, ""), no(NoRule)),
        (some, request(1, GOOD, 0, ""), no(ImpossibleTarget)),
        (some, request(1, ZERO, 80, ""), no(ImpossibleTarget)),
        (some, request(1, OWN.ip(), OWN.port(), ""), no(Loop)),
        (some, request(2, GOOD, 0, ""), bind(ListenFor::Peer(GOOD))),
        (some, request(2, ZERO, 0, ""), bind(ListenFor::AnyPeer)),
        (some, request(2, BAD, 0, ""), no(Denied)),
        (some, request(1, ZERO, 80, "127.1"), no(BadName)),
        (some, request(1, ZERO, 80, "a..b"), no(BadName)),
        (some, request(3, GOOD, 80, ""), no(BadCommand)),
        (strict, request(1, GOOD, 80, ""), queried()),
        (strict, request(2, ZERO, 80, ""), queried()),
        ("permit b *.*.*.*", request(1, ZERO, 80, "www.example"), no(NoRule)),
        ("deny c *.example", request(1, ZERO, 80, "www.example"), no(Denied)),
        (some, request(1, ZERO, 0, "www.example"), no(ImpossibleTarget)),
        ("deny c *.*.*.*", request(2, ZERO, 0, ""), no(NoRule)),
        ("deny b *.*.*.*", request(2, ZERO, 0, ""), no(Denied)),
    ] {
        let (session, got) = start(&rules(text), &bytes);
        assert_eq!((got, session.state().to_string()), expected, "{text:?} {bytes:?}");
    }
    let (session, action) = start(&rules(some), b"GET / HTTP/1.1");
    assert_eq!((action, session.state()), (Action::Wait, &State::Closed(BadVersion)));
    assert_eq!(session.reply(), None, "no reply in another protocol");
}

#[test]
fn a_target_is_refused_when_no_descriptor_is_left_to_check_for_a_loop() {
    struct Lacking;
    impl Surroundings for Lacking {
        fn is_own(&self, _: IpPort) -> io::Result<bool> {
            Err(io::Error::from_raw_os_error(libc::EMFILE))
        }

        fn may_log_in(&self, _: IpAddr) -> bool {
            false
        }

        fn possible_names(&self, name: &Name) -> Vec<Name> {
            vec![name.clone()]
        }
    }
    let rules = rules("permit c *.*.*.*");
    let env = Env { surroundings: &Lacking, ..env(&rules) };
    let mut session = Session::new(1, CLIENT, 0);
    session.handle_bytes(&request(1, GOOD, 80, ""), &env);
    assert_eq!(session.state(), &State::Rejecting(CloseReason::NoResources));
}

#[test]
fn each_address_of_a_name_is_evaluated_and_tried_in_order() {
    let rules = rules("deny c 10.3.*.*\npermit c *.example\npermit c 10.2.0.9");
    let inner = LOCALHOST;
    let second = v4(10, 2, 0, 2);
    for (addresses, expected) in [
        (&[GOOD, BAD, second][..], &[GOOD, second][..]),
        (&[inner, GOOD], &[GOOD]),
        (&[inner], &[]),
        (&[BAD, BAD], &[]),
        (&[v4(169, 254, 169, 254), second, inner], &[second]),
    ] {
        let (mut session, action) = start(&rules, &request(1, GOOD, 80, "www.example"));
        assert!(matches!(action, Action::Resolve { query_ident: false, .. }), "{action:?}");
        let mut action =
            session.handle_resolved(&Ok(resolved("www.example", addresses)), &env(&rules));
        for (attempt, &address) in expected.iter().enumerate() {
            assert_eq!(action, connect(attempt, address), "{addresses:?}");
            action =
                session.handle_attempt_failed(attempt, CloseReason::TargetRefused, &env(&rules));
        }
        let reason = match expected {
            // Why the first is not permitted.
            [] if addresses[0] == BAD => CloseReason::Denied,
            [] => CloseReason::NoRule,
            _ => CloseReason::TargetRefused,
        };
        assert_eq!(action, rejection(reason), "{addresses:?}");
    }
}

#[test]
fn a_name_that_is_not_resolved_is_refused_with_its_reason() {
    let rules = rules("permit c *.*.*.*");
    for (error, reason) in [
        (DnsError::NotFound, CloseReason::NameNotFound),
        (DnsError::NoData, CloseReason::NameWithoutAddress),
        (DnsError::ServerFailure, CloseReason::DnsFailure),
        (DnsError::Timeout, CloseReason::DnsTimeout),
    ] {
        let (mut session, _) = start(&rules, &request(1, GOOD, 80, "www.example"));
        let action = session.handle_resolved(&Err(error), &env(&rules));
        assert_eq!(action, rejection(reason));
        assert_eq!(session.state(), &State::Rejecting(reason));
    }
}

#[test]
fn a_name_without_addresses_is_refused_for_connect_and_bind() {
    let rules = rules("permit cb *.*.*.*");
    for command in [1, 2] {
        let (mut session, _) = start(&rules, &request(command, GOOD, 80, "www.example"));
        let action = session.handle_resolved(&Ok(resolved("www.example", &[])), &env(&rules));
        assert_eq!(action, rejection(CloseReason::NameWithoutAddress));
        assert_eq!(session.state(), &State::Rejecting(CloseReason::NameWithoutAddress));
    }
}

#[test]
fn the_rules_see_a_name_as_it_was_completed() {
    let complete = |text: &str| match name::classify(text.as_bytes()) {
        Ok(name::Classified::Name(name)) => name,
        other => panic!("{other:?}"),
    };
    struct Searching(Vec<Name>);
    impl Surroundings for Searching {
        fn is_own(&self, target: IpPort) -> io::Result<bool> {
            Ok(target == OWN.into())
        }

        fn may_log_in(&self, _: IpAddr) -> bool {
            false
        }

        fn possible_names(&self, _: &Name) -> Vec<Name> {
            self.0.clone()
        }
    }
    let surroundings =
        Searching(["www.one.example", "www.two.example", "www"].map(complete).into());
    let go = connect(0, GOOD);
    // The rules, whether identd is queried at once, and the rule for each name that may resolve.
    type Row = (&'static str, Result<bool, (CloseReason, u32)>, [Option<u32>; 3]);
    let table: [Row; 8] = [
        ("permit c *.one.example", Ok(false), [Some(1), None, None]),
        ("deny c *.one.example\npermit c 10.*.*.*", Ok(false), [None, Some(2), Some(2)]),
        ("deny c www\npermit c *.two.example", Ok(false), [None, Some(2), None]),
        ("permit c *.two.example ident", Ok(true), [None, None, None]),
        ("permit c *.example ident", Ok(true), [None, None, None]),
        ("permit c *.one.example ident\npermit c *.two.example", Ok(false), [None, Some(2), None]),
        ("permit c *.example.com", Err((CloseReason::NoRule, 0)), [None; 3]),
        ("# none\ndeny c *.two.example", Err((CloseReason::Denied, 2)), [None; 3]),
    ];
    for (text, expected, lines) in table {
        let rules = rules(text);
        let env = Env { surroundings: &surroundings, ..env(&rules) };
        for (place, line) in lines.into_iter().enumerate() {
            let mut session = Session::new(1, CLIENT, 0);
            let (_, action) = session.handle_bytes(&request(1, GOOD, 80, "www"), &env);
            match expected {
                Ok(asks) => {
                    let resolves = matches!(action, Action::Resolve { query_ident, .. } if query_ident == asks);
                    assert!(resolves, "{text}: {action:?}");
                }
                Err((reason, line)) => {
                    assert_eq!(session.state(), &State::Rejecting(reason), "{text}");
                    assert_eq!(session.rule().unwrap_or(0), line, "{text}");
                    continue;
                }
            }
            let name = surroundings.0[place].clone();
            let found = Resolved { name: name.clone(), addresses: [GOOD].into() };
            let action = session.handle_resolved(&Ok(found), &env);
            assert_eq!(action == go, line.is_some(), "{text}, {name}");
            assert_eq!(session.rule().filter(|_| line.is_some()), line, "{text}");
            assert_eq!(
                session.request().host(),
                Some(Host::Name(b"www")),
                "the log shows the name as requested"
            );
        }
    }
}

#[test]
fn identd_must_answer_for_ident_and_need_not_for_ident_lax() {
    let user = |name: &[u8]| IdentResult::User(name.into());
    let (no_ident, other_user) =
        (rejection(CloseReason::NoIdent), rejection(CloseReason::OtherUser));
    let go = connect(0, GOOD);
    for (word, result, action) in [
        ("ident", user(b" bob"), &go),
        ("ident", user(b"bob"), &go),
        ("ident", user(b"eve"), &other_user),
        ("ident", IdentResult::Missing, &no_ident),
        ("ident", IdentResult::Error(b"HIDDEN-USER"[..].into()), &no_ident),
        ("ident-lax", user(b"bob"), &go),
        ("ident-lax", user(b"eve"), &other_user),
        ("ident-lax", IdentResult::Missing, &go),
    ] {
        let rules = rules(&format!("permit c *.*.*.* {word}"));
        let (mut session, asked) = start(&rules, &request(1, GOOD, 80, ""));
        assert_eq!(asked, Action::QueryIdent);
        assert_eq!(session.deadline(&DURATIONS), Some(DURATIONS.ident_ms));
        let got = session.handle_ident(result.clone(), &env(&rules));
        assert_eq!(got, *action, "{word} {result:?}");
    }
}

#[test]
fn dns_and_ident_answers_may_arrive_in_any_order() {
    let rules = rules("permit c *.*.*.* ident");
    let env = env(&rules);
    let go = connect(0, GOOD);
    for ident_first in [true, false] {
        let (mut session, action) = start(&rules, &request(1, GOOD, 80, "www.example"));
        assert!(matches!(action, Action::Resolve { query_ident: true, .. }), "{action:?}");
        let mut answer = |ident| match ident {
            true => session.handle_ident(IdentResult::User(b"bob"[..].into()), &env),
            false => session.handle_resolved(&Ok(resolved("www.example", &[GOOD])), &env),
        };
        assert_eq!(answer(ident_first), Action::Wait);
        assert_eq!(answer(!ident_first), go);
    }
}

#[test]
fn only_the_expected_peer_may_connect_to_a_bind() {
    let text = "deny b 10.3.*.*\npermit b *.*.*.*";
    let second = v4(10, 2, 0, 2);
    for (expected, peer, refused) in [
        (GOOD, GOOD, None),
        (GOOD, second, Some(CloseReason::WrongPeer)),
        (GOOD, BAD, Some(CloseReason::WrongPeer)),
        (ZERO, second, None),
        (ZERO, BAD, Some(CloseReason::Denied)),
    ] {
        let rules = rules(text);
        let (mut session, _) = start(&rules, &request(2, expected, 0, ""));
        let advertised = SocketAddr::new(OWN.ip(), 40_000);
        assert_eq!(session.handle_listening(OWN, advertised), grant(advertised));
        assert!(matches!(session.state(), State::AwaitingBind(_)));
        let peer = SocketAddr::new(peer, 20);
        let action = session.handle_peer(peer, &env(&rules));
        match refused {
            None => {
                assert_eq!(action, grant(peer));
                assert_eq!(session.state(), &State::Relaying);
            }
            Some(reason) => {
                assert_eq!(action, rejection(reason));
                assert_eq!(session.state(), &State::Rejecting(reason));
            }
        }
    }
}

#[test]
fn each_state_has_its_whole_time_and_identd_has_its_own_once() {
    let rules = rules("permit c *.*.*.* ident");
    let mut session = Session::new(1, CLIENT, 0);
    session.handle_bytes(&request(1, GOOD, 80, "www.example"), &env_at(&rules, 1_000));
    assert_eq!(session.deadline(&DURATIONS), Some(1_000 + DURATIONS.resolve_ms));
    let found = resolved("www.example", &[GOOD]);
    session.handle_resolved(&Ok(found), &env_at(&rules, 4_000));
    assert_eq!(
        session.deadline(&DURATIONS),
        Some(1_000 + DURATIONS.ident_ms),
        "since it was asked"
    );
    let user = IdentResult::User(b"bob"[..].into());
    assert_eq!(session.handle_ident(user, &env_at(&rules, 9_000)), connect(0, GOOD));
    assert_eq!(session.deadline(&DURATIONS), Some(9_000 + DURATIONS.connect_ms));
    session.handle_attempt_failed(0, CloseReason::TargetRefused, &env_at(&rules, 12_000));
    assert_eq!(session.deadline(&DURATIONS), Some(12_000 + DURATIONS.linger_ms));
    assert_eq!(session.since(), 12_000);
}

#[test]
fn an_identd_that_is_late_while_a_name_is_resolved_is_missing_and_the_name_is_awaited() {
    let rules = rules("permit c *.*.*.* ident");
    let times = Durations { ident_ms: 2_000, ..DURATIONS };
    let (mut session, _) = start(&rules, &request(1, GOOD, 80, "www.example"));
    assert_eq!(session.deadline(&times), Some(2_000));
    assert_eq!(session.handle_deadline(&times, &env_at(&rules, 2_000)), Action::Wait);
    assert_eq!(session.identity(), Some(&IdentResult::Missing));
    assert_eq!(session.deadline(&times), Some(times.resolve_ms));
    let late = IdentResult::User(b"bob"[..].into());
    assert_eq!(session.handle_ident(late, &env_at(&rules, 3_000)), Action::Wait);
    assert_eq!(session.identity(), Some(&IdentResult::Missing), "its time is over");
    let found = resolved("www.example", &[GOOD]);
    let action = session.handle_resolved(&Ok(found), &env_at(&rules, 5_000));
    assert_eq!(action, rejection(CloseReason::NoIdent));
}
