//! The states, and which may follow which.

use super::attempts::Attempts;
use super::candidates::{Peers, Plan};
use crate::reason::CloseReason;
use crate::wire::Command;
use std::fmt;

/// Where a session stands, with what it needs there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Bytes of the request are coming in.
    ReadingRequest,
    /// The name is being resolved.
    Resolving {
        /// What is done with its addresses.
        command: Command,
        /// The client's identd is being asked meanwhile.
        queries_ident: bool,
    },
    /// The client's identd is being asked; what follows its answer.
    Identifying(Plan),
    /// Connections to the target are being made.
    Connecting(Attempts),
    /// A listener waits for the peer of a BIND.
    AwaitingBind(Peers),
    /// Both ends are connected.
    Relaying,
    /// The refusal is on its way to the client.
    Rejecting(CloseReason),
    /// Over.
    Closed(CloseReason),
}

impl State {
    /// Whether a session may go from here to `next`.
    pub fn may_become(&self, next: &State) -> bool {
        use State::*;
        match (self, next) {
            (Closed(_), _) => false,
            (Rejecting(from), Closed(to)) => from == to || *to == CloseReason::Stopped,
            (_, Closed(_)) => true,
            (Relaying | Rejecting(_), _) => false,
            (_, Rejecting(_)) => true,
            (ReadingRequest, Resolving { .. } | Identifying(_)) => true,
            (Resolving { .. }, Identifying(_)) => true,
            (ReadingRequest | Resolving { .. } | Identifying(_), Connecting(_)) => true,
            (ReadingRequest | Resolving { .. } | Identifying(_), AwaitingBind(_)) => true,
            (Connecting(_) | AwaitingBind(_), Relaying) => true,
            _ => false,
        }
    }

    /// Whether the client waits for its answer.
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
            State::ReadingRequest => f.write_str("reading-request"),
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
