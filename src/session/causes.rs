//! Why a session has ended and other facts that few have, for the log.

use super::{Foreign, Listening, Session};
use crate::errno::ErrorCode;
use crate::ident::IdentResult;
use crate::reason::{Cause, CloseReason};

impl Session {
    /// How the client's identd answered, if it was queried.
    pub fn identity(&self) -> Option<&IdentResult> {
        self.details.as_ref()?.identity.as_ref()
    }

    /// Where a BIND listens or has listened.
    pub fn listening(&self) -> Option<Listening> {
        self.details.as_ref()?.listening
    }

    /// The error of the system that the reason of its end comes from.
    pub fn error(&self) -> Option<ErrorCode> {
        self.details.as_ref()?.error
    }

    /// The first bytes of a message that was no SOCKS.
    pub fn foreign(&self) -> Option<&Foreign> {
        self.details.as_ref()?.foreign.as_ref()
    }

    /// Keeps the error of a cause, in place of any before; returns the reason.
    pub(super) fn note_cause(&mut self, Cause { reason, error }: Cause) -> CloseReason {
        if error.is_some() || self.error().is_some() {
            self.details.get_or_insert_default().error = error;
        }
        reason
    }
}
