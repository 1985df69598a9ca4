//! Who is at the far ends: clients, targets, identds. They wake now and then and do something.

use crate::addresses::{host_of, own_facing};
use crate::attempts::Attempts;
use crate::calls::IDENT_PORT;
use crate::dns::DNS_PORT;
use crate::flow::Flow;
use crate::kernel::{Happening, Kernel, Listener};
use crate::login::Login;
use crate::name_server::NameServer;
use crate::plan::{Ending, Identd, Peer, Plan};
use crate::random::pattern;
use crate::reloads::Basis;
use crate::replies::hear;
use crate::tcp::{FAR, NEAR};
use rustix::io::Errno;
use socku::internals::address::PerFamily;
use socku::internals::settings::Durations;
use std::net::{IpAddr, SocketAddr};

/// All that was planned, and what has become of each client.
pub struct Cast {
    pub clients: Vec<Client>,
    pub entrances: Vec<SocketAddr>,
    /// Source addresses of connections to targets.
    pub outbound: PerFamily,
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
    pub address: Option<SocketAddr>,
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
    /// After an upgrade it had to be asked again what its name means, or what its identd says.
    pub is_asked_again: bool,
    /// The new program could not take its sockets over.
    pub is_unadopted: bool,
    /// The client's identd was connected to.
    pub asked_ident: bool,
    /// How many answers to those it has heard, and since when.
    pub heard: (usize, u64),
    /// When the proxy has taken it.
    pub accepted_at: u64,
    /// What its messages before the request come to.
    pub login: Login,
    /// What the proxy has sent of answers, and where the reply begins that is sent last.
    pub replies: Vec<u8>,
    pub reply_at: usize,
    /// Its BIND has been granted.
    pub listens: bool,
    /// The last reply is granted: the relay has begun.
    pub granted: bool,
    pub refused: bool,
    /// The code of that.
    pub refusal: Option<u8>,
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
        let hold = match plan.is_in_turn {
            true => 0,
            false => plan.request.len() as u64 + plan.early,
        };
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
            is_asked_again: false,
            is_unadopted: false,
            asked_ident: false,
            heard: (0, 0),
            accepted_at: 0,
            login: Login::new(),
            replies: Vec::new(),
            reply_at: 0,
            listens: false,
            granted: false,
            refused: false,
            refusal: None,
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

    /// The user by whose name it is judged.
    pub fn user(&self) -> &'static str {
        if self.plan.is_socks5 { self.login.user } else { self.plan.user }
    }

    /// How its identd answers. RFC 1413 knows no empty user, so it cannot name that.
    pub fn identd(&self) -> Identd {
        match self.plan.identd {
            Identd::Right if self.user().is_empty() => Identd::Error,
            other => other,
        }
    }

    /// Nothing has been sent of a reply to its request.
    pub fn awaits_reply(&self) -> bool {
        self.replies.len() <= self.login.answers.len()
    }

    /// Part of a reply has been sent.
    pub fn has_half_a_reply(&self) -> bool {
        self.replies.len() > self.reply_at.max(self.login.answers.len())
    }
}

