//! A connection as an upgrade hands it over.

use super::Connection;
use super::attempts::{Attempt, AttemptSockets};
use super::bind_listener::BindListener;
use super::target::TargetSide;
use super::tunnel::{InFlightCount, PendingReset, Tunnel, Waiting};
use crate::context::Context;
use crate::handover::{
    AttemptRecord, ConnectionRecord, ListenerRecord, TargetRecord, TunnelRecord, WaitingRecord,
};
use crate::net::{GivenList, HandOver, LentList};
use crate::reason::CloseReason;
use crate::relay::{Direction, Endpoint, Relay};
use crate::session::Action;
use crate::token::{CLIENT, TARGET, Token};
use log::warn;
use std::io;
use std::net::IpAddr;

impl<N: HandOver> Connection<N> {
    /// Its record with the bytes in transit; its descriptors are added to those that are lent.
    pub fn export<'a>(&'a self, lent: &mut LentList<'a, N>) -> ConnectionRecord<'a> {
        ConnectionRecord {
            session: self.session.clone(),
            client: self.client.export(lent),
            target: self.target.export(lent),
            up: self.relay.up.export(lent),
            down: self.relay.down.export(lent),
            left_after_ms: self.left_after_ms,
        }
    }

    /// Takes it over into a slot. When the kernel lacks the memory for that, the session ends, and
    /// its connections are reset.
    pub fn import(
        record: ConnectionRecord<'_>,
        slot: usize,
        given: &mut GivenList<N>,
        cx: &mut Context<N>,
    ) -> Connection<N> {
        let ConnectionRecord { session, client, target, up, down, left_after_ms } = record;
        let token = Token::Connection { slot, place: CLIENT };
        let client = Endpoint::import(&client, token, given, &mut cx.net);
        let up = Direction::import(&up, given, &mut cx.net, &mut cx.pool);
        let down = Direction::import(&down, given, &mut cx.net, &mut cx.pool);
        let mut connection = Connection {
            slot: slot as u32,
            session,
            client,
            target: TargetSide::None,
            relay: Relay { up, down },
            left_after_ms,
            is_queued: false,
            has_more: false,
            needs_primary: false,
            needs_admission: false,
        };
        let source = connection.source();
        connection.target = TargetSide::import(target, slot, source, given, cx);
        if let Some(error) = given.take_error() {
            let Connection { session, .. } = &mut connection;
            warn!("id={} taking over its sockets: {error}", session.id);
            if session.state().closed().is_none() {
                session.close(CloseReason::Stopped, cx.now);
            }
        }
        connection
    }

    /// Begins again what was not handed over: looking up a name, and asking identd. All others run
    /// in the first turn.
    pub fn resume(&mut self, cx: &mut Context<N>) {
        let action = self.session.resumed();
        if action != Action::Wait {
            self.follow(action, cx);
        }
    }
}

impl<N: HandOver> TargetSide<N> {
    fn export<'a>(&'a self, lent: &mut LentList<'a, N>) -> Option<TargetRecord> {
        match self {
            TargetSide::None | TargetSide::Identd(_) => None,
            TargetSide::Reserve(_) => Some(TargetRecord::Reserve),
            TargetSide::Attempts(attempts) => Some(TargetRecord::Attempts(attempts.export(lent))),
            TargetSide::Listener(listener) => Some(TargetRecord::Listener(listener.export(lent))),
            TargetSide::Tunnel(tunnel) => Some(TargetRecord::Tunnel(tunnel.export(lent))),
        }
    }

    fn import(
        record: Option<TargetRecord>,
        slot: usize,
        source: IpAddr,
        given: &mut GivenList<N>,
        cx: &mut Context<N>,
    ) -> TargetSide<N> {
        let token = Token::Connection { slot, place: TARGET };
        match record {
            None => TargetSide::None,
            Some(TargetRecord::Reserve) => match cx.net.reserve() {
                Ok(reserve) => TargetSide::Reserve(reserve),
                Err(error) => {
                    cx.note_shortage(&error);
                    TargetSide::None
                }
            },
            Some(TargetRecord::Attempts(attempts)) => {
                TargetSide::Attempts(AttemptSockets::import(&attempts, slot, source, given, cx))
            }
            Some(TargetRecord::Listener(listener)) => {
                match BindListener::import(&listener, token, given, cx) {
                    Ok(listener) => TargetSide::Listener(listener),
                    Err(error) => {
                        given.note(Err(error));
                        TargetSide::None
                    }
                }
            }
            Some(TargetRecord::Tunnel(tunnel)) => {
                TargetSide::Tunnel(Tunnel::import(&tunnel, token, given, &mut cx.net))
            }
        }
    }
}

