//! The simulated kernel: sockets, the wire between them, readiness told once, and want.
//!
//! Time passes only in [`Kernel::step`]. The actors at the far ends live in here, too, since
//! what they do happens while the loop waits.

use crate::actors::{Actor, Cast, Role};
use crate::addresses::{Lack, is_local};
use crate::checks::Checks;
use crate::journal::Journal;
use crate::random::Random;
use crate::reloads::History;
use crate::seen::Seen;
use crate::tcp::{End, NEAR};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

/// What happens at a time.
#[derive(Clone, Debug)]
pub enum Happening {
    /// The wire takes bytes from this end of a connection.
    Carry(usize, usize),
    /// A reset arrives at this end.
    Reset(usize, usize),
    /// The proxy's kernel gives up a connection whose far end has vanished.
    GivenUp(usize),
    /// A connection attempt of the proxy's ends.
    Answered(usize, Option<Errno>),
    /// An actor acts.
    Wake(usize),
    /// A file of the proxy's has changed.
    Reload(usize),
    Datagram(usize, Vec<u8>),
    /// An ICMP message says that nobody is there.
    Bounced(usize),
}

/// What epoll knows of a socket that the proxy holds.
#[derive(Default)]
pub struct Watch {
    pub token: Option<usize>,
    /// The edge is still to be told.
    pub reads: bool,
    pub writes: bool,
    /// Room to send is told of as well.
    pub awaits_room: bool,
    /// Some call had no room for all that was to be sent.
    pub met_full: bool,
    /// The turn in which it was told that an attempt has connected.
    pub connected_in: Option<u64>,
    /// A change that is told in any case: FIN, reset, the end of an attempt.
    pub changed: bool,
}

pub struct Conn {
    pub ends: [End; 2],
    pub local: SocketAddr,
    pub peer: SocketAddr,
    pub established: bool,
    pub watch: Watch,
    /// Who is at the far end.
    pub actor: Option<usize>,
    pub role: Option<Role>,
}

pub struct Listener {
    pub address: SocketAddr,
    pub token: usize,
    pub edge: bool,
    /// Connections that wait to be accepted, and since when.
    pub queue: VecDeque<(usize, u64)>,
    /// The client whose BIND it is.
    pub client: Option<usize>,
    /// How often a client was taken elsewhere while others waited here.
    pub passed_over: u32,
}

impl Listener {
    /// Whether it is reached there.
    pub fn is_at(&self, to: SocketAddr) -> bool {
        is_reached_at(self.address, to)
    }
}

/// Whether a listener with this address is reached at another.
pub fn is_reached_at(listener: SocketAddr, to: SocketAddr) -> bool {
    let is_alike = listener.port() == to.port() && listener.is_ipv6() == to.is_ipv6();
    let is_everywhere = listener.ip().is_unspecified() && is_local(to.ip());
    is_alike && (is_everywhere || listener.ip() == to.ip())
}

pub struct Datagram {
    pub token: usize,
    pub peer: SocketAddr,
    pub inbox: VecDeque<Vec<u8>>,
    pub bounced: bool,
    pub edge: bool,
}

/// More descriptors than any run needs.
pub const DESCRIPTORS_MANY: usize = 1000;

/// How bad this kernel is, by the seed. Chances are per cent.
#[derive(Clone, Debug)]
pub struct Mood {
    pub interrupts: u64,
    /// Something happens between two calls of one turn.
    pub races: u64,
    pub short: u64,
    pub spurious: u64,
    pub want: u64,
    pub latency_ms: u64,
    pub descriptors: usize,
    /// What there is not of the two families.
    pub lack: Lack,
    /// Tells every bit that holds, as Linux does, or only those that have changed.
    pub full_masks: bool,
    /// When the machine wakes from a long sleep.
    pub jump_at: Option<u64>,
    pub events_per_poll: usize,
    /// Large buffers everywhere, for flows that are sustained.
    pub is_wide: bool,
    /// Splice is not to be had here.
    pub no_splice: bool,
    /// Largest piece in a pipe.
    pub piece_bytes: u64,
}

