//! Counters: one per close reason, one per limit, and a few more. Those of open sessions follow each change, so
//! that to show them costs no walk over all sessions.

use crate::cbor::{decode_counters, encode_counters};
use crate::limit::Limit;
use crate::reason::CloseReason;
use crate::session::StateKind;
use crate::wire::{Command, Protocol};
use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};

/// What is counted of a session while it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its state.
    pub state: StateKind,
    /// Protocol and command of its request, once that is read.
    pub request: Option<(Protocol, Command)>,
    /// Bytes delivered to the target.
    pub up_bytes: u64,
    /// Bytes delivered to the client.
    pub down_bytes: u64,
}

/// The counters since the start.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Stats {
    /// Sessions opened.
    #[n(0)]
    pub opened: u64,
    /// Sessions closed, by reason.
    #[cbor(n(1), with = "self::closed")]
    closed: [u64; CloseReason::ALL.len()],
    /// Open sessions, by state. The last is of those that have ended and are about to be freed.
    #[cbor(skip)]
    states: [usize; StateKind::OPEN.len() + 1],
    /// Requests read, by protocol and command.
    #[cbor(n(5), default)]
    requests: [[u64; COMMANDS.len()]; PROTOCOLS.len()],
    /// Bytes relayed from clients to targets, those of open sessions included.
    #[n(2)]
    pub up_bytes: u64,
    /// Bytes relayed from targets to clients, those of open sessions included.
    #[n(3)]
    pub down_bytes: u64,
    /// Connections reset without a session, because their source was at twice its limit.
    #[cbor(n(4), default)]
    pub shed: u64,
    /// How often each limit was reached.
    #[cbor(n(6), default, with = "self::reached")]
    reached: [u64; Limit::ALL.len()],
    /// How often the state of a session has changed.
    #[cbor(n(7), default)]
    pub changes: u64,
    /// Deadlines of sessions that have come.
    #[cbor(n(8), default)]
    pub deadlines: u64,
    /// Turns of the loop.
    #[cbor(n(9), default)]
    pub turns: u64,
    /// Events that the kernel reported.
    #[cbor(n(10), default)]
    pub events: u64,
    /// Turns that did not wait, and in which nothing happened.
    #[cbor(n(11), default)]
    pub idle_turns: u64,
}

/// The protocols of requests, in the order of their counters.
pub const PROTOCOLS: [Protocol; 3] = [Protocol::Socks4, Protocol::Socks4a, Protocol::Socks5];
/// The commands of requests, in the order of their counters.
pub const COMMANDS: [Command; 2] = [Command::Connect, Command::Bind];

impl Default for Stats {
    fn default() -> Stats {
        Stats {
            opened: 0,
            closed: [0; CloseReason::ALL.len()],
            states: [0; StateKind::OPEN.len() + 1],
            requests: [[0; COMMANDS.len()]; PROTOCOLS.len()],
            up_bytes: 0,
            down_bytes: 0,
            shed: 0,
            reached: [0; Limit::ALL.len()],
            changes: 0,
            deadlines: 0,
            turns: 0,
            events: 0,
            idle_turns: 0,
        }
    }
}

impl Stats {
    /// Counts a new session in its first state.
    pub fn count_opened(&mut self, standing: Standing) {
        self.opened += 1;
        self.states[standing.state as usize] += 1;
    }

    /// Counts a session that was handed over, in the state that it is in.
    pub fn count_resumed(&mut self, standing: Standing) {
        self.states[standing.state as usize] += 1;
    }

    /// Counts what has become of an open session.
    pub fn count_change(&mut self, before: Standing, after: Standing) {
        self.up_bytes += after.up_bytes - before.up_bytes;
        self.down_bytes += after.down_bytes - before.down_bytes;
        if before.state != after.state {
            self.changes += 1;
            self.states[before.state as usize] -= 1;
            self.states[after.state as usize] += 1;
        }
        if let (None, Some((protocol, command))) = (before.request, after.request) {
            self.requests[protocol as usize][command as usize] += 1;
        }
    }

    /// Counts one closed session.
    pub fn count_closed(&mut self, reason: CloseReason) {
        self.closed[reason as usize] += 1;
        self.states[StateKind::Closed as usize] -= 1;
    }

    /// Sessions in a state.
    pub fn in_state(&self, state: StateKind) -> usize {
        self.states[state as usize]
    }

    /// Requests read of a protocol and a command.
    pub fn requests(&self, protocol: Protocol, command: Command) -> u64 {
        self.requests[protocol as usize][command as usize]
    }

    /// Counts that a limit was reached so many times.
    pub fn count_reached(&mut self, limit: Limit, times: u64) {
        self.reached[limit as usize] += times;
    }

    /// How often a limit was reached; [`Limit`] says of each what is counted.
    pub fn reached(&self, limit: Limit) -> u64 {
        self.reached[limit as usize]
    }

    /// Sessions closed for `reason`.
    pub fn closed(&self, reason: CloseReason) -> u64 {
        self.closed[reason as usize]
    }

    /// Sessions closed for any reason.
    pub fn closed_total(&self) -> u64 {
        self.closed.iter().sum()
    }
}

/// The counters of reasons, as a map by word of those that are not 0.
mod closed {
    use super::*;

    type Counters = [u64; CloseReason::ALL.len()];

    pub fn encode<C, W: Write>(
        counters: &Counters,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        encode_counters(CloseReason::ALL.iter().map(|reason| reason.word()), counters, encoder)
    }

    pub fn decode<C>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<Counters, decode::Error> {
        decode_counters(CloseReason::ALL.iter().map(|reason| reason.word()), decoder)
    }
}

/// The same of limits.
mod reached {
    use super::*;

    type Counters = [u64; Limit::ALL.len()];

    pub fn encode<C, W: Write>(
        counters: &Counters,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        encode_counters(Limit::ALL.iter().map(|limit| limit.word()), counters, encoder)
    }

    pub fn decode<C>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<Counters, decode::Error> {
        decode_counters(Limit::ALL.iter().map(|limit| limit.word()), decoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_follow_the_order_of_what_they_count() {
        assert!(StateKind::OPEN.iter().enumerate().all(|(index, &kind)| kind as usize == index));
        assert_eq!(StateKind::Closed as usize, StateKind::OPEN.len());
        assert!(PROTOCOLS.iter().enumerate().all(|(index, &one)| one as usize == index));
        assert!(COMMANDS.iter().enumerate().all(|(index, &one)| one as usize == index));
    }

    #[test]
    fn bytes_and_states_of_open_sessions_are_counted_as_they_change() {
        let mut stats = Stats::default();
        let reading = Standing {
            state: StateKind::ReadingRequest,
            request: None,
            up_bytes: 0,
            down_bytes: 0,
        };
        let request = Some((Protocol::Socks5, Command::Bind));
        let relaying =
            Standing { state: StateKind::Relaying, request, up_bytes: 3, down_bytes: 50 };
        stats.count_opened(reading);
        assert_eq!(stats.in_state(StateKind::ReadingRequest), 1);
        stats.count_change(reading, relaying);
        stats.count_change(relaying, Standing { down_bytes: 70, ..relaying });
        assert_eq!((stats.up_bytes, stats.down_bytes, stats.changes), (3, 70, 1));
        assert_eq!(stats.requests(Protocol::Socks5, Command::Bind), 1);
        assert_eq!(stats.in_state(StateKind::Relaying), 1);
        stats.count_change(relaying, Standing { state: StateKind::Closed, ..relaying });
        stats.count_closed(CloseReason::Done);
        assert!(StateKind::OPEN.iter().all(|&kind| stats.in_state(kind) == 0));
    }
}
