//! The state that all connections share and use while they run.

mod bind_ports;
mod dns_driver;
mod extra_attempts;
mod listeners;
#[cfg(feature = "upgrade")]
mod record;
mod shortage;
mod spare;

pub use dns_driver::{DnsDriver, WaiterId};
pub use listeners::{Accepted, BACKLOG, Listeners, is_own};

use crate::address::{IpPort, source_of};
use crate::dns::Resolver;
use crate::logins::Logins;
use crate::name::Name;
use crate::net::{Net, lacks_resources};
use crate::pool::Pool;
use crate::rules::RuleSet;
use crate::session::{Env, Surroundings};
use crate::settings::Settings;
use crate::time::Millis;
use crate::users::Users;
use bind_ports::BindPorts;
use extra_attempts::ExtraAttempts;
use shortage::Shortage;
use spare::Spare;
use std::io;
use std::net::IpAddr;

/// The state that all connections share.
pub struct Context<N: Net> {
    /// The kernel.
    pub net: N,
    /// The settings, fixed from start to end.
    pub settings: Settings,
    /// The rules in force.
    pub rules: RuleSet,
    /// The users who can log in; without any nobody can.
    pub users: Option<Users>,
    /// Logins that have failed.
    pub logins: Logins,
    /// The resolver and its sockets.
    pub dns: DnsDriver<N>,
    /// The listeners for clients.
    pub listeners: Listeners<N>,
    /// Buffers and pipes.
    pub pool: Pool<N::Pipe>,
    /// The ports that BIND may listen on.
    pub bind_ports: BindPorts,
    /// A descriptor for calls that need one more for a moment.
    pub spare: Spare<N>,
    /// Whether a client is accepted only with a descriptor set aside for its target.
    pub shortage: Shortage,
    /// Attempts to connect beside the first of each session.
    pub extra_attempts: ExtraAttempts,
    /// Queries sent to identds.
    pub ident_queries: u64,
    /// The time, read once a turn.
    pub now: Millis,
}

impl<N: Net> Context<N> {
    /// A context without listeners yet.
    pub fn new(mut net: N, settings: Settings, rules: RuleSet, resolver: Resolver) -> Context<N> {
        let pool =
            Pool::new(settings.buffer_bytes, settings.buffer_budget_bytes, settings.pipes_max);
        let extra_attempts = ExtraAttempts::new(settings.extra_attempts_max);
        Context {
            pool,
            bind_ports: BindPorts::new(settings.bind_ports.clone()),
            now: net.now(),
            spare: Spare::new(&mut net),
            net,
            settings,
            rules,
            users: None,
            logins: Logins::default(),
            dns: DnsDriver::new(resolver),
            listeners: Listeners::default(),
            shortage: Shortage::default(),
            extra_attempts,
            ident_queries: 0,
        }
    }

    /// The environment of a session.
    pub fn env(&self) -> Env<'_> {
        Env {
            now: self.now,
            attempt_delay_ms: self.settings.durations.attempt_delay_ms,
            rules: &self.rules,
            users: self.users.as_ref(),
            surroundings: self,
        }
    }

    /// Lets the sockets of the resolver send and read.
    pub fn drive_dns(&mut self) {
        if self.dns.drive(&mut self.net, &mut self.spare, self.now) {
            self.shortage.note();
        }
    }

    /// Records whether a call has lacked a descriptor.
    pub fn note_shortage(&mut self, error: &io::Error) {
        if lacks_resources(error) {
            self.shortage.note();
        }
    }
}

impl<N: Net> Surroundings for Context<N> {
    fn is_own(&self, target: IpPort) -> io::Result<bool> {
        self.listeners.is_own(&self.net, target)
    }

    fn may_log_in(&self, client: IpAddr) -> bool {
        self.logins.may_try(source_of(client), self.now)
    }

    fn possible_names(&self, name: &Name) -> Vec<Name> {
        self.dns.possible_names(name)
    }
}
