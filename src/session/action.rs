//! What a session asks of its connection.

use crate::name::Name;
use crate::wire::Reply;
use std::net::{Ipv4Addr, SocketAddrV4};

/// What is to be done for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing until something happens.
    Wait,
    /// Resolve this name and report.
    Resolve {
        /// What to resolve.
        name: Name,
        /// Ask the client's identd meanwhile.
        query_ident: bool,
    },
    /// Ask the client's identd and report.
    QueryIdent,
    /// Connect to this address, beside the attempts that are under way, and report.
    Connect {
        /// The number of the attempt, from 0.
        attempt: usize,
        /// The address.
        target: SocketAddrV4,
    },
    /// Listen for the peer of a BIND and report.
    Listen(ListenFor),
    /// Send this to the client.
    Send(Reply),
}

/// Whom a BIND listens for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenFor {
    /// A peer at this address.
    Peer(Ipv4Addr),
    /// Any peer, from any network.
    Anybody,
}

impl Action {
    /// Whether it takes a socket of the session's own. A question to a name server has one that it
    /// may share.
    pub fn needs_descriptor(&self) -> bool {
        use Action::*;
        let queries_ident = matches!(self, QueryIdent | Resolve { query_ident: true, .. });
        queries_ident || matches!(self, Connect { .. } | Listen(_))
    }
}
