//! What the proxy goes by and how it is replaced in the course of a run, and what must hold of
//! decisions before and after.

use crate::kernel::Kernel;
use crate::plan::{addresses_of, hosted};
use crate::random::Random;
use crate::rules::{self, Rule};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::ops::RangeInclusive;

/// The hosts files that there may be.
pub const HOSTS: [&[u8]; 3] =
    [b"10.2.0.3 hosted\n", b"10.2.0.2 hosted\n10.2.0.1 many.example\n", b""];

/// Something that the proxy goes by is replaced.
#[derive(Clone, Debug)]
pub enum Reload {
    Rules(Vec<Rule>),
    /// By which of [`HOSTS`].
    Hosts(usize),
    /// By others, which may say other things.
    Servers,
}

impl Reload {
    pub fn random(random: &mut Random) -> Reload {
        match random.below(3) {
            0 => Reload::Rules(rules::random_rules(random)),
            1 => Reload::Hosts(random.below(HOSTS.len() as u64) as usize),
            _ => Reload::Servers,
        }
    }
}

impl fmt::Display for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reload::Rules(list) => write!(f, "rules:\n{}", rules::text(list)),
            Reload::Hosts(number) => write!(f, "hosts file {number}"),
            Reload::Servers => f.write_str("other name servers"),
        }
    }
}

/// The name servers after so many reloads of them.
pub fn servers(generation: usize) -> Vec<SocketAddr> {
    let address = |last| IpAddr::V4(Ipv4Addr::new(10, 3, generation as u8, last));
    [1, 2].map(|last| SocketAddr::new(address(last), 53)).to_vec()
}

/// What a request depends on, as it was when the request was complete.
#[derive(Clone, Copy, Debug)]
pub struct Basis {
    rules: usize,
    hosts: usize,
    /// The generations of name servers that may have answered: the one then, and those that came
    /// while the client waited.
    servers: (usize, usize),
}

/// All that has been in force, by number, and what is now.
pub struct History {
    rules: Vec<Vec<Rule>>,
    hosts: usize,
    servers: usize,
}

impl History {
    pub fn new(rules: Vec<Rule>) -> History {
        History { rules: vec![rules], hosts: 0, servers: 0 }
    }

    pub fn rules(&self, version: usize) -> &[Rule] {
        &self.rules[version]
    }

    /// The number of the rules in force.
    pub fn rules_now(&self) -> usize {
        self.rules.len() - 1
    }

    /// The generation of the name servers in force.
    pub fn servers_now(&self) -> usize {
        self.servers
    }

    fn basis(&self) -> Basis {
        let servers = (self.servers, self.servers);
        Basis { rules: self.rules_now(), hosts: self.hosts, servers }
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
    pub fn check_question(&self, server: SocketAddrV4, name: &str) {
        let generation = usize::from(server.ip().octets()[2]);
        let in_force = self.history.servers;
        assert_eq!(generation, in_force, "{server} is asked for {name} after a reload");
        assert!(self.names_waited_for().contains(&name.to_string()), "nobody asks for {name}");
    }

    /// The request of a client has been read in whole.
    pub fn note_request(&mut self, place: usize) {
        let basis = self.history.basis();
        self.cast.clients[place].basis.get_or_insert(basis);
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
    pub fn truths(&self, place: usize) -> Vec<Option<Vec<Ipv4Addr>>> {
        let client = self.client(place);
        let Some(name) = client.plan.name else { return vec![Some(vec![client.plan.host])] };
        let basis = client.basis.unwrap_or_else(|| self.history.basis());
        if let Some(addresses) = hosted(HOSTS[basis.hosts], name) {
            return vec![Some(addresses)];
        }
        let (oldest, newest) = basis.servers;
        let mut truths: Vec<_> = (oldest..=newest).map(|g| addresses_of(name, g)).collect();
        truths.dedup();
        truths
    }
}
