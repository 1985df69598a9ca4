//! A client may be reset at any point of the protocol; nothing of its session may be left.

#![cfg(feature = "server")]

mod common;

use common::traffic::{self, full_listener};
use common::{PERMIT_ALL, Proxy, accept, dial_from, listener, read_reply, request, reset};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddrV4, TcpListener, TcpStream};

const TIMES: usize = 30;

/// The points of the protocol at which a client may be, in order.
#[derive(Clone, Copy, Debug)]
enum Point {
    Accepted,
    WithinTheRequest,
    Connecting,
    Granted,
    BytesAfterTheRequest,
    Uploading,
    Downloading,
    HalfClosed,
    Refused,
    AwaitingBind,
    BindRelaying,
}

const POINTS: [Point; 11] = [
    Point::Accepted,
    Point::WithinTheRequest,
    Point::Connecting,
    Point::Granted,
    Point::BytesAfterTheRequest,
    Point::Uploading,
    Point::Downloading,
    Point::HalfClosed,
    Point::Refused,
    Point::AwaitingBind,
    Point::BindRelaying,
];

/// The targets of the sessions.
struct Targets {
    open: TcpListener,
    at: SocketAddrV4,
    full_at: SocketAddrV4,
}

/// Brings a client to a point of the protocol; returns its connection and its peer's, if any.
fn reach(point: Point, proxy: &Proxy, targets: &Targets) -> (TcpStream, Option<TcpStream>) {
    let mut client = proxy.dial();
    let mut ask = |bytes: &[u8]| client.write_all(bytes).unwrap();
    let early = [&request(1, targets.at, b"")[..], b"early"].concat();
    match point {
        Point::Accepted => return (client, None),
        Point::WithinTheRequest => ask(&early[..5]),
        Point::Connecting => ask(&request(1, targets.full_at, b"")),
        Point::Refused => ask(&[&request(1, "0.0.0.0:1".parse().unwrap(), b"")[..], b"x"].concat()),
        Point::BytesAfterTheRequest => ask(&early),
        Point::AwaitingBind | Point::BindRelaying => {
            ask(&request(2, "127.0.0.1:0".parse().unwrap(), b""));
        }
        _ => ask(&request(1, targets.at, b"")),
    }
    match point {
        Point::WithinTheRequest | Point::Connecting | Point::Refused => (client, None),
        Point::AwaitingBind => {
            assert_eq!(read_reply(&mut client).0, 90);
            (client, None)
        }
        Point::BindRelaying => {
            let advertised = read_reply(&mut client).1;
            let peer = dial_from(*advertised.ip(), advertised);
            (client, Some(peer))
        }
        Point::BytesAfterTheRequest => (client, Some(accept(&targets.open))),
        _ => {
            assert_eq!(read_reply(&mut client).0, 90);
            let target = accept(&targets.open);
            match point {
                Point::Uploading => traffic::send(&client, 0, 100_000),
                Point::Downloading => traffic::send(&target, 0, 100_000),
                Point::HalfClosed => client.shutdown(Shutdown::Write).unwrap(),
                _ => {}
            }
            (client, Some(target))
        }
    }
}

#[test]
fn a_client_reset_at_any_point_leaves_nothing_behind() {
    let mut proxy = Proxy::start(PERMIT_ALL, &[]);
    let (open, at) = listener();
    let (_full, full_at, _filler) = full_listener();
    let targets = Targets { open, at, full_at };
    for point in POINTS {
        for _ in 0..TIMES {
            let (client, peer) = reach(point, &proxy, &targets);
            reset(client);
            // Its peer's connection ends as well, with a FIN or a reset.
            if let Some(mut peer) = peer {
                let _ = peer.read_to_end(&mut Vec::new());
            }
        }
        proxy.wait_idle();
    }
    assert_eq!(proxy.wait_logs(" access] id=", POINTS.len() * TIMES).len(), POINTS.len() * TIMES);
    proxy.connect(at);
}
