//! One client of the status listener, from accept to close. Nothing that it does or fails to do
//! takes more than its socket, a bounded buffer and a bounded time.

use super::pace::Told;
use super::request::{self, HEAD_BYTES_MAX, Request, RequestError};
use crate::time::Millis;
use crate::wire::Parsed;
use mio::net::TcpStream;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;

/// A request must have arrived within this time.
const REQUEST_MS: Millis = 10_000;
/// An answer, or an event, must have been taken within this time.
const SEND_MS: Millis = 10_000;
/// A client that has its answer must have closed within this time.
const LINGER_MS: Millis = 2000;
/// Its place is its own for this time of both.
const PLACE_MS: Millis = 1000;
/// Most bytes that a client may send after its request: they are read and dropped, since closing
/// over unread bytes would send a reset, which may overtake the answer.
const DROPPED_BYTES_MAX: usize = 64 << 10;
/// Bytes read at a time.
const PIECE_BYTES: usize = 4096;

/// What a client does.
enum State {
    /// Its request is being read; what has come so far.
    Reading(Vec<u8>),
    /// Bytes are being sent, and how many were; `told` if a stream follows.
    Sending { bytes: Vec<u8>, sent: usize, told: Option<Told> },
    /// It has been told everything so far, and waits for the next event.
    Streaming(Told),
    /// It has its answer, and may send so many bytes more.
    Closing { left: usize },
}

/// A client.
pub struct Client {
    stream: TcpStream,
    state: State,
    /// When it is dropped; `None` while it waits for an event.
    deadline: Option<Millis>,
}

/// What has come of running a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It waits for an event of its socket, or for something to tell.
    Wait,
    /// Its request is there: [`Client::send`] has to follow.
    Request(Result<Request, RequestError>),
    /// It is done, gone, or has sent what it must not.
    Over,
}

impl Client {
    /// A client that was just accepted.
    pub fn new(stream: TcpStream, now: Millis) -> Client {
        Client { stream, state: State::Reading(Vec::new()), deadline: Some(now + REQUEST_MS) }
    }

    /// When it is dropped unless something happens.
    pub fn deadline(&self) -> Option<Millis> {
        self.deadline
    }

    /// When another client may take its place, if that one would wait otherwise: its request does not
    /// come, or it has its answer and stays.
    pub fn replaceable_at(&self) -> Option<Millis> {
        let before_ms = match self.state {
            State::Reading(_) => REQUEST_MS - PLACE_MS,
            State::Closing { .. } => LINGER_MS - PLACE_MS,
            State::Sending { .. } | State::Streaming(_) => return None,
        };
        self.deadline.map(|at| at - before_ms)
    }

    /// What it has been told, if it reads a stream.
    pub fn told(&self) -> Option<Told> {
        match &self.state {
            State::Sending { told, .. } => *told,
            State::Streaming(told) => Some(*told),
            _ => None,
        }
    }

    /// Whether it waits for the next event.
    pub fn is_listening(&self) -> bool {
        matches!(self.state, State::Streaming(_))
    }

    /// Sends bytes from now on; then a stream follows, or the end.
    pub fn send(&mut self, bytes: Vec<u8>, told: Option<Told>, now: Millis) {
        self.state = State::Sending { bytes, sent: 0, told };
        self.deadline = Some(now + SEND_MS);
    }

    /// Reads and writes what is possible without waiting. Sets `moved` if that were any bytes.
    pub fn run(&mut self, now: Millis, moved: &mut bool) -> Outcome {
        loop {
            let result = match &mut self.state {
                State::Reading(head) => match read_head(&mut self.stream, head, moved) {
                    Ok(Some(request)) => return Outcome::Request(request),
                    Ok(None) => return Outcome::Over,
                    Err(error) => Err(error),
                },
                State::Sending { bytes, sent, told } => {
                    let told = *told;
                    send(&mut self.stream, bytes, sent, moved).map(|()| self.handle_sent(told, now))
                }
                // It has nothing to say: a browser that sends anything but its end is none.
                State::Streaming(_) => match self.stream.read(&mut [0]) {
                    Ok(_) => return Outcome::Over,
                    Err(error) => Err(error),
                },
                State::Closing { left } => match drop_bytes(&mut self.stream, left, moved) {
                    Ok(()) => return Outcome::Over,
                    Err(error) => Err(error),
                },
            };
            match result {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Outcome::Wait,
                Err(_) => return Outcome::Over,
            }
        }
    }

    /// Everything is sent.
    fn handle_sent(&mut self, told: Option<Told>, now: Millis) {
        (self.state, self.deadline) = match told {
            Some(told) => (State::Streaming(told), None),
            None => {
                // If that fails, the next read says why.
                let _ = self.stream.shutdown(Shutdown::Write);
                (State::Closing { left: DROPPED_BYTES_MAX }, Some(now + LINGER_MS))
            }
        };
    }
}

/// Reads on until the request is there; `None` when the client ends before that.
fn read_head(
    stream: &mut TcpStream,
    head: &mut Vec<u8>,
    moved: &mut bool,
) -> io::Result<Option<Result<Request, RequestError>>> {
    loop {
        let mut piece = [0; PIECE_BYTES];
        let most = PIECE_BYTES.min(HEAD_BYTES_MAX - head.len());
        let n = stream.read(&mut piece[..most])?;
        if n == 0 {
            return Ok(None);
        }
        *moved = true;
        head.extend_from_slice(&piece[..n]);
        match request::parse(head) {
            Ok(Parsed::More) => {}
            Ok(Parsed::Done(request, _)) => return Ok(Some(Ok(request))),
            Err(error) => return Ok(Some(Err(error))),
        }
    }
}

fn send(
    stream: &mut TcpStream,
    bytes: &[u8],
    sent: &mut usize,
    moved: &mut bool,
) -> io::Result<()> {
    while *sent < bytes.len() {
        *sent += stream.write(&bytes[*sent..])?;
        *moved = true;
    }
    Ok(())
}

/// Reads and drops what a client sends, until its end or until that is too much.
fn drop_bytes(stream: &mut TcpStream, left: &mut usize, moved: &mut bool) -> io::Result<()> {
    let mut piece = [0; PIECE_BYTES];
    while *left > 0 {
        match stream.read(&mut piece)? {
            0 => return Ok(()),
            n => *left = left.saturating_sub(n),
        }
        *moved = true;
    }
    Ok(())
}
