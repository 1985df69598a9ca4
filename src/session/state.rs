//! The states, and which may follow which.

use crate::reason::CloseReason;
use std::fmt;

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Bytes of the request are coming in.
    ReadingRequest,
    /// The name is being resolved; the client's identd may be asked meanwhile.
    Resolving,
    /// The client's identd is being asked.
    Identifying,
    /// A connection to the target is being made.
    Connecting,
    /// A listener waits for the peer of a BIND.
    AwaitingBind,
    /// Both sides are connected.
    Relaying,
    /// The refusal is on its way to the client.
    Rejecting(CloseReason),
    /// Over.
    Closed(CloseReason),
}

impl State {
    /// Whether a session may go from here to `next`.
    pub fn may_become(self, next: State) -> bool {
        use State::*;
        match (self, next) {
            (Closed(_), _) => false,
            (Rejecting(from), Closed(to)) => from == to || to == CloseReason::Stopped,
            (_, Closed(_)) => true,
            (Relaying | Rejecting(_), _) | (_, ReadingRequest) => false,
            (_, Rejecting(_)) => true,
            (ReadingRequest, Resolving | Identifying | Connecting | AwaitingBind) => true,
            (Resolving, Identifying | Connecting | AwaitingBind) => true,
            (Identifying, Connecting | AwaitingBind) => true,
            // One address of a name failed, the next is tried.
            (Connecting, Connecting) => true,
            (Connecting | AwaitingBind, Relaying) => true,
            _ => false,
        }
    }

    /// Whether the client waits for its answer.
    pub fn is_waiting(self) -> bool {
        use State::*;
        matches!(self, Resolving | Identifying | Connecting | AwaitingBind)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::ReadingRequest => f.write_str("reading-request"),
            State::Resolving => f.write_str("resolving"),
            State::Identifying => f.write_str("identifying"),
            State::Connecting => f.write_str("connecting"),
            State::AwaitingBind => f.write_str("awaiting-bind"),
            State::Relaying => f.write_str("relaying"),
            State::Rejecting(reason) => write!(f, "rejecting({reason})"),
            State::Closed(reason) => write!(f, "closed({reason})"),
        }
    }
}
