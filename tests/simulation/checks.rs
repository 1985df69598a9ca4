//! What must hold: at every write, FIN and close of the proxy's, whenever it goes to sleep, and
//! for each access line.

use crate::actors::{Client, Role};
use crate::addresses::{own_facing, unspecified};
use crate::calls::IDENT_PORT;
use crate::dns::DNS_PORT;
use crate::kernel::{Conn, Kernel, is_reached_at};
use crate::plan::Identd;
use crate::random::is_pattern;
use crate::rules::{self, Asks, BIND, CONNECT, Case};
use crate::tcp::{End, NEAR};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

/// The loop reads the clock once a turn, and time passes meanwhile.
pub const SLACK_MS: u64 = 50;

#[derive(Default)]
pub struct Checks {
    pub turns: u64,
    pub idle_turns: u32,
    /// Turns in which no call did anything.
    pub fruitless: u64,
    /// The loop has asked how much was not acknowledged.
    pub has_looked: bool,
    /// Events that the last poll told.
    pub events: usize,
    /// Nothing will happen any more.
    pub asleep: bool,
    /// Since when a waiting client could have been taken.
    pub acceptable_since: Option<u64>,
    /// A new program takes over what the old one has handed over.
    pub adopting: bool,
    /// The loop was told to stop.
    pub stopped: bool,
    /// When a wrong password was compared, and of whom.
    pub failed_logins: Vec<(u64, IpAddr)>,
}

/// A byte that was urgent when it was read goes out as such. One that came since the last event and
/// the last read, so that nothing could tell of it, may look like any other; and one may keep what
/// it was when the next comes in the moment in which it is read.
fn check_urgency(source: &End, range: Range<u64>, is_urgent: bool) {
    if is_urgent {
        let is_known = source.announced.contains(&range.start);
        assert!(is_known, "a byte goes out as urgent that is not");
    } else {
        let missed = source.urgent_due.range(range).next();
        assert_eq!(missed, None, "an urgent byte goes out like any other");
    }
}

/// One direction of a relay, as the kernel sees it.
struct Way<'a> {
    source: &'a End,
    sink: &'a End,
    /// What was sent to the sink and has not arrived; FIN counts as a byte.
    owed: usize,
    /// Bytes read from the source, and of those written to the sink.
    taken: u64,
    given: u64,
}

impl Way<'_> {
    fn is_empty(&self) -> bool {
        self.taken == self.given
    }

    /// Everything that the source sent, to its FIN, has gone to the sink.
    fn is_complete(&self) -> bool {
        self.source.fin_read && !self.source.dead_told && self.is_empty()
    }
}

impl Kernel {
    pub fn client(&self, place: usize) -> &Client {
        &self.cast.clients[place]
    }

    /// Both ways of a client's relay once it has been granted: up, down.
    fn ways(&self, place: usize) -> Option<[Way<'_>; 2]> {
        self.connected_ways(place).filter(|_| self.client(place).granted)
    }

    /// The same as soon as there is a target.
    fn connected_ways(&self, place: usize) -> Option<[Way<'_>; 2]> {
        let client = self.client(place);
        let (near, far) = (&self.conns[client.conn?], &self.conns[client.target?]);
        let (c, t) = (&near.ends[NEAR], &far.ends[NEAR]);
        let (request, replies) = (client.plan.request.len() as u64, client.replies.len() as u64);
        let up = Way {
            source: c,
            sink: t,
            owed: self.owed(client.target?),
            taken: c.taken.saturating_sub(request),
            given: t.given,
        };
        let down = Way {
            source: t,
            sink: c,
            owed: self.owed(client.conn?),
            taken: t.taken,
            given: c.given - replies,
        };
        Some([up, down])
    }

    /// Whether the proxy holds bytes for which their readers have no room.
    pub fn holds_bytes(&self) -> bool {
        (0..self.cast.clients.len()).any(|place| self.holds_bytes_of(place))
    }

    /// The same of one client.
    pub fn holds_bytes_of(&self, place: usize) -> bool {
        let ways = self.connected_ways(place);
        ways.is_some_and(|ways| ways.iter().any(|way| way.sink.is_alive() && !way.is_empty()))
    }

    pub fn note_move(&mut self, conn: usize) {
        if let Some(Role::Client(place) | Role::Target(place)) = self.conns[conn].role {
            self.cast.clients[place].moved_at = self.now;
        }
    }

    /// Bytes of the source's have gone to the sink; replies do not count.
    fn note_delivery(&mut self, place: usize) {
        self.cast.clients[place].delivered_at = self.now;
    }

