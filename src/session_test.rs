//! Every state move against a table, what each event leads to, and random lives of a session.

use super::*;
use proptest::prelude::*;

const CLIENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 2), 50_000);
const OWN: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 1080);
const GOOD: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 1);
const BAD: Ipv4Addr = Ipv4Addr::new(10, 3, 0, 1);

/// An environment without a search list.
fn env(rules: &RuleSet) -> Env<'_> {
    Env { rules, is_own: &is_own, candidates: &|name| vec![name.clone()] }
}

/// What the resolver says of a name.
fn resolved(text: &str, addresses: &[Ipv4Addr]) -> Resolved {
    match name::classify(text.as_bytes()) {
        Ok(name::Target::Name(name)) => Resolved { name, addresses: addresses.into() },
        other => panic!("{text}: {other:?}"),
    }
}

fn is_own(target: SocketAddrV4) -> bool {
    target == OWN
}

fn rules(text: &str) -> RuleSet {
    RuleSet::parse(text.as_bytes()).unwrap()
}

/// A request octet by octet; with a name it is SOCKS4A.
fn request(command: u8, address: Ipv4Addr, port: u16, name: &str) -> Vec<u8> {
    let mut bytes = vec![4, command];
    bytes.extend(port.to_be_bytes());
    bytes.extend(if name.is_empty() { address.octets() } else { [0, 0, 0, 1] });
    bytes.extend(b"bob\0");
    if !name.is_empty() {
        bytes.extend(name.bytes());
        bytes.push(0);
    }
    bytes
}

/// A session that has got this request under these rules, and its action.
fn begun(rules: &RuleSet, bytes: &[u8]) -> (Session, Action) {
    let mut session = Session::new(1, CLIENT, 0);
    let (_, action) = session.handle_request(bytes, &env(rules));
    (session, action)
}

fn refusal(code: Code) -> Action {
    Action::Send(Reply::refused(code))
}

#[test]
fn every_move_is_as_the_table_says() {
    use State::*;
    let (why, other) = (CloseReason::Denied, CloseReason::Refused);
    let states = [
        ReadingRequest,
        Resolving,
        Identifying,
        Connecting,
        AwaitingBind,
        Relaying,
        Rejecting(why),
        Closed(why),
        Closed(other),
        Closed(CloseReason::Stopped),
    ];
    // In the same order, from the top to the left; `x` is legal.
    let table = [
        ".xxxx.xxxx", // reading the request
        "..xxx.xxxx", // resolving
        "...xx.xxxx", // identifying
        "...x.xxxxx", // connecting: the next address, too
        ".....xxxxx", // awaiting the peer of a BIND
        ".......xxx", // relaying: a refusal would be taken for the target's bytes
        ".......x.x", // rejecting: the reason stays, unless the proxy stops
        "..........", // closed
        "..........",
        "..........",
    ];
    for (from, row) in states.iter().zip(table) {
        for (to, cell) in states.iter().zip(row.chars()) {
            assert_eq!(from.may_become(*to), cell == 'x', "{from} -> {to}");
        }
    }
}

#[test]
fn an_illegal_move_is_a_panic_and_a_legal_one_is_made() {
    let mut session = Session::new(1, CLIENT, 0);
    session.close(CloseReason::ClientLeft);
    let again = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        session.handle_connected(OWN);
    }));
    assert!(again.is_err());
    assert_eq!(session.state(), State::Closed(CloseReason::ClientLeft));
}

