//! The parts of the proxy that a session depends on.

use crate::name::Name;
use crate::rules::RuleSet;
use crate::time::Millis;
use std::io;
use std::net::SocketAddrV4;

/// The state of the proxy that a session depends on.
pub struct Env<'a> {
    /// The time.
    pub now: Millis,
    /// The delay between attempts to connect to the addresses of a target.
    pub attempt_delay_ms: Millis,
    /// The rules in force.
    pub rules: &'a RuleSet,
    /// Information from the proxy's sockets and files.
    pub surroundings: &'a dyn Surroundings,
}

/// Information from the proxy's sockets and files.
pub trait Surroundings {
    /// Whether an address is one of the proxy's own listening sockets. An error means that the
    /// system lacks the resources to find out.
    fn is_own(&self, target: SocketAddrV4) -> io::Result<bool>;

    /// The names that a requested name may stand for: itself, or completed from the search list.
    fn possible_names(&self, name: &Name) -> Vec<Name>;
}