pub struct Kernel {
    pub now: u64,
    /// When the proxy last looked at the clock.
    pub turn_at: u64,
    pub random: Random,
    pub mood: Mood,
    pub trace: bool,
    pub journal: Journal,
    pub queue: BTreeMap<(u64, u64), Happening>,
    serial: u64,
    pub conns: Vec<Conn>,
    /// Those that the proxy holds.
    pub held: BTreeSet<usize>,
    pub listeners: BTreeMap<usize, Listener>,
    pub datagrams: BTreeMap<usize, Datagram>,
    /// Descriptors that an upgrade hands over, until the old program is gone: whether it is a
    /// listener, and its number.
    pub handed: BTreeSet<(bool, usize)>,
    /// Descriptors that the proxy has set aside.
    pub reserves: usize,
    /// Pipes that the proxy has open, and bytes that went through them.
    pub pipes: usize,
    /// Bytes that are in pipes now.
    pub piped: usize,
    pub spliced: u64,
    pub seen: Seen,
    pub actors: Vec<Actor>,
    pub cast: Cast,
    pub history: History,
    /// Reloads of which the loop is to be told.
    pub reloads_due: Vec<usize>,
    /// Names whose answers were truncated.
    pub truncated: BTreeSet<String>,
    pub checks: Checks,
    next_port: u16,
    /// Calls that did something since it was last asked.
    pub progress: u64,
    pub jumped: Option<u64>,
    /// Until when nothing can be had.
    pub want_until: u64,
    /// Some call has failed for want.
    pub wanted: bool,
}

impl Kernel {
    pub fn new(random: Random, mood: Mood, cast: Cast, history: History, trace: bool) -> Kernel {
        Kernel {
            now: 1_000,
            turn_at: 1_000,
            random,
            mood,
            trace,
            journal: Journal::default(),
            queue: BTreeMap::new(),
            serial: 0,
            conns: Vec::new(),
            held: BTreeSet::new(),
            listeners: BTreeMap::new(),
            datagrams: BTreeMap::new(),
            handed: BTreeSet::new(),
            reserves: 0,
            pipes: 0,
            piped: 0,
            spliced: 0,
            seen: Seen::default(),
            actors: Vec::new(),
            cast,
            history,
            reloads_due: Vec::new(),
            truncated: BTreeSet::new(),
            checks: Checks::default(),
            next_port: 20_000,
            progress: 0,
            jumped: None,
            want_until: 0,
            wanted: false,
        }
    }

