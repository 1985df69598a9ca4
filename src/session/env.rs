//! The parts of the proxy that a session depends on.

use crate::address::IpPort;
use crate::name::Name;
use crate::rules::RuleSet;
use crate::time::Millis;
use crate::users::Users;
use std::io;
use std::net::IpAddr;

/// The state of the proxy that a session depends on.
pub struct Env<'a> {
    /// The time.
    pub now: Millis,
    /// The delay between attempts to connect to the addresses of a target.
    pub attempt_delay_ms: Millis,
    /// The rules in force.
    pub rules: &'a RuleSet,
    /// Those who may prove who they are; `None` without --users.
    pub users: Option<&'a Users>,
    /// Information from the proxy's sockets and files.
    pub surroundings: &'a dyn Surroundings,
}

/// Information from the proxy's sockets and files.
pub trait Surroundings {
    /// Whether an address is one of the proxy's own listening sockets. An error means that the
    /// system lacks the resources to find out.
    fn is_own(&self, target: IpPort) -> io::Result<bool>;

    /// Whether this client may try a password now.
    fn may_log_in(&self, client: IpAddr) -> bool;

    /// The names that a requested name may stand for: itself, or completed from the search list.
    fn possible_names(&self, name: &Name) -> Vec<Name>;
}

/// A proxy without sockets and files, for tests: no address is its own, and names stand for
/// themselves.
#[cfg(test)]
pub struct Plain;

#[cfg(test)]
impl Surroundings for Plain {
    fn is_own(&self, _: IpPort) -> io::Result<bool> {
        Ok(false)
    }

    fn may_log_in(&self, _: IpAddr) -> bool {
        true
    }

    fn possible_names(&self, name: &Name) -> Vec<Name> {
        vec![name.clone()]
    }
}
