//! What a session needs to know of the proxy.

use crate::name::Name;
use crate::rules::RuleSet;
use crate::time::Millis;
use std::io;
use std::net::SocketAddrV4;

/// What a session needs to know of the proxy, now.
pub struct Env<'a> {
    /// The time.
    pub now: Millis,
    /// How long after an attempt to connect the next address is tried.
    pub attempt_delay_ms: Millis,
    /// The rules in force.
    pub rules: &'a RuleSet,
    /// Where the rules' answers depend on more.
    pub surroundings: &'a dyn Surroundings,
}

/// What depends on the proxy's sockets and files.
pub trait Surroundings {
    /// Whether an address is one of the proxy's own listening sockets. An error means that the
    /// system lacks the resources to find out.
    fn is_own(&self, target: SocketAddrV4) -> io::Result<bool>;

    /// The names that one asked for may stand for: itself, or completed from the search list.
    fn candidates(&self, name: &Name) -> Vec<Name>;
}
