//! What few sessions have, kept outside of the slab so that the others need no memory for it.

use super::foreign::Foreign;
use crate::address::IpPort;
use crate::errno::ErrorCode;
use crate::ident::IdentResult;

/// Rare facts about a session, for the log and its rules.
#[derive(Default)]
pub struct Details {
    /// How the client's identd answered, if it was queried.
    pub identity: Option<IdentResult>,
    /// Where a BIND listens or has listened.
    pub listening: Option<Listening>,
    /// The error of the system that the reason comes from.
    pub error: Option<ErrorCode>,
    /// The first bytes of a message with a wrong version.
    pub foreign: Option<Foreign>,
}

/// Where a BIND listens for its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// The address and port that it listens at; 0.0.0.0 or `::` for all addresses.
    pub at: IpPort,
    /// The address and port reported to the client.
    pub advertised: IpPort,
}
