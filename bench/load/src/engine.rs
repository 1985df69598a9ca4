//! One epoll loop for all clients and all targets.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use slab::Slab;

use crate::client::{self, Client, Ledger, Plan, Task, Totals};
use crate::histogram::Histogram;
use crate::net::{self, EventFlags, Outcome, Poller};
use crate::pump::{Pump, Sender};
use crate::target::{self, Target};

/// Tokens of listeners have this bit.
const LISTENER: u64 = 1 << 63;
/// More failures than this end a run: it measures nothing any more.
const FAILURES_MAX: u64 = 100;

/// The addresses of a run.
pub struct Places {
    /// Where clients connect: the proxy, or nothing for the target itself.
    pub proxy: Option<SocketAddr>,
    /// Targets, used in turn.
    pub targets: Vec<SocketAddr>,
    /// Source addresses of clients, used in turn; empty leaves the choice to the kernel.
    pub sources: Vec<Ipv4Addr>,
}

enum Endpoint {
    Client(Client),
    Target(Target),
}

struct Conn {
    socket: OwnedFd,
    endpoint: Endpoint,
}

/// The loop with everything in it.
pub struct Engine {
    poller: Poller,
    events: Vec<(u64, EventFlags)>,
    conns: Slab<Conn>,
    listeners: Vec<OwnedFd>,
    places: Places,
    plan: Plan,
    pump: Pump,
    ledger: Ledger,
    started: u64,
    clients: usize,
    failed: u64,
    failure: Option<String>,
    deadline: Instant,
}

impl Engine {
    /// An engine with its targets listening, if they are to be in this process.
    pub fn new(
        places: Places,
        plan: Plan,
        sender: Sender,
        listen: bool,
        deadline: Instant,
    ) -> io::Result<Engine> {
        let poller = Poller::new()?;
        let mut listeners = Vec::new();
        for &address in places.targets.iter().filter(|_| listen) {
            let listener = net::listener(address)
                .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?;
            poller.add(&listener, LISTENER | listeners.len() as u64, EventFlags::IN)?;
            listeners.push(listener);
        }
        let ledger = Ledger {
            totals: Totals::default(),
            round_trips: Histogram::new(),
            sessions: Histogram::new(),
        };
        Ok(Engine {
            poller,
            events: Vec::new(),
            conns: Slab::new(),
            listeners,
            places,
            plan,
            pump: Pump::new(sender)?,
            ledger,
            started: 0,
            clients: 0,
            failed: 0,
            failure: None,
            deadline,
        })
    }

    /// Client sessions that exist.
    pub fn clients(&self) -> usize {
        self.clients
    }

    /// Client sessions started so far.
    pub fn started(&self) -> u64 {
        self.started
    }

    /// Client sessions that failed so far, and what the first one said.
    pub fn failures(&self) -> (u64, Option<&str>) {
        (self.failed, self.failure.as_deref())
    }

    /// Bulk bytes received so far.
    pub fn received(&self) -> u64 {
        self.pump.received
    }

    /// Counts and times of the clients so far.
    pub fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// Starts one more client session.
    pub fn start(&mut self) -> io::Result<()> {
        let number = self.started;
        self.started += 1;
        let target = self.places.targets[number as usize % self.places.targets.len()];
        let sources = &self.places.sources;
        let from = sources.get(number as usize % sources.len().max(1)).copied();
        let socket = net::connecting(self.places.proxy.unwrap_or(target), from)?;
        let client = Client::new(number, target, self.plan.protocol);
        let at = self.conns.insert(Conn { socket, endpoint: Endpoint::Client(client) });
        self.clients += 1;
        self.poller.add(&self.conns[at].socket, at as u64, Client::FIRST_INTEREST)
    }

    /// Makes every session at rest send one more ping; says how many there are.
    pub fn wake_all(&mut self) -> io::Result<u64> {
        let mut woken = 0;
        let all: Vec<usize> = self.conns.iter().map(|(at, _)| at).collect();
        for at in all {
            if let Endpoint::Client(client) = &mut self.conns[at].endpoint
                && client.is_resting()
            {
                client.wake();
                woken += 1;
                self.handle(at, EventFlags::empty())?;
            }
        }
        Ok(woken)
    }

