//! The status listener: metrics, a page and a stream of events over HTTP, on the loop of the proxy.
//!
//! It is served after each turn, with the tokens of the embedder's own sources. A client of it can
//! delay or hurt no session: there are few, each has a bounded buffer and a bounded time, no call
//! waits, and what is shown is kept up to date anyway or built within a bound.
//!
//! A page that is open and to which nothing is told costs nothing: no timer runs and no call is made
//! for it. It needs no heartbeat either. A browser that has gone without a word is found by
//! keepalive, which the kernel does by itself.

mod client;
pub mod exposition;
pub mod metrics;
pub mod pace;
pub mod page;
pub mod refusal;
pub mod request;
pub mod response;
pub mod snapshot;
pub mod survey;
pub mod top;
pub mod trouble;
pub mod view;

use crate::net::{lacks_resources, listening_socket};
use crate::time::Millis;
use client::{Client, Outcome};
use log::debug;
use mio::net::TcpListener;
use mio::{Interest, Registry, Token};
use pace::{INTERVAL_MS, Pace, Told};
use request::{Request, RequestError, Resource};
use socket2::TcpKeepalive;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;
use view::View;

/// Most clients at a time; further ones wait to be accepted.
pub const CLIENTS_MAX: usize = 16;
/// Most of them that read the stream: it has no end, and metrics must not wait for one.
const STREAMS_MAX: usize = 12;
/// Most that wait to be accepted.
const BACKLOG: i32 = 64;
/// Accept lacked resources: not before this time again.
const ACCEPT_RETRY_MS: Millis = 1000;
/// A client that says nothing is probed, so that one that has vanished is found within two minutes.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_RETRIES: u32 = 4;

/// The tokens of the listener and its clients, as numbers of the embedder's sources.
pub const FIRST_SOURCE: usize = 8;
const FIRST_CLIENT: usize = FIRST_SOURCE + 1;
const SOURCES: u32 = ((1 << (CLIENTS_MAX + 1)) - 1) << FIRST_SOURCE;

/// The listener and its clients.
pub struct Status {
    listener: TcpListener,
    address: SocketAddr,
    /// The number for the kernel of the first source of the embedder.
    first_token: usize,
    /// Connections may be waiting.
    may_accept: bool,
    retry_at: Option<Millis>,
    clients: [Option<Client>; CLIENTS_MAX],
    pace: Pace,
    /// The latest snapshot, while it is wanted.
    snapshot: Option<Snapshot>,
}

/// What the page shows, as JSON.
struct Snapshot {
    text: String,
    /// When it was made, and how many changes there were then.
    told: Told,
}

impl Status {
    /// Listens at an address. `first_token` is the number of the embedder's source 0.
    pub fn listen(registry: &Registry, at: SocketAddr, first_token: usize) -> io::Result<Status> {
        // Clients inherit this.
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER);
        let keepalive = keepalive.with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_RETRIES);
        let listener =
            listening_socket(at, BACKLOG, |socket| socket.set_tcp_keepalive(&keepalive))?;
        Status::adopt(registry, listener, first_token)
    }

    /// Goes on with the listener of another.
    pub fn adopt(
        registry: &Registry,
        listener: std::net::TcpListener,
        first_token: usize,
    ) -> io::Result<Status> {
        let mut listener = TcpListener::from_std(listener);
        let address = listener.local_addr()?;
        registry.register(&mut listener, Token(first_token + FIRST_SOURCE), Interest::READABLE)?;
        Ok(Status {
            listener,
            address,
            first_token,
            may_accept: false,
            retry_at: None,
            clients: [const { None }; CLIENTS_MAX],
            pace: Pace::default(),
            snapshot: None,
        })
    }

    /// The listening socket.
    pub fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// Where it listens, with the port that the kernel chose in place of 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// When it has to be served without an event; `None` while nobody waits for anything.
    /// `changes` is the number of changes so far.
    pub fn wake_at(&self, now: Millis, changes: u64) -> Option<Millis> {
        let clients = self.clients.iter().flatten();
        let due = clients.filter_map(|client| self.due(client, changes));
        due.chain(self.accept_at(now)).min()
    }

    /// When a client has to be told something, or dropped.
    fn due(&self, client: &Client, changes: u64) -> Option<Millis> {
        match client.told() {
            Some(told) if client.is_listening() => self.pace.due(told, changes),
            _ => client.deadline(),
        }
    }

    fn accept_at(&self, now: Millis) -> Option<Millis> {
        if !self.may_accept {
            return None;
        }
        // A client that keeps its place for nothing gives way.
        let free_at = |client: &Option<Client>| match client {
            None => Some(now),
            Some(client) => client.replaceable_at(),
        };
        let free_at = self.clients.iter().filter_map(free_at).min()?;
        Some(free_at.max(self.retry_at.unwrap_or(free_at)))
    }

    /// A free place, or that of the client that has kept its one for nothing for longest.
    fn place(&self, now: Millis) -> Option<usize> {
        let since = |place: &usize| match &self.clients[*place] {
            None => Some(0),
            Some(client) => client.replaceable_at().filter(|&at| at <= now),
        };
        let places = (0..CLIENTS_MAX).filter_map(|place| Some((since(&place)?, place)));
        places.min().map(|(_, place)| place)
    }

    /// Accepts the clients that wait, as far as there is room. `woken` has the embedder's sources
    /// that had an event. Returns whether there were any.
    pub fn accept(&mut self, registry: &Registry, woken: u32, now: Millis) -> bool {
        self.may_accept |= woken & 1 << FIRST_SOURCE != 0;
        let mut found = false;
        for _ in 0..CLIENTS_MAX {
            if self.accept_at(now).is_none_or(|at| at > now) {
                break;
            }
            found |= self.accept_one(registry, now);
        }
        found
    }

    fn accept_one(&mut self, registry: &Registry, now: Millis) -> bool {
        let Some(place) = self.place(now) else { return false };
        self.retry_at = None;
        match self.listener.accept() {
            Ok((mut stream, _)) => {
                let token = Token(self.first_token + FIRST_CLIENT + place);
                let interest = Interest::READABLE | Interest::WRITABLE;
                match registry.register(&mut stream, token, interest) {
                    Ok(()) => self.clients[place] = Some(Client::new(stream, now)),
                    Err(error) => debug!("registering a client of the status listener: {error}"),
                }
                true
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.may_accept = false;
                false
            }
            Err(error) => {
                debug!("accepting a client of the status listener: {error}");
                if lacks_resources(&error) {
                    self.retry_at = Some(now + ACCEPT_RETRY_MS);
                }
                false
            }
        }
    }

    /// Serves the clients that had an event or are due. Returns whether that was of any use: bytes
    /// moved, or a client ended. `view` is called at most a few times, and not without need.
    pub fn serve<'a>(
        &mut self,
        woken: u32,
        now: Millis,
        changes: u64,
        view: &dyn Fn() -> View<'a>,
    ) -> bool {
        let is_due = || self.wake_at(now, changes).is_some_and(|at| at <= now);
        if woken & SOURCES == 0 && !is_due() {
            return false;
        }
        let mut turn = Turn { now, changes, view, snapshot: self.snapshot.take() };
        let (mut moved, mut has_told) = (false, false);
        for place in 0..CLIENTS_MAX {
            let had_event = woken & 1 << (FIRST_CLIENT + place) != 0;
            let streams = self.streams();
            let Some(client) = &self.clients[place] else { continue };
            let is_due = self.due(client, changes).is_some_and(|at| at <= now);
            let Some(client) = &mut self.clients[place] else { continue };
            if is_due && client.is_listening() {
                turn.tell(client);
                has_told = true;
            } else if is_due {
                self.clients[place] = None;
                moved = true;
                continue;
            } else if !had_event {
                continue;
            }
            if turn.run(client, streams, &mut moved) == Outcome::Over {
                self.clients[place] = None;
                moved = true;
            }
        }
        if has_told {
            self.pace.beat(now);
        }
        self.snapshot = turn.snapshot.filter(|snapshot| snapshot.is_fresh(now));
        moved
    }

    /// How many clients read the stream.
    fn streams(&self) -> usize {
        self.clients.iter().flatten().filter(|client| client.told().is_some()).count()
    }
}

