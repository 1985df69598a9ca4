//! The messages of SOCKS5 before its request, and what a client is told.

use super::*;
use crate::users::Users;
use crate::wire::{Method, Status};
use std::cell::Cell;

const PERMIT: &str = "permit cb *";

/// Surroundings in which clients may or may not try a password.
struct Gate(Cell<bool>);

impl Surroundings for Gate {
    fn is_own(&self, _: IpPort) -> io::Result<bool> {
        Ok(false)
    }

    fn may_log_in(&self, client: IpAddr) -> bool {
        assert_eq!(client, CLIENT.ip);
        self.0.get()
    }

    fn possible_names(&self, name: &Name) -> Vec<Name> {
        vec![name.clone()]
    }
}

fn greeting(methods: &[u8]) -> Vec<u8> {
    [&[5, methods.len() as u8], methods].concat()
}

fn password(user: &str, password: &str) -> Vec<u8> {
    let counted = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    [vec![1], counted(user), counted(password)].concat()
}

/// A request of SOCKS5, octet by octet.
pub fn request5(command: u8, host: &str, port: u16) -> Vec<u8> {
    let host = match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => [&[1], &ip.octets()[..]].concat(),
        Ok(IpAddr::V6(ip)) => [&[4], &ip.octets()[..]].concat(),
        Err(_) => [&[3, host.len() as u8], host.as_bytes()].concat(),
    };
    [&[5, command, 0], &host[..], &port.to_be_bytes()].concat()
}

/// The codes of what a session sends when these bytes come at once, and the session.
fn talk(bytes: &[u8], env: &Env<'_>) -> (Session, Vec<u8>, Action) {
    let mut session = Session::new(1, CLIENT, 0);
    let (mut sent, mut rest) = (Vec::new(), bytes);
    loop {
        let (taken, action) = session.handle_bytes(rest, env);
        rest = &rest[taken..];
        match action {
            Action::Send(answer) => sent.push(answer.code(session.protocol())),
            action => return (session, sent, action),
        }
        if !matches!(session.state(), State::ReadingRequest { .. }) {
            return (session, sent, Action::Wait);
        }
    }
}

#[test]
fn a_dialogue_ends_as_methods_users_and_rules_have_it() {
    use CloseReason::*;
    let users = Users::parse(b"alice:secret\nbob:a:b\n").unwrap();
    let go = request5(1, "10.2.0.1", 80);
    let proof = password("alice", "secret");
    let auth = "permit c 10.2.*.* auth";
    let alice = "permit c 10.2.*.* user alice auth";
    // With users or without; rules; the messages; the codes sent; the reason of a rejection.
    type Row<'a> = (bool, &'a str, Vec<&'a [u8]>, &'a [u8], Option<CloseReason>);
    let (none, both, all) =
        (&greeting(&[0])[..], &greeting(&[2, 0])[..], &greeting(&[0, 1, 2])[..]);
    let (only, gss, nothing) = (&greeting(&[2])[..], &greeting(&[1])[..], &greeting(&[])[..]);
    let eve = password("eve", "secret");
    let wrong = password("alice", "secreT");
    let empty = password("alice", "");
    let nobody = password("", "");
    let (wrong, empty, nobody, eve) = (&wrong[..], &empty[..], &nobody[..], &eve[..]);
    let colon = password("bob", "a:b");
    let (bind, udp) = (request5(2, "10.2.0.1", 0), request5(3, "10.2.0.1", 0));
    let bad_type = [5, 1, 0, 2, 1, 1];
    let old = [5, 1, 0, 1, 10, 2, 0, 1, 0, 80];
    let old = [&[4][..], &old[1..]].concat();
    let table: Vec<Row> = vec![
        (false, PERMIT, vec![none, &go], &[0], None),
        (false, PERMIT, vec![both, &go], &[0], None),
        (false, PERMIT, vec![only], &[255], Some(NoMethod)),
        (false, PERMIT, vec![gss], &[255], Some(NoMethod)),
        (false, PERMIT, vec![nothing], &[255], Some(NoMethod)),
        (false, auth, vec![none, &go], &[0, 2], Some(NoRule)),
        (true, auth, vec![none, &go], &[0, 2], Some(NoRule)),
        (true, PERMIT, vec![none, &go], &[0], None),
        (true, PERMIT, vec![both, &proof, &go], &[2, 0], None),
        (true, auth, vec![all, &proof, &go], &[2, 0], None),
        (true, auth, vec![only, &proof, &go], &[2, 0], None),
        (true, alice, vec![only, &proof, &go], &[2, 0], None),
        (true, alice, vec![only, &colon, &go], &[2, 0, 2], Some(NoRule)),
        (true, PERMIT, vec![only, eve, &go], &[2, 1], Some(BadPassword)),
        (true, PERMIT, vec![only, wrong, &go], &[2, 1], Some(BadPassword)),
        (true, PERMIT, vec![only, empty], &[2, 1], Some(BadPassword)),
        (true, PERMIT, vec![only, nobody], &[2, 1], Some(BadPassword)),
        (true, PERMIT, vec![only, &go], &[2, 1], Some(BadVersion)),
        (false, PERMIT, vec![none, &udp], &[0, 7], Some(BadCommand)),
        (false, PERMIT, vec![none, &bad_type], &[0, 8], Some(BadAddressType)),
        (false, PERMIT, vec![none, &old], &[0, 1], Some(BadVersion)),
        (false, "permit c *", vec![none, &bind], &[0, 2], Some(NoRule)),
        (false, PERMIT, vec![none, b"\x05\x01\0\x03\0\0\x50"], &[0, 4], Some(EmptyName)),
        (false, PERMIT, vec![none, b"\x05\x01\0\x03\x03a:b\0\x50"], &[0, 4], Some(BadName)),
    ];
    for (has_users, text, messages, codes, reason) in table {
        let rules = rules(text);
        let gate = Gate(Cell::new(true));
        let users = has_users.then_some(&users);
        let env = Env { users, surroundings: &gate, ..env(&rules) };
        let bytes = messages.concat();
        let (session, sent, action) = talk(&bytes, &env);
        assert_eq!(sent, codes, "{text:?} {bytes:?}");
        match reason {
            Some(reason) => {
                assert_eq!(session.state(), &State::Rejecting(reason), "{text:?} {bytes:?}");
                assert_eq!(session.reply(), codes.last().copied(), "{text:?} {bytes:?}");
            }
            None => assert_eq!(action, connect(0, GOOD), "{text:?} {bytes:?}"),
        }
        assert_eq!(session.protocol(), Protocol::Socks5);
    }
}

