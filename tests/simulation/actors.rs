//! Who is at the far ends: clients, targets, identds. They wake now and then and do something.

use crate::attempts::Attempts;
use crate::calls::IDENT_PORT;
use crate::dns::DNS_PORT;
use crate::kernel::{Happening, Kernel, Listener};
use crate::name_server::NameServer;
use crate::plan::{Ending, Identd, Peer, Plan};
use crate::random::pattern;
use crate::reloads::Basis;
use crate::tcp::{FAR, NEAR};
use rustix::io::Errno;
use socku::internals::settings::Durations;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};

/// All that was planned, and what has become of each client.
pub struct Cast {
    pub clients: Vec<Client>,
    pub entrances: [SocketAddrV4; 2],
    pub max_sessions: usize,
    pub max_per_source: Option<u32>,
    /// Few ports for BIND.
    pub few_ports: bool,
    /// Of each deadline.
    pub durations: Durations,
    /// No wait of the loop's is longer.
    pub longest_ms: u64,
    /// How likely a name server behaves, in per cent.
    pub honesty: u64,
    /// How likely its answers are truncated.
    pub truncates: u64,
}

/// Who a connection's far end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Client(usize),
    Target(usize),
    Identd(usize),
    NameServer,
}

/// One client, its session and the target of that.
pub struct Client {
    pub plan: Plan,
    pub address: Option<SocketAddrV4>,
    pub conn: Option<usize>,
    pub flow: Flow,
    /// The connection that the proxy made or took for it last.
    pub target: Option<usize>,
    pub attempts: Attempts,
    /// What was in force when its request was complete.
    pub basis: Option<Basis>,
    /// The rules in force when the proxy first acted on a decision, and when its peer was taken.
    pub acted_by: Option<usize>,
    pub peer_by: Option<usize>,
    /// The client's identd was connected to.
    pub asked_ident: bool,
    /// What the proxy has sent of replies.
    pub replies: Vec<u8>,
    /// The last reply is granted: the relay has begun.
    pub granted: bool,
    pub refused: bool,
    /// How many of its bytes had been read when the last reply began.
    pub taken_at_reply: u64,
    /// When something was last done for it, and when a byte was last delivered.
    pub moved_at: u64,
    pub delivered_at: u64,
    /// Sessions of the same address when it was taken.
    pub rivals: u32,
    /// Its target was reset as soon as it had accepted.
    pub has_burst: bool,
    /// Since when a reset could have been passed on.
    pub reset_due: Option<u64>,
    /// Something that had arrived was thrown away by a reset.
    pub lost: bool,
    /// The reason of the access line.
    pub reason: Option<String>,
}

impl Client {
    pub fn new(plan: Plan, place: usize) -> Client {
        let key = 2 * place as u64;
        let hold = plan.request.len() as u64 + plan.early;
        let mut flow = Flow::new(key, plan.request.clone(), hold, plan.up, plan.end, plan.reads);
        flow.urgent = plan.urgent.iter().copied().collect();
        Client {
            plan,
            address: None,
            conn: None,
            flow,
            target: None,
            attempts: Attempts::default(),
            basis: None,
            acted_by: None,
            peer_by: None,
            asked_ident: false,
            replies: Vec::new(),
            granted: false,
            refused: false,
            taken_at_reply: 0,
            moved_at: 0,
            delivered_at: 0,
            rivals: 0,
            has_burst: false,
            reset_due: None,
            lost: false,
            reason: None,
        }
    }
}

/// What one far end sends, reads, and how it ends.
pub struct Flow {
    key: u64,
    head: Vec<u8>,
    /// No more than this before the relay has begun.
    hold: u64,
    total: u64,
    end: (Ending, u64),
    reads: u64,
    /// Which bytes are urgent that have not been sent.
    urgent: VecDeque<u64>,
    pub sent: u64,
    pub got: u64,
    pub first: Vec<u8>,
    pub heard_fin: bool,
    pub heard_reset: bool,
    pub ended: Option<Ending>,
    /// It went away by itself, and may have missed what came then.
    pub left: bool,
    patience: u64,
}

impl Flow {
    fn new(key: u64, head: Vec<u8>, hold: u64, total: u64, end: (Ending, u64), reads: u64) -> Flow {
        Flow {
            key,
            total: total + head.len() as u64,
            head,
            hold,
            end,
            reads,
            urgent: VecDeque::new(),
            sent: 0,
            got: 0,
            first: Vec::new(),
            heard_fin: false,
            heard_reset: false,
            ended: None,
            left: false,
            patience: 0,
        }
    }