impl<N: HandOver> AttemptSockets<N> {
    /// Their records; their descriptors are added to those that are lent.
    pub fn export<'a>(&'a self, lent: &mut LentList<'a, N>) -> Vec<AttemptRecord> {
        let record = |attempt: &'a Attempt<N>| {
            let endpoint = attempt.endpoint.export(lent);
            AttemptRecord { number: attempt.number, endpoint }
        };
        self.0.iter().map(record).collect()
    }

    /// Takes them over for a client of this source.
    pub fn import(
        records: &[AttemptRecord],
        slot: usize,
        source: IpAddr,
        given: &mut GivenList<N>,
        cx: &mut Context<N>,
    ) -> AttemptSockets<N> {
        let mut attempts = AttemptSockets::default();
        for AttemptRecord { number, endpoint } in records {
            let token = Token::Connection { slot, place: TARGET + usize::from(*number) };
            let endpoint = Endpoint::import(endpoint, token, given, &mut cx.net);
            let attempt = Attempt { number: *number, endpoint };
            attempts.change(source, cx, |attempts| attempts.push(attempt));
        }
        attempts
    }
}

impl<N: HandOver> BindListener<N> {
    /// Its record; its descriptor is added to those that are lent.
    pub fn export<'a>(&'a self, lent: &mut LentList<'a, N>) -> ListenerRecord {
        let descriptor = lent.listener(&self.socket);
        ListenerRecord { descriptor, port: self.port, is_ready: self.ready }
    }

    /// Takes it over.
    pub fn import(
        record: &ListenerRecord,
        token: Token,
        given: &mut GivenList<N>,
        cx: &mut Context<N>,
    ) -> io::Result<BindListener<N>> {
        let ListenerRecord { descriptor, port, is_ready: ready } = *record;
        let socket = cx.net.adopt_listener(given.take(descriptor), token.number())?;
        cx.bind_ports.adopt(port);
        Ok(BindListener { socket, port, token: token.number() as u32, ready })
    }
}

impl<N: HandOver> Tunnel<N> {
    /// Its record; the target's descriptor is added to those that are lent.
    pub fn export<'a>(&'a self, lent: &mut LentList<'a, N>) -> TunnelRecord {
        TunnelRecord {
            endpoint: self.target.export(lent),
            active_at: self.active_at,
            has_keepalive: self.has_keepalive,
            waiting: self.waiting.as_deref().map(Waiting::export),
        }
    }

    /// Takes it over.
    pub fn import(
        record: &TunnelRecord,
        token: Token,
        given: &mut GivenList<N>,
        net: &mut N,
    ) -> Tunnel<N> {
        Tunnel {
            target: Endpoint::import(&record.endpoint, token, given, net),
            active_at: record.active_at,
            has_keepalive: record.has_keepalive,
            waiting: record.waiting.as_ref().map(|waiting| Box::new(Waiting::import(waiting))),
        }
    }
}

impl Waiting {
    fn export(&self) -> WaitingRecord {
        match self {
            Waiting::Reset(pending) => WaitingRecord::Reset {
                reason: pending.reason,
                started: pending.started,
                polled: pending.polled,
                unacknowledged: pending.unacknowledged as u64,
                changed: pending.changed,
            },
            Waiting::Readers(last) => WaitingRecord::Readers {
                unacknowledged: last.unacknowledged as u64,
                delivered: last.delivered,
                since: last.since,
            },
        }
    }

    fn import(record: &WaitingRecord) -> Waiting {
        match *record {
            WaitingRecord::Reset { reason, started, polled, unacknowledged, changed } => {
                let unacknowledged = unacknowledged.try_into().unwrap_or(usize::MAX);
                Waiting::Reset(PendingReset { reason, started, polled, unacknowledged, changed })
            }
            WaitingRecord::Readers { unacknowledged, delivered, since } => {
                let unacknowledged = unacknowledged.try_into().unwrap_or(usize::MAX);
                Waiting::Readers(InFlightCount { unacknowledged, delivered, since })
            }
        }
    }
}
