//! The delivery of a rejection.

use crate::context::Context;
use crate::net::Net;
use crate::pool::Pool;
use crate::relay::{Endpoint, Relay};

/// Most reads of what a rejected client still sends, per turn.
const DISCARDS_PER_TURN: u32 = 8;

/// The progress of a rejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The reply is not sent yet, or the client has not closed yet.
    Wait,
    /// The client has sent more than is read in one turn.
    More,
    /// The client has closed, or is gone.
    Done,
}

/// Delivers the reply and a FIN, then waits for the client to close: closing with unread bytes
/// would reset the connection, which could discard the reply.
pub fn deliver<N: Net>(
    relay: &mut Relay<N::Pipe>,
    client: &mut Endpoint<N::Stream>,
    cx: &mut Context<N>,
) -> Delivery {
    relay.down.flush(&mut cx.net, client, &mut cx.pool);
    if client.is_gone() {
        return Delivery::Done;
    }
    if !relay.down.is_empty() {
        return Delivery::Wait;
    }
    if !relay.down.shutdown_after_reply(&mut cx.net, client) || relay.up.has_ended() {
        return Delivery::Done;
    }
    for _ in 0..DISCARDS_PER_TURN {
        if !client.readable {
            return Delivery::Wait;
        }
        relay.up.fill(&mut cx.net, client, &mut cx.pool, Pool::lend_small);
        relay.up.discard(&mut cx.pool);
        if client.failed || relay.up.has_ended() {
            return Delivery::Done;
        }
    }
    Delivery::More
}
