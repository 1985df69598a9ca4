//! The deadlines of a session, which follow from its state and the start of what that waits for.

use super::{Action, Env, Session, State};
use crate::ident::IdentResult;
use crate::reason::CloseReason;
use crate::settings::Durations;
use crate::time::Millis;

impl Session {
    /// When [`Session::handle_deadline`] is due. A relay's deadline depends on its bytes, which the
    /// session does not know.
    pub fn deadline(&self, durations: &Durations) -> Option<Millis> {
        let after = |ms: Millis| self.since.saturating_add(ms);
        match &self.state {
            State::ReadingProxyHeader | State::ReadingRequest { is_welcome: true, .. } => {
                Some(after(durations.request_ms))
            }
            State::ReadingRequest { is_welcome: false, .. } => Some(after(durations.linger_ms)),
            State::Resolving { queries_ident: true, .. } => {
                Some(after(durations.resolve_ms.min(durations.ident_ms)))
            }
            State::Resolving { .. } => Some(after(durations.resolve_ms)),
            State::Identifying(_) => Some(after(durations.ident_ms)),
            State::Connecting(attempts) => {
                let next_ms = attempts.next_after_ms().unwrap_or(Millis::MAX);
                Some(after(durations.connect_ms.min(next_ms)))
            }
            State::AwaitingBind(_) => Some(after(durations.bind_ms)),
            State::Rejecting(_) => Some(after(durations.linger_ms)),
            State::Relaying | State::Closed(_) => None,
        }
    }

    /// The deadline has come.
    pub fn handle_deadline(&mut self, durations: &Durations, env: &Env<'_>) -> Action {
        let is_over = |ms: Millis| self.since.saturating_add(ms) <= env.now;
        match &self.state {
            // It is not known to be a SOCKS client.
            State::ReadingProxyHeader => self.close(CloseReason::RequestTimeout, env.now),
            State::ReadingRequest { is_welcome: true, .. } => {
                self.reject(CloseReason::RequestTimeout, env.now)
            }
            State::ReadingRequest { is_welcome: false, .. } => {
                self.reject(CloseReason::TooManyFromSource, env.now)
            }
            State::Resolving { .. } if is_over(durations.resolve_ms) => {
                self.reject(CloseReason::DnsTimeout, env.now)
            }
            State::Resolving { .. } | State::Identifying(_) => {
                self.handle_ident(IdentResult::Missing, env)
            }
            State::Connecting(_) if is_over(durations.connect_ms) => {
                self.reject(CloseReason::ConnectTimeout, env.now)
            }
            State::Connecting(_) => self.try_next(true, env),
            State::AwaitingBind(_) => self.reject(CloseReason::BindTimeout, env.now),
            State::Rejecting(_) => self.handle_rejected(env.now),
            State::Relaying | State::Closed(_) => Action::Wait,
        }
    }
}