    /// Reads some, writes some, ends; after how long to go on, if at all.
    fn wake(&mut self, kernel: &mut Kernel, conn: usize, may_go: bool) -> Option<u64> {
        let before = (self.sent, self.got, self.ended, self.heard_fin);
        self.read(kernel, conn);
        let limit = if may_go { self.total } else { self.total.min(self.hold) };
        let limit = limit.min(self.end.1);
        if self.ended.is_none() && !self.heard_reset {
            let before = self.urgent.len();
            self.write(kernel, conn, limit);
            // What comes before and after an urgent byte often goes out with it.
            if self.urgent.front() == Some(&self.sent) || self.urgent.len() < before {
                self.write(kernel, conn, limit);
                self.write(kernel, conn, limit);
            }
        }
        // Whoever has heard FIN has no reason to wait for more than its own end.
        let done = self.sent >= self.total || (self.heard_fin && !may_go);
        if self.ended.is_none() && (self.sent >= self.end.1 || done) {
            self.finish(
                kernel,
                conn,
                if self.sent >= self.end.1 { self.end.0 } else { Ending::Fin },
            );
        }
        if self.heard_reset || (self.heard_fin && self.ended == Some(Ending::Fin)) {
            kernel.close(conn, FAR);
            self.ended = Some(Ending::Close);
        }
        if matches!(self.ended, Some(Ending::Close | Ending::Reset | Ending::Vanish)) {
            return None;
        }
        let changed = before != (self.sent, self.got, self.ended, self.heard_fin);
        self.patience = if changed { 0 } else { self.patience + 1 };
        let most = 1 + (5 << self.patience.min(8));
        (self.patience < 40).then(|| kernel.random.within(1, most))
    }

    fn read(&mut self, kernel: &mut Kernel, conn: usize) {
        for _ in 0..4 {
            let most = kernel.random.pick(&[5_000, 100_000]);
            let most = kernel.random.within(1, most).min(self.reads - self.got.min(self.reads));
            if most == 0 || self.heard_fin || self.heard_reset {
                return;
            }
            let mut bytes = Vec::new();
            match kernel.read(conn, FAR, &mut bytes, most as usize) {
                Ok(0) => self.heard_fin = true,
                Ok(n) => {
                    self.got += n as u64;
                    let wanted = bytes.len().min(16 - self.first.len());
                    self.first.extend_from_slice(&bytes[..wanted]);
                }
                Err(Errno::AGAIN) => return,
                Err(_) => self.heard_reset = true,
            }
        }
    }

    fn write(&mut self, kernel: &mut Kernel, conn: usize, limit: u64) {
        let mosts = if kernel.mood.is_wide { [200_000; 3] } else { [10, 8_000, 200_000] };
        let most = kernel.random.pick(&mosts);
        let most = kernel.random.within(1, most).min(limit.saturating_sub(self.sent));
        if most == 0 {
            return;
        }
        // An urgent byte goes out alone.
        let is_urgent = self.urgent.front() == Some(&self.sent);
        let before_next = self.urgent.front().map_or(u64::MAX, |next| next - self.sent);
        let most = if is_urgent { 1 } else { most.min(before_next) };
        let head = self.head.get(self.sent as usize..).unwrap_or_default();
        let mut bytes = head[..head.len().min(most as usize)].to_vec();
        if (bytes.len() as u64) < most {
            let at = self.sent + bytes.len() as u64 - self.head.len() as u64;
            bytes.extend(pattern(self.key, at, most as usize - bytes.len()));
        }
        match kernel.write(conn, FAR, &bytes, bytes.len()) {
            Ok(n) => {
                self.sent += n as u64;
                if is_urgent {
                    self.urgent.pop_front();
                    kernel.mark(conn, FAR);
                }
            }
            Err(Errno::AGAIN) => {}
            Err(_) => self.heard_reset = true,
        }
    }

    fn finish(&mut self, kernel: &mut Kernel, conn: usize, ending: Ending) {
        kernel.say(|| format!("far end of {conn}: {ending:?} after {} bytes", self.sent));
        match ending {
            Ending::Fin => kernel.finish(conn, FAR),
            Ending::Close => kernel.close(conn, FAR),
            Ending::Reset => kernel.reset(conn, FAR),
            Ending::Hold => {}
            Ending::Vanish => kernel.vanish(conn),
        }
        self.left = matches!(ending, Ending::Close | Ending::Reset | Ending::Vanish);
        self.ended = Some(ending);
    }
}

