//! Random sequences of events: each session gets its replies and an end.

use super::*;
use proptest::prelude::*;

/// A session, its inputs, and the actions it has returned.
struct Life {
    session: Session,
    rules: RuleSet,
    now: Millis,
    asked: bool,
    listens: bool,
    /// Attempts that were started.
    attempts: usize,
    sent: Vec<Status>,
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
        Life {
            session: Session::new(1, CLIENT, 0),
            rules: rules(text),
            now: 0,
            asked: false,
            listens: false,
            attempts: 0,
            sent: Vec::new(),
        }
    }

    /// One of the events that may happen, in any state of the session.
    fn step(&mut self, what: u8, which: u8) {
        let before = self.session.state().clone();
        if before.closed().is_some() {
            return;
        }
        self.now += Millis::from(which);
        let peer = SocketAddrV4::new([GOOD, BAD, Ipv4Addr::LOCALHOST][usize::from(which) % 3], 20);
        let (env, now) = (env_at(&self.rules, self.now), self.now);
        let attempt = usize::from(which) % self.attempts.max(1);
        let session = &mut self.session;
        let reading = before == State::ReadingRequest;
        let action = match what % 10 {
            0 => return self.expire(),
            1 if which.is_multiple_of(8) && !matches!(before, State::Rejecting(_)) => {
                session.close(CloseReason::ClientReset, now)
            }
            2 if which.is_multiple_of(8) && before.is_waiting() => {
                session.reject(CloseReason::ClientLeft, now)
            }
            _ if reading => {
                let name = ["", "www.example", "10.2.0.1", "a..b"][usize::from(which / 16) % 4];
                let address = [GOOD, BAD, Ipv4Addr::UNSPECIFIED][usize::from(what) % 3];
                let bytes = request(1 + which % 2, address, u16::from(which % 16), name);
                let whole = bytes.len() * usize::from(which % 5).min(4) / 4;
                session.handle_request(&bytes[..whole], &env).1
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
                let lists = [&[GOOD][..], &[BAD, GOOD], &[Ipv4Addr::LOCALHOST, GOOD, GOOD, BAD]];
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
                session.handle_listening(OWN)
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
            Action::Listen(_) => assert_eq!(state.to_string(), "awaiting-bind"),
            Action::Send(reply) => self.check_reply(before, reply.status),
        }
        assert_eq!(self.session.reply(), self.sent.last().copied());
    }

    /// CONNECT has one reply, BIND one or two; nothing follows a rejection.
    fn check_reply(&mut self, before: &State, code: Status) {
        assert!(self.sent.iter().all(|&code| code == Status::Granted), "a reply after a rejection");
        self.sent.push(code);
        let expected = match self.session.state() {
            State::Rejecting(CloseReason::NoIdent) => Status::NoIdent,
            State::Rejecting(CloseReason::OtherUser) => Status::OtherUser,
            State::Rejecting(_) => Status::Failed,
            State::Relaying => {
                assert!(matches!(before, State::Connecting(_) | State::AwaitingBind(_)));
                Status::Granted
            }
            state => {
                assert!(matches!(
                    (state, before),
                    (State::AwaitingBind(_), State::AwaitingBind(_))
                ));
                Status::Granted
            }
        };
        assert_eq!(code, expected);
        let bind = self.session.request().command == Some(Command::Bind);
        assert!(self.sent.len() <= if bind { 2 } else { 1 }, "{:?}", self.sent);
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
        assert!(silent || !self.sent.is_empty(), "closed for {reason} without a reply");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn any_sequence_of_events_gives_each_session_its_replies_and_an_end(
        text in 0..TEXTS.len(),
        steps in proptest::collection::vec((any::<u8>(), any::<u8>()), 0..32),
    ) {
        let mut life = Life::new(TEXTS[text]);
        for (what, which) in steps {
            life.step(what, which);
        }
        life.run_out();
    }
}
