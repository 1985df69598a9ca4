//! The answers that clients are sent: their bytes, one by one, and what must hold by then.

use crate::addresses::unspecified;
use crate::checks::SLACK_MS;
use crate::kernel::Kernel;
use crate::login::Stage;
use crate::rules::{BIND, CONNECT};
use crate::tcp::NEAR;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A reply, of which the code that grants is 90 in one protocol and 0 in the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    pub code: u8,
    pub is_granted: bool,
    pub address: SocketAddr,
}

/// How many bytes a reply has of which these have come; `None` until they tell.
fn length(speaks_5: bool, bytes: &[u8]) -> Option<usize> {
    match (speaks_5, bytes.get(3)) {
        (false, _) => Some(8),
        (true, None) => None,
        (true, Some(1)) => Some(4 + 4 + 2),
        (true, Some(4)) => Some(4 + 16 + 2),
        (true, Some(other)) => panic!("a reply with an address of type {other}"),
    }
}

/// The first reply in these bytes, and its length.
pub fn parse(speaks_5: bool, bytes: &[u8]) -> Option<(Reply, usize)> {
    let length = length(speaks_5, bytes)?;
    let bytes = bytes.get(..length)?;
    let code = bytes[1];
    let port = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let four = |at: usize| <[u8; 4]>::try_from(&bytes[at..at + 4]).map(Ipv4Addr::from);
    let reply = if !speaks_5 {
        assert_eq!(bytes[0], 0, "VN of a reply");
        let ip = four(4).expect("four octets");
        Reply { code, is_granted: code == 90, address: (ip, port(2)).into() }
    } else {
        assert_eq!((bytes[0], bytes[2]), (5, 0), "VER and RSV of a reply");
        let ip: IpAddr = match bytes[3] {
            1 => four(4).expect("four octets").into(),
            _ => {
                let octets: [u8; 16] = bytes[4..20].try_into().expect("sixteen octets");
                assert!(Ipv6Addr::from(octets).to_ipv4_mapped().is_none(), "ATYP of IPv4");
                octets.into()
            }
        };
        Reply { code, is_granted: code == 0, address: (ip, port(length - 2)).into() }
    };
    Some((reply, length))
}

/// What a client has heard so far: how many answers before the replies, whether it is to send its
/// password, and the replies.
#[derive(Default)]
pub struct Heard {
    pub answers: usize,
    pub wants_password: bool,
    pub replies: Vec<Reply>,
}

/// Reads answers as a client does that expects so many replies.
pub fn hear(speaks_5: bool, replies: usize, mut bytes: &[u8]) -> Heard {
    let mut heard = Heard::default();
    // Before its first byte a client is taken for one of SOCKS4.
    if speaks_5 && bytes.first() == Some(&0) {
        return heard;
    }
    if speaks_5 && let Some((method, rest)) = bytes.split_at_checked(2) {
        (heard.answers, heard.wants_password, bytes) = (1, method[1] == 2, rest);
        if method[1] == 255 {
            return heard;
        }
    }
    if heard.wants_password {
        let Some((status, rest)) = bytes.split_at_checked(2) else { return heard };
        (heard.answers, bytes) = (2, rest);
        if status[1] != 0 {
            return heard;
        }
    }
    let has_begun = heard.answers > 0 || !speaks_5;
    while has_begun
        && heard.replies.len() < replies
        && let Some((reply, length)) = parse(speaks_5, bytes)
    {
        heard.replies.push(reply);
        bytes = &bytes[length..];
        if !reply.is_granted {
            break;
        }
    }
    heard
}

impl Kernel {
    /// A byte for a client has gone out to which nothing is relayed yet.
    pub fn note_answer(&mut self, place: usize, byte: u8) {
        let client = &mut self.cast.clients[place];
        client.replies.push(byte);
        let sent = client.replies.len();
        // The proxy answers without having read all of a message.
        if sent > client.login.answers.len() && client.login.stage != Stage::Over {
            client.login.give_up();
            client.login.verdict.get_or_insert("given up");
            self.check_patience(place);
        }
        let client = &mut self.cast.clients[place];
        let is_foreign = client.login.verdict == Some("bad-version") && client.login.proto == "-";
        assert!(!is_foreign, "client {place} speaks another protocol and is answered");
        let answers = &client.login.answers;
        if sent <= answers.len() {
            assert_eq!(byte, answers[sent - 1], "client {place}: answer {answers:?}");
            let is_last = client.login.is_rejected && sent == answers.len();
            client.refused = is_last;
            client.refusal = Some(byte).filter(|_| is_last);
            return;
        }
        assert!(!client.login.is_rejected, "client {place}: a reply after a rejection");
        client.reply_at = client.reply_at.max(answers.len());
        self.check_replies(place);
    }

    /// The proxy gives up a client before its request is complete: the time for that covers all
    /// messages, and one that is turned away has as long as it takes to tell it.
    fn check_patience(&self, place: usize) {
        let client = self.client(place);
        let durations = &self.cast.durations;
        let is_served = self.cast.max_per_source.is_none_or(|most| client.rivals < most);
        let most = if is_served { durations.request_ms } else { durations.linger_ms };
        let most = most + SLACK_MS;
        let is_late = self.turn_at > client.accepted_at + most && self.jumped.is_none();
        assert!(!is_late, "client {place} has more time for its request than {most} ms");
    }