/// Somebody who is woken; a client's own data is in the cast.
pub enum Actor {
    Nobody,
    Client,
    /// The target of a client's CONNECT, or the peer of its BIND: connection and flow.
    Target(usize, Option<Flow>),
    /// Dials the listener of a client's BIND.
    Dialler(usize, Ipv4Addr, SocketAddrV4),
    Identd(usize, Vec<u8>),
    NameServer(NameServer),
}

impl Actor {
    pub fn wake(&mut self, kernel: &mut Kernel, place: usize) {
        let again = match self {
            Actor::Nobody => None,
            Actor::Client => wake_client(kernel, place),
            Actor::Target(client, flow) => {
                let conn = kernel.conns.iter().rposition(|c| c.actor == Some(place));
                let plan = &kernel.cast.clients[*client].plan;
                let make = || {
                    let key = 2 * *client as u64 + 1;
                    let (end, reads) = (plan.target_end, plan.target_reads);
                    let mut flow = Flow::new(key, Vec::new(), 0, plan.down, end, reads);
                    flow.urgent = plan.target_urgent.iter().copied().collect();
                    flow
                };
                let flow = flow.get_or_insert_with(make);
                conn.and_then(|conn| flow.wake(kernel, conn, true))
            }
            Actor::Dialler(client, from, to) => {
                let (client, from, to) =
                    (*client, SocketAddrV4::new(*from, kernel.fresh_port()), *to);
                // Another BIND may have got the port since.
                let waits = |l: &Listener| l.is_at(to) && l.client == Some(client);
                if kernel.listeners.values().any(waits)
                    && let Some(conn) = kernel.dial(from, to, place)
                {
                    kernel.conns[conn].role = Some(Role::Target(client));
                    *self = Actor::Target(client, None);
                }
                Some(1).filter(|_| matches!(self, Actor::Target(..)))
            }
            Actor::NameServer(server) => server.wake(kernel, place),
            Actor::Identd(client, question) => wake_identd(kernel, place, *client, question),
        };
        if let Some(delay) = again {
            kernel.after(delay, Happening::Wake(place));
        }
    }
}

fn wake_client(kernel: &mut Kernel, place: usize) -> Option<u64> {
    let Some(conn) = kernel.cast.clients[place].conn else {
        let from = SocketAddrV4::new(kernel.cast.clients[place].plan.from, kernel.fresh_port());
        let to = kernel.cast.entrances[kernel.cast.clients[place].plan.entrance];
        let conn = kernel.dial(from, to, place)?;
        kernel.conns[conn].role = Some(Role::Client(place));
        let now = kernel.now;
        let client = &mut kernel.cast.clients[place];
        (client.conn, client.address) = (Some(conn), Some(from));
        client.moved_at = now;
        return Some(0);
    };
    let granted = {
        let client = &kernel.cast.clients[place];
        let second = if client.plan.command == 2 { client.flow.first.get(9) } else { None };
        second.or(client.flow.first.get(1).filter(|_| client.plan.command == 1)) == Some(&90)
    };
    let told = kernel.cast.clients[place].flow.first.len() >= 8;
    let mut flow = std::mem::replace(
        &mut kernel.cast.clients[place].flow,
        Flow::new(0, Vec::new(), 0, 0, (Ending::Hold, 0), 0),
    );
    let again = flow.wake(kernel, conn, granted);
    let listens = !told && flow.first.len() >= 8 && flow.first[1] == 90;
    let told_at = flow.first.get(..8).map(|reply| {
        let port = u16::from_be_bytes([reply[2], reply[3]]);
        SocketAddrV4::new(Ipv4Addr::new(reply[4], reply[5], reply[6], reply[7]), port)
    });
    kernel.cast.clients[place].flow = flow;
    if let Some(address) = told_at
        && listens
        && kernel.cast.clients[place].plan.command == 2
    {
        send_peers(kernel, place, address);
    }
    again
}

/// The client has told somebody where its BIND listens.
fn send_peers(kernel: &mut Kernel, place: usize, address: SocketAddrV4) {
    let (right, wrong) = (kernel.cast.clients[place].plan.right_peer(), Ipv4Addr::new(10, 9, 9, 9));
    let peers: &[Ipv4Addr] = match kernel.cast.clients[place].plan.peer {
        Peer::Right => &[right],
        Peer::Wrong => &[wrong],
        Peer::Both => &[right, wrong],
        Peer::Nobody => &[],
    };
    for &peer in peers {
        kernel.actors.push(Actor::Dialler(place, peer, address));
        let delay = kernel.random.below(400);
        kernel.after(delay, Happening::Wake(kernel.actors.len() - 1));
    }
}

