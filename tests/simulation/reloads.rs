//! What the proxy goes by and how it is replaced in the course of a run, and what must hold of
//! decisions before and after.

use crate::addresses::{NAME_SERVERS, address, sub_of};
use crate::kernel::{Conn, Kernel};
use crate::names::{self, HOSTS, addresses_of, hosted};
use crate::random::Random;
use crate::rules::{self, BIND, Rule};
use crate::users::USERS;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

/// Something that the proxy goes by is replaced.
#[derive(Clone, Debug)]
pub enum Reload {
    Rules(Vec<Rule>),
    /// By which of [`HOSTS`].
    Hosts(usize),
    /// By others, which may say other things.
    Servers,
    /// By which of [`USERS`].
    Users(usize),
}

impl Reload {
    pub fn random(random: &mut Random, has_users: bool) -> Reload {
        match random.below(if has_users { 4 } else { 3 }) {
            0 => Reload::Rules(rules::random_rules(random)),
            1 => Reload::Hosts(random.below(HOSTS.len() as u64) as usize),
            2 => Reload::Servers,
            _ => Reload::Users(random.below(USERS.len() as u64) as usize),
        }
    }
}

impl fmt::Display for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reload::Rules(list) => write!(f, "rules:\n{}", rules::text(list)),
            Reload::Hosts(number) => write!(f, "hosts file {number}"),
            Reload::Servers => f.write_str("other name servers"),
            Reload::Users(number) => write!(f, "users file {number}"),
        }
    }
}

/// The name servers after so many reloads of them.
pub fn servers(generation: usize, has_v6: bool) -> Vec<SocketAddr> {
    let is_v6 = has_v6 && generation % 2 == 1;
    let server = |last| address(is_v6, NAME_SERVERS, generation as u8, last);
    [1, 2].map(|last| SocketAddr::new(server(last), 53)).to_vec()
}

/// What a request depends on, as it was when the request was complete.
#[derive(Clone, Copy, Debug)]
pub struct Basis {
    rules: usize,
    /// Those then, and those by which the name was looked up last.
    hosts: (usize, usize),
    /// The generations of name servers that may have answered: the one then, and those that came
    /// while the client waited.
    servers: (usize, usize),
}

impl Basis {
    /// The name is looked up again, by this hosts file; one that waits for identd may be known.
    pub fn ask_again(&mut self, hosts: usize, may_be_known: bool) {
        let oldest = if may_be_known { self.hosts.0 } else { hosts };
        self.hosts = (oldest, hosts);
    }
}

/// All that has been in force, by number, and what is now.
pub struct History {
    rules: Vec<Vec<Rule>>,
    hosts: usize,
    servers: usize,
    /// The number of the users file, if there is one at all.
    pub users: Option<usize>,
}

impl History {
    pub fn new(rules: Vec<Rule>, users: Option<usize>) -> History {
        History { rules: vec![rules], hosts: 0, servers: 0, users }
    }

    pub fn rules(&self, version: usize) -> &[Rule] {
        &self.rules[version]
    }

    /// The number of the rules in force.
    pub fn rules_now(&self) -> usize {
        self.rules.len() - 1
    }

    /// The number of the hosts file in force.
    pub fn hosts_now(&self) -> usize {
        self.hosts
    }

    /// The generation of the name servers in force.
    pub fn servers_now(&self) -> usize {
        self.servers
    }

    fn basis(&self) -> Basis {
        let servers = (self.servers, self.servers);
        Basis { rules: self.rules_now(), hosts: (self.hosts, self.hosts), servers }
    }
}

impl Kernel {
    /// Something has been replaced, between two turns.
    pub fn note_reload(&mut self, reload: &Reload) {
        self.say(|| format!("reload: {reload}"));
        self.seen.reloads += 1;
        match reload {
            Reload::Rules(list) => self.history.rules.push(list.clone()),
            Reload::Hosts(number) => self.history.hosts = *number,
            Reload::Users(number) => self.history.users = Some(*number),
            Reload::Servers => {
                self.seen.lingering += self.names_waited_for().len() as u64;
                self.history.servers += 1;
                // What is being asked is asked anew; a name that waits for identd may be known.
                for client in self.cast.clients.iter_mut().filter(|c| c.acted_by.is_none()) {
                    if let Some(basis) = &mut client.basis {
                        let now = self.history.servers;
                        let oldest = if client.asked_ident { basis.servers.0 } else { now };
                        basis.servers = (oldest, now);
                    }
                }
            }
        }
    }

