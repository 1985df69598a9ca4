//! What few sessions have, kept outside of the slab so that the others need no memory for it.

use super::foreign::Foreign;
use crate::address::IpPort;
use crate::errno::ErrorCode;
use crate::ident::IdentResult;
use minicbor::{Decode, Encode};

/// Rare facts about a session, for the log and its rules.
#[derive(Clone, Debug, Default, Encode, Decode)]
#[cbor(map)]
pub struct Details {
    /// How the client's identd answered, if it was queried.
    #[n(0)]
    pub identity: Option<IdentResult>,
    /// Where a BIND listens or has listened.
    #[n(1)]
    pub listening: Option<Listening>,
    /// The error of the system that the reason comes from.
    #[n(2)]
    pub error: Option<ErrorCode>,
    /// The first bytes of a message with a wrong version.
    #[n(3)]
    pub foreign: Option<Foreign>,
    /// The load balancer that passed the client's connection on, if one did.
    #[n(4)]
    pub balancer: Option<Balancer>,
}

/// Where a BIND listens for its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Listening {
    /// The address and port that it listens at; 0.0.0.0 or `::` for all addresses.
    #[n(0)]
    pub at: IpPort,
    /// The address and port reported to the client.
    #[n(1)]
    pub advertised: IpPort,
}

/// The connection of a client whose address a load balancer told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Balancer {
    /// The balancer's end of its connection to the proxy.
    #[n(0)]
    pub address: IpPort,
    /// The address that the client connected to.
    #[n(1)]
    pub destination: IpPort,
}
