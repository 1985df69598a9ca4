//! Random sequences of events: each session gets its replies and an end, in either protocol.

use super::socks5::request5;
use super::*;
use crate::users::Users;
use crate::wire::{Method, Status};
use proptest::prelude::*;

/// A session, its inputs, and the actions it has returned.
struct Life {
    session: Session,
    rules: RuleSet,
    users: Option<Users>,
    /// What the client has sent and nobody has taken.
    held: Vec<u8>,
    now: Millis,
    asked: bool,
    listens: bool,
    /// Attempts that were started.
    attempts: usize,
    sent: Vec<Answer>,
    /// Something has happened after the header of a load balancer, or there is none.
    was_in_session: bool,
}

const TEXTS: [&str; 6] = [
    "permit cb *.*.*.*",
    "deny cb 10.3.*.*\npermit cb *.*.*.* ident-lax",
    "permit cb *.*.*.* ident",
    "permit c *.example\npermit b 10.2.*.*",
    "permit c *.example ident\npermit cb 10.2.*.*",
    "permit cb * user bob auth",
];

/// Headers, the last of which is none.
const HEADERS: [&[u8]; 4] = [
    b"PROXY UNKNOWN\r\n",
    b"PROXY TCP4 10.0.0.3 10.0.0.9 50000 1080\r\n",
    b"PROXY TCP6 2001:db8::3 2001:db8::9 50000 1080\r\n",
    b"\x04",
];

impl Life {
    /// A client, perhaps behind a load balancer.
    fn new(text: &str, is_proxied: bool) -> Life {
        let users = text.contains("auth").then(|| Users::parse(b"bob:secret\n").unwrap());
        Life {
            session: match is_proxied {
                true => Session::behind_balancer(1, CLIENT, 0),
                false => Session::new(1, CLIENT, 0),
            },
            rules: rules(text),
            users,
            held: Vec::new(),
            now: 0,
            asked: false,
            listens: false,
            attempts: 0,
            sent: Vec::new(),
            was_in_session: !is_proxied,
        }
    }

    /// One of the events that may happen, in any state of the session.
    fn step(&mut self, what: u8, which: u8) {
        let before = self.session.state().clone();
        if before.closed().is_some() {
            return;
        }
        self.now += Millis::from(which);
        let peer = SocketAddr::new([GOOD, BAD, LOCALHOST][usize::from(which) % 3], 20);
        let env = Env { users: self.users.as_ref(), ..env_at(&self.rules, self.now) };
        let now = self.now;
        let attempt = usize::from(which) % self.attempts.max(1);
        let session = &mut self.session;
        let stage = match before {
            State::ReadingRequest { stage, .. } => Some(stage),
            _ => None,
        };
        let action = match what % 10 {
            0 => return self.expire(),
            1 if which.is_multiple_of(8) && !matches!(before, State::Rejecting(_)) => {
                session.close(CloseReason::ClientReset, now)
            }
            2 if which.is_multiple_of(8) && before.is_waiting() => {
                session.reject(CloseReason::ClientLeft, now)
            }
            _ if before == State::ReadingProxyHeader => {
                let header = HEADERS[usize::from(which) % HEADERS.len()];
                let (taken, action) = session.handle_bytes(header, &env);
                assert!(taken == header.len() || action == Action::Wait);
                if action == Action::Admit && what.is_multiple_of(2) {
                    session.handle_unwelcome(now);
                }
                action
            }
            _ if stage.is_some() => {
                if self.held.is_empty() {
                    self.held = message(stage, what, which);
                }
                let length = self.held.len() * usize::from(which % 5).min(4) / 4;
                let (taken, action) = session.handle_bytes(&self.held[..length], &env);
                self.held.drain(..taken);
                action
            }
            3 if self.asked => {
                self.asked = false;
                let names: [&[u8]; 2] = [b"bob", b"eve"];
                let result = match which % 3 {
                    2 => IdentResult::Missing,
                    place => IdentResult::User(names[usize::from(place)].into()),
                };
                session.handle_ident(result, &env)
            }
            4 => {
                let lists = [&[GOOD][..], &[BAD, GOOD], &[LOCALHOST, GOOD, GOOD, BAD]];
                let found = lists.get(usize::from(which % 4)).map(|l| resolved("www.example", l));
                session.handle_resolved(&found.ok_or(DnsError::NoData), &env)
            }
            5 => session.handle_connected(attempt, OWN, now),
            6 if self.attempts > 0 && matches!(before, State::Connecting(_)) => {
                session.handle_attempt_failed(attempt, CloseReason::TargetRefused, &env)
            }
            7 if self.listens => session.handle_peer(peer, &env),
            8 if matches!(before, State::AwaitingBind(_)) && !self.listens => {
                self.listens = true;
                session.handle_listening(OWN, OWN)
            }
            9 => session.handle_rejected(now),
            _ => return,
        };
        self.check(&before, action);
    }

    /// The time of the session's deadline comes.
    fn expire(&mut self) {
        let Some(at) = self.session.deadline(&DURATIONS) else { return };
        self.now = self.now.max(at);
        let before = self.session.state().clone();
        let action = self.session.handle_deadline(&DURATIONS, &env_at(&self.rules, self.now));
        self.check(&before, action);
    }

