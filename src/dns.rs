//! A stub resolver as a state machine without I/O: names in, bytes to send and addresses out.
//!
//! [`Resolver`] decides which server to query for which name and when; its driver owns the sockets
//! and the clock. Each name is two questions, one for each family of addresses, asked at once. Crate
//! `domain` implements the wire format, and crate `resolv-conf` reads resolv.conf.
//!
//! ```text
//!             resolve                      poll_transmit
//!   session ----------> hosts, cache, -------------------> new UDP socket or TCP connection
//!           <---------- questions     <------------------- per query
//!            poll_answer    |              handle_datagram, handle_stream_bytes, handle_error
//!                           +------------> poll_close
//! ```
//!
//! Sources: RFC 1034 and 1035 (the protocol), RFC 2308 (negative answers), RFC 5452 (what an
//! answer must match), RFC 6891 (EDNS0), RFC 7766 (TCP), RFC 8305 sections 3 and 4 (both families),
//! glibc's resolver (servers, rounds, search list, caps), RFC 6761 section 6.3 (localhost).

mod cache;
mod counters;
mod family;
mod hosts;
mod message;
mod ordered;
mod query;
mod resolver;
mod settings;
mod shares;
mod waiter;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::name::Name;

pub use counters::Counters;
pub use hosts::{Hosts, HostsParser};
pub use message::DATAGRAM_BYTES_MAX;
pub use query::{Transmit, Transport};
pub use resolver::{Lookup, QUERIES_MAX, Resolver};
pub use settings::ResolverSettings;
#[cfg(test)]
use settings::TOTAL_TIMEOUT_MS;

/// Most addresses kept for one name, of both families together.
pub const ADDRESSES_MAX: usize = 16;

/// The addresses of a name in the order in which to try them, without duplicates; never empty, and
/// never an IPv4 address written as IPv6. Shared, because thousands may wait for the same name.
pub type Addresses = Arc<[IpAddr]>;

/// The result for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The name that has the addresses: the requested one, or that completed from the search list.
    /// The rules are evaluated with this one.
    pub name: Name,
    /// Its addresses.
    pub addresses: Addresses,
}

/// Why a name has no addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DnsError {
    /// The name does not exist (NXDOMAIN).
    NotFound,
    /// The name exists but has no address (NODATA, RFC 2308 section 2.2).
    NoData,
    /// No server gave a usable answer, and at least one failed or was unreachable.
    ServerFailure,
    /// No server answered in time.
    Timeout,
}

impl DnsError {
    /// One word for the log.
    pub fn word(self) -> &'static str {
        match self {
            DnsError::NotFound => "dns-not-found",
            DnsError::NoData => "dns-no-data",
            DnsError::ServerFailure => "dns-server-failure",
            DnsError::Timeout => "dns-timeout",
        }
    }
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DnsError::NotFound => "the name does not exist",
            DnsError::NoData => "the name has no address",
            DnsError::ServerFailure => "no DNS server could answer",
            DnsError::Timeout => "no DNS server answered in time",
        })
    }
}

impl std::error::Error for DnsError {}

#[cfg(test)]
#[path = "dns/server_test.rs"]
mod server;
#[cfg(test)]
#[path = "dns/simulation_test.rs"]
mod simulation;