    pub fn say(&self, text: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>8} {}", self.now, text());
        }
    }

    pub fn after(&mut self, delay: u64, happening: Happening) {
        self.serial += 1;
        self.queue.insert((self.now + delay, self.serial), happening);
    }

    pub fn fresh_port(&mut self) -> u16 {
        self.next_port += 1;
        self.next_port
    }

    pub fn fresh_id(&mut self) -> usize {
        self.serial += 1;
        self.serial as usize
    }

    pub fn latency(&mut self) -> u64 {
        let most = self.mood.latency_ms;
        self.random.below(most + 1)
    }

    /// Descriptors that the proxy has open.
    pub fn descriptors(&self) -> usize {
        let sockets = self.held.len() + self.listeners.len() + self.datagrams.len();
        sockets + self.reserves + 2 * self.pipes
    }

    /// Whether a call that takes so many descriptors fails for want of something, and of what.
    pub fn lacks(&mut self, descriptors: usize) -> Result<(), Errno> {
        let needed = self.descriptors() + descriptors;
        let error = if descriptors > 0 && needed > self.mood.descriptors {
            Errno::MFILE
        } else if self.now < self.want_until || self.random.below(1000) < self.mood.want {
            if self.now >= self.want_until {
                self.want_until = self.now + self.random.pick(&[0, 0, 1, 500]);
            }
            let kinds = if descriptors > 0 { 4 } else { 2 };
            self.random.pick(&[Errno::NOBUFS, Errno::NOMEM, Errno::NFILE, Errno::MFILE][..kinds])
        } else {
            return Ok(());
        };
        self.wanted = true;
        self.say(|| {
            let (have, most) = (self.descriptors(), self.mood.descriptors);
            format!("  want: {error}, with {have} of {most} descriptors")
        });
        Err(error)
    }

    /// Whether a splice fails for want of memory, which is over at once.
    pub fn lacks_memory(&mut self) -> Result<(), Errno> {
        let chance = self.mood.want;
        if self.random.below(1000) < chance { Err(Errno::NOMEM) } else { Ok(()) }
    }

    pub fn new_conn(&mut self, local: SocketAddr, peer: SocketAddr) -> usize {
        let sizes: &[u64] =
            if self.mood.is_wide { &[200_000] } else { &[512, 1000, 4096, 20_000, 200_000] };
        let mut end = || {
            let recv = self.random.pick(sizes) as usize;
            End::new(recv, self.random.pick(sizes) as usize)
        };
        let ends = [end(), end()];
        let watch = Watch::default();
        self.conns.push(Conn {
            ends,
            local,
            peer,
            established: false,
            watch,
            actor: None,
            role: None,
        });
        self.conns.len() - 1
    }

    /// Somebody out there connects to a listener of the proxy's; `None` if there is none.
    pub fn dial(&mut self, from: SocketAddr, to: SocketAddr, actor: usize) -> Option<usize> {
        let key = *self.listeners.iter().find(|(_, listener)| listener.is_at(to))?.0;
        let conn = self.new_conn(to, from);
        self.conns[conn].established = true;
        self.conns[conn].actor = Some(actor);
        let now = self.now;
        let tells = self.random.chance(50);
        let listener = self.listeners.get_mut(&key)?;
        listener.queue.push_back((conn, now));
        // Linux tells each arrival; the contract promises only the first since WouldBlock.
        listener.edge |= tells || listener.queue.len() == 1;
        self.say(|| format!("{from} dials {to}: connection {conn}"));
        Some(conn)
    }

    /// Runs the world until something is to be told, or `until`; whether anything may still
    /// happen by itself is the answer when nothing is told.
    pub fn next_at(&self) -> Option<u64> {
        self.queue.first_key_value().map(|(&(at, _), _)| at)
    }

    /// Lets everything happen that is due by now.
    pub fn step(&mut self) {
        while let Some((&(at, serial), _)) = self.queue.first_key_value()
            && at <= self.now
        {
            let Some(happening) = self.queue.remove(&(at, serial)) else { break };
            match happening {
                Happening::Carry(conn, from) => self.carry(conn, from),
                Happening::Reset(conn, to) => self.reset_arrives(conn, to),
                Happening::GivenUp(conn) => self.give_up(conn),
                Happening::Answered(conn, error) => self.answered(conn, error),
                Happening::Wake(actor) => self.wake(actor),
                Happening::Reload(number) => self.reloads_due.push(number),
                Happening::Datagram(socket, bytes) => {
                    if let Some(socket) = self.datagrams.get_mut(&socket) {
                        socket.inbox.push_back(bytes);
                        socket.edge = true;
                    }
                }
                Happening::Bounced(socket) => {
                    if let Some(socket) = self.datagrams.get_mut(&socket) {
                        (socket.bounced, socket.edge) = (true, true);
                    }
                }
            }
        }
    }

    fn wake(&mut self, place: usize) {
        let mut actor = std::mem::replace(&mut self.actors[place], Actor::Nobody);
        actor.wake(self, place);
        self.actors[place] = actor;
    }

    fn answered(&mut self, conn: usize, error: Option<Errno>) {
        let c = &mut self.conns[conn];
        if c.ends[NEAR].closed {
            return;
        }
        c.watch.changed = true;
        match error {
            Some(error) => {
                c.ends[NEAR].dead = true;
                c.ends[NEAR].error = Some(error);
            }
            None => {
                c.established = true;
                let burst = match c.role {
                    Some(Role::Target(place)) => self.cast.clients[place].plan.burst,
                    _ => None,
                };
                if let Some(bytes) = burst {
                    self.burst(conn, bytes);
                } else if let Some(actor) = c.actor {
                    self.after(0, Happening::Wake(actor));
                }
            }
        }
    }
}