/// Somebody who is woken; a client's own data is in the cast.
pub enum Actor {
    Nobody,
    Client,
    /// The target of a client's CONNECT, or the peer of its BIND: connection and flow.
    Target(usize, Option<Flow>),
    /// Dials the listener of a client's BIND.
    Dialler(usize, IpAddr, SocketAddr),
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
                    (*client, SocketAddr::new(*from, kernel.fresh_port()), *to);
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
        let plan = &kernel.cast.clients[place].plan;
        let (from, mut to) = (plan.from, kernel.cast.entrances[plan.entrance]);
        if to.ip().is_unspecified() {
            to.set_ip(own_facing(from));
        }
        let from = SocketAddr::new(from, kernel.fresh_port());
        let conn = kernel.dial(from, to, place)?;
        kernel.conns[conn].role = Some(Role::Client(place));
        let now = kernel.now;
        let client = &mut kernel.cast.clients[place];
        (client.conn, client.address) = (Some(conn), Some(from));
        (client.moved_at, client.heard.1) = (now, now);
        return Some(0);
    };
    let now = kernel.now;
    let client = &mut kernel.cast.clients[place];
    let is_bind = client.plan.command == 2;
    let (is_socks5, replies) = (client.plan.is_socks5, 1 + usize::from(is_bind));
    let before = hear(is_socks5, replies, &client.flow.first);
    let is_last = before.replies.len() == replies;
    let granted = is_last && before.replies.iter().all(|reply| reply.is_granted);
    client.proceed(now, before.answers, before.wants_password);
    let nothing = Flow::new(0, Vec::new(), 0, 0, (Ending::Hold, 0), 0);
    let mut flow = std::mem::replace(&mut client.flow, nothing);
    let again = flow.wake(kernel, conn, granted);
    let after = hear(is_socks5, replies, &flow.first);
    kernel.cast.clients[place].flow = flow;
    if let Some(reply) = after.replies.first()
        && before.replies.is_empty()
        && is_bind
        && reply.is_granted
    {
        send_peers(kernel, place, reply.address);
    }
    again
}

impl Client {
    /// So many messages have been answered: a client that waits for that sends the next one.
    fn proceed(&mut self, now: u64, answers: usize, wants_password: bool) {
        if self.heard.0 != answers {
            self.heard = (answers, now);
        }
        if !self.plan.is_in_turn || now < self.heard.1 + self.plan.delay_ms {
            return;
        }
        let is_unwanted = answers == 1 && !wants_password && self.plan.login.is_some();
        if is_unwanted && self.flow.sent == self.plan.ends[0] as u64 {
            let range = self.plan.leave_out_password();
            self.flow.leave_out(range);
        }
        let last = self.plan.ends.len() - 1;
        let early = if answers >= last { self.plan.early } else { 0 };
        self.flow.hold = self.plan.ends[answers.min(last)] as u64 + early;
    }
}

/// The client has told somebody where its BIND listens.
fn send_peers(kernel: &mut Kernel, place: usize, address: SocketAddr) {
    let plan = &kernel.cast.clients[place].plan;
    // Where SOCKS4 has no address, the client tells that of the family of its peer.
    let (is_v6, is_told) = (address.is_ipv6(), !address.ip().is_unspecified());
    let right = plan.right_peer(is_v6);
    let told = if is_told { address.ip() } else { own_facing(right) };
    let address = SocketAddr::new(told, address.port());
    let wrong = crate::addresses::address(told.is_ipv6(), 9, 9, 9);
    let peers: &[IpAddr] = match plan.peer {
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
    let (user, identd) = (kernel.client(client).user(), kernel.client(client).identd());
    let plan = &kernel.cast.clients[client].plan;
    let expected = kernel.cast.clients[client].address.map_or(0, |address| address.port());
    let entrance = kernel.cast.entrances[plan.entrance];
    assert_eq!(ports, format!("{expected} , {}", entrance.port()), "the question");
    let answer = match identd {
        Identd::Right => format!("{ports} : USERID : UNIX : {user}\r\n"),
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
        target: SocketAddr,
    ) -> Result<(), Errno> {
        if target.port() == DNS_PORT {
            return self.call_name_server(conn, target);
        }
        let client = client.expect("every other connection is made for a client");
        let mut delay = self.random.within(0, 60);
        let actor = if target.port() == IDENT_PORT {
            self.conns[conn].role = Some(Role::Identd(client));
            match self.client(client).identd() {
                Identd::Refuses => return self.refuse(conn, delay, Errno::CONNREFUSED),
                Identd::Stalls => return Ok(()),
                _ => Actor::Identd(client, Vec::new()),
            }
        } else {
            self.conns[conn].role = Some(Role::Target(client));
            self.cast.clients[client].target = Some(conn);
            self.mood.lack.route_to(target.ip())?;
            match host_of(target.ip()) {
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
