//! The steps of a BIND, from its listener to its peer.

use super::Connection;
use super::bind_listener::BindListener;
use super::failure::{cause, reason_of_listen};
use super::target::TargetSide;
use super::tunnel::Tunnel;
use crate::address::unspecified;
use crate::context::Context;
use crate::net::{Net, lacks_resources};
use crate::reason::CloseReason;
use crate::relay::Endpoint;
use crate::session::{Action, ListenFor, State};
use crate::time::Millis;
use log::debug;
use std::io::{self, ErrorKind};
use std::mem::take;
use std::net::{IpAddr, SocketAddr};

impl<N: Net> Connection<N> {
    /// Listens for the peer of a BIND at the local address that routes to it. For any peer, see
    /// [`Connection::listen_everywhere`].
    pub(super) fn listen(&mut self, listen_for: ListenFor, cx: &mut Context<N>) -> Action {
        let ListenFor::Peer(peer) = listen_for else {
            self.needs_primary = true;
            return Action::Wait;
        };
        let own = match cx.settings.outbound.facing(peer) {
            Some(outbound) => Ok(outbound),
            None => cx.net.source_addr_for(peer),
        };
        let action = own.and_then(|own| self.listen_at(own, own, cx));
        action.unwrap_or_else(|error| self.reject_bind(&error, cx))
    }

    /// Whether [`Connection::listen_everywhere`] has to be called. Clears the flag.
    pub fn take_needs_primary(&mut self) -> bool {
        // The client may have left since.
        take(&mut self.needs_primary) && matches!(self.session.state(), State::AwaitingBind(_))
    }

    /// The local address of the connection to the target, once there is one.
    pub fn target_addr(&self, net: &N) -> Option<IpAddr> {
        match &self.target {
            TargetSide::Tunnel(tunnel) => Some(net.local_addr(tunnel.stream()).ok()?.ip()),
            _ => None,
        }
    }

    /// Listens for the peer of a BIND at --outbound, or else at every address. The advertised
    /// address is `primary`, the source of the client's latest CONNECT: an FTP server, for one,
    /// knows that address. Without such a connection it is the address that the client itself
    /// connected to. Its family is the one listened in.
    pub fn listen_everywhere(&mut self, primary: Option<IpAddr>, cx: &mut Context<N>) {
        let advertised = match primary {
            Some(primary) => Ok(primary),
            None => cx.net.local_addr(&self.client.stream).map(|local| local.ip()),
        };
        let action = advertised.and_then(|own| match cx.settings.outbound.facing(own) {
            Some(outbound) => self.listen_at(outbound, outbound, cx),
            None => self.listen_at(unspecified(own), own, cx),
        });
        let action = action.unwrap_or_else(|error| self.reject_bind(&error, cx));
        self.follow(action, cx);
    }

    fn listen_at(
        &mut self,
        at: IpAddr,
        advertised: IpAddr,
        cx: &mut Context<N>,
    ) -> io::Result<Action> {
        let listener = BindListener::start(at, self.target_token(), cx)?;
        // A real address, loopback included: some clients pass it on as it is.
        let advertised = cx.settings.bind_address.facing(advertised).unwrap_or(advertised);
        let port = listener.port();
        self.set_target(TargetSide::Listener(listener), cx);
        Ok(self.session.handle_listening((at, port).into(), (advertised, port).into()))
    }

    fn reject_bind(&mut self, error: &io::Error, cx: &mut Context<N>) -> Action {
        debug!("id={} listening for a peer: {error}", self.session.id);
        cx.note_shortage(error);
        self.session.reject(cause(reason_of_listen(error), error), cx.now)
    }

    /// The peer has connected: the listener is closed.
    pub(super) fn handle_peer(
        &mut self,
        stream: Endpoint<N::Stream>,
        peer: SocketAddr,
        cx: &mut Context<N>,
    ) -> Action {
        self.set_target(TargetSide::Tunnel(Tunnel::new(stream, cx.now)), cx);
        self.session.handle_peer(peer, &cx.env())
    }

    pub(super) fn handle_accept_error(&mut self, error: &io::Error, now: Millis) -> Action {
        if lacks_resources(error) {
            return self.session.reject(cause(CloseReason::NoResources, error), now);
        }
        if error.kind() != ErrorKind::WouldBlock {
            // That connection is gone. Another may come, but not in this turn.
            debug!("id={} accepting the peer: {error}", self.session.id);
            self.has_more = true;
        }
        Action::Wait
    }
}
