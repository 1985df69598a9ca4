use super::*;
use crate::address::IpPort;
use crate::ident::{AnswerError, IdentResult};
use crate::reason::CloseReason;
use crate::rules::Ident;
use crate::session::attempts::Attempts;
use crate::session::candidates::{Candidate, Candidates, Peers, Plan};
use crate::wire::{Command, Protocol, Stage};
use std::net::IpAddr;
use std::num::NonZeroU32;

fn candidate(address: &str, ident: Ident) -> Candidate {
    Candidate { address: address.parse().unwrap(), line: 7, ident }
}

fn candidates(count: usize) -> Candidates {
    let all = [
        candidate("192.0.2.1", Ident::No),
        candidate("2001:db8::1", Ident::Strict),
        candidate("192.0.2.3", Ident::Lax),
    ];
    Candidates::new(all.into_iter().take(count)).unwrap()
}

/// Every state, with all of its variants.
fn states() -> Vec<State> {
    let mut attempts = Attempts::new(candidates(3));
    attempts.start_next(true, 0, 250);
    let first = State::Connecting(attempts.clone());
    attempts.fail(0, CloseReason::TargetRefused);
    attempts.start_next(false, 100, 250);
    attempts.start_next(true, 350, 250);
    attempts.postpone(2, 400, 250);
    let mut states = vec![
        State::Resolving { command: Command::Connect, queries_ident: true },
        State::Resolving { command: Command::Bind, queries_ident: false },
        State::Identifying(Plan::Connect(candidates(1))),
        State::Identifying(Plan::Bind(Peers::Any)),
        State::Identifying(Plan::Bind(Peers::Expected(candidates(2)))),
        first,
        State::Connecting(attempts),
        State::AwaitingBind(Peers::Any),
        State::AwaitingBind(Peers::Expected(candidates(1))),
        State::Relaying,
    ];
    for stage in [Stage::First, Stage::Password, Stage::Request] {
        states.push(State::ReadingRequest { stage, is_welcome: stage != Stage::First });
    }
    states.extend(CloseReason::ALL.iter().map(|reason| State::Rejecting(*reason)));
    states.extend(CloseReason::ALL.iter().map(|reason| State::Closed(*reason)));
    states
}

/// Sessions in every state, with all kinds of requests and details.
pub fn samples() -> Vec<Session> {
    let host: IpAddr = "2001:db8::7".parse().unwrap();
    let hosts = [Host::Name(b"www.example.com"), Host::Name(b"\x00\xff"), Host::Address(host)];
    let identities = [
        None,
        Some(IdentResult::User(Box::from(&b" bob"[..]))),
        Some(IdentResult::Error(Box::from(&b"HIDDEN-USER"[..]))),
        Some(IdentResult::Invalid(AnswerError::OtherPorts)),
        Some(IdentResult::Missing),
    ];
    let client = IpPort::new([192, 0, 2, 9], 50_000);
    let sample = |(number, state): (usize, State)| {
        let mut session = Session::new(number as u64 + 1, client, 1_000 + number as u64);
        (session.state, session.since) = (state, 2_000 + number as u64);
        if number % 4 > 0 {
            let protocols = [Protocol::Socks4, Protocol::Socks4a, Protocol::Socks5];
            session.request.protocol = Some(protocols[number % 3]);
            session.request.command = Some([Command::Connect, Command::Bind][number % 2]);
            session.request.port = number as u16;
            session.request.is_proven = number.is_multiple_of(5);
            session.request.set_user(&b"alice the first of her name"[..number % 28]);
            session.request.set_host(hosts[number % 3]);
            session.address = Some(IpPort::new(host, 443));
            session.rule = NonZeroU32::new(number as u32 % 3);
            session.reply = Some(number as u8);
        }
        let identity = identities[number % 5].clone();
        session.details.get_or_insert_default().identity = identity;
        if session.identity().is_none() {
            session.details = None;
        }
        session
    };
    states().into_iter().enumerate().map(sample).collect()
}

#[test]
fn a_session_is_the_same_after_it_was_handed_over() {
    for session in samples() {
        let bytes = minicbor::to_vec(&session).unwrap();
        let read: Session = minicbor::decode(&bytes).unwrap();
        assert_eq!(format!("{read:?}"), format!("{session:?}"));
    }
}

#[test]
fn reasons_are_written_by_their_word_and_an_unknown_one_is_an_error() {
    let bytes = minicbor::to_vec(CloseReason::IdleTimeout).unwrap();
    assert_eq!(bytes[1..], *b"idle-timeout");
    let error = minicbor::decode::<CloseReason>(b"\x63new").unwrap_err();
    assert!(error.to_string().contains("no close reason \"new\""), "{error}");
}

#[test]
fn attempts_that_contradict_themselves_are_an_error() {
    let mut attempts = Attempts::new(candidates(1));
    attempts.start_next(true, 0, 250);
    let good = minicbor::to_vec(State::Connecting(attempts.clone())).unwrap();
    assert!(minicbor::decode::<State>(&good).is_ok());
    attempts.fail(0, CloseReason::TargetRefused);
    let mut bytes = minicbor::to_vec(State::Connecting(attempts)).unwrap();
    // Field 1, the number of those started, is 1: none is.
    let at = bytes.windows(4).position(|four| four == [1, 1, 2, 1]).unwrap();
    bytes[at + 1] = 0;
    let error = minicbor::decode::<State>(&bytes).unwrap_err();
    assert!(error.to_string().contains("more attempts than addresses"), "{error}");
}

#[test]
fn only_a_session_that_waits_for_an_answer_asks_again() {
    for session in samples() {
        let action = session.resumed();
        match session.state() {
            State::Resolving { queries_ident, .. } => {
                if let Some(Host::Name(b"www.example.com")) = session.request().host() {
                    let Action::Resolve { name, query_ident } = action else {
                        panic!("{action:?}")
                    };
                    assert_eq!((name.as_str(), query_ident), ("www.example.com", *queries_ident));
                }
            }
            State::Identifying(_) => assert_eq!(action, Action::QueryIdent),
            _ => assert_eq!(action, Action::Wait),
        }
    }
}
