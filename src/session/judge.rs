//! What the rules say of a session's request: before a name is resolved, and of each address.

use super::{Action, Candidate, Env, Identity, Session, State};
use crate::name::Name;
use crate::reason::CloseReason;
use crate::rules::{Ident, Query, Refusal, RuleSet, Verdict};
use crate::wire::Command;
use std::net::{Ipv4Addr, SocketAddrV4};

impl Session {
    /// Each name that may be asked for is judged as such, as its addresses will be later.
    pub(super) fn begin_resolving(&mut self, name: Name, env: &Env<'_>) -> Action {
        let candidates = (env.candidates)(&name);
        let prospects = candidates.iter().map(|name| self.could_permit(Some(name), env.rules));
        let ident = match prospects.reduce(either).unwrap_or(Err(Refusal::NoRule)) {
            Ok(ident) => ident,
            Err(refusal) => return self.refuse(refusal),
        };
        // Whatever the addresses are, the rule will ask: both questions take their time at once.
        let ask = ident == Ident::Strict;
        if ask {
            self.identity = Identity::Asked;
        }
        self.enter(State::Resolving);
        Action::Resolve(name, ask)
    }

    /// BIND for any peer: each is judged when it comes, so identd has to be asked before if any
    /// rule might want it.
    pub(super) fn begin_open_bind(&mut self, rules: &RuleSet) -> Action {
        match self.could_permit(None, rules) {
            Err(refusal) => self.refuse(refusal),
            Ok(Ident::No) => self.proceed(),
            Ok(_) => self.ask(),
        }
    }

    fn could_permit(&self, name: Option<&Name>, rules: &RuleSet) -> Result<Ident, Refusal> {
        let command = self.command.expect("a request is judged once it has been read");
        let name = name.map(|name| name.as_str().as_bytes());
        rules.could_permit(command, name, self.port, *self.client.ip(), self.user())
    }

    /// No address would be permitted.
    fn refuse(&mut self, refusal: Refusal) -> Action {
        match refusal {
            Refusal::Denied { line } => {
                self.rule = line;
                self.reject(CloseReason::Denied)
            }
            Refusal::NoRule => self.reject(CloseReason::NoRule),
            Refusal::Impossible => self.reject(CloseReason::ImpossibleTarget),
        }
    }

    /// Judges each address on its own, together with the name that has it; those that are
    /// permitted will be tried in their order.
    pub(super) fn consider(
        &mut self,
        name: Option<&Name>,
        addresses: &[Ipv4Addr],
        env: &Env<'_>,
    ) -> Action {
        let mut refusal = None;
        self.candidates.clear();
        for &address in addresses.iter().rev() {
            match self.judge(name, address, env) {
                Ok(candidate) => self.candidates.push(candidate),
                Err(refused) => refusal = Some(refused),
            }
        }
        let asks = self.candidates.iter().any(|candidate| candidate.ident != Ident::No);
        match (refusal, &self.identity) {
            (Some((reason, line)), _) if self.candidates.is_empty() => {
                self.rule = line;
                self.reject(reason)
            }
            (_, Identity::NotAsked) if asks => self.ask(),
            (_, Identity::Asked) => {
                self.enter(State::Identifying);
                Action::Wait
            }
            _ => self.proceed(),
        }
    }

    /// What the rules say of one address: a candidate, or the reason and the rule against it.
    pub(super) fn judge(
        &self,
        name: Option<&Name>,
        address: Ipv4Addr,
        env: &Env<'_>,
    ) -> Result<Candidate, (CloseReason, u32)> {
        let command = self.command.expect("a request is judged once it has been read");
        let target = SocketAddrV4::new(address, self.port);
        if command == Command::Connect && (env.is_own)(target) {
            return Err((CloseReason::Loop, 0));
        }
        let verdict = env.rules.decide(&Query {
            command,
            name: name.map(|name| name.as_str().as_bytes()),
            address,
            port: self.port,
            client: *self.client.ip(),
            user: self.user(),
        });
        match verdict {
            Verdict::Permit { line, ident } => Ok(Candidate { address, line, ident }),
            Verdict::Deny { line } => Err((CloseReason::Denied, line)),
            Verdict::NoRule => Err((CloseReason::NoRule, 0)),
            Verdict::Impossible => Err((CloseReason::ImpossibleTarget, 0)),
        }
    }
}

/// What two names that one may stand for amount to before it is known which.
fn either(one: Result<Ident, Refusal>, other: Result<Ident, Refusal>) -> Result<Ident, Refusal> {
    match (one, other) {
        (Ok(one), Ok(other)) if one != other => Ok(Ident::Lax),
        (Ok(ident), _) | (Err(_), Ok(ident)) => Ok(ident),
        (Err(Refusal::NoRule), Err(refusal)) | (Err(refusal), Err(_)) => Err(refusal),
    }
}