    /// The proxy has written `bytes`, which follow `at` others.
    pub fn check_output(&mut self, conn: usize, at: u64, mut bytes: &[u8], is_urgent: bool) {
        match self.conns[conn].role {
            Some(Role::Target(place)) => {
                assert!(is_pattern(2 * place as u64, at, bytes), "other bytes than the client's");
                self.note_delivery(place);
                let client = self.client(place);
                assert_eq!(client.attempts.winner, Some(conn), "bytes for a stranger");
                let end = &self.conns[client.conn.expect("a client")].ends[NEAR];
                let start = at + client.plan.request.len() as u64;
                let sent = start + bytes.len() as u64;
                assert!(sent <= end.taken, "more bytes than were read");
                check_urgency(end, start..sent, is_urgent);
            }
            Some(Role::Client(place)) => {
                let mut at = at;
                while !bytes.is_empty() && !self.client(place).granted {
                    assert!(!self.client(place).refused, "bytes behind a refusal");
                    self.note_answer(place, bytes[0]);
                    (at, bytes) = (at + 1, &bytes[1..]);
                }
                if !bytes.is_empty() {
                    self.note_delivery(place);
                }
                let replies = self.client(place).replies.len() as u64;
                let is_right = is_pattern(2 * place as u64 + 1, at - replies.min(at), bytes);
                assert!(is_right, "other bytes than the target's");
                assert!(!(is_urgent && bytes.is_empty()), "a reply is urgent");
                if let Some(target) = self.client(place).target.filter(|_| !bytes.is_empty()) {
                    let start = at - replies;
                    let range = start..start + bytes.len() as u64;
                    check_urgency(&self.conns[target].ends[NEAR], range, is_urgent);
                }
            }
            _ => {}
        }
    }

    /// Whether the rules, the request and the identd allow a connection with this address.
    pub fn allows(&self, place: usize, address: IpAddr) -> bool {
        self.deciding_rules(place).any(|rules| self.allows_by(rules, place, address))
    }

    /// The same of a peer that has come. BIND for any peer is decided when that is taken.
    pub fn allows_peer(&self, place: usize, address: IpAddr) -> bool {
        let by = self.client(place).peer_by.filter(|_| self.client(place).plan.is_open_bind());
        by.map_or_else(
            || self.allows(place, address),
            |rules| self.allows_by(rules, place, address),
        )
    }

    pub fn allows_by(&self, rules: usize, place: usize, address: IpAddr) -> bool {
        let client = self.client(place);
        let plan = &client.plan;
        let leads_there = || self.truths(place).iter().flatten().any(|all| all.contains(&address));
        if plan.flaw.is_some() || !(plan.is_open_bind() || leads_there()) {
            return false;
        }
        // An identd that could not be asked counts as one that does not answer. So does one that
        // no rule wanted to be asked when a BIND began.
        let is_unasked = plan.is_open_bind() && !client.asked_ident;
        // Nor does one that an upgrade has left no time.
        let is_late = self.jumped.is_some() || client.is_asked_again;
        let may_lack = self.wanted || is_late || is_unasked;
        self.asks(rules, place, address).is_some_and(|asks| match (asks, client.identd()) {
            (Asks::Nothing, _) | (_, Identd::Right) => true,
            (_, Identd::Other) => asks == Asks::Lax && may_lack,
            (asks, _) => asks == Asks::Lax,
        })
    }

    /// What some rules say of one address.
    pub fn asks(&self, rules: usize, place: usize, address: IpAddr) -> Option<Asks> {
        let client = self.client(place);
        let &crate::plan::Plan { command, name, port, from, .. } = &client.plan;
        let is_own = self.is_entrance((address, port).into()) && !self.checks.stopped;
        if command == CONNECT && is_own {
            return None;
        }
        let (user, is_proven) = (client.user(), client.login.is_proven);
        let case = Case { command, name, address, port, client: from, user, is_proven };
        rules::decide(self.history.rules(rules), &case)
    }

    pub fn check_connecting(&mut self, client: Option<usize>, target: SocketAddr) {
        if target.port() == DNS_PORT {
            return;
        }
        let place = client.expect("every other connection is made for a client");
        if target.port() == IDENT_PORT && target.ip() == self.client(place).plan.from {
            self.cast.clients[place].asked_ident = true;
            return;
        }
        let client = self.client(place);
        let is_asked = client.plan.command == CONNECT && target.port() == client.plan.port;
        assert!(is_asked && self.allows(place, target.ip()), "{target} is not permitted");
        assert!(self.checks.stopped || !self.is_entrance(target), "a loop");
    }

