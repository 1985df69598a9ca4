//! The work that a session asks its connection to do.

use crate::name::Name;
use crate::wire::Answer;
use std::net::{IpAddr, SocketAddr};

/// Work to be done for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing, until the next event.
    Wait,
    /// Resolve this name and report.
    Resolve {
        /// The name to resolve.
        name: Name,
        /// Query the client's identd meanwhile.
        query_ident: bool,
    },
    /// Count the client that a load balancer has named, and serve it or not.
    Admit,
    /// Query the client's identd and report.
    QueryIdent,
    /// Connect to this address, in parallel with the attempts under way, and report.
    Connect {
        /// The number of the attempt, from 0.
        attempt: usize,
        /// The address.
        target: SocketAddr,
        /// Close the oldest of those attempts first.
        replaces_oldest: bool,
    },
    /// Listen for the peer of a BIND and report.
    Listen(ListenFor),
    /// Send this to the client.
    Send(Answer),
}

/// The peer that a BIND listens for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenFor {
    /// A peer at this address.
    Peer(IpAddr),
    /// Any peer, from any network.
    AnyPeer,
}

impl Action {
    /// Whether it needs a socket of its own. A DNS query may share its socket with other sessions.
    pub fn needs_descriptor(&self) -> bool {
        use Action::*;
        let queries_ident = matches!(self, QueryIdent | Resolve { query_ident: true, .. });
        queries_ident || matches!(self, Connect { .. } | Listen(_))
    }
}
