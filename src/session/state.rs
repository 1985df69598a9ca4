//! The states of a session and their legal transitions.

use super::attempts::Attempts;
use super::candidates::{Peers, Plan};
use crate::reason::CloseReason;
use crate::wire::{Command, Stage};
use minicbor::decode::{self, Decoder};
use minicbor::{Decode, Encode};
use std::fmt;

/// The state of a session, with the data of that state.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum State {
    /// The request is being read, or a message before it.
    #[n(0)]
    ReadingRequest {
        /// The message that comes next.
        #[n(0)]
        stage: Stage,
        /// Otherwise the client is rejected as soon as its first byte tells in which protocol.
        #[n(1)]
        is_welcome: bool,
    },
    /// The name is being resolved.
    #[n(1)]
    Resolving {
        /// What its addresses are for.
        #[n(0)]
        command: Command,
        /// Whether a query to the client's identd is under way.
        #[n(1)]
        queries_ident: bool,
    },
    /// The client's identd is being queried; with the next step after its answer.
    #[n(2)]
    Identifying(#[n(0)] Plan),
    /// Connections to the target are being made.
    #[n(3)]
    Connecting(#[cbor(n(0), decode_with = "decode_attempts")] Attempts),
    /// A listener is waiting for the peer of a BIND.
    #[n(4)]
    AwaitingBind(#[n(0)] Peers),
    /// Both ends are connected.
    #[n(5)]
    Relaying,
    /// The rejection is on its way to the client.
    #[n(6)]
    Rejecting(#[n(0)] CloseReason),
    /// Over.
    #[n(7)]
    Closed(#[n(0)] CloseReason),
}

/// Attempts of which no more have failed than were started, nor started than there are addresses.
fn decode_attempts<C>(decoder: &mut Decoder<'_>, cx: &mut C) -> Result<Attempts, decode::Error> {
    let attempts: Attempts = decoder.decode_with(cx)?;
    let error = || decode::Error::message("more attempts than addresses");
    attempts.is_consistent().then_some(attempts).ok_or_else(error)
}

impl State {
    /// Whether `next` may follow this state.
    pub fn may_become(&self, next: &State) -> bool {
        use State::*;
        match (self, next) {
            (Closed(_), _) => false,
            (Rejecting(from), Closed(to)) => from == to || *to == CloseReason::Stopped,
            (_, Closed(_)) => true,
            (Relaying | Rejecting(_), _) => false,
            (_, Rejecting(_)) => true,
            (ReadingRequest { .. }, ReadingRequest { .. }) => true,
            (ReadingRequest { .. }, Resolving { .. } | Identifying(_)) => true,
            (Resolving { .. }, Identifying(_)) => true,
            (ReadingRequest { .. } | Resolving { .. } | Identifying(_), Connecting(_)) => true,
            (ReadingRequest { .. } | Resolving { .. } | Identifying(_), AwaitingBind(_)) => true,
            (Connecting(_) | AwaitingBind(_), Relaying) => true,
            _ => false,
        }
    }

    /// Whether the client is waiting for its reply.
    pub fn is_waiting(&self) -> bool {
        use State::*;
        matches!(self, Resolving { .. } | Identifying(_) | Connecting(_) | AwaitingBind(_))
    }

    /// Why the session has ended, once it has.
    pub fn closed(&self) -> Option<CloseReason> {
        match self {
            State::Closed(reason) => Some(*reason),
            _ => None,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::ReadingRequest { stage: Stage::First, .. } => f.write_str("reading-request"),
            State::ReadingRequest { stage: Stage::Password, .. } => f.write_str("reading-password"),
            State::ReadingRequest { stage: Stage::Request, .. } => {
                f.write_str("reading-socks5-request")
            }
            State::Resolving { .. } => f.write_str("resolving"),
            State::Identifying(_) => f.write_str("identifying"),
            State::Connecting(_) => f.write_str("connecting"),
            State::AwaitingBind(_) => f.write_str("awaiting-bind"),
            State::Relaying => f.write_str("relaying"),
            State::Rejecting(reason) => write!(f, "rejecting({reason})"),
            State::Closed(reason) => write!(f, "closed({reason})"),
        }
    }
}
