//! The simulated kernel: sockets, the wire between them, readiness told once, and want.
//!
//! Time passes only in [`Kernel::step`]. The actors at the far ends live in here, too, since
//! what they do happens while the loop waits.

use crate::actors::{Actor, Cast, Role};
use crate::checks::Checks;
use crate::random::Random;
use crate::sim_net::is_local;
use crate::tcp::{End, FAR, NEAR};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddrV4;

/// What happens at a time.
#[derive(Clone, Debug)]
pub enum Happening {
    /// The wire takes bytes from this end of a connection.
    Carry(usize, usize),
    /// A reset arrives at this end.
    Reset(usize, usize),
    /// A connection attempt of the proxy's ends.
    Answered(usize, Option<Errno>),
    /// An actor acts.
    Wake(usize),
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
    /// A change that is told in any case: FIN, reset, the end of an attempt.
    pub changed: bool,
}

pub struct Conn {
    pub ends: [End; 2],
    pub local: SocketAddrV4,
    pub peer: SocketAddrV4,
    pub established: bool,
    pub watch: Watch,
    /// Who is at the far end.
    pub actor: Option<usize>,
    pub role: Option<Role>,
}

pub struct Listener {
    pub address: SocketAddrV4,
    pub token: usize,
    pub edge: bool,
    /// Connections that wait to be accepted, and since when.
    pub queue: VecDeque<(usize, u64)>,
    /// The client whose BIND it is.
    pub client: Option<usize>,
}

impl Listener {
    /// Whether it is reached there.
    pub fn is_at(&self, to: SocketAddrV4) -> bool {
        let anywhere = self.address.ip().is_unspecified() && is_local(*to.ip());
        self.address.port() == to.port() && (anywhere || self.address.ip() == to.ip())
    }
}

pub struct Datagram {
    pub token: usize,
    pub inbox: VecDeque<Vec<u8>>,
    pub bounced: bool,
    pub edge: bool,
}

/// How bad this kernel is, by the seed. Chances are per cent.
pub struct Mood {
    pub interrupts: u64,
    /// Something happens between two calls of one turn.
    pub races: u64,
    pub short: u64,
    pub spurious: u64,
    pub want: u64,
    pub latency_ms: u64,
    pub descriptors: usize,
    /// Tells every bit that holds, as Linux does, or only those that have changed.
    pub full_masks: bool,
    /// When the machine wakes from a long sleep.
    pub jump_at: Option<u64>,
    pub events_per_poll: usize,
    /// Splice is not to be had here.
    pub no_splice: bool,
    /// Largest piece in a pipe.
    pub piece_bytes: u64,
}