    /// Whether clients are awaited there, until the proxy is stopped.
    pub fn is_entrance(&self, target: SocketAddr) -> bool {
        self.cast.entrances.iter().any(|entrance| is_reached_at(*entrance, target))
    }

    /// Connections to targets, and to nobody else, come from --outbound of their family.
    pub fn check_source(&self, target: SocketAddr, source: Option<IpAddr>) {
        if ![DNS_PORT, IDENT_PORT].contains(&target.port()) {
            assert_eq!(source, self.outbound(target.ip()), "the source of {target}");
        }
    }

    /// The address of --outbound in the family of another.
    pub fn outbound(&self, other: IpAddr) -> Option<IpAddr> {
        match other {
            IpAddr::V4(_) => self.cast.outbound.v4.map(IpAddr::from),
            IpAddr::V6(_) => self.cast.outbound.v6.map(IpAddr::from),
        }
    }

    pub fn check_listening(&self, client: Option<usize>, at: IpAddr) {
        let Some(place) = client else { return };
        let plan = &self.client(place).plan;
        // Any peer that some rule permits.
        let mut addresses = self.truths(place).into_iter().flatten().flatten();
        let allowed = plan.is_open_bind() || addresses.any(|a| self.allows(place, a));
        assert!(plan.command == BIND && allowed, "a BIND that is not permitted");
        let own = |peer: IpAddr| self.outbound(peer).unwrap_or(own_facing(peer));
        if plan.is_open_bind() {
            let any = self.outbound(at).unwrap_or(unspecified(at.is_ipv6()));
            return assert_eq!(at, any, "the address of a BIND for any peer");
        }
        // It faces the first peer that is expected.
        let allows = |peer: &IpAddr| self.allows(place, *peer);
        let firsts = self.orders(place).into_iter().filter_map(|all| all.into_iter().find(allows));
        let expected: Vec<_> = firsts.map(own).collect();
        assert!(expected.contains(&at), "a BIND at {at}, expected one of {expected:?}");
    }

    /// A FIN goes out only when its direction is complete.
    pub fn check_fin(&self, conn: usize) {
        match (self.conns[conn].role, self.granted_ways(conn)) {
            (Some(Role::Client(_)), Some([_, down])) => {
                assert!(down.is_complete(), "FIN to a client that lacks bytes");
            }
            (Some(Role::Target(_)), Some([up, _])) => {
                assert!(up.is_complete(), "FIN to a target that lacks bytes");
            }
            (Some(Role::Client(place)), None) => {
                assert!(self.client(place).refused, "FIN before the refusal");
            }
            // The reply may still be on its way.
            (Some(Role::Target(place)), None) => {
                let ways = self.connected_ways(place);
                assert!(ways.is_some_and(|[up, _]| up.is_complete()), "FIN to a target too early");
            }
            (role, _) => panic!("FIN to {role:?}"),
        }
    }

    fn granted_ways(&self, conn: usize) -> Option<[Way<'_>; 2]> {
        match self.conns[conn].role? {
            Role::Client(place) => self.ways(place),
            Role::Target(place) if self.client(place).target == Some(conn) => self.ways(place),
            _ => None,
        }
    }

    /// An orderly close looks like the end of a transfer.
    pub fn check_close(&self, conn: usize) {
        let Conn { role, ends: [near, _], .. } = &self.conns[conn];
        match (*role, self.granted_ways(conn)) {
            (Some(Role::Client(_)), Some([_, down])) => {
                assert!(down.is_complete(), "a cut transfer looks complete to the client");
            }
            (Some(Role::Target(_)), Some([up, _])) => {
                assert!(up.is_complete(), "a cut transfer looks complete to the target");
            }
            (Some(Role::Client(place)), None) => {
                let client = self.client(place);
                let is_excused = near.fin_arrived
                    || self.checks.stopped
                    || (client.login.verdict == Some("bad-version") && !client.login.speaks_5())
                    || self.jumped.is_some();
                assert!(client.refused || is_excused, "closed without a reply");
            }
            (Some(Role::Target(_)), None) => assert_eq!(near.given, 0, "a target that was let go"),
            _ => {}
        }
    }

