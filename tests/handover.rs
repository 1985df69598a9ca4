//! What an upgrade hands over, on real sockets: each loop is replaced by a new one, with its own
//! poll, at the moment that a test is about. tests/simulation does so at any moment.

#![cfg(feature = "upgrade")]

mod common;

use common::machine::two_free_ports;
use common::servers::addresses;
use common::traffic::{self, End};
use common::turns::*;
use common::*;
use socku::internals::reason::CloseReason;
use socku::internals::settings::Durations;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddrV4, TcpStream};
use std::thread;

const URGENT: u8 = b'!';
/// Enough for a flow to be sustained.
const CHUNK_BYTES: usize = 1 << 20;

fn start(shorten: fn(&mut Durations)) -> Loop {
    Loop::start(PERMIT_ALL, NOBODY, shorten)
}

fn is_not_there(mut stream: &TcpStream) -> bool {
    stream.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// Turns until a reply has come.
fn reply(proxy: &mut Loop, client: &TcpStream) -> (u8, SocketAddrV4) {
    let mut bytes = [0; 8];
    proxy.turn_until("a reply", |_| client.peek(&mut bytes).is_ok_and(|n| n == 8));
    client.set_nonblocking(false).unwrap();
    let reply = read_reply(&mut with_deadline(client.try_clone().unwrap()));
    client.set_nonblocking(true).unwrap();
    reply
}

/// A client whose relay has begun, and its target.
fn relay(proxy: &mut Loop) -> (TcpStream, TcpStream) {
    let (listener, target) = listener();
    let mut client = proxy.dial();
    client.write_all(&request(1, target, b"")).unwrap();
    assert_eq!(reply(proxy, &client).0, 90);
    let target = accept(&listener);
    target.set_nonblocking(true).unwrap();
    (client, target)
}

/// Sends until the proxy holds bytes that its reader has no room for; returns how many were sent.
fn stall(proxy: &mut Loop, sender: &TcpStream) -> usize {
    let mut sent = 0;
    sender.set_nonblocking(true).unwrap();
    proxy.turn_until("bytes to be held", |reactor| {
        // Little at a time, so that the sender still has room when the proxy has none.
        sent = traffic::send_until_blocked(sender, sent, sent + CHUNK_BYTES / 4);
        for _ in 0..20 {
            reactor.skip_wait();
            reactor.turn(None).unwrap();
        }
        reactor.lent_buffers() != (0, 0) || reactor.pipes().0 > 0
    });
    sent
}

/// Lets both ends go on in threads of their own, while the loop turns here until it is idle.
fn finish(mut proxy: Loop, ends: impl FnOnce() + Send + 'static) -> Loop {
    let ends = thread::spawn(ends);
    proxy.turn_until("the ends to finish", |_| ends.is_finished());
    ends.join().unwrap();
    proxy.turn_until("the session to end", |reactor| reactor.session_count() == 0);
    proxy
}

/// Everything that was sent before and after arrives, and the counters are exact.
fn go_on(proxy: Loop, sender: TcpStream, reader: TcpStream, sent: usize) {
    let total = sent + 3_000_000;
    let proxy = finish(proxy, move || {
        sender.set_nonblocking(false).unwrap();
        reader.set_nonblocking(false).unwrap();
        let (one, other) = (sender.try_clone().unwrap(), reader.try_clone().unwrap());
        let sending = thread::spawn(move || {
            traffic::send(&one, sent, total);
            one.shutdown(Shutdown::Write).unwrap();
        });
        assert_eq!(traffic::receive_to_end(&other, 0), (total, End::Fin));
        sending.join().unwrap();
        reader.shutdown(Shutdown::Write).unwrap();
        assert_eq!((&sender).read(&mut [0]).unwrap(), 0);
    });
    let stats = proxy.reactor.stats();
    assert_eq!((stats.opened, stats.closed(CloseReason::Done)), (1, 1));
    assert_eq!(stats.up_bytes + stats.down_bytes, total as u64);
    assert_eq!(proxy.reactor.lent_buffers(), (0, 0));
}

#[test]
fn bytes_in_a_buffer_arrive_in_both_directions() {
    for is_up in [true, false] {
        let mut proxy = start(|_| ());
        let (client, target) = relay(&mut proxy);
        let (sender, reader) = if is_up { (client, target) } else { (target, client) };
        let sent = stall(&mut proxy, &sender);
        assert_ne!(proxy.reactor.lent_buffers(), (0, 0), "no bytes are in transit");
        let proxy = proxy.upgraded().upgraded();
        assert_ne!(proxy.reactor.lent_buffers(), (0, 0), "bytes were lost");
        go_on(proxy, sender, reader, sent);
    }
}

#[test]
fn bytes_in_a_pipe_arrive_in_both_directions() {
    for is_up in [true, false] {
        for pipes_after in [4, 0] {
            let mut proxy = start(|_| ()).upgraded_with(|settings| settings.pipes_max = 4);
            let (client, target) = relay(&mut proxy);
            let (sender, reader) = if is_up { (client, target) } else { (target, client) };
            let sent = stall(&mut proxy, &sender);
            assert_eq!(proxy.reactor.pipes().0, 1, "no bytes are in a pipe");
            let proxy = proxy.upgraded_with(|settings| settings.pipes_max = pipes_after);
            assert_eq!(proxy.reactor.pipes().0, 1, "bytes were lost");
            go_on(proxy, sender, reader, sent);
        }
    }
}

#[test]
fn bytes_held_are_not_lost_when_buffers_become_smaller_or_larger() {
    for buffer_bytes in [1024, 2000, 4096, 100_000] {
        let mut proxy = start(|_| ());
        let (client, target) = relay(&mut proxy);
        let sent = stall(&mut proxy, &client);
        let proxy = proxy.upgraded_with(|settings| settings.buffer_bytes = buffer_bytes);
        go_on(proxy, client, target, sent);
    }
}

#[test]
fn an_upgrade_that_fails_changes_nothing() {
    let mut proxy = start(|_| ());
    let (client, target) = relay(&mut proxy);
    let sent = stall(&mut proxy, &client);
    for _ in 0..3 {
        assert!(!proxy.reactor.export().handover.encode().is_empty());
    }
    go_on(proxy, client, target, sent);
}

#[test]
fn a_half_closed_relay_goes_on_in_the_other_direction() {
    let mut proxy = start(|_| ());
    let (client, target) = relay(&mut proxy);
    client.shutdown(Shutdown::Write).unwrap();
    proxy.settle();
    let mut proxy = proxy.upgraded();
    proxy.settle();
    assert_eq!((&target).read(&mut [0]).unwrap(), 0, "the FIN was passed on before");
    (&target).write_all(b"last words").unwrap();
    target.shutdown(Shutdown::Write).unwrap();
    proxy.turn_until("the end", |reactor| reactor.stats().closed(CloseReason::Done) == 1);
    client.set_nonblocking(false).unwrap();
    assert_eq!(read_all(&mut { client }), b"last words");
}

#[test]
fn what_happens_while_the_program_is_replaced_is_noticed() {
    let mut proxy = start(|times| times.reset_poll_ms = 1);
    let (mut ended, ended_target) = relay(&mut proxy);
    let (_reset, reset_target) = relay(&mut proxy);
    proxy.settle();
    // No turn sees these before the upgrade.
    ended.write_all(b"late").unwrap();
    ended.shutdown(Shutdown::Write).unwrap();
    reset(reset_target);
    let waiting = proxy.dial();
    let mut proxy = proxy.upgraded();
    proxy.turn_until("the reset", |r| r.stats().closed(CloseReason::TargetReset) == 1);
    proxy.turn_until("the client", |reactor| reactor.stats().opened == 3);
    ended_target.set_nonblocking(false).unwrap();
    // The end may come some turns after the reset.
    let reader = thread::spawn(move || read_all(&mut { ended_target }));
    proxy.turn_until("the end", |_| reader.is_finished());
    assert_eq!(reader.join().unwrap(), b"late");
    drop(waiting);
}

#[test]
fn an_urgent_byte_stays_urgent_whether_it_was_noticed_before_or_not() {
    for was_noticed in [false, true] {
        let mut proxy = start(|_| ());
        let (client, target) = relay(&mut proxy);
        // The target has no room, so it is not read before the upgrade.
        let sent = stall(&mut proxy, &client);
        traffic::send_urgent(&client, URGENT);
        if was_noticed {
            proxy.settle();
        }
        let proxy = proxy.upgraded();
        finish(proxy, move || {
            target.set_nonblocking(false).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let received = traffic::receive_with_urgent(&target);
            assert_eq!(received, (vec![URGENT], sent, End::Fin), "noticed: {was_noticed}");
        });
    }
}

#[test]
fn a_request_of_which_half_was_read_is_answered() {
    let mut proxy = start(|_| ());
    let (listener, target) = listener();
    let bytes = request(1, target, b"bob");
    let mut client = proxy.dial();
    client.write_all(&bytes[..5]).unwrap();
    proxy.settle();
    let mut proxy = proxy.upgraded();
    client.write_all(&bytes[5..]).unwrap();
    assert_eq!(reply(&mut proxy, &client).0, 90);
    accept(&listener);
}

#[test]
fn an_attempt_to_connect_goes_on() {
    let (listener, target, filler) = traffic::full_listener();
    let mut proxy = start(|_| ());
    let mut client = proxy.dial();
    client.write_all(&request(1, target, b"")).unwrap();
    proxy.settle();
    let mut proxy = proxy.upgraded();
    // The kernel sends the SYN again, and now there is room.
    let accepted = [accept(&listener), filler];
    assert_eq!(reply(&mut proxy, &client).0, 90);
    let _peer = accept(&listener);
    drop(accepted);
}

#[test]
fn a_bind_goes_on_at_its_port() {
    let (low, high) = two_free_ports();
    let mut proxy = start(|_| ()).upgraded_with(move |settings| {
        settings.bind_ports = Some(low..=high);
    });
    let (mut client, mut other) = (proxy.dial(), proxy.dial());
    let bind = request(2, SocketAddrV4::new([127, 0, 0, 1].into(), 80), b"");
    client.write_all(&bind).unwrap();
    let (code, at) = reply(&mut proxy, &client);
    assert_eq!((code, at.port()), (90, low));
    let mut proxy = proxy.upgraded();
    other.write_all(&bind).unwrap();
    assert_eq!(reply(&mut proxy, &other).1.port(), high, "the port of another BIND");
    let mut peer = TcpStream::connect(at).unwrap();
    peer.write_all(b"data").unwrap();
    assert_eq!(reply(&mut proxy, &client).0, 90);
    proxy.settle();
    let mut data = [0; 4];
    client.read_exact(&mut data).unwrap();
    assert_eq!(&data, b"data");
}

#[test]
fn a_name_is_looked_up_again_and_its_session_goes_on() {
    let (server, at) = name_server();
    let (listener, target) = listener();
    let mut proxy = Loop::start(PERMIT_ALL, at, |_| ());
    let mut client = proxy.dial();
    client.write_all(&request_4a(1, b"name.test", target.port(), b"")).unwrap();
    proxy.turn_until("the question", |reactor| reactor.resolver().waiters() == 1);
    let _forgotten = question(&server);
    let mut proxy = proxy.upgraded();
    assert_eq!(proxy.reactor.resolver().waiters(), 1);
    proxy.settle();
    let question = question(&server);
    server.send_to(&addresses(&question, &[[127, 0, 0, 1]])[0], question.from).unwrap();
    assert_eq!(reply(&mut proxy, &client).0, 90);
    accept(&listener);
}

/// The end of a stream that was cut must not look like its end.
fn is_reset_at_the_end(proxy: Loop, reader: TcpStream, sent: usize, reason: CloseReason) {
    let mut proxy = proxy.upgraded();
    proxy.settle();
    let proxy = finish(proxy.upgraded(), move || {
        reader.set_nonblocking(false).unwrap();
        let (received, end) = traffic::receive_to_end(&reader, 0);
        assert_eq!(end, End::Reset);
        assert!((1..=sent).contains(&received), "{received} of {sent} bytes");
    });
    assert_eq!(proxy.reactor.stats().closed(reason), 1);
}

fn start_polling() -> Loop {
    start(|times| (times.reset_poll_ms, times.slow_reset_poll_ms) = (1, 1))
}

#[test]
fn a_reset_that_waits_for_its_bytes_is_passed_on() {
    let mut proxy = start_polling();
    let (client, target) = relay(&mut proxy);
    let sent = stall(&mut proxy, &target);
    reset(target);
    proxy.settle();
    is_reset_at_the_end(proxy, client, sent, CloseReason::TargetReset);
}

#[test]
fn a_reset_that_waits_for_an_acknowledgement_is_passed_on() {
    let mut proxy = start_polling();
    let (client, target) = relay(&mut proxy);
    let sent = traffic::send_until_blocked(&target, 0, 200_000);
    proxy.settle();
    reset(target);
    proxy.settle();
    is_reset_at_the_end(proxy, client, sent, CloseReason::TargetReset);
}

/// The kernel has reported the failure to the send, and says no more than that the stream is over.
#[test]
fn a_client_whose_failure_a_send_has_met_is_not_taken_for_one_that_has_ended() {
    let mut proxy = start_polling();
    let (client, target) = relay(&mut proxy);
    let sent = stall(&mut proxy, &client);
    reset(client);
    (&target).write_all(b"to nobody").unwrap();
    proxy.settle();
    is_reset_at_the_end(proxy, target, sent, CloseReason::ClientReset);
}

#[test]
fn deadlines_go_on_from_where_they_were() {
    let mut proxy = start(|times| times.request_ms = 400);
    let mut clients: Vec<TcpStream> = (0..3).map(|_| proxy.dial()).collect();
    clients.iter_mut().for_each(|client| client.write_all(&[4, 1]).unwrap());
    proxy.turn_until("all to come", |reactor| reactor.stats().opened == 3);
    let began = std::time::Instant::now();
    // A clock that began anew would be behind this one.
    let later = proxy.reactor.now() + 50;
    while proxy.reactor.now() < later {
        proxy.reactor.turn(Some(later)).unwrap();
    }
    let mut proxy = proxy.upgraded().upgraded();
    for client in &clients {
        assert_eq!(reply(&mut proxy, client).0, 91);
    }
    let took = began.elapsed().as_millis();
    assert!((300..5_000).contains(&took), "{took} ms");
}

#[test]
fn a_missing_descriptor_is_an_error_and_the_others_are_closed() {
    use socku::internals::handover::{Handover, HandoverError};
    let mut proxy = start(|_| ());
    let (client, _target) = relay(&mut proxy);
    let export = proxy.reactor.export();
    let (bytes, count) = (export.handover.encode(), export.descriptors.len());
    assert_eq!(count, 3);
    let error = Handover::decode(&bytes, 2).unwrap_err();
    assert_eq!(error, HandoverError::NoDescriptor { descriptor: 2, given: 2 });
    assert!(Handover::decode(&bytes, 4).is_ok(), "one more is closed");
    assert!(is_not_there(&client));
}