#[test]
fn a_request_leads_where_the_rules_say() {
    use CloseReason::*;
    let some = "permit cb 10.2.*.*\ndeny cb 10.3.*.*\npermit c *.example";
    let strict = "permit cb 10.2.*.* ident";
    let connect = |port| Action::Connect(SocketAddrV4::new(GOOD, port));
    let no = |reason| (refusal(Code::Rejected), State::Rejecting(reason));
    let zero = Ipv4Addr::UNSPECIFIED;
    for (text, bytes, (action, state)) in [
        (some, request(1, GOOD, 80, ""), (connect(80), State::Connecting)),
        (some, request(1, GOOD, 80, "10.2.0.1"), (connect(80), State::Connecting)),
        (some, request(1, BAD, 80, ""), no(Denied)),
        (some, request(1, Ipv4Addr::new(10, 4, 0, 1), 80, ""), no(NoRule)),
        (some, request(1, GOOD, 0, ""), no(ImpossibleTarget)),
        (some, request(1, zero, 80, ""), no(ImpossibleTarget)),
        (some, request(1, *OWN.ip(), OWN.port(), ""), no(Loop)),
        (some, request(2, GOOD, 0, ""), (Action::Listen(Some(GOOD)), State::AwaitingBind)),
        (some, request(2, zero, 0, ""), (Action::Listen(None), State::AwaitingBind)),
        (some, request(2, BAD, 0, ""), no(Denied)),
        (some, request(1, zero, 80, "127.1"), no(BadName)),
        (some, request(1, zero, 80, "a..b"), no(BadName)),
        (some, request(3, GOOD, 80, ""), no(BadCommand)),
        (strict, request(1, GOOD, 80, ""), (Action::Ask, State::Identifying)),
        (strict, request(2, zero, 80, ""), (Action::Ask, State::Identifying)),
        ("permit b *.*.*.*", request(1, zero, 80, "www.example"), no(NoRule)),
        ("deny c *.example", request(1, zero, 80, "www.example"), no(Denied)),
        (some, request(1, zero, 0, "www.example"), no(ImpossibleTarget)),
        ("deny c *.*.*.*", request(2, zero, 0, ""), no(NoRule)),
        ("deny b *.*.*.*", request(2, zero, 0, ""), no(Denied)),
    ] {
        let (session, got) = begun(&rules(text), &bytes);
        assert_eq!((got, session.state()), (action, state), "{text:?} {bytes:?}");
    }
    let (session, action) = begun(&rules(some), b"\x05\x01\x00");
    assert_eq!((action, session.state()), (Action::Close, State::Closed(BadVersion)));
    assert_eq!(session.reply(), None, "no reply in another protocol");
}

#[test]
fn each_address_of_a_name_is_judged_and_tried_in_its_order() {
    let rules = rules("deny c 10.3.*.*\npermit c *.example\npermit c 10.2.0.9");
    let inner = Ipv4Addr::LOCALHOST;
    let second = Ipv4Addr::new(10, 2, 0, 2);
    for (addresses, expected) in [
        (&[GOOD, BAD, second][..], &[GOOD, second][..]),
        (&[inner, GOOD], &[GOOD]),
        (&[inner], &[]),
        (&[BAD, BAD], &[]),
        (&[Ipv4Addr::new(169, 254, 169, 254), second, inner], &[second]),
    ] {
        let (mut session, action) = begun(&rules, &request(1, GOOD, 80, "www.example"));
        assert!(matches!(action, Action::Resolve(_, false)), "{action:?}");
        let mut action =
            session.handle_resolved(Ok(&resolved("www.example", addresses)), &env(&rules));
        for &address in expected {
            assert_eq!(action, Action::Connect(SocketAddrV4::new(address, 80)), "{addresses:?}");
            action = session.handle_failed(CloseReason::Refused);
        }
        assert_eq!(action, refusal(Code::Rejected), "{addresses:?}");
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
        let (mut session, _) = begun(&rules, &request(1, GOOD, 80, "www.example"));
        let action = session.handle_resolved(Err(error), &env(&rules));
        assert_eq!(action, refusal(Code::Rejected));
        assert_eq!(session.state(), State::Rejecting(reason));
    }
}

#[test]
fn a_name_without_addresses_is_refused_and_a_bind_expects_nobody_for_it() {
    let rules = rules("permit cb *.*.*.*");
    for command in [1, 2] {
        let (mut session, _) = begun(&rules, &request(command, GOOD, 80, "www.example"));
        let action = session.handle_resolved(Ok(&resolved("www.example", &[])), &env(&rules));
        assert_eq!(action, refusal(Code::Rejected));
        assert_eq!(session.state(), State::Rejecting(CloseReason::NameWithoutAddress));
    }
}