    /// The proxy resets a connection: was everything delivered that had come before the reset
    /// of the other side?
    pub fn note_abort(&mut self, conn: usize) {
        let Some(Role::Client(place) | Role::Target(place)) = self.conns[conn].role else { return };
        let client = self.client(place);
        if ![client.conn, client.target].contains(&Some(conn)) {
            return;
        }
        let Some([up, down]) = self.connected_ways(place) else { return };
        let is_client = client.conn == Some(conn);
        // A client that is gone before it was answered has nothing delivered.
        if !is_client && !client.granted {
            return;
        }
        let is_answered =
            client.granted || client.target.is_none_or(|t| !self.conns[t].established);
        let way = if is_client { down } else { up };
        let lost = way.source.dead
            && way.sink.is_alive()
            && (!way.source.recv.is_empty()
                || !way.is_empty()
                || !way.sink.send.is_empty()
                || !is_answered)
            && !self.is_stuck(way.sink);
        self.cast.clients[place].lost |= lost;
    }

    /// Nothing has been taken from an end for as long as the proxy waits for that.
    fn is_stuck(&self, sink: &End) -> bool {
        let patience_ms = self.cast.durations.half_close_ms;
        self.now + SLACK_MS >= sink.moved_at + patience_ms
    }

    /// A reset is passed on soon after everything has arrived: the proxy looks now and then.
    fn check_reset(&mut self, place: usize, is_due: bool) {
        let now = self.now;
        let client = &mut self.cast.clients[place];
        let since = is_due.then(|| *client.reset_due.get_or_insert(now));
        client.reset_due = since;
        let most = SLACK_MS + self.cast.durations.slow_reset_poll_ms;
        let is_late = since.is_some_and(|since| now > since + most);
        assert!(!is_late, "client {place}: a reset was not passed on");
    }

    /// The loop is about to wait, with no event to be told.
    pub fn check_nothing_is_left_undone(&mut self) {
        for place in 0..self.cast.clients.len() {
            let client = self.client(place);
            let Some(conn) = client.conn.filter(|conn| self.held.contains(conn)) else { continue };
            let bound = client.moved_at + 2 * self.cast.longest_ms;
            let is_late = self.now > bound && self.jumped.is_none() && self.mood.want == 0;
            assert!(!is_late, "client {place} has no deadline");
            if let Some(ways) = self.ways(place) {
                ways.iter().for_each(|way| way.check_rest(place));
                let is_due = ways.iter().any(Way::is_reset_due);
                self.check_reset(place, is_due);
                continue;
            }
            self.check_next_attempt(place);
            let end = &self.conns[conn].ends[NEAR];
            let listens = self.listeners.values().any(|l| l.client == Some(place));
            let has_left = listens && end.fin_arrived;
            assert!(!has_left, "client {place} has left, and its BIND goes on");
            // A relay may have begun before its reply has gone out in full.
            let relays = client.target.is_some_and(|target| self.conns[target].established);
            assert!(!end.dead || relays, "client {place} is gone, and nobody has noticed");
            let awaits = end.taken < client.plan.request.len() as u64 && client.plan.flaw.is_none();
            if client.refused || awaits {
                assert!(end.recv.is_empty(), "bytes of client {place} lie unread");
                assert!(end.fin_arrived <= end.fin_read, "the FIN of client {place} lies unread");
            }
        }
        self.check_name_servers();
        self.check_accepting();
    }

    /// After a turn: held bytes are bounded, and none are held without a buffer.
    pub fn check_balance(&self, lent: usize, held_max: u64) {
        for place in 0..self.cast.clients.len() {
            self.check_losers(place);
            let conn = self.client(place).conn.filter(|conn| self.held.contains(conn));
            let Some(ways) = conn.and_then(|_| self.ways(place)) else { continue };
            for way in ways {
                assert!(way.given <= way.taken, "more bytes out than in");
                let held = way.taken - way.given;
                assert!(held <= held_max, "{held} bytes are held");
                let gone = way.sink.dead || way.sink.closed || way.source.dead;
                assert!(lent > 0 || held == 0 || gone, "bytes got lost: client {place}");
            }
        }
    }
}

impl Way<'_> {
    /// Before the loop sleeps: nothing that could be moved is left.
    fn check_rest(&self, place: usize) {
        if !self.sink.is_alive() || self.source.closed {
            return;
        }
        if self.sink.has_room() && !self.sink.finished {
            assert!(self.source.recv.is_empty(), "client {place}: bytes lie in the kernel");
            assert!(self.is_empty(), "client {place}: bytes are held in vain");
            let fin = self.source.fin_arrived && !self.source.dead;
            assert!(!fin, "client {place}: a FIN was not forwarded");
        }
    }

    /// The source was reset, and everything has arrived.
    fn is_reset_due(&self) -> bool {
        let rest = self.source.recv.len() + self.owed;
        self.sink.is_alive() && !self.source.closed && self.source.dead && rest == 0
    }
}