/// What all clients of one turn are shown.
struct Turn<'v, 'a> {
    now: Millis,
    changes: u64,
    view: &'v dyn Fn() -> View<'a>,
    snapshot: Option<Snapshot>,
}

impl Turn<'_, '_> {
    /// Lets a client go on, as far as that is possible without waiting.
    fn run(&mut self, client: &mut Client, streams: usize, moved: &mut bool) -> Outcome {
        loop {
            match client.run(self.now, moved) {
                Outcome::Request(request) => self.answer(client, request, streams),
                outcome => return outcome,
            }
        }
    }

    fn answer(
        &mut self,
        client: &mut Client,
        request: Result<Request, RequestError>,
        streams: usize,
    ) {
        let Request { resource, is_head } = match request {
            Ok(request) => request,
            Err(error) => return client.send(response::rejection(error), None, self.now),
        };
        let bytes = match resource {
            Resource::Page => response::page(is_head),
            Resource::Metrics { open_metrics } => {
                let text = metrics::text(&(self.view)(), open_metrics);
                let content_type =
                    if open_metrics { response::OPEN_METRICS } else { response::PROMETHEUS };
                response::metrics(&text, content_type, is_head)
            }
            Resource::Snapshot => response::snapshot(&self.snapshot().text, is_head),
            Resource::Events if streams >= STREAMS_MAX => response::too_many_streams(),
            Resource::Events if is_head => response::stream_head(),
            Resource::Events => {
                let Snapshot { text, told } = self.snapshot();
                let (bytes, told) = (response::event(text), *told);
                let bytes = [response::stream_head(), bytes].concat();
                return client.send(bytes, Some(told), self.now);
            }
        };
        client.send(bytes, None, self.now);
    }

    /// Tells a stream the next event.
    fn tell(&mut self, client: &mut Client) {
        let Snapshot { text, told } = self.snapshot();
        let (bytes, told) = (response::event(text), *told);
        client.send(bytes, Some(told), self.now);
    }

    /// At most one is made in a second, for all streams and for all who ask for one, however often:
    /// it is the only answer that costs more the more sessions there are.
    fn snapshot(&mut self) -> &Snapshot {
        let Turn { now, changes, view, .. } = *self;
        let latest = self.snapshot.take().filter(|snapshot| snapshot.is_fresh(now));
        let make =
            || Snapshot { text: snapshot::snapshot(&mut view()), told: Told { at: now, changes } };
        self.snapshot.insert(latest.unwrap_or_else(make))
    }
}

impl Snapshot {
    fn is_fresh(&self, now: Millis) -> bool {
        self.told.at + INTERVAL_MS > now
    }
}

#[cfg(test)]
#[path = "status/status_test.rs"]
mod tests;
