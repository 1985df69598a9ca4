//! What a session asks of the loop.

use crate::name::Name;
use crate::wire::Reply;
use std::net::{Ipv4Addr, SocketAddrV4};

/// What the loop has to do for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing until something happens.
    Wait,
    /// Resolve this name and report; with `true`, ask the client's identd meanwhile.
    Resolve(Name, bool),
    /// Ask the client's identd and report.
    Ask,
    /// Connect to this address and report.
    Connect(SocketAddrV4),
    /// Listen at the address that faces this one (`None`: the client) and report.
    Listen(Option<Ipv4Addr>),
    /// Send this to the client.
    Send(Reply),
    /// Close both connections.
    Close,
}

impl Action {
    /// Whether it takes a socket.
    pub fn needs_descriptor(&self) -> bool {
        matches!(self, Action::Resolve(..) | Action::Ask | Action::Connect(_) | Action::Listen(_))
    }
}
