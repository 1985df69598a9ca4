//! The near end of a session: handshake, then what the scenario is about.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Instant;

use crate::histogram::Histogram;
use crate::net::{self, EventFlags, Outcome};
use crate::pump::Pump;
use crate::socks::Protocol;
use crate::target;

/// Bytes of a ping, first byte included.
pub const PING_BYTES: usize = 64;

/// The work of a session once it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Send a ping and wait for its echo, for ever.
    PingPong,
    /// One ping, then close.
    PingClose,
    /// One ping, then nothing.
    PingRest,
    /// Receive bulk bytes.
    Download,
    /// Send bulk bytes.
    Upload,
}

/// Common to all clients.
pub struct Plan {
    /// Where clients connect.
    pub protocol: Protocol,
    /// Their work.
    pub task: Task,
}

/// Counts of finished work.
#[derive(Default)]
pub struct Totals {
    /// Handshakes completed.
    pub opened: u64,
    /// Echoes that came back complete and right.
    pub pings: u64,
    /// Sessions whose whole task was done.
    pub finished: u64,
}

/// Totals and times that clients add to.
pub struct Ledger {
    /// Counts.
    pub totals: Totals,
    /// From sending a ping to its echo.
    pub round_trips: Histogram,
    /// From connect to the echo.
    pub sessions: Histogram,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Request(usize),
    Reply(usize),
    Begin,
    Ping,
    Echo,
    Rest,
    Pump,
    Drain,
}

/// One client session.
pub struct Client {
    stage: Stage,
    target: SocketAddr,
    number: u64,
    got: usize,
    buffer: [u8; PING_BYTES],
    started: Instant,
    sent: Instant,
}

/// The engine's next step after an event.
pub enum After {
    /// Nothing.
    Keep,
    /// Watch for something else from now on.
    Watch(EventFlags),
    /// The task is done; free the session.
    Finished,
}

impl Client {
    /// The events that a new session waits for.
    pub const FIRST_INTEREST: EventFlags =
        EventFlags::IN.union(EventFlags::OUT).union(EventFlags::RDHUP).union(EventFlags::ET);

    /// A session whose connection is under way.
    pub fn new(number: u64, target: SocketAddr, protocol: Protocol) -> Client {
        let now = Instant::now();
        let stage = if protocol.steps() == 0 { Stage::Begin } else { Stage::Request(0) };
        let buffer = [0; PING_BYTES];
        Client { stage, target, number, got: 0, buffer, started: now, sent: now }
    }

    /// Whether it waits until somebody wakes it.
    pub fn is_resting(&self) -> bool {
        self.stage == Stage::Rest
    }

    /// Sends one more ping from a session at rest.
    pub fn wake(&mut self) {
        self.stage = Stage::Ping;
    }

    /// Goes as far as the socket allows.
    pub fn handle(
        &mut self,
        socket: &OwnedFd,
        flags: EventFlags,
        plan: &Plan,
        pump: &mut Pump,
        ledger: &mut Ledger,
    ) -> io::Result<After> {
        let mut readable = flags.intersects(EventFlags::IN | EventFlags::RDHUP);
        loop {
            match self.stage {
                Stage::Request(step) => {
                    let request = plan.protocol.request(step, self.target);
                    let Outcome::Done(()) = net::send_message(socket, &request)? else {
                        return Ok(After::Keep);
                    };
                    self.got = 0;
                    self.stage = Stage::Reply(step);
                }
                Stage::Reply(step) => {
                    let length = plan.protocol.reply_bytes(step, self.target);
                    if !std::mem::take(&mut readable) || !self.fill(socket, length)? {
                        return Ok(After::Keep);
                    }
                    plan.protocol
                        .check(&self.buffer[..length])
                        .map_err(|refused| io::Error::other(refused.to_string()))?;
                    self.stage = match step + 1 {
                        next if next < plan.protocol.steps() => Stage::Request(next),
                        _ => Stage::Begin,
                    };
                }
                Stage::Begin => match plan.task {
                    Task::PingPong | Task::PingClose | Task::PingRest => {
                        ledger.totals.opened += 1;
                        self.stage = Stage::Ping;
                    }
                    Task::Download | Task::Upload => {
                        let (word, next, interest) = match plan.task {
                            Task::Download => (target::SOURCE, Stage::Drain, EventFlags::IN),
                            _ => (target::SINK, Stage::Pump, EventFlags::OUT),
                        };
                        let Outcome::Done(()) = net::send_message(socket, &[word])? else {
                            return Ok(After::Keep);
                        };
                        ledger.totals.opened += 1;
                        self.stage = next;
                        return Ok(After::Watch(interest));
                    }
                },
                Stage::Ping => {
                    let ping = self.ping(ledger.totals.pings);
                    self.sent = Instant::now();
                    let Outcome::Done(()) = net::send_message(socket, &ping)? else {
                        return Ok(After::Keep);
                    };
                    self.got = 0;
                    self.stage = Stage::Echo;
                }
                Stage::Echo => {
                    if !std::mem::take(&mut readable) || !self.fill(socket, PING_BYTES)? {
                        return Ok(After::Keep);
                    }
                    self.count_echo(ledger)?;
                    match plan.task {
                        Task::PingPong => self.stage = Stage::Ping,
                        Task::PingRest => self.stage = Stage::Rest,
                        _ => return Ok(After::Finished),
                    }
                }
                Stage::Rest if readable => return Err(ended()),
                Stage::Rest => return Ok(After::Keep),
                Stage::Pump => {
                    if flags.intersects(EventFlags::HUP | EventFlags::ERR) {
                        return Err(ended());
                    }
                    pump.send(socket)?;
                    return Ok(After::Keep);
                }
                Stage::Drain => match pump.drain(socket)? {
                    Outcome::Done(0) => return Err(ended()),
                    _ => return Ok(After::Keep),
                },
            }
        }
    }

    /// Reads towards `length` bytes; true once they are there.
    fn fill(&mut self, socket: &OwnedFd, length: usize) -> io::Result<bool> {
        match net::receive(socket, &mut self.buffer[self.got..length])? {
            Outcome::Blocked => Ok(false),
            Outcome::Done(0) => Err(ended()),
            Outcome::Done(received) => {
                self.got += received;
                Ok(self.got == length)
            }
        }
    }

    fn count_echo(&mut self, ledger: &mut Ledger) -> io::Result<()> {
        let number = u64::from_be_bytes(*self.buffer[1..].first_chunk().expect("64 bytes"));
        if self.buffer[0] != target::ECHO || number != self.number {
            return Err(io::Error::other("an echo holds other bytes than were sent"));
        }
        let now = Instant::now();
        ledger.round_trips.add(now - self.sent);
        ledger.sessions.add(now - self.started);
        ledger.totals.pings += 1;
        Ok(())
    }

    fn ping(&self, count: u64) -> [u8; PING_BYTES] {
        let mut ping = [0x5a; PING_BYTES];
        ping[0] = target::ECHO;
        ping[1..9].copy_from_slice(&self.number.to_be_bytes());
        ping[9..17].copy_from_slice(&count.to_be_bytes());
        ping
    }
}

fn ended() -> io::Error {
    io::Error::other("the session was closed from the other side")
}
