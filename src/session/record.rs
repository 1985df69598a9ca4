//! A session after an upgrade.

use super::{Action, Session, State};
use crate::name::{self, Classified};
use crate::wire::Host;

impl Session {
    /// What a session that was handed over has to begin again: its name is looked up once more, and
    /// its client's identd asked. The time for that runs on.
    pub fn resumed(&self) -> Action {
        match (&self.state, self.request.host()) {
            (State::Resolving { queries_ident, .. }, Some(Host::Name(name))) => {
                match name::classify(name) {
                    Ok(Classified::Name(name)) => {
                        Action::Resolve { name, query_ident: *queries_ident }
                    }
                    _ => Action::Wait,
                }
            }
            (State::Identifying(_), _) => Action::QueryIdent,
            _ => Action::Wait,
        }
    }
}

#[cfg(test)]
#[path = "record_test.rs"]
pub mod tests;
