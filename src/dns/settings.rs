//! The settings of the resolver: servers, tries, and the completion of short names.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::str::FromStr;

use resolv_conf::{Config, ScopedIp};

use super::DnsError;
use crate::name::{self, Classified, Name};

/// Most servers taken from resolv.conf (glibc's MAXNS).
pub const SERVERS_MAX: usize = 3;
/// Longest `timeout` (glibc's RES_MAXRETRANS).
pub const TIMEOUT_S_MAX: u32 = 30;
/// Most `attempts` (glibc's RES_MAXRETRY).
pub const ATTEMPTS_MAX: u32 = 5;
/// Most domains of a search list (MAXDNSRCH of glibc before 2.26).
pub const SEARCH_MAX: usize = 6;
/// The default of `--dns-timeout`.
pub const TOTAL_TIMEOUT_MS: u64 = 10_000;

const PORT: u16 = 53;

/// The settings of a [`Resolver`](super::Resolver).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolverSettings {
    /// The servers, in order of preference.
    pub servers: Vec<SocketAddr>,
    /// The time-out of one server; less when the total would not reach every server.
    pub timeout_ms: u64,
    /// How often the list of servers is tried.
    pub attempts: u32,
    /// Whether each name starts with the next server.
    pub rotate: bool,
    /// Whether names are asked for IPv6 addresses (`no-aaaa` turns that off).
    pub aaaa: bool,
    /// The domains that complete a name of one label without a final dot.
    pub search: Vec<Name>,
    /// The time-out of a name in total.
    pub total_timeout_ms: u64,
}

impl Default for ResolverSettings {
    /// The settings of an empty resolv.conf: the server on this host.
    fn default() -> Self {
        ResolverSettings::from_resolv_conf(b"", |_| None)
    }
}

impl ResolverSettings {
    /// Parses resolv.conf (`man 5 resolv.conf`) with glibc's limits. Invalid lines are skipped, as
    /// glibc does; a file without servers means 127.0.0.1. Unlike glibc, the host's own domain
    /// never completes a name, and `ndots` is ignored. `interface` finds the number of a network
    /// interface by its name: routers announce name servers such as `fe80::1%eth0`.
    pub fn from_resolv_conf(
        text: &[u8],
        interface: impl Fn(&str) -> Option<u32>,
    ) -> ResolverSettings {
        let (config, _errors) = Config::parse_with_errors(text);
        let servers = config.nameservers.iter().filter_map(|address| server(address, &interface));
        let mut servers: Vec<SocketAddr> = servers.take(SERVERS_MAX).collect();
        if servers.is_empty() {
            servers.push((Ipv4Addr::LOCALHOST, PORT).into());
        }
        let domains = config.get_last_search_or_domain();
        let names = domains.filter_map(|domain| match name::classify(domain.as_bytes()) {
            Ok(Classified::Name(name)) => Some(name.to_absolute()),
            _ => None,
        });
        ResolverSettings {
            servers,
            timeout_ms: u64::from(config.timeout.clamp(1, TIMEOUT_S_MAX)) * 1000,
            attempts: config.attempts.clamp(1, ATTEMPTS_MAX),
            rotate: config.rotate,
            aaaa: !config.no_aaaa,
            search: names.take(SEARCH_MAX).collect(),
            total_timeout_ms: TOTAL_TIMEOUT_MS,
        }
    }

    /// Parses `ADDR[:PORT]` (`--nameserver`); an IPv6 address with a port is in brackets.
    pub fn parse_server(text: &str) -> Option<SocketAddr> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        SocketAddr::from_str(text)
            .or_else(|_| IpAddr::from_str(bare).map(|address| (address, PORT).into()))
            .ok()
            .filter(|server| server.port() != 0)
    }

    /// Most tries of a question, not counting EDNS and TCP retries.
    pub(super) fn tries(&self) -> usize {
        self.servers.len() * self.attempts as usize
    }

    /// The time-out of one try. Three silent servers at five seconds each would use up ten seconds
    /// before the third is queried, so every try gets at most its share of the total.
    pub(super) fn try_timeout_ms(&self) -> u64 {
        let share = self.total_timeout_ms / self.tries().max(1) as u64;
        self.timeout_ms.min(share).max(1)
    }

    /// The error of a question before any server was tried.
    pub(super) fn untried_failure(&self) -> DnsError {
        match self.tries() {
            0 => DnsError::ServerFailure,
            _ => DnsError::Timeout,
        }
    }

    /// The names to query for `name`, in order. A single label without a final dot is completed
    /// with each domain of the search list and then queried as it is; any other name stands for
    /// itself alone. So `ndots`, which decides when a name with dots is completed first, does not
    /// matter, and a rule for `*.example.com` never admits a name from the search list. Names below
    /// `localhost` are not queried.
    pub(super) fn possible_names(&self, name: &Name) -> VecDeque<Name> {
        let domains: &[Name] = if name.is_short() { &self.search } else { &[] };
        let completed = domains.iter().filter_map(|domain| name.completed(domain));
        let queried = completed.filter(|name| !name.is_below_localhost());
        queried.chain([name.to_absolute()]).collect()
    }
}

fn server(address: &ScopedIp, interface: impl Fn(&str) -> Option<u32>) -> Option<SocketAddr> {
    Some(match address {
        ScopedIp::V4(address) => (*address, PORT).into(),
        ScopedIp::V6(address, None) => (*address, PORT).into(),
        ScopedIp::V6(address, Some(scope)) => {
            let number = scope.parse().ok().or_else(|| interface(scope))?;
            SocketAddrV6::new(*address, PORT, 0, number).into()
        }
    })
}

#[cfg(test)]
#[path = "settings_test.rs"]
mod tests;
