//! What a connection has besides its client's socket.

use super::attempts::AttemptSockets;
use super::bind_listener::BindListener;
use super::ident_query::IdentQuery;
use super::tunnel::Tunnel;
use crate::context::Context;
use crate::net::{Event, Net};

/// What there is besides the client's socket.
pub enum Target<N: Net> {
    /// Nothing: the request is awaited, a name is being resolved, or the client is refused.
    None,
    /// A descriptor for what comes, set aside when the client was taken.
    Reserve(N::Reserve),
    /// The client's identd, which is asked before there is a target.
    Identd(Box<IdentQuery<N>>),
    /// The addresses that are being tried.
    Attempts(AttemptSockets<N>),
    /// A BIND that waits for its peer.
    Listener(BindListener<N>),
    /// The target is connected.
    Tunnel(Tunnel<N>),
}

impl<N: Net> Target<N> {
    /// Takes in an event of the socket with this place among the connection's tokens.
    pub fn update_readiness(&mut self, place: usize, event: &Event) {
        match self {
            Target::None | Target::Reserve(_) => {}
            Target::Identd(query) => query.endpoint().update_readiness(event),
            Target::Attempts(attempts) => attempts.update_readiness(place, event),
            Target::Listener(listener) => listener.set_ready(),
            Target::Tunnel(tunnel) => tunnel.target().update_readiness(event),
        }
    }

    /// Closes it, and gives back what it held.
    pub fn release(self, cx: &mut Context<N>) {
        match self {
            Target::Identd(mut query) => query.discard(&mut cx.pool),
            Target::Listener(listener) => cx.bind_ports.give_back(listener.port()),
            Target::None | Target::Reserve(_) | Target::Attempts(_) | Target::Tunnel(_) => {}
        }
    }
}