    fn names_waited_for(&self) -> Vec<String> {
        let clients = self.cast.clients.iter().filter(|client| {
            let is_open = client.conn.is_some_and(|conn| self.held.contains(&conn));
            is_open && client.basis.is_some() && client.acted_by.is_none()
        });
        clients.filter_map(|client| Some(client.plan.name?.to_ascii_lowercase())).collect()
    }

    /// A name server is asked: one of those in force.
    pub fn check_question(&self, server: SocketAddr, name: &str) {
        let generation = usize::from(sub_of(server.ip()));
        let in_force = self.history.servers;
        assert_eq!(generation, in_force, "{server} is asked for {name} after a reload");
        assert!(self.names_waited_for().contains(&name.to_string()), "nobody asks for {name}");
    }

    /// The proxy has read bytes of a client: a message may be complete, or the request.
    pub fn note_read(&mut self, place: usize, conn: usize) {
        let Conn { watch, ends: [near, _], .. } = &self.conns[conn];
        let taken = near.taken;
        if near.dead_told {
            return;
        }
        if watch.token.is_none() {
            return self.note_unregistered(place);
        }
        self.note_messages(place, taken);
        if taken >= self.client(place).plan.request.len() as u64 {
            let basis = self.history.basis();
            self.cast.clients[place].basis.get_or_insert(basis);
        }
    }

    /// The proxy does the first thing that depends on a decision.
    pub fn note_act(&mut self, place: usize) {
        let now = self.history.rules_now();
        self.cast.clients[place].acted_by.get_or_insert(now);
    }

    /// The rules that may have decided about a client's request. Those of an address decide when
    /// the request has come, those of a name when it is resolved, and both act at once unless
    /// identd has to be asked before.
    pub fn deciding_rules(&self, place: usize) -> RangeInclusive<usize> {
        let client = self.client(place);
        let now = self.history.rules_now();
        let asked = client.basis.map_or(now, |basis| basis.rules);
        let acted = client.acted_by.unwrap_or(now);
        match client.plan.name {
            None => asked..=asked,
            Some(_) if client.asked_ident => asked..=acted,
            Some(_) => acted..=acted,
        }
    }

    /// Where a client's request may lead; `None` is a name that does not exist.
    pub fn truths(&self, place: usize) -> Vec<Option<Vec<IpAddr>>> {
        let client = self.client(place);
        let Some(name) = client.plan.name else { return vec![Some(vec![client.plan.host])] };
        let basis = client.basis.unwrap_or_else(|| self.history.basis());
        let files = [basis.hosts.0, basis.hosts.1];
        let listed = files.map(|hosts| hosted(HOSTS[hosts], name));
        let is_unlisted = listed.iter().any(Option::is_none);
        let mut truths: Vec<_> = listed.into_iter().flatten().map(Some).collect();
        if is_unlisted {
            let (oldest, newest) = basis.servers;
            truths.extend((oldest..=newest).map(|g| addresses_of(name, g)));
        }
        truths.dedup();
        truths
    }

    /// The orders in which the addresses of a request may be tried; SOCKS4 prefers IPv4 for a BIND.
    pub fn orders(&self, place: usize) -> Vec<Vec<IpAddr>> {
        let client = self.client(place);
        let is_slow = client
            .plan
            .name
            .is_some_and(|name| self.truncated.contains(&name.to_ascii_lowercase()));
        let may_fail = self.cast.honesty < 100 || self.wanted || self.jumped.is_some() || is_slow;
        let is_listed = client.plan.name.is_some_and(|name| {
            let basis = client.basis.unwrap_or_else(|| self.history.basis());
            hosted(HOSTS[basis.hosts.1], name).is_some()
        });
        let orders = |addresses: Vec<IpAddr>| match client.plan.name {
            Some(_) if !is_listed => names::orders(&addresses, may_fail),
            _ => vec![addresses],
        };
        let mut all: Vec<_> = self.truths(place).into_iter().flatten().flat_map(orders).collect();
        if client.plan.command == BIND && !client.plan.is_socks5 {
            all.iter_mut().for_each(|order| order.sort_by_key(IpAddr::is_ipv6));
        }
        all
    }
}
