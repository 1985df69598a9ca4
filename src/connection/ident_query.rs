//! Asking a client's identd, on the loop.

use crate::context::Context;
use crate::ident::{self, Outcome, Ports};
use crate::net::Net;
use crate::pool::Pool;
use crate::relay::{Direction, Endpoint};
use crate::token::Token;
use std::io;
use std::net::{SocketAddr, SocketAddrV4};

/// A connection to an identd, the question on its way and what has come of the answer.
pub struct IdentQuery<N: Net> {
    endpoint: Endpoint<N::Stream>,
    ports: Ports,
    question: Direction<N::Pipe>,
    answer: Direction<N::Pipe>,
}

impl<N: Net> IdentQuery<N> {
    /// Connects to the identd of the client at the other end of `stream`.
    pub fn start(
        stream: &N::Stream,
        client: SocketAddrV4,
        token: Token,
        cx: &mut Context<N>,
    ) -> io::Result<IdentQuery<N>> {
        // RFC 1413: from the very address that the connection in question came to.
        let local = cx.net.local_addr(stream)?;
        let identd = SocketAddr::V4(SocketAddrV4::new(*client.ip(), ident::PORT));
        let stream = cx.net.connect(identd, Some(*local.ip()), token.number())?;
        let ports = Ports { client: client.port(), ours: local.port() };
        let mut question = Direction::default();
        question.push(&mut cx.pool, ports.question().as_bytes());
        let endpoint = Endpoint::connecting(stream, token);
        Ok(IdentQuery { endpoint, ports, question, answer: Direction::default() })
    }

    /// What is known of its connection.
    pub fn endpoint(&mut self) -> &mut Endpoint<N::Stream> {
        &mut self.endpoint
    }

    /// Goes on asking; the outcome, once there is one.
    pub fn step(&mut self, cx: &mut Context<N>) -> Option<Outcome> {
        let IdentQuery { endpoint, ports, question, answer } = self;
        question.flush(&mut cx.net, endpoint, &mut cx.pool);
        while endpoint.readable && !endpoint.reset && !answer.has_ended() {
            answer.fill(&mut cx.net, endpoint, &mut cx.pool, Pool::lend_small);
            if Outcome::read(answer.held(), *ports).is_some() {
                break;
            }
        }
        let ended = endpoint.reset || answer.has_ended();
        Outcome::read(answer.held(), *ports).or(ended.then_some(Outcome::Missing))
    }

    /// Gives back what it holds.
    pub fn discard(&mut self, pool: &mut Pool<N::Pipe>) {
        self.question.discard(pool);
        self.answer.discard(pool);
    }
}