fn wake_identd(
    kernel: &mut Kernel,
    place: usize,
    client: usize,
    question: &mut Vec<u8>,
) -> Option<u64> {
    let conn = kernel.conns.iter().rposition(|c| c.actor == Some(place))?;
    match kernel.read(conn, FAR, question, 100) {
        Ok(0) | Err(Errno::CONNRESET | Errno::PIPE) => {
            kernel.close(conn, FAR);
            return None;
        }
        _ if !question.ends_with(b"\r\n") => return Some(kernel.random.within(1, 200)),
        _ => {}
    }
    let ports = String::from_utf8_lossy(&question[..question.len() - 2]).into_owned();
    let plan = &kernel.cast.clients[client].plan;
    let expected = kernel.cast.clients[client].address.map_or(0, |address| address.port());
    let entrance = kernel.cast.entrances[plan.entrance];
    assert_eq!(ports, format!("{expected} , {}", entrance.port()), "the question");
    let answer = match plan.identd {
        Identd::Right => format!("{ports} : USERID : UNIX : {}\r\n", plan.user),
        Identd::Other => format!("{ports} : USERID : UNIX : mallory\r\n"),
        Identd::Error => format!("{ports} : ERROR : HIDDEN-USER\r\n"),
        Identd::Junk => "x".repeat(1500),
        _ => String::new(),
    };
    question.clear();
    let written = kernel.write(conn, FAR, answer.as_bytes(), answer.len());
    kernel.say(|| format!("identd of client {client}: {written:?}"));
    if plan_closes(kernel, client) {
        kernel.close(conn, FAR);
        return None;
    }
    Some(kernel.random.within(1, 200)).filter(|_| kernel.conns[conn].ends[0].is_alive())
}

fn plan_closes(kernel: &Kernel, client: usize) -> bool {
    matches!(kernel.cast.clients[client].plan.identd, Identd::Closes)
}

impl Kernel {
    /// The proxy connects to somebody: whether and how that comes to an end.
    pub fn call_out(
        &mut self,
        conn: usize,
        client: Option<usize>,
        target: SocketAddrV4,
    ) -> Result<(), Errno> {
        if target.port() == DNS_PORT {
            return self.call_name_server(conn, target);
        }
        let client = client.expect("every other connection is made for a client");
        let mut delay = self.random.within(0, 60);
        let actor = if target.port() == IDENT_PORT {
            self.conns[conn].role = Some(Role::Identd(client));
            match self.cast.clients[client].plan.identd {
                Identd::Refuses => return self.refuse(conn, delay, Errno::CONNREFUSED),
                Identd::Stalls => return Ok(()),
                _ => Actor::Identd(client, Vec::new()),
            }
        } else {
            self.conns[conn].role = Some(Role::Target(client));
            self.cast.clients[client].target = Some(conn);
            match target.ip().octets()[3] {
                5 => return self.refuse(conn, delay, Errno::CONNREFUSED),
                6 => return Ok(()),
                7 => return self.refuse(conn, delay, Errno::HOSTUNREACH),
                8 => return Err(Errno::NETUNREACH),
                9 => return Err(Errno::ACCESS),
                4 => delay = self.random.within(500, 3_000),
                _ => {}
            }
            Actor::Target(client, None)
        };
        self.actors.push(actor);
        self.conns[conn].actor = Some(self.actors.len() - 1);
        self.after(delay, Happening::Answered(conn, None));
        Ok(())
    }

    /// A target accepts, sends so many bytes and resets before anybody looks.
    pub fn burst(&mut self, conn: usize, bytes: u64) {
        let Some(Role::Target(place)) = self.conns[conn].role else { panic!("only targets do") };
        self.cast.clients[place].has_burst = true;
        let [near, far] = &mut self.conns[conn].ends;
        let most = near.recv_capacity.min(bytes as usize);
        if most > 0 {
            near.recv.extend(pattern(2 * place as u64 + 1, 0, most));
            near.arrived = near.recv.len() as u64;
        }
        (far.closed, far.reset) = (true, true);
        self.reset_arrives(conn, NEAR);
    }

    fn refuse(&mut self, conn: usize, delay: u64, error: Errno) -> Result<(), Errno> {
        self.after(delay, Happening::Answered(conn, Some(error)));
        Ok(())
    }
}