/// However the bytes come, the same is sent and done.
#[test]
fn every_cut_of_a_dialogue_leads_to_the_same_end() {
    let users = Users::parse(b"alice:secret\n").unwrap();
    let rules = rules("permit c * user alice auth");
    let gate = Gate(Cell::new(true));
    let env = Env { users: Some(&users), surroundings: &gate, ..env(&rules) };
    let (greeting, proof) = (greeting(&[0, 2]), password("alice", "secret"));
    let whole = [greeting, proof, request5(1, "10.2.0.1", 80), b"early".to_vec()].concat();
    for cut in 0..whole.len() {
        let mut session = Session::new(1, CLIENT, 0);
        let (mut held, mut sent, mut last) = (Vec::new(), Vec::new(), Action::Wait);
        for piece in [&whole[..cut], &whole[cut..]] {
            held.extend_from_slice(piece);
            while let State::ReadingRequest { .. } = session.state() {
                let (taken, action) = session.handle_bytes(&held, &env);
                held.drain(..taken);
                match action {
                    Action::Wait => break,
                    Action::Send(answer) => sent.push(answer),
                    action => last = action,
                }
            }
        }
        let expected =
            [Answer::Method(Some(Method::Password)), Answer::Password { accepted: true }];
        assert_eq!((&sent[..], &last), (&expected[..], &connect(0, GOOD)), "cut at {cut}");
        assert_eq!((&held[..], session.request().user()), (&b"early"[..], &b"alice"[..]));
    }
}

#[test]
fn a_client_that_has_failed_too_often_is_not_compared() {
    let users = Users::parse(b"alice:secret\n").unwrap();
    let rules = rules(PERMIT);
    let gate = Gate(Cell::new(false));
    let env = Env { users: Some(&users), surroundings: &gate, ..env(&rules) };
    let bytes = [greeting(&[2]), password("alice", "secret")].concat();
    let (session, sent, _) = talk(&bytes, &env);
    assert_eq!(
        (session.state(), &sent[..]),
        (&State::Rejecting(CloseReason::TooManyLogins), &[2, 1][..])
    );
    assert_eq!(session.request().user(), b"alice", "for the log");
}

#[test]
fn a_userid_of_socks4_is_a_claim_and_proves_nothing() {
    let rules = rules("permit c * user bob auth");
    let (session, _) = start(&rules, &request(1, GOOD, 80, ""));
    assert_eq!(session.state(), &State::Rejecting(CloseReason::NoRule));
}

#[test]
fn a_client_that_is_turned_away_is_told_in_its_own_protocol() {
    let rules = rules(PERMIT);
    for (bytes, expected) in
        [(&b"\x05"[..], Some(255)), (b"\x04\x01", Some(91)), (b"GET", Some(91)), (b"", None)]
    {
        let mut session = Session::unwelcome(1, CLIENT, 0);
        session.handle_bytes(bytes, &env(&rules));
        assert_eq!(session.reply(), expected, "{bytes:?}");
        if expected.is_none() {
            assert_eq!(session.deadline(&DURATIONS), Some(DURATIONS.linger_ms));
            session.handle_deadline(&DURATIONS, &env_at(&rules, DURATIONS.linger_ms));
        }
        assert_eq!(session.state(), &State::Rejecting(CloseReason::TooManyFromSource));
    }
}

#[test]
fn the_time_for_a_request_covers_all_messages_and_its_end_answers_the_one_awaited() {
    let users = Users::parse(b"alice:secret\n").unwrap();
    let rules = rules(PERMIT);
    let proof = password("alice", "secret");
    let refused = Answer::Password { accepted: false };
    let failed = Answer::Reply(Reply::rejected(Status::Failed));
    for (messages, answer) in [
        (vec![&b"\x05"[..]], Answer::Method(None)),
        (vec![&greeting(&[2])], refused),
        (vec![&greeting(&[2]), &proof], failed),
        (vec![&greeting(&[0])], failed),
    ] {
        let mut session = Session::new(1, CLIENT, 0);
        for (place, bytes) in messages.iter().enumerate() {
            let now = 1_000 * (1 + place as Millis);
            let env = Env { users: Some(&users), ..env_at(&rules, now) };
            session.handle_bytes(bytes, &env);
        }
        assert_eq!(session.deadline(&DURATIONS), Some(DURATIONS.request_ms), "{messages:?}");
        let late = env_at(&rules, DURATIONS.request_ms);
        let action = session.handle_deadline(&DURATIONS, &late);
        assert_eq!(action, Action::Send(answer), "{messages:?}");
        assert_eq!(session.reply(), Some(answer.code(Protocol::Socks5)), "{messages:?}");
        assert_eq!(session.state(), &State::Rejecting(CloseReason::RequestTimeout));
    }
}
