//! Clients behind a load balancer: its header, and what it changes.

use super::socks5::request5;
use super::*;
use crate::wire::Status;

/// The end of the balancer's connection.
const BALANCER: IpPort = IpPort { ip: v4(10, 0, 0, 5), port: 40_000 };
/// The address that clients connect to.
const FRONT: IpPort = IpPort { ip: v4(10, 9, 0, 1), port: 1080 };
const TEXT: &[u8] = b"PROXY TCP4 10.0.0.2 10.9.0.1 50000 1080\r\n";
const UNKNOWN: &[u8] = b"PROXY UNKNOWN\r\n";
const BINARY: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10\x0a\0\0\x02\x0a\x09\0\x01\xc3\x50\x04\x38\x04\0\x01z";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// Feeds the pieces to a session behind a balancer; its actions, without those of waiting, and how
/// many bytes were left.
fn feed<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
    env: &Env<'_>,
) -> (Session, Vec<Action>, usize) {
    let mut session = Session::behind_balancer(1, BALANCER, 0);
    let (mut held, mut actions) = (Vec::new(), Vec::new());
    for piece in pieces {
        held.extend(piece);
        loop {
            let (taken, action) = session.handle_bytes(&held, env);
            held.drain(..taken);
            let is_done = taken == 0;
            if action != Action::Wait {
                actions.push(action);
            }
            if is_done {
                break;
            }
        }
    }
    (session, actions, held.len())
}

#[test]
fn every_cut_of_header_and_request_gives_the_same_session() {
    let rules = rules("permit c * from 10.0.0.2\npermit c * from 10.0.0.5 port 81");
    let method = Action::Send(Answer::Method(Some(crate::wire::Method::None)));
    for header in [TEXT, BINARY, UNKNOWN, LOCAL] {
        let is_told = header == TEXT || header == BINARY;
        let port = if is_told { 80 } else { 81 };
        let socks5 = [b"\x05\x01\0".to_vec(), request5(1, "10.2.0.1", port)].concat();
        for (request, is_5) in [
            (request(1, GOOD, port, ""), false),
            (request(1, GOOD, port, "10.2.0.1"), false),
            (socks5, true),
        ] {
            let bytes = [header, &request, b"early"].concat();
            let mut expected = Vec::new();
            expected.extend(is_told.then_some(Action::Admit));
            expected.extend(is_5.then(|| method.clone()));
            let target = SocketAddr::new(GOOD, port);
            expected.push(Action::Connect { attempt: 0, target, replaces_oldest: false });
            for cut in 0..=bytes.len() {
                let (start, end) = bytes.split_at(cut);
                let (session, actions, left) = feed([start, end].into_iter(), &env(&rules));
                assert_eq!((&actions, left), (&expected, 5), "{cut} of {bytes:02x?}");
                assert_eq!(session.client, if is_told { CLIENT } else { BALANCER });
                let balancer = Balancer { address: BALANCER, destination: FRONT };
                assert_eq!(session.balancer(), is_told.then_some(balancer));
            }
            let (_, actions, left) = feed(bytes.chunks(1), &env(&rules));
            assert_eq!((actions, left), (expected, 5), "byte by byte: {bytes:02x?}");
        }
    }
}

#[test]
fn without_a_right_header_a_session_is_closed_without_a_reply() {
    let rules = rules("permit cb *");
    let request = request(1, GOOD, 80, "");
    for bytes in [&request[..], b"\x05\x01\0", b"PROXY TCP4 1.2.3.4\r\n", b"\r\n\r\n\x04", b"G"] {
        let (session, actions, _) = feed(std::iter::once(bytes), &env(&rules));
        assert_eq!(session.state(), &State::Closed(CloseReason::BadProxyHeader), "{bytes:?}");
        assert_eq!((actions, session.reply()), (vec![], None), "{bytes:?}");
    }
}

#[test]
fn a_header_is_taken_from_nobody_else_and_only_once() {
    let rules = rules("permit cb *");
    for header in [TEXT, BINARY, UNKNOWN, LOCAL] {
        let (session, action) = start(&rules, header);
        assert_eq!(
            (session.state().closed(), action),
            (Some(CloseReason::BadVersion), Action::Wait)
        );
        let twice = [header, header].concat();
        let (session, ..) = feed(std::iter::once(&twice[..]), &env(&rules));
        assert_eq!(session.state(), &State::Closed(CloseReason::BadVersion), "{header:?}");
    }
}

#[test]
fn the_time_for_a_request_covers_the_header_which_gets_no_answer() {
    let rules = rules("permit cb *");
    let late = env_at(&rules, DURATIONS.request_ms);
    let mut session = Session::behind_balancer(1, BALANCER, 0);
    session.handle_bytes(&TEXT[..20], &env_at(&rules, 20_000));
    assert_eq!(session.deadline(&DURATIONS), Some(DURATIONS.request_ms));
    assert_eq!(session.handle_deadline(&DURATIONS, &late), Action::Wait);
    assert_eq!(session.state(), &State::Closed(CloseReason::RequestTimeout));

    let mut session = Session::behind_balancer(1, BALANCER, 0);
    let (taken, _) = session.handle_bytes(TEXT, &env_at(&rules, 20_000));
    assert_eq!((taken, session.deadline(&DURATIONS)), (TEXT.len(), Some(DURATIONS.request_ms)));
    let failed = Action::Send(Answer::Reply(Reply::rejected(Status::Failed)));
    assert_eq!(session.handle_deadline(&DURATIONS, &late), failed);
}

#[test]
fn a_client_too_many_is_told_in_its_own_protocol_after_the_header() {
    let rules = rules("permit cb *");
    for (bytes, code) in [(&b"\x05"[..], 255), (b"\x04", 91)] {
        let mut session = Session::behind_balancer(1, BALANCER, 0);
        let env = env_at(&rules, 20_000);
        assert_eq!(session.handle_bytes(TEXT, &env), (TEXT.len(), Action::Admit));
        session.handle_unwelcome(env.now);
        assert_eq!(session.deadline(&DURATIONS), Some(env.now + DURATIONS.linger_ms));
        session.handle_bytes(bytes, &env);
        assert_eq!(session.reply(), Some(code));
        assert_eq!(session.state(), &State::Rejecting(CloseReason::TooManyFromSource));
    }
}

/// The balancer was told to send no header: of what its clients send, a password may be a part.
#[test]
fn of_a_socks_message_in_place_of_a_header_only_the_first_byte_is_kept() {
    let rules = rules("permit c *");
    let env = env(&rules);
    for (bytes, word) in [
        (&b"\x05\x01\x02\x01\x05alice\x06secret"[..], "socks5"),
        (b"\x04\x01\0\x50\x0a\0\0\x01secret\0", "socks4"),
    ] {
        let (session, ..) = feed([bytes].into_iter(), &env);
        assert_eq!(session.state(), &State::Closed(CloseReason::BadProxyHeader));
        let foreign = session.foreign().unwrap();
        assert_eq!((foreign.bytes(), foreign.looks_like()), (&bytes[..1], Some(word)));
    }
}
