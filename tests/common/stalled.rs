//! Clients that do not read what they asked for.

use super::{Proxy, accept, listener, read_reply, request, traffic, wait_until, with_deadline};
use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

/// Opens sessions whose client never reads, and fills each until nothing more is taken.
pub fn stall(proxy: &Proxy, count: usize) -> Vec<(TcpStream, TcpStream)> {
    let (listener, target) = listener();
    let open = |_| {
        // A small window: what fills up is the proxy, not the client's kernel.
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(&proxy.address.into()).unwrap();
        let mut client = with_deadline(socket.into());
        client.write_all(&request(1, target, b"")).unwrap();
        assert_eq!(read_reply(&mut client).0, 90);
        let at_target = accept(&listener);
        at_target.set_nonblocking(true).unwrap();
        (client, at_target)
    };
    let sessions: Vec<_> = (0..count).map(open).collect();
    let chunk = traffic::bytes(512 * 1024);
    // Until no target can send any more, twice in a row.
    let mut quiet = 0;
    wait_until("the targets to be held up", || {
        thread::sleep(Duration::from_millis(50));
        let moved = sessions.iter().filter(|(_, target)| (&*target).write(&chunk).is_ok()).count();
        quiet = if moved == 0 { quiet + 1 } else { 0 };
        (quiet == 2).then_some(())
    });
    sessions
}