#[test]
fn a_name_is_judged_as_it_was_completed() {
    let complete = |text: &str| match name::classify(text.as_bytes()) {
        Ok(name::Target::Name(name)) => name,
        other => panic!("{other:?}"),
    };
    let candidates = |_: &Name| ["www.one.example", "www.two.example", "www"].map(complete).into();
    let go = Action::Connect(SocketAddrV4::new(GOOD, 80));
    // The rules, whether identd is asked at once, and what becomes of each name that may answer.
    type Row = (&'static str, Result<bool, (CloseReason, u32)>, [Option<u32>; 3]);
    let table: [Row; 6] = [
        ("permit c *.one.example", Ok(false), [Some(1), None, None]),
        ("deny c *.one.example\npermit c 10.*.*.*", Ok(false), [None, Some(2), Some(2)]),
        ("deny c www\npermit c *.two.example", Ok(false), [None, Some(2), None]),
        ("permit c *.two.example ident", Ok(true), [None, None, None]),
        ("permit c *.example.com", Err((CloseReason::NoRule, 0)), [None; 3]),
        ("# none\ndeny c *.two.example", Err((CloseReason::Denied, 2)), [None; 3]),
    ];
    for (text, expected, lines) in table {
        let rules = rules(text);
        let env = Env { rules: &rules, is_own: &is_own, candidates: &candidates };
        for (place, line) in lines.into_iter().enumerate() {
            let mut session = Session::new(1, CLIENT, 0);
            let (_, action) = session.handle_request(&request(1, GOOD, 80, "www"), &env);
            match expected {
                Ok(asks) => assert!(matches!(action, Action::Resolve(_, ask) if ask == asks)),
                Err((reason, line)) => {
                    assert_eq!(session.state(), State::Rejecting(reason), "{text}");
                    assert_eq!(session.rule().unwrap_or(0), line, "{text}");
                    continue;
                }
            }
            let name = candidates(&complete("www")).remove(place);
            let found = Resolved { name, addresses: [GOOD].into() };
            let action = session.handle_resolved(Ok(&found), &env);
            assert_eq!(action == go, line.is_some(), "{text}, {}", found.name);
            assert_eq!(session.rule().filter(|_| line.is_some()), line, "{text}");
            assert_eq!(session.name(), Some(&b"www"[..]), "the log shows what was asked for");
        }
    }
}

#[test]
fn identd_decides_as_strict_or_lax_as_the_rule() {
    let user = |name: &[u8]| Outcome::User(name.into());
    let (no_ident, other_user) = (refusal(Code::NoIdent), refusal(Code::OtherUser));
    let go = Action::Connect(SocketAddrV4::new(GOOD, 80));
    for (word, outcome, action) in [
        ("ident", user(b" bob"), &go),
        ("ident", user(b"bob"), &go),
        ("ident", user(b"eve"), &other_user),
        ("ident", Outcome::Missing, &no_ident),
        ("ident", Outcome::Error(b"HIDDEN-USER"[..].into()), &no_ident),
        ("ident-lax", user(b"bob"), &go),
        ("ident-lax", user(b"eve"), &other_user),
        ("ident-lax", Outcome::Missing, &go),
    ] {
        let rules = rules(&format!("permit c *.*.*.* {word}"));
        let (mut session, asked) = begun(&rules, &request(1, GOOD, 80, ""));
        assert_eq!(asked, Action::Ask);
        assert_eq!(session.deadline(), Some(Deadline::Ident));
        assert_eq!(session.handle_ident(outcome.clone()), *action, "{word} {outcome:?}");
    }
}

#[test]
fn both_questions_may_be_answered_in_any_order() {
    let rules = rules("permit c *.*.*.* ident");
    let env = env(&rules);
    let go = Action::Connect(SocketAddrV4::new(GOOD, 80));
    for ident_first in [true, false] {
        let (mut session, action) = begun(&rules, &request(1, GOOD, 80, "www.example"));
        assert!(matches!(action, Action::Resolve(_, true)), "{action:?}");
        let mut tell = |ident| match ident {
            true => session.handle_ident(Outcome::User(b"bob"[..].into())),
            false => session.handle_resolved(Ok(&resolved("www.example", &[GOOD])), &env),
        };
        assert_eq!(tell(ident_first), Action::Wait);
        assert_eq!(tell(!ident_first), go);
    }
}

#[test]
fn only_the_expected_peer_is_let_in_to_a_bind() {
    let text = "deny b 10.3.*.*\npermit b *.*.*.*";
    let zero = Ipv4Addr::UNSPECIFIED;
    let second = Ipv4Addr::new(10, 2, 0, 2);
    for (expected, peer, refused) in [
        (GOOD, GOOD, None),
        (GOOD, second, Some(CloseReason::WrongPeer)),
        (GOOD, BAD, Some(CloseReason::WrongPeer)),
        (zero, second, None),
        (zero, BAD, Some(CloseReason::Denied)),
    ] {
        let rules = rules(text);
        let (mut session, _) = begun(&rules, &request(2, expected, 0, ""));
        let told = SocketAddrV4::new(*OWN.ip(), 40_000);
        assert_eq!(session.handle_listening(told), Action::Send(Reply::granted(told)));
        assert_eq!(session.state(), State::AwaitingBind);
        let peer = SocketAddrV4::new(peer, 20);
        let action = session.handle_peer(peer, &env(&rules));
        match refused {
            None => {
                assert_eq!(action, Action::Send(Reply::granted(peer)));
                assert_eq!(session.state(), State::Relaying);
            }
            Some(reason) => {
                assert_eq!(action, refusal(Code::Rejected));
                assert_eq!(session.state(), State::Rejecting(reason));
            }
        }
    }
}

/// A session in a random world, and what has come of it.
struct Life {
    session: Session,
    rules: RuleSet,
    asked: bool,
    listens: bool,
    sent: Vec<Code>,
}

const TEXTS: [&str; 5] = [
    "permit cb *.*.*.*",
    "deny cb 10.3.*.*\npermit cb *.*.*.* ident-lax",
    "permit cb *.*.*.* ident",
    "permit c *.example\npermit b 10.2.*.*",
    "permit c *.example ident\npermit cb 10.2.*.*",
];

impl Life {
    fn new(text: &str) -> Life {
        let session = Session::new(1, CLIENT, 0);
        Life { session, rules: rules(text), asked: false, listens: false, sent: Vec::new() }
    }

    /// One thing that may happen in the state the session is in.
    fn step(&mut self, what: u8, which: u8) {
        let before = self.session.state();
        let peer = SocketAddrV4::new([GOOD, BAD, Ipv4Addr::LOCALHOST][usize::from(which) % 3], 20);
        let env = env(&self.rules);
        let session = &mut self.session;
        let deadline = session.deadline();
        let action = match (before, what % 4) {
            (State::Closed(_), _) => return,
            (State::Rejecting(_), 0) => session.close(CloseReason::Stopped),
            (State::Rejecting(_), 1) => session.handle_deadline(Deadline::Linger),
            (State::Rejecting(_), _) => session.handle_rejected(),
            (State::Relaying, 0) => session.handle_deadline(Deadline::HalfClose),
            (State::Relaying, 1) => session.close(CloseReason::Done),
            (_, 0) if which.is_multiple_of(8) => session.close(CloseReason::ClientReset),
            (state, 0) if which.is_multiple_of(4) && state.is_waiting() => {
                session.handle_deadline(Deadline::Leave)
            }
            (_, 0) if which.is_multiple_of(2) => session.handle_deadline(deadline.unwrap()),
            (State::ReadingRequest, _) => {
                let name = ["", "www.example", "10.2.0.1", "a..b"][usize::from(which / 16) % 4];
                let address = [GOOD, BAD, Ipv4Addr::UNSPECIFIED][usize::from(what) % 3];
                let bytes = request(1 + which % 2, address, u16::from(which % 16), name);
                let whole = bytes.len() * usize::from(which % 5).min(4) / 4;
                session.handle_request(&bytes[..whole], &env).1
            }
            (State::Resolving | State::Identifying, 1) if self.asked => {
                self.asked = false;
                let names: [&[u8]; 2] = [b"bob", b"eve"];
                session.handle_ident(match which % 3 {
                    2 => Outcome::Missing,
                    place => Outcome::User(names[usize::from(place)].into()),
                })
            }
            (State::Resolving, _) => {
                let lists = [&[GOOD][..], &[BAD, GOOD], &[Ipv4Addr::LOCALHOST, GOOD, GOOD, BAD]];
                let found = lists.get(usize::from(which % 4)).map(|l| resolved("www.example", l));
                session.handle_resolved(found.as_ref().ok_or(DnsError::NoData), &env)
            }
            (State::Identifying, _) => {
                session.handle_resolved(Ok(&resolved("www.example", &[GOOD])), &env)
            }
            (State::Connecting, 1) => session.handle_connected(OWN),
            (State::Connecting, _) => session.handle_failed(CloseReason::Refused),
            (State::AwaitingBind, _) if !self.listens => {
                self.listens = true;
                session.handle_listening(OWN)
            }
            (State::AwaitingBind, _) => session.handle_peer(peer, &env),
            (State::Relaying, _) => session.handle_deadline(Deadline::Idle),
        };
        self.judge(before, action);
    }

    fn judge(&mut self, before: State, action: Action) {
        let state = self.session.state();
        assert_eq!(self.session.deadline().is_none(), matches!(state, State::Closed(_)));
        assert!(state == before || before.may_become(state));
        match action {
            Action::Wait => {}
            Action::Resolve(_, ask) => {
                assert_eq!(state, State::Resolving);
                self.asked = ask;
            }
            Action::Ask => {
                assert_eq!(state, State::Identifying);
                self.asked = true;
            }
            Action::Connect(target) => {
                assert_eq!((state, target.port()), (State::Connecting, self.session.port()));
                assert!(!is_own(target));
            }
            Action::Listen(_) => assert_eq!(state, State::AwaitingBind),
            Action::Send(reply) => self.judge_reply(before, reply.code),
            Action::Close => assert!(matches!(state, State::Closed(_))),
        }
        assert_eq!(self.session.reply(), self.sent.last().copied());
    }

    /// CONNECT has one reply, BIND one or two; nothing follows a refusal.
    fn judge_reply(&mut self, before: State, code: Code) {
        assert!(self.sent.iter().all(|&code| code == Code::Granted), "a reply behind a refusal");
        self.sent.push(code);
        let expected = match self.session.state() {
            State::Rejecting(CloseReason::NoIdent) => Code::NoIdent,
            State::Rejecting(CloseReason::OtherUser) => Code::OtherUser,
            State::Rejecting(_) => Code::Rejected,
            State::Relaying => {
                assert!(matches!(before, State::Connecting | State::AwaitingBind));
                Code::Granted
            }
            state => {
                assert_eq!((state, before), (State::AwaitingBind, State::AwaitingBind));
                Code::Granted
            }
        };
        assert_eq!(code, expected);
        let bind = self.session.command() == Some(Command::Bind);
        assert!(self.sent.len() <= if bind { 2 } else { 1 }, "{:?}", self.sent);
    }

    /// When nothing else happens, the deadlines end it.
    fn run_out(&mut self) {
        for _ in 0..64 {
            let Some(deadline) = self.session.deadline() else { break };
            let before = self.session.state();
            let action = self.session.handle_deadline(deadline);
            self.judge(before, action);
        }
        let State::Closed(reason) = self.session.state() else {
            panic!("{} has no end", self.session.state())
        };
        let silent = matches!(
            reason,
            CloseReason::BadVersion
                | CloseReason::ClientReset
                | CloseReason::ClientLeft
                | CloseReason::Stopped
        );
        assert!(silent || !self.sent.is_empty(), "closed for {reason} without a reply");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_happens_each_session_gets_its_replies_and_an_end(
        text in 0..TEXTS.len(),
        steps in proptest::collection::vec((any::<u8>(), any::<u8>()), 0..24),
    ) {
        let mut life = Life::new(TEXTS[text]);
        for (what, which) in steps {
            life.step(what, which);
        }
        life.run_out();
    }
}
