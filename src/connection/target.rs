//! The target side of a connection: everything besides its client's socket.

use super::attempts::AttemptSockets;
use super::bind_listener::BindListener;
use super::ident_query::IdentQuery;
use super::tunnel::Tunnel;
use crate::context::Context;
use crate::net::{Event, Net};
use std::mem::replace;
use std::net::IpAddr;

/// The target side of a connection.
pub enum TargetSide<N: Net> {
    /// Nothing: the request is awaited, a name is being resolved, or the client is refused.
    None,
    /// A descriptor for what follows, set aside when the client was accepted.
    Reserve(N::Reserve),
    /// The client's identd, which is queried before there is a target.
    Identd(Box<IdentQuery<N>>),
    /// The addresses being tried.
    Attempts(AttemptSockets<N>),
    /// A BIND that is waiting for its peer.
    Listener(BindListener<N>),
    /// The target is connected.
    Tunnel(Tunnel<N>),
}

impl<N: Net> TargetSide<N> {
    /// Handles an event of the socket with this place among the connection's tokens.
    pub fn update_readiness(&mut self, place: usize, event: &Event) {
        match self {
            TargetSide::None | TargetSide::Reserve(_) => {}
            TargetSide::Identd(query) => query.endpoint().update_readiness(event),
            TargetSide::Attempts(attempts) => attempts.update_readiness(place, event),
            TargetSide::Listener(listener) => listener.set_ready(),
            TargetSide::Tunnel(tunnel) => tunnel.target().update_readiness(event),
        }
    }

    /// Takes the attempts under way out; whatever else there is makes way for them.
    pub fn take_attempts(&mut self, source: IpAddr, cx: &mut Context<N>) -> AttemptSockets<N> {
        match replace(self, TargetSide::None) {
            TargetSide::Attempts(attempts) => attempts,
            other => {
                other.release(source, cx);
                AttemptSockets::default()
            }
        }
    }

    /// Closes its sockets, and gives back its buffers and ports, for a client of this source.
    pub fn release(self, source: IpAddr, cx: &mut Context<N>) {
        match self {
            TargetSide::Identd(mut query) => query.discard(&mut cx.pool),
            TargetSide::Listener(listener) => cx.bind_ports.give_back(listener.port()),
            TargetSide::Attempts(mut attempts) => attempts.clear(source, cx),
            TargetSide::None | TargetSide::Reserve(_) | TargetSide::Tunnel(_) => {}
        }
    }
}
