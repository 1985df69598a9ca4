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
    /// The header of a load balancer is being read, before anything of its client.
    #[n(8)]
    ReadingProxyHeader,
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

/// A state without its data, as metrics count them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateKind {
    /// [`State::ReadingProxyHeader`].
    ReadingProxyHeader,
    /// [`State::ReadingRequest`], or the greeting of SOCKS5.
    ReadingRequest,
    /// [`State::ReadingRequest`] while the password of SOCKS5 comes.
    ReadingPassword,
    /// [`State::ReadingRequest`] while the request of SOCKS5 comes.
    ReadingSocks5Request,
    /// [`State::Resolving`].
    Resolving,
    /// [`State::Identifying`].
    Identifying,
    /// [`State::Connecting`].
    Connecting,
    /// [`State::AwaitingBind`].
    AwaitingBind,
    /// [`State::Relaying`].
    Relaying,
    /// [`State::Rejecting`].
    Rejecting,
    /// [`State::Closed`].
    Closed,
}

impl StateKind {
    /// Those that an open session may be in, in the order of their counters.
    pub const OPEN: [StateKind; 10] = [
        StateKind::ReadingProxyHeader,
        StateKind::ReadingRequest,
        StateKind::ReadingPassword,
        StateKind::ReadingSocks5Request,
        StateKind::Resolving,
        StateKind::Identifying,
        StateKind::Connecting,
        StateKind::AwaitingBind,
        StateKind::Relaying,
        StateKind::Rejecting,
    ];

    /// The word in log, metrics and documents.
    pub fn word(self) -> &'static str {
        match self {
            StateKind::ReadingProxyHeader => "reading-proxy-header",
            StateKind::ReadingRequest => "reading-request",
            StateKind::ReadingPassword => "reading-password",
            StateKind::ReadingSocks5Request => "reading-socks5-request",
            StateKind::Resolving => "resolving",
            StateKind::Identifying => "identifying",
            StateKind::Connecting => "connecting",
            StateKind::AwaitingBind => "awaiting-bind",
            StateKind::Relaying => "relaying",
            StateKind::Rejecting => "rejecting",
            StateKind::Closed => "closed",
        }
    }
}

impl State {
    /// The state without its data.
    pub fn kind(&self) -> StateKind {
        match self {
            State::ReadingProxyHeader => StateKind::ReadingProxyHeader,
            State::ReadingRequest { stage: Stage::First, .. } => StateKind::ReadingRequest,
            State::ReadingRequest { stage: Stage::Password, .. } => StateKind::ReadingPassword,
            State::ReadingRequest { stage: Stage::Request, .. } => StateKind::ReadingSocks5Request,
            State::Resolving { .. } => StateKind::Resolving,
            State::Identifying(_) => StateKind::Identifying,
            State::Connecting(_) => StateKind::Connecting,
            State::AwaitingBind(_) => StateKind::AwaitingBind,
            State::Relaying => StateKind::Relaying,
            State::Rejecting(_) => StateKind::Rejecting,
            State::Closed(_) => StateKind::Closed,
        }
    }

    /// Whether `next` may follow this state.
    pub fn may_become(&self, next: &State) -> bool {
        use State::*;
        match (self, next) {
            (Closed(_), _) => false,
            (Rejecting(from), Closed(to)) => from == to || *to == CloseReason::Stopped,
            (_, Closed(_)) => true,
            (Relaying | Rejecting(_), _) => false,
            (ReadingProxyHeader, _) => matches!(next, ReadingRequest { .. }),
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

    /// Its word in log, counters and documents, without the reason of an end.
    pub fn word(&self) -> &'static str {
        self.kind().word()
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Rejecting(reason) | State::Closed(reason) => {
                write!(f, "{}({reason})", self.word())
            }
            _ => f.write_str(self.word()),
        }
    }
}
