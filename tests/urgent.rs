//! Urgent data: part of the stream, never lost or late, and urgent at the other end.

#![cfg(feature = "server")]

mod common;

use common::traffic::{self, End};
use common::{MODES, PERMIT_ALL, Proxy, accept, listener, read_reply, request};
use rustix::net::SendFlags;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpStream};
use std::thread;

const MIB: usize = 1 << 20;
/// Not a byte of the pattern around it.
const URGENT: u8 = b'!';

/// Runs `test` in every mode and in both directions, with the sender and the reader.
fn in_every_mode_and_direction(test: impl Fn(TcpStream, TcpStream)) {
    for mode in MODES {
        let mut proxy = Proxy::start(PERMIT_ALL, mode);
        for upwards in [true, false] {
            let (listener, target) = listener();
            let client = proxy.connect(target);
            let target = accept(&listener);
            if upwards { test(client, target) } else { test(target, client) }
        }
        proxy.wait_idle();
    }
}

#[test]
fn an_urgent_byte_in_a_bulk_flow_arrives_as_urgent_and_nothing_is_lost() {
    in_every_mode_and_direction(|sender, reader| {
        thread::scope(|scope| {
            scope.spawn(|| {
                traffic::send(&sender, 0, 8 * MIB);
                traffic::send_urgent(&sender, URGENT);
                traffic::send(&sender, 8 * MIB, 16 * MIB);
                sender.shutdown(Shutdown::Write).unwrap();
            });
            let received = traffic::receive_with_urgent(&reader);
            assert_eq!(received, (vec![URGENT], 16 * MIB, End::Fin));
        });
        reader.shutdown(Shutdown::Write).unwrap();
        assert_eq!((&sender).read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn an_urgent_byte_with_a_fin_right_after_it_arrives() {
    in_every_mode_and_direction(|sender, reader| {
        thread::scope(|scope| {
            scope.spawn(|| {
                traffic::send(&sender, 0, 2 * MIB);
                traffic::send_urgent(&sender, URGENT);
                sender.shutdown(Shutdown::Write).unwrap();
            });
            let received = traffic::receive_with_urgent(&reader);
            assert_eq!(received, (vec![URGENT], 2 * MIB, End::Fin));
        });
        drop(reader);
    });
}

/// It may arrive while the proxy is reading the bytes before it: no event has reported it then.
#[test]
fn an_urgent_byte_right_after_a_full_buffer_arrives_as_urgent() {
    const BUFFER_BYTES: usize = 1024;
    for mode in MODES {
        let flags = [*mode, &["--buffer-size", "1024"]].concat();
        let proxy = Proxy::start(PERMIT_ALL, &flags);
        for buffers in 1..=100 {
            let (listener, target) = listener();
            let sender = proxy.connect(target);
            let reader = accept(&listener);
            let total = buffers * BUFFER_BYTES;
            thread::scope(|scope| {
                scope.spawn(|| {
                    traffic::send(&sender, 0, total);
                    traffic::send_urgent(&sender, URGENT);
                    sender.shutdown(Shutdown::Write).unwrap();
                });
                let received = traffic::receive_with_urgent(&reader);
                assert_eq!(received, (vec![URGENT], total, End::Fin), "{mode:?}");
            });
        }
    }
}

/// FTP's ABOR as clients send it: IAC IP IAC, the last of them urgent, then DM and the command.
#[test]
fn an_ftp_abort_arrives_at_once() {
    const TIMES: usize = 50;
    in_every_mode_and_direction(|mut sender, mut reader| {
        for _ in 0..TIMES {
            let interrupt = [0xff, 0xf4, 0xff];
            assert_eq!(rustix::net::send(&sender, &interrupt, SendFlags::OOB), Ok(3));
            sender.write_all(b"\xf2ABOR\r\n").unwrap();
            // The urgent byte is not in the stream of this reader.
            let mut rest = [0; 9];
            reader.read_exact(&mut rest).unwrap();
            assert_eq!(&rest, b"\xff\xf4\xf2ABOR\r\n");
        }
    });
}

#[test]
fn an_urgent_byte_right_after_the_request_reaches_the_target() {
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let (listener, target) = listener();
    let mut client = proxy.dial();
    client.write_all(&request(1, target, b"bob")).unwrap();
    traffic::send_urgent(&client, URGENT);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_reply(&mut client).0, 90);
    let target = accept(&listener);
    assert_eq!(traffic::receive_with_urgent(&target), (vec![URGENT], 0, End::Fin));
}

/// The proxy may read it as soon as it has accepted the peer, before any event.
#[test]
fn an_urgent_byte_that_is_the_first_of_a_bind_peer_arrives_as_urgent() {
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    for _ in 0..50 {
        let mut client = proxy.dial();
        client.write_all(&request(2, SocketAddrV4::new(Ipv4Addr::LOCALHOST, 21), b"bob")).unwrap();
        let peer = TcpStream::connect(read_reply(&mut client).1).unwrap();
        traffic::send_urgent(&peer, URGENT);
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_reply(&mut client).0, 90);
        assert_eq!(traffic::receive_with_urgent(&client), (vec![URGENT], 0, End::Fin));
    }
}

#[test]
fn none_of_many_urgent_bytes_is_lost() {
    const TIMES: usize = 1000;
    in_every_mode_and_direction(|mut sender, mut reader| {
        socket2::SockRef::from(&reader).set_out_of_band_inline(true).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..TIMES {
                    sender.write_all(b"abc").unwrap();
                    traffic::send_urgent(&sender, URGENT);
                }
                sender.shutdown(Shutdown::Write).unwrap();
            });
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).unwrap();
            assert!(bytes == b"abc!".repeat(TIMES), "{} bytes", bytes.len());
        });
        drop(reader);
        assert_eq!(sender.read(&mut [0]).unwrap(), 0);
    });
}
