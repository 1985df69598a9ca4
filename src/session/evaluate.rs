//! Evaluates a request by the rules: before its name is resolved, and for each address.

use super::candidates::{Candidate, Candidates};
use super::env::Env;
use crate::address::IpPort;
use crate::name::Name;
use crate::reason::CloseReason;
use crate::rules::{Ident, NoPermit, PartialRequest, RuleSet, Verdict};
use crate::wire::Command;
use std::net::IpAddr;

/// Why nothing is permitted, and the line of the rule that decided, if one did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Why.
    pub reason: CloseReason,
    /// The line of the rule.
    pub line: Option<u32>,
}

impl Rejection {
    /// No rule has decided.
    pub fn without_rule(reason: CloseReason) -> Rejection {
        Rejection { reason, line: None }
    }

    fn by_rule(line: u32) -> Rejection {
        Rejection { reason: CloseReason::Denied, line: Some(line) }
    }
}

impl From<NoPermit> for Rejection {
    fn from(no_permit: NoPermit) -> Rejection {
        match no_permit {
            NoPermit::Denied { line } => Rejection::by_rule(line),
            NoPermit::NoRule => Rejection::without_rule(CloseReason::NoRule),
            NoPermit::Impossible => Rejection::without_rule(CloseReason::ImpossibleTarget),
        }
    }
}

/// Evaluates one request, of which an address and its name are given.
#[derive(Clone, Copy)]
pub struct Evaluator<'a>(pub PartialRequest<'a>);

impl Evaluator<'_> {
    /// Whether an address of a name may be permitted, and whether identd will then be queried. Each
    /// name that it may stand for is evaluated on its own, as its addresses will be.
    pub fn could_permit_name(&self, name: &Name, env: &Env<'_>) -> Result<Ident, Rejection> {
        let names = env.surroundings.possible_names(name);
        let prospects = names.iter().map(|name| self.could_permit(Some(name), env.rules));
        prospects.reduce(either).unwrap_or(Err(NoPermit::NoRule)).map_err(Rejection::from)
    }

    /// The same for a BIND that any peer may connect to.
    pub fn could_permit_any_peer(&self, rules: &RuleSet) -> Result<Ident, Rejection> {
        self.could_permit(None, rules).map_err(Rejection::from)
    }

    fn could_permit(&self, name: Option<&Name>, rules: &RuleSet) -> Result<Ident, NoPermit> {
        rules.could_permit(&self.0, name.map(|name| name.as_str().as_bytes()))
    }

    /// The permitted addresses, each evaluated on its own with the name that has it; or why the
    /// first is not permitted.
    pub fn evaluate_all(
        &self,
        name: Option<&Name>,
        addresses: impl IntoIterator<Item = IpAddr>,
        env: &Env<'_>,
    ) -> Result<Candidates, Rejection> {
        let evaluated = addresses.into_iter().map(|address| self.evaluate(name, address, env));
        permitted(evaluated, Rejection::without_rule(CloseReason::NameWithoutAddress))
    }

    /// Evaluates one address.
    pub fn evaluate(
        &self,
        name: Option<&Name>,
        address: IpAddr,
        env: &Env<'_>,
    ) -> Result<Candidate, Rejection> {
        let Evaluator(request) = *self;
        let target = IpPort::new(address, request.port);
        if request.command == Command::Connect {
            match env.surroundings.is_own(target) {
                Ok(false) => {}
                Ok(true) => return Err(Rejection::without_rule(CloseReason::Loop)),
                Err(_) => return Err(Rejection::without_rule(CloseReason::NoResources)),
            }
        }
        let name = name.map(|name| name.as_str().as_bytes());
        let verdict = env.rules.decide(&request.with_address(name, address));
        match verdict {
            Verdict::Permit { line, ident } => Ok(Candidate { address, line, ident }),
            Verdict::Deny { line } => Err(Rejection::by_rule(line)),
            Verdict::NoRule => Err(Rejection::without_rule(CloseReason::NoRule)),
            Verdict::Impossible => Err(Rejection::without_rule(CloseReason::ImpossibleTarget)),
        }
    }
}

/// The permitted candidates; without any, why the first is not permitted, or `if_none`.
pub fn permitted(
    evaluated: impl Iterator<Item = Result<Candidate, Rejection>>,
    if_none: Rejection,
) -> Result<Candidates, Rejection> {
    let mut rejection = None;
    let candidates = evaluated.filter_map(|one| match one {
        Ok(candidate) => Some(candidate),
        Err(why) => {
            rejection.get_or_insert(why);
            None
        }
    });
    Candidates::new(candidates).ok_or(rejection.unwrap_or(if_none))
}

/// The combined result for two names, before it is known which of them will resolve.
fn either(one: Result<Ident, NoPermit>, other: Result<Ident, NoPermit>) -> Result<Ident, NoPermit> {
    match (one, other) {
        (Ok(one), Ok(other)) if one != other => Ok(Ident::Lax),
        (Ok(ident), _) | (Err(_), Ok(ident)) => Ok(ident),
        (Err(NoPermit::NoRule), Err(why)) | (Err(why), Err(_)) => Err(why),
    }
}