pub struct Kernel {
    pub now: u64,
    pub random: Random,
    pub mood: Mood,
    pub trace: bool,
    queue: BTreeMap<(u64, u64), Happening>,
    serial: u64,
    pub conns: Vec<Conn>,
    /// Those that the proxy holds.
    pub held: BTreeSet<usize>,
    pub listeners: BTreeMap<usize, Listener>,
    pub datagrams: BTreeMap<usize, Datagram>,
    /// Descriptors that the proxy has set aside.
    pub reserves: usize,
    /// Pipes that the proxy has open, and bytes that went through them.
    pub pipes: usize,
    /// Bytes that are in pipes now.
    pub piped: usize,
    pub spliced: u64,
    pub actors: Vec<Actor>,
    pub cast: Cast,
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
    pub fn new(random: Random, mood: Mood, cast: Cast, trace: bool) -> Kernel {
        Kernel {
            now: 1_000,
            random,
            mood,
            trace,
            queue: BTreeMap::new(),
            serial: 0,
            conns: Vec::new(),
            held: BTreeSet::new(),
            listeners: BTreeMap::new(),
            datagrams: BTreeMap::new(),
            reserves: 0,
            pipes: 0,
            piped: 0,
            spliced: 0,
            actors: Vec::new(),
            cast,
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

    fn latency(&mut self) -> u64 {
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

    pub fn new_conn(&mut self, local: SocketAddrV4, peer: SocketAddrV4) -> usize {
        let sizes = [512, 1000, 4096, 20_000, 200_000];
        let mut end = || {
            let recv = self.random.pick(&sizes) as usize;
            End::new(recv, self.random.pick(&sizes) as usize)
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
    pub fn dial(&mut self, from: SocketAddrV4, to: SocketAddrV4, actor: usize) -> Option<usize> {
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

    /// Lets the wire take what an end has.
    pub fn kick(&mut self, conn: usize, end: usize) {
        let this = &mut self.conns[conn].ends[end];
        if !this.carrying && this.is_laden() && !this.dead && !this.reset {
            this.carrying = true;
            let latency = self.latency();
            self.after(latency, Happening::Carry(conn, end));
        }
    }

    /// A reset that is on its way to the proxy comes just before the call that will tell of it,
    /// and so before any event.
    pub fn hasten_reset(&mut self, conn: usize) {
        let coming = |h: &Happening| matches!(h, Happening::Reset(c, NEAR) if *c == conn);
        let found = self.queue.iter().find(|(_, happening)| coming(happening));
        if let Some(key) = found.map(|(key, _)| *key) {
            self.queue.remove(&key);
            self.reset_arrives(conn, NEAR);
        }
    }

    fn carry(&mut self, conn: usize, from: usize) {
        let most = self.random.pick(&[10, 6_000, 100_000]);
        let most = self.random.within(1, most) as usize;
        let c = &mut self.conns[conn];
        let [near, far] = &mut c.ends;
        let (source, sink) = if from == NEAR { (near, far) } else { (far, near) };
        source.carrying = false;
        if source.dead || source.reset || sink.dead {
            return;
        }
        let room = sink.recv_capacity.saturating_sub(sink.recv.len());
        let n = source.send.len().min(if sink.closed { usize::MAX } else { room }).min(most);
        if sink.closed {
            source.send.clear();
            if n == 0 {
                sink.fin_arrived = source.finished;
            } else {
                let latency = self.latency();
                self.after(latency, Happening::Reset(conn, from));
            }
            return;
        }
        if n > 0 {
            source.moved_at = self.now;
        }
        sink.recv.extend(source.send.drain(..n));
        sink.arrived += n as u64;
        let fin = source.finished && source.send.is_empty() && !sink.fin_arrived;
        sink.fin_arrived |= fin;
        let more = !source.send.is_empty() && n > 0 || (n > 0 && source.finished && !fin);
        if fin && from == FAR {
            c.watch.changed = true;
        }
        if more {
            self.kick(conn, from);
        }
    }

    fn reset_arrives(&mut self, conn: usize, to: usize) {
        let c = &mut self.conns[conn];
        let end = &mut c.ends[to];
        if end.closed || end.dead {
            return;
        }
        end.dead = true;
        end.error = Some(if end.fin_arrived { Errno::PIPE } else { Errno::CONNRESET });
        end.send.clear();
        c.watch.changed |= to == NEAR;
        self.say(|| {
            format!("connection {conn}: a reset reaches {}", ["the proxy", "the far end"][to])
        });
    }

    /// What the proxy has sent and the other end's kernel has not got; FIN counts as a byte.
    pub fn unacknowledged(&self, conn: usize) -> usize {
        let [near, far] = &self.conns[conn].ends;
        near.send.len() + usize::from(near.finished && !far.fin_arrived)
    }

    /// Reads at the far end, or at the near one.
    pub fn read(
        &mut self,
        conn: usize,
        end: usize,
        into: &mut Vec<u8>,
        most: usize,
    ) -> Result<usize, Errno> {
        let read = self.conns[conn].ends[end].read(into, most);
        if matches!(read, Ok(n) if n > 0) {
            self.kick(conn, 1 - end);
        }
        read
    }

    pub fn write(
        &mut self,
        conn: usize,
        end: usize,
        bytes: &[u8],
        most: usize,
    ) -> Result<usize, Errno> {
        let written = self.conns[conn].ends[end].write(bytes, most);
        if written.is_ok() {
            self.conns[conn].ends[end].moved_at = self.now;
        }
        self.kick(conn, end);
        written
    }

    pub fn finish(&mut self, conn: usize, end: usize) {
        self.conns[conn].ends[end].finished = true;
        self.kick(conn, end);
    }

    /// Closes in order; over bytes that nobody has read, Linux resets.
    pub fn close(&mut self, conn: usize, end: usize) {
        let this = &mut self.conns[conn].ends[end];
        if this.closed {
            return;
        }
        if !this.recv.is_empty() {
            return self.reset(conn, end);
        }
        this.closed = true;
        self.finish(conn, end);
    }

    pub fn reset(&mut self, conn: usize, end: usize) {
        let this = &mut self.conns[conn].ends[end];
        if this.closed {
            return;
        }
        (this.closed, this.reset) = (true, true);
        this.send.clear();
        let latency = self.latency();
        self.after(latency, Happening::Reset(conn, 1 - end));
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
                Happening::Answered(conn, error) => self.answered(conn, error),
                Happening::Wake(actor) => self.wake(actor),
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
                if let Some(actor) = c.actor {
                    self.after(0, Happening::Wake(actor));
                }
            }
        }
    }
}
