//! The listener of a BIND.

use crate::context::Context;
use crate::net::Net;
use crate::relay::Endpoint;
use crate::token::Token;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};

/// One peer is accepted; the kernel need not queue others.
const BACKLOG: i32 = 1;

/// A listener that is waiting for one peer.
pub struct BindListener<N: Net> {
    pub(super) socket: N::Listener,
    pub(super) port: u16,
    /// The number of its [`Token`].
    pub(super) token: u32,
    /// A peer may have connected.
    pub(super) ready: bool,
}

impl<N: Net> BindListener<N> {
    /// Listens on a free port of --bind-ports, or on one that the kernel chooses.
    pub fn start(at: IpAddr, token: Token, cx: &mut Context<N>) -> io::Result<BindListener<N>> {
        let net = &mut cx.net;
        let (socket, port) = cx.bind_ports.lend(|port| {
            let socket = net.listen(SocketAddr::new(at, port), BACKLOG, token.number())?;
            let port = net.listener_addr(&socket)?.port();
            Ok((socket, port))
        })?;
        Ok(BindListener { socket, port, token: token.number() as u32, ready: false })
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Handles an event.
    pub fn set_ready(&mut self) {
        self.ready = true;
    }

    /// Accepts the peer, if it has connected. `WouldBlock` means that it has not.
    pub fn accept(&mut self, cx: &mut Context<N>) -> io::Result<(Endpoint<N::Stream>, SocketAddr)> {
        if !self.ready {
            return Err(ErrorKind::WouldBlock.into());
        }
        // The listener is still open, so for a moment this is a third descriptor.
        let accepted = cx.spare.lend(&mut cx.net, |net| net.accept(&self.socket));
        if matches!(&accepted, Err(error) if error.kind() == ErrorKind::WouldBlock) {
            self.ready = false;
        }
        let (mut stream, peer) = accepted?;
        cx.net.register(&mut stream, self.token as usize)?;
        let mut endpoint = Endpoint::accepted(stream, Token::of(self.token as usize));
        // It is not read before an event: that tells whether its first byte is urgent, which one
        // that arrives just before a read could not.
        (endpoint.readable, endpoint.read_since_event) = (false, false);
        Ok((endpoint, peer))
    }
}
