//! Clients that do not read.

use super::{Proxy, accept, listener, read_reply, request, traffic, wait_until, with_deadline};
use std::io::Write;
use std::net::TcpStream;

/// Opens sessions whose client never reads, and fills each until the target blocks.
pub fn stall(proxy: &Proxy, count: usize) -> Vec<(TcpStream, TcpStream)> {
    let (listener, target) = listener();
    let open = |_| {
        // A small window, so that the proxy fills up, not the client's kernel.
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
    let fill = |mut target: &TcpStream| {
        let writes = std::iter::from_fn(|| target.write(&chunk).ok());
        writes.count()
    };
    // Until no target can send any more although the proxy has finished all its work.
    wait_until("the targets to block", || {
        proxy.wait_asleep();
        let moved: usize = sessions.iter().map(|(_, target)| fill(target)).sum();
        (moved == 0).then_some(())
    });
    sessions
}
