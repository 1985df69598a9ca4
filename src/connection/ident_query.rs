//! A query to a client's identd, on the loop.

use crate::context::Context;
use crate::ident::{self, IdentResult, Ports};
use crate::net::Net;
use crate::pool::Pool;
use crate::relay::{Direction, Endpoint};
use crate::session::{Balancer, Session};
use crate::token::Token;
use std::io;
use std::net::SocketAddr;

/// A connection to an identd, the unsent part of the query and the answer so far.
pub struct IdentQuery<N: Net> {
    endpoint: Endpoint<N::Stream>,
    ports: Ports,
    query: Direction<N::Pipe>,
    answer: Direction<N::Pipe>,
}

impl<N: Net> IdentQuery<N> {
    /// Connects to the identd of the session's client, which is at the other end of `stream` unless
    /// there is a load balancer.
    pub fn start(
        stream: &N::Stream,
        session: &Session,
        token: Token,
        cx: &mut Context<N>,
    ) -> io::Result<IdentQuery<N>> {
        let client = session.client;
        // RFC 1413: from the same address that the client connected to.
        let (ours, identd, source) = match session.balancer() {
            None => {
                let local = cx.net.local_addr(stream)?;
                // A link-local client is on the link of its connection.
                let mut identd = local;
                identd.set_ip(client.ip);
                identd.set_port(ident::PORT);
                (local.port(), identd, Some(local.ip()))
            }
            Some(Balancer { destination, .. }) => {
                // That is the balancer's, unless it is on this host.
                let is_usable = destination.ip.is_ipv6() == client.ip.is_ipv6()
                    && cx.net.is_local(destination.ip).unwrap_or(false);
                let identd = SocketAddr::new(client.ip, ident::PORT);
                (destination.port, identd, is_usable.then_some(destination.ip))
            }
        };
        let ports = Ports { client: client.port, ours };
        let stream = cx.net.connect(identd, source, token.number())?;
        let mut query = Direction::default();
        query.push(&mut cx.pool, ports.query().as_bytes());
        let endpoint = Endpoint::connecting(stream, token);
        Ok(IdentQuery { endpoint, ports, query, answer: Direction::default() })
    }

    /// The connection to the identd.
    pub fn endpoint(&mut self) -> &mut Endpoint<N::Stream> {
        &mut self.endpoint
    }

    /// Sends and reads what it can; returns the result, once there is one.
    pub fn step(&mut self, cx: &mut Context<N>) -> Option<IdentResult> {
        let IdentQuery { endpoint, ports, query, answer } = self;
        query.flush(&mut cx.net, endpoint, &mut cx.pool);
        while endpoint.readable && !endpoint.failed && !answer.has_ended() {
            answer.fill(&mut cx.net, endpoint, &mut cx.pool, Pool::lend_small);
            if IdentResult::parse(answer.held(), *ports).is_some() {
                break;
            }
        }
        let ended = endpoint.failed || answer.has_ended();
        IdentResult::parse(answer.held(), *ports).or(ended.then_some(IdentResult::Missing))
    }

    /// Gives back what it holds.
    pub fn discard(&mut self, pool: &mut Pool<N::Pipe>) {
        self.query.discard(pool);
        self.answer.discard(pool);
    }
}