    fn check(&mut self, before: &State, action: Action) {
        self.was_in_session |= *before != State::ReadingProxyHeader;
        let state = self.session.state();
        let has_deadline = self.session.deadline(&DURATIONS).is_some();
        assert_eq!(has_deadline, !matches!(state, State::Relaying | State::Closed(_)));
        let moved = before.to_string() != state.to_string();
        assert!(!moved || before.may_become(state), "{before} -> {state}");
        match action {
            Action::Wait => {}
            Action::Resolve { query_ident, .. } => {
                assert_eq!(state.to_string(), "resolving");
                self.asked = query_ident;
            }
            Action::QueryIdent => {
                assert_eq!(state.to_string(), "identifying");
                self.asked = true;
            }
            Action::Connect { attempt, target, .. } => {
                assert_eq!(state.to_string(), "connecting");
                assert_eq!((attempt, target.port()), (self.attempts, self.session.request().port));
                assert!(target != OWN);
                self.attempts += 1;
            }
            Action::Admit => {
                assert_eq!(before, &State::ReadingProxyHeader);
                assert!(self.session.balancer().is_some());
            }
            Action::Listen(_) => assert_eq!(state.to_string(), "awaiting-bind"),
            Action::Send(answer) => self.check_answer(before, answer),
        }
        let counts = |answer: &&Answer| matches!(answer, Answer::Reply(_)) || is_rejection(answer);
        let last = self.sent.iter().rev().find(counts);
        let code = last.map(|answer| answer.code(self.session.protocol()));
        assert_eq!(self.session.reply(), code);
    }

    /// CONNECT has one reply, BIND one or two; nothing follows a rejection. SOCKS5 has an answer
    /// before for each message.
    fn check_answer(&mut self, before: &State, answer: Answer) {
        assert!(!self.sent.iter().any(is_rejection), "an answer after a rejection");
        self.sent.push(answer);
        match self.session.state() {
            State::Rejecting(reason) => {
                assert!(is_rejection(&answer));
                if let Answer::Reply(reply) = answer {
                    assert_eq!(reply.status, reason.status());
                }
            }
            State::Relaying => {
                assert!(matches!(before, State::Connecting(_) | State::AwaitingBind(_)));
                assert!(!is_rejection(&answer));
            }
            State::ReadingRequest { stage, .. } => {
                let is_expected = match answer {
                    Answer::Method(Some(Method::Password)) => *stage == Stage::Password,
                    Answer::Method(Some(Method::None)) => *stage == Stage::Request,
                    Answer::Password { accepted } => accepted && *stage == Stage::Request,
                    _ => false,
                };
                assert!(is_expected, "{answer:?} before {stage:?}");
            }
            state => {
                let awaits = (state, before);
                assert!(matches!(awaits, (State::AwaitingBind(_), State::AwaitingBind(_))));
                assert!(!is_rejection(&answer));
            }
        }
        let replies = self.sent.iter().filter(|answer| matches!(answer, Answer::Reply(_)));
        let bind = self.session.request().command == Some(Command::Bind);
        assert!(replies.count() <= if bind { 2 } else { 1 }, "{:?}", self.sent);
    }

    /// With no other events, the deadlines end it, or it relays.
    fn run_out(&mut self) {
        for _ in 0..64 {
            self.expire();
        }
        let reason = match self.session.state() {
            State::Relaying => return,
            state => state.closed().unwrap_or_else(|| panic!("{state} has no end")),
        };
        let silent = matches!(reason, CloseReason::BadVersion | CloseReason::ClientReset);
        let silent = silent || !self.was_in_session;
        assert!(silent || !self.sent.is_empty(), "closed for {reason} without a reply");
    }
}

fn is_rejection(answer: &Answer) -> bool {
    match answer {
        Answer::Method(method) => method.is_none(),
        Answer::Password { accepted } => !accepted,
        Answer::Reply(reply) => reply.status != Status::Granted,
    }
}

/// A message that a client may send at this stage, or sends by mistake.
fn message(stage: Option<Stage>, what: u8, which: u8) -> Vec<u8> {
    let name = ["", "www.example", "10.2.0.1", "a..b"][usize::from(which / 16) % 4];
    let address = [GOOD, BAD, ZERO][usize::from(what) % 3];
    let (command, port) = (1 + which % 2, u16::from(which % 16));
    match (stage, which % 3) {
        (Some(Stage::First), 0) => request(command, address, port, name),
        (Some(Stage::First), _) => {
            [&b"\x05\x02\0\x02"[..], b"\x05\x01\x02"][usize::from(which % 2)].into()
        }
        (Some(Stage::Password), 0) => b"\x01\x03bob\x05wrong".into(),
        (Some(Stage::Password), _) => b"\x01\x03bob\x06secret".into(),
        _ if name.is_empty() => request5(command, &address.to_string(), port),
        _ => request5(command, name, port),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn any_sequence_of_events_gives_each_session_its_replies_and_an_end(
        text in 0..TEXTS.len(),
        is_proxied in any::<bool>(),
        steps in proptest::collection::vec((any::<u8>(), any::<u8>()), 0..32),
    ) {
        let mut life = Life::new(TEXTS[text], is_proxied);
        for (what, which) in steps {
            life.step(what, which);
        }
        life.run_out();
    }
}

#[test]
fn every_state_that_a_session_may_be_in_is_explained_to_operators() {
    let page = include_str!("../../docs/troubleshooting.md");
    let (_, table) = page.split_once("| state | it waits for | until |").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    for state in StateKind::OPEN {
        let word = state.word();
        assert!(table.contains(&format!("`{word}`")), "docs/troubleshooting.md lacks {word}");
    }
}
