//! What few sessions have, kept outside of the slab so that the others need no memory for it.

use crate::ident::IdentResult;
use minicbor::{Decode, Encode};

/// Rare facts about a session, for the log and its rules.
#[derive(Clone, Debug, Default, Encode, Decode)]
#[cbor(map)]
pub struct Details {
    /// How the client's identd answered, if it was queried.
    #[n(0)]
    pub identity: Option<IdentResult>,
}
