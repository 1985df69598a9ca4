//! What few sessions have, kept outside of the slab so that the others need no memory for it.

use crate::address::IpPort;
use crate::ident::IdentResult;

/// Rare facts about a session, for the log and its rules.
#[derive(Default)]
pub struct Details {
    /// How the client's identd answered, if it was queried.
    pub identity: Option<IdentResult>,
    /// The load balancer that passed the client's connection on, if one did.
    pub balancer: Option<Balancer>,
}

/// The connection of a client whose address a load balancer told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balancer {
    /// The balancer's end of its connection to the proxy.
    pub address: IpPort,
    /// The address that the client connected to.
    pub destination: IpPort,
}
