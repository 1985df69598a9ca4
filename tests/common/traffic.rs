//! Bytes that show their position in a stream, and the kernel's view of a connection.

use super::{DEADLINE, wait_until, with_deadline};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::OnceLock;
use std::time::Duration;
use std::{fs, io};

/// A prime, so that the pattern never repeats in step with any buffer.
const PERIOD_BYTES: usize = 1_048_573;
const CHUNK_BYTES: usize = 64 * 1024;

/// The pattern of all streams: the byte at position `n` of a stream is the one at `n` modulo the
/// period. One more chunk follows, so that any slice is contiguous.
fn pattern() -> &'static [u8] {
    static PATTERN: OnceLock<Vec<u8>> = OnceLock::new();
    PATTERN.get_or_init(|| {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        let mut bytes: Vec<u8> = (0..PERIOD_BYTES).map(|_| random()).collect();
        bytes.extend_from_within(..CHUNK_BYTES);
        bytes
    })
}

/// At most a chunk of the pattern, from position `at` of a stream.
fn slice(at: usize, length: usize) -> &'static [u8] {
    let start = at % PERIOD_BYTES;
    &pattern()[start..start + length.min(CHUNK_BYTES)]
}

/// The first `total` bytes of a stream.
pub fn bytes(total: usize) -> Vec<u8> {
    (0..total).step_by(CHUNK_BYTES).flat_map(|at| slice(at, total - at)).copied().collect()
}

/// Sends the positions `from..to` of a stream.
pub fn send(mut stream: &TcpStream, from: usize, to: usize) {
    let mut at = from;
    while at < to {
        let chunk = slice(at, to - at);
        stream.write_all(chunk).unwrap_or_else(|error| panic!("sending at {at} of {to}: {error}"));
        at += chunk.len();
    }
}

/// Sends from position `from` until nothing can be sent for half a second, at most up to `to`;
/// returns the position reached.
pub fn send_until_blocked(mut stream: &TcpStream, from: usize, to: usize) -> usize {
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut at = from;
    while at < to {
        match stream.write(slice(at, to - at)) {
            Ok(n) => at += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("sending at {at} of {to}: {error}"),
        }
    }
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    at
}

/// Reads once, at most up to position `to` of a stream; returns the position after it.
fn read_once(mut stream: &TcpStream, at: usize, to: usize, buffer: &mut [u8]) -> io::Result<usize> {
    let wanted = buffer.len().min(to - at);
    let n = stream.read(&mut buffer[..wanted])?;
    assert!(buffer[..n] == *slice(at, n), "the {n} bytes at {at} are not those sent");
    Ok(at + n)
}

/// Reads the positions `from..to` of a stream.
pub fn receive(stream: &TcpStream, from: usize, to: usize) {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut at = from;
    while at < to {
        let next = read_once(stream, at, to, &mut buffer)
            .unwrap_or_else(|error| panic!("reading at {at} of {to}: {error}"));
        assert_ne!(next, at, "a FIN before position {to}");
        at = next;
    }
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In order.
    Fin,
    /// Reset.
    Reset,
}

/// Reads from position `from` of a stream to its end; returns the position of the end, and how it
/// ended.
pub fn receive_to_end(stream: &TcpStream, from: usize) -> (usize, End) {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut at = from;
    loop {
        match read_once(stream, at, usize::MAX, &mut buffer) {
            Ok(next) if next == at => return (at, End::Fin),
            Ok(next) => at = next,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return (at, End::Reset),
            Err(error) => panic!("reading at {at}: {error}"),
        }
    }
}

/// Sends one byte as urgent.
pub fn send_urgent(stream: &TcpStream, byte: u8) {
    assert_eq!(rustix::net::send(stream, &[byte], SendFlags::OOB), Ok(1));
}

/// Reads a stream to its end, with urgent bytes separate; returns those, the position of the end
/// without them, and how it ended. Another byte mistaken for urgent would be missing from the
/// stream.
pub fn receive_with_urgent(stream: &TcpStream) -> (Vec<u8>, usize, End) {
    let (mut urgent, mut at) = (Vec::new(), 0);
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let mut fds = [PollFd::new(stream, PollFlags::IN | PollFlags::PRI)];
        let patience = Timespec::try_from(DEADLINE).unwrap();
        assert_ne!(poll(&mut fds, Some(&patience)), Ok(0), "nothing arrives at {at}");
        let mut byte = [0];
        if fds[0].revents().contains(PollFlags::PRI) {
            assert!(rustix::net::recv(stream, &mut byte, RecvFlags::OOB).is_ok());
            urgent.extend(byte);
            continue;
        }
        match read_once(stream, at, usize::MAX, &mut buffer) {
            Ok(next) if next == at => return (urgent, at, End::Fin),
            Ok(next) => at = next,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                return (urgent, at, End::Reset);
            }
            Err(error) => panic!("reading at {at}: {error}"),
        }
    }
}

/// Reads a stream to its end, at most `bytes` at a time with a pause before each read; returns the
/// position of the end, and how it ended.
pub fn receive_slowly(stream: &TcpStream, bytes: usize, rest: Duration) -> (usize, End) {
    let mut at = 0;
    loop {
        std::thread::sleep(rest);
        match read_once(stream, at, at + bytes, &mut [0; CHUNK_BYTES]) {
            Ok(next) if next == at => return (at, End::Fin),
            Ok(next) => at = next,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return (at, End::Reset),
            Err(error) => panic!("reading at {at}: {error}"),
        }
    }
}

/// Sends one byte and waits for its echo.
pub fn ping(mut stream: &TcpStream) {
    stream.write_all(b"p").unwrap();
    let mut answer = [0];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"p");
}

/// Waits until the peer's kernel has acknowledged everything sent.
pub fn wait_delivered(stream: &TcpStream) {
    let (local, peer) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
    let place = format!(" {} {} 01 00000000:", hex(local), hex(peer));
    wait_until("everything to be acknowledged", || {
        fs::read_to_string("/proc/net/tcp").unwrap().contains(&place).then_some(())
    });
}

/// An address as /proc/net/tcp writes it.
fn hex(address: SocketAddr) -> String {
    let SocketAddr::V4(address) = address else { panic!("{address} is not IPv4") };
    format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port())
}

/// A listener whose queue is full, so that the kernel drops every SYN; and the connection that
/// fills it.
pub fn full_listener() -> (TcpListener, SocketAddrV4, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let filler = fill(&listener);
    let SocketAddr::V4(address) = listener.local_addr().unwrap() else { unreachable!() };
    (listener, address, filler)
}

/// Fills the queue of a listener with the connection returned.
pub fn fill(listener: &TcpListener) -> TcpStream {
    // Linux queues one more than this.
    socket2::SockRef::from(listener).listen(0).unwrap();
    with_deadline(TcpStream::connect(listener.local_addr().unwrap()).unwrap())
}

/// Closes a listener. A process just started by another thread may still hold it for a moment.
pub fn close(listener: TcpListener) {
    let address = listener.local_addr().unwrap();
    drop(listener);
    wait_until("the listener to close", || TcpStream::connect(address).is_err().then_some(()));
}

/// Sends one byte from one end to the other.
pub fn ping_one_way(mut from: &TcpStream, mut to: &TcpStream) {
    from.write_all(b"p").unwrap();
    let mut byte = [0];
    to.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"p");
}
