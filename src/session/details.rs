//! What few sessions have, kept outside of the slab so that the others need no memory for it.

use crate::ident::IdentResult;

/// Rare facts about a session, for the log and its rules.
#[derive(Default)]
pub struct Details {
    /// How the client's identd answered, if it was queried.
    pub identity: Option<IdentResult>,
}
