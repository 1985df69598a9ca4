//! Endpoints and directions as an upgrade hands them over.

use super::direction::{Direction, InFlight, SourceState};
use super::endpoint::Endpoint;
use crate::handover::{DirectionRecord, EndpointRecord, PipeRecord, SourceRecord};
use crate::net::{GivenList, HandOver, LentList};
use crate::pool::Pool;
use crate::token::Token;
use std::io::ErrorKind;

impl<S> Endpoint<S> {
    /// Its record; the descriptor is added to those that are lent.
    pub fn export<'a, N: HandOver<Stream = S>>(
        &'a self,
        lent: &mut LentList<'a, N>,
    ) -> EndpointRecord {
        EndpointRecord {
            descriptor: lent.stream(&self.stream),
            readable: self.readable,
            writable: self.writable,
            read_closed: self.read_closed,
            urgent: self.urgent,
            read_since_event: self.read_since_event,
            failed: self.failed,
            lost: self.lost,
            may_delay: self.may_delay,
            failure_reported: self.failure_reported,
            error: self.error,
        }
    }

    /// Takes it over. Readiness that has been reported is in the record, for what the kernel says
    /// once is not said again; what has changed since is reported anew.
    pub fn import<N: HandOver<Stream = S>>(
        record: &EndpointRecord,
        token: Token,
        given: &mut GivenList<N>,
        net: &mut N,
    ) -> Endpoint<S> {
        // One that has room need not be told of it.
        let awaits_room = !record.writable;
        let stream = given.stream(record.descriptor, token.number(), awaits_room, net);
        let mut endpoint = Endpoint { awaits_room, ..Endpoint::connecting(stream, token) };
        endpoint.readable = record.readable;
        endpoint.writable = record.writable;
        endpoint.read_closed = record.read_closed;
        endpoint.urgent = record.urgent;
        endpoint.read_since_event = record.read_since_event;
        endpoint.failed = record.failed;
        endpoint.lost = record.lost;
        endpoint.error = record.error;
        endpoint.may_delay = record.may_delay;
        endpoint.failure_reported = record.failure_reported;
        endpoint
    }
}

impl<P> Direction<P> {
    /// Its record with the bytes that it holds; the descriptors of a pipe are added to those that
    /// are lent.
    pub fn export<'a, N: HandOver<Pipe = P>>(
        &'a self,
        lent: &mut LentList<'a, N>,
    ) -> DirectionRecord<'a> {
        let pipe = match &self.held {
            InFlight::Buffer(_) => None,
            InFlight::Pipe(pipe, bytes) => {
                let (out, into) = lent.pipe(pipe);
                Some(PipeRecord { bytes: *bytes, out, into })
            }
        };
        DirectionRecord {
            held: Some(self.held()).filter(|held| !held.is_empty()).map(Into::into),
            pipe,
            source: match self.source {
                SourceState::Open => SourceRecord::Open,
                SourceState::Ended => SourceRecord::Ended,
                SourceState::Cut => SourceRecord::Cut,
            },
            fin_sent: self.fin_sent,
            bulk: self.bulk,
            urgent: self.urgent,
            own_bytes: self.own_bytes,
            delivered: self.delivered,
        }
    }

    /// Takes it over. When there is no memory for its bytes, that is noted as an error.
    pub fn import<N: HandOver<Pipe = P>>(
        record: &DirectionRecord<'_>,
        given: &mut GivenList<N>,
        net: &mut N,
        pool: &mut Pool<P>,
    ) -> Direction<P> {
        let held = match (record.pipe, record.held) {
            (Some(PipeRecord { bytes, out, into }), _) => {
                let (out, into) = (given.take(out), given.take(into));
                InFlight::Pipe(pool.adopt_pipe(net.adopt_pipe(out, into)), bytes)
            }
            (None, Some(bytes)) => match pool.lend_with(bytes) {
                Some(buffer) => InFlight::Buffer(buffer),
                None => {
                    given.note(Err(ErrorKind::OutOfMemory.into()));
                    InFlight::nothing()
                }
            },
            (None, None) => InFlight::nothing(),
        };
        Direction {
            held,
            source: match record.source {
                SourceRecord::Open => SourceState::Open,
                SourceRecord::Ended => SourceState::Ended,
                SourceRecord::Cut => SourceState::Cut,
            },
            fin_sent: record.fin_sent,
            bulk: record.bulk,
            urgent: record.urgent,
            own_bytes: record.own_bytes,
            delivered: record.delivered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errno::ErrorCode;
    use crate::net::MioNet;
    use crate::pool::LARGE_BUDGET_BYTES;
    use crate::token::TARGET;
    use std::io::Error;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::OwnedFd;

    /// What is taken over is what was handed over, to the last flag.
    #[test]
    fn a_direction_is_the_same_after_it_was_handed_over() {
        let mut net = MioNet::new().unwrap();
        let mut pool = Pool::new(4096, LARGE_BUDGET_BYTES, 0);
        for source in [SourceRecord::Open, SourceRecord::Ended, SourceRecord::Cut] {
            for number in 0..8_u8 {
                let bit = |place: u8| number >> place & 1 == 1;
                let record = DirectionRecord {
                    held: bit(0).then(|| (&b"!"[..]).into()),
                    pipe: None,
                    source,
                    fin_sent: bit(1),
                    bulk: bit(2),
                    urgent: bit(0),
                    own_bytes: number,
                    delivered: number.into(),
                };
                let mut given = GivenList::<MioNet>::new(Vec::new());
                let mut direction = Direction::import(&record, &mut given, &mut net, &mut pool);
                let mut lent = LentList::<MioNet>::new(&net);
                let again = format!("{:?}", direction.export(&mut lent));
                assert_eq!(again, format!("{record:?}"));
                direction.discard(&mut pool);
            }
        }
        assert_eq!(pool.lent(), (0, 0));
    }

    #[test]
    fn a_connection_is_the_same_after_it_was_handed_over() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let token = Token::Connection { slot: 5, place: TARGET };
        for number in 0..1 << 9 {
            let bit = |place: u8| number >> place & 1 == 1;
            let record = EndpointRecord {
                descriptor: 0,
                readable: bit(0),
                writable: bit(1),
                read_closed: bit(2),
                urgent: bit(3),
                read_since_event: bit(4),
                failed: bit(5),
                lost: bit(6),
                may_delay: bit(7),
                failure_reported: bit(8),
                error: ErrorCode::of(&Error::from_raw_os_error(number)),
            };
            // Another each time, for a poll knows a socket until all its descriptors are closed.
            let mut net = MioNet::new().unwrap();
            let descriptor: OwnedFd = stream.try_clone().unwrap().into();
            let mut given = GivenList::<MioNet>::new(vec![descriptor]);
            let endpoint = Endpoint::import(&record, token, &mut given, &mut net);
            assert!(given.take_error().is_none());
            let mut lent = LentList::<MioNet>::new(&net);
            assert_eq!(endpoint.export(&mut lent), record);
        }
    }
}