    fn check_replies(&mut self, place: usize) {
        let conn = self.client(place).conn.expect("a client");
        let client = &mut self.cast.clients[place];
        let reply = &client.replies[client.reply_at..];
        if reply.len() == 1 {
            client.taken_at_reply = self.conns[conn].ends[NEAR].taken;
        }
        let speaks_5 = client.login.speaks_5();
        let grants = if speaks_5 { 0 } else { 90 };
        let client = &self.cast.clients[place];
        let reply = &client.replies[client.reply_at..];
        let is_first_of_bind = client.plan.command == BIND && !client.listens;
        if reply.len() == 2 && is_first_of_bind && reply[1] == grants {
            let listens = self.listeners.values().any(|l| l.client == Some(place));
            // Or it does no more, since the client has left or slept before its grant was out.
            let has_left = self.conns[conn].ends[NEAR].fin_arrived;
            let is_excused = has_left || self.jumped.is_some();
            assert!(listens || is_excused, "BIND granted before it listens");
        }
        let Some((reply, length)) = parse(speaks_5, reply) else { return };
        if !reply.is_granted {
            self.check_rejection(place, reply);
        } else if is_first_of_bind {
            self.check_listening_reply(place, reply.address);
        } else {
            self.check_grant(place, reply.address);
        }
        let client = &mut self.cast.clients[place];
        client.reply_at += length;
        client.granted = reply.is_granted && !is_first_of_bind;
        client.listens |= reply.is_granted && is_first_of_bind;
        client.refused = !reply.is_granted;
        client.refusal = Some(reply.code).filter(|_| !reply.is_granted);
        if client.granted {
            self.count_grant(place);
        }
    }

    fn check_rejection(&self, place: usize, reply: Reply) {
        let codes = if self.client(place).login.speaks_5() { 1..=8 } else { 91..=93 };
        assert!(codes.contains(&reply.code), "code {}", reply.code);
        assert_eq!(reply.address, (unspecified(false), 0).into(), "the address of a rejection");
    }

    fn check_may_be_granted(&self, place: usize) {
        let client = self.client(place);
        let is_asked = client.basis.is_some() && client.plan.flaw.is_none();
        assert!(is_asked && client.login.verdict.is_none(), "client {place} is granted nothing");
    }

    fn check_listening_reply(&self, place: usize, told: SocketAddr) {
        self.check_may_be_granted(place);
        // It may have ended while the last bytes of the reply were held.
        let Some(listener) = self.listeners.values().find(|l| l.client == Some(place)) else {
            return;
        };
        // SOCKS4 has no IPv6 address.
        let is_nameless = listener.address.is_ipv6() && !self.client(place).login.speaks_5();
        let is_right = match is_nameless {
            true => told == (unspecified(false), listener.address.port()).into(),
            false => listener.is_at(told) && !told.ip().is_unspecified(),
        };
        assert!(is_right, "{told} is another address than the BIND's, {}", listener.address);
        if self.client(place).plan.is_open_bind() && !is_nameless {
            let known = self.known_to(place).map(|own| self.outbound(own).unwrap_or(own));
            let known: Vec<_> = known.collect();
            assert!(known.contains(&told.ip()), "{told} for any peer, expected one of {known:?}");
        }
    }

    /// The addresses of the proxy that a client has to do with: that to which it is connected, and
    /// those of its running CONNECTs.
    fn known_to(&self, place: usize) -> impl Iterator<Item = IpAddr> + '_ {
        let client = self.client(place);
        let alike = self.cast.clients.iter().filter(|other| other.plan.from == client.plan.from);
        let connects = alike.filter(|other| other.plan.command == CONNECT);
        let running = connects.filter_map(|other| other.attempts.winner);
        let running = running.filter(|conn| self.held.contains(conn));
        client.conn.into_iter().chain(running).map(|conn| self.conns[conn].local.ip())
    }

    fn check_grant(&self, place: usize, told: SocketAddr) {
        self.check_may_be_granted(place);
        let client = self.client(place);
        let target = client.target.map(|conn| &self.conns[conn]);
        let target = target.expect("granted without target");
        assert!(target.established, "granted before connected");
        let own = if client.plan.command == BIND { target.peer } else { target.local };
        let is_nameless = own.is_ipv6() && !client.login.speaks_5();
        let own = if is_nameless { (unspecified(false), own.port()).into() } else { own };
        assert_eq!(own, told, "the address of a grant");
        if client.plan.command == BIND {
            assert!(self.allows_peer(place, target.peer.ip()), "a stranger at a BIND");
        }
    }

    fn count_grant(&mut self, place: usize) {
        let client = self.client(place);
        let Some(target) = client.target.map(|conn| &self.conns[conn]) else { return };
        let (is_v6, is_bind) = (target.peer.is_ipv6(), client.plan.command == BIND);
        let (is_socks5, is_proven) = (client.login.speaks_5(), client.login.is_proven);
        let is_mapped = client.plan.is_mapped && client.plan.name.is_none();
        let is_second_choice = client.attempts.has_failed_in(!is_v6);
        let is_in_turn = client.plan.is_in_turn;
        let client_is_v6 = client.plan.from.is_ipv6();
        let seen = &mut self.seen;
        seen.grants += 1;
        seen.socks5 += u64::from(is_socks5);
        seen.proven += u64::from(is_proven);
        seen.v6_targets += u64::from(is_v6 && !is_bind);
        seen.v6_clients += u64::from(client_is_v6);
        seen.crossed += u64::from(client_is_v6 != is_v6);
        seen.binds[usize::from(is_v6)] += u64::from(is_bind);
        seen.mapped += u64::from(is_mapped && is_socks5 && !is_v6);
        seen.paces[usize::from(is_in_turn)] += u64::from(is_socks5);
        seen.fallbacks += u64::from(is_second_choice);
    }
}