    /// Turns the loop until `done` says so, but not beyond `until`; false when time ran out.
    pub fn turn_until(
        &mut self,
        until: Option<Instant>,
        mut done: impl FnMut(&mut Engine) -> io::Result<bool>,
    ) -> io::Result<bool> {
        loop {
            if done(self)? {
                return Ok(true);
            }
            let now = Instant::now();
            if now >= self.deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, self.describe()));
            }
            if until.is_some_and(|until| now >= until) {
                return Ok(false);
            }
            if self.failed > FAILURES_MAX {
                return Err(io::Error::other(self.describe()));
            }
            let end = until.unwrap_or(self.deadline).min(self.deadline);
            self.turn(end - now)?;
        }
    }

    fn describe(&self) -> String {
        format!(
            "deadline or too many failures: {} of {} sessions open, {} failed, first failure: {}",
            self.clients,
            self.started,
            self.failed,
            self.failure.as_deref().unwrap_or("none")
        )
    }

    fn turn(&mut self, timeout: Duration) -> io::Result<()> {
        let mut events = std::mem::take(&mut self.events);
        self.poller.wait(timeout, &mut events)?;
        for (token, flags) in events.drain(..) {
            match token & LISTENER {
                0 => self.handle(token as usize, flags)?,
                _ => self.accept((token & !LISTENER) as usize)?,
            }
        }
        self.events = events;
        Ok(())
    }

    fn accept(&mut self, listener: usize) -> io::Result<()> {
        while let Outcome::Done(socket) = net::accept(&self.listeners[listener])? {
            let at = self.conns.insert(Conn { socket, endpoint: Endpoint::Target(Target::New) });
            self.poller.add(&self.conns[at].socket, at as u64, Target::FIRST_INTEREST)?;
        }
        Ok(())
    }

    /// Lets one connection go on. An event may be about a connection freed in the same batch, or
    /// even reach its successor in the slab; both are harmless, as nothing here trusts an event.
    fn handle(&mut self, at: usize, flags: EventFlags) -> io::Result<()> {
        let Some(conn) = self.conns.get_mut(at) else { return Ok(()) };
        match &mut conn.endpoint {
            Endpoint::Client(client) => {
                let after = client.handle(
                    &conn.socket,
                    flags,
                    &self.plan,
                    &mut self.pump,
                    &mut self.ledger,
                );
                match after {
                    Ok(client::After::Keep) => {}
                    Ok(client::After::Watch(flags)) => {
                        self.poller.modify(&conn.socket, at as u64, flags)?;
                    }
                    Ok(client::After::Finished) => {
                        self.ledger.totals.finished += 1;
                        self.remove_client(at);
                    }
                    Err(error) => {
                        self.failed += 1;
                        self.failure.get_or_insert_with(|| error.to_string());
                        self.remove_client(at);
                    }
                }
            }
            Endpoint::Target(target) => match target.handle(&conn.socket, flags, &mut self.pump) {
                Ok(target::After::Keep) => {}
                Ok(target::After::Watch(flags)) => {
                    self.poller.modify(&conn.socket, at as u64, flags)?;
                }
                // The proxy or the client may end a transfer as it likes; clients count failures.
                Ok(target::After::Close) | Err(_) => drop(self.conns.remove(at)),
            },
        }
        Ok(())
    }

    fn remove_client(&mut self, at: usize) {
        self.clients -= 1;
        self.conns.remove(at);
    }

    /// Ends what is open, bulk with resets, and waits until the targets have noticed, but not
    /// longer than `patience`; says how many connections were left.
    pub fn close_all(&mut self, patience: Duration) -> io::Result<usize> {
        let bulk = matches!(self.plan.task, Task::Download | Task::Upload);
        let all: Vec<usize> = self.conns.iter().map(|(at, _)| at).collect();
        for at in all {
            if matches!(self.conns[at].endpoint, Endpoint::Client(_)) {
                if bulk {
                    net::reset_on_close(&self.conns[at].socket);
                }
                self.remove_client(at);
            }
        }
        let until = Instant::now() + patience;
        self.turn_until(Some(until), |engine| Ok(engine.conns.is_empty()))?;
        Ok(self.conns.len())
    }
}
