//! The output of `-e`: an answer to a question.

mod question;

pub use question::QuestionError;

use crate::address::IpPort;
use crate::dns::Resolver;
use crate::escape::Escaped;
use crate::name::Name;
use crate::reason::CloseReason;
use crate::rules::{Ident, PartialRequest, Rule, RuleSet, TargetPattern};
use crate::session::{Env, Evaluator, Rejection, Surroundings};
use question::{Question, Target};
use std::fmt::Write;
use std::io;
use std::net::IpAddr;

/// The answer to a question of `-e`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The verdict and its reason, for people; without a line end.
    pub text: String,
    /// The proxy says no, whatever the address turns out to be.
    pub is_denied: bool,
}

/// The proxy that a question is about.
pub struct Proxy<'a> {
    /// Its rules.
    pub rules: &'a RuleSet,
    /// Somebody can log in.
    pub has_users: bool,
    /// Its resolver, which is asked for what it knows without a query.
    pub resolver: &'a Resolver,
    /// Whether a target is one of its listening sockets.
    pub is_own: &'a dyn Fn(IpPort) -> io::Result<bool>,
}

impl Surroundings for Proxy<'_> {
    fn is_own(&self, target: IpPort) -> io::Result<bool> {
        (self.is_own)(target)
    }

    fn may_log_in(&self, _client: IpAddr) -> bool {
        true
    }

    fn possible_names(&self, name: &Name) -> Vec<Name> {
        self.resolver.possible_names(name)
    }
}

/// Answers a question, see [`question::parse`], as the proxy would decide.
pub fn explain(proxy: &Proxy<'_>, question: &str) -> Result<Answer, QuestionError> {
    let Question { request, target } = question::parse(question)?;
    Ok(Explainer { proxy, request }.answer(&target))
}

/// One request to a proxy.
struct Explainer<'a> {
    proxy: &'a Proxy<'a>,
    request: PartialRequest<'a>,
}

impl Explainer<'_> {
    fn answer(&self, target: &Target) -> Answer {
        let evaluator = Evaluator(self.request);
        match target {
            Target::Address(address) => self.judge(&[None], &[*address]),
            Target::AnyPeer => match evaluator.could_permit_any_peer(self.proxy.rules) {
                Err(rejection) => self.deny(rejection, &[None], None),
                Ok(_) => self.depends(&[None]),
            },
            Target::Name(name) | Target::NameAt(name, _) => {
                let possible = self.proxy.possible_names(name);
                let names: Vec<_> = possible.iter().map(Some).collect();
                let known = match target {
                    Target::NameAt(_, address) => Some(vec![*address]),
                    _ => self.proxy.resolver.known(name).map(|known| known.to_vec()),
                };
                match (evaluator.could_permit_name(name, &self.env()), known) {
                    (Err(rejection), known) => {
                        let address = known.and_then(|known| known.first().copied());
                        self.deny(rejection, &names, address)
                    }
                    (Ok(_), Some(addresses)) => self.judge(&names, &addresses),
                    (Ok(_), None) => self.depends(&names),
                }
            }
        }
    }

    fn env(&self) -> Env<'_> {
        let Proxy { rules, .. } = self.proxy;
        Env { now: 0, attempt_delay_ms: 0, rules, users: None, surroundings: self.proxy }
    }

    /// Each address under each name that the request may stand for. Only those that are permitted are
    /// tried, so one is enough for a yes.
    fn judge(&self, names: &[Option<&Name>], addresses: &[IpAddr]) -> Answer {
        let mut answers = Vec::new();
        for &name in names {
            for &address in addresses {
                let answer = self.judge_one(name, address);
                answers.push((name, address, answer));
            }
        }
        let (_, _, first) = &answers[0];
        if answers.iter().all(|(_, _, answer)| answer == first) {
            return first.clone();
        }
        let is_denied = answers.iter().all(|(_, _, answer)| answer.is_denied);
        let verdict = if is_denied { "deny:" } else { "permit, of these:" };
        let mut text = String::from(verdict);
        for (name, address, answer) in answers {
            let name = name.map(|name| format!("{name} at ")).unwrap_or_default();
            let _ = write!(text, "\n   {name}{address}: {}", answer.text);
        }
        Answer { text, is_denied }
    }

    fn judge_one(&self, name: Option<&Name>, address: IpAddr) -> Answer {
        match Evaluator(self.request).evaluate(name, address, &self.env()) {
            Err(rejection) => self.deny(rejection, &[name], Some(address)),
            Ok(candidate) => {
                let text = self.rule_on(candidate.line).map(|rule| {
                    format!("permit: line {}: {rule}{}", rule.line, self.conditions(rule))
                });
                Answer { text: text.unwrap_or_default(), is_denied: false }
            }
        }
    }

    fn deny(
        &self,
        Rejection { cause, line }: Rejection,
        names: &[Option<&Name>],
        address: Option<IpAddr>,
    ) -> Answer {
        let text = match (cause.reason, line.and_then(|line| self.rule_on(line))) {
            (_, Some(rule)) => format!("line {}: {rule}", rule.line),
            (CloseReason::Loop, _) => "the proxy's own socket (a loop)".into(),
            (CloseReason::ImpossibleTarget, _) => {
                "0/8, 224/4, 240/4, ::, ff00::/8 and port 0 are never the target of a connection"
                    .into()
            }
            (CloseReason::NoRule, _) => {
                let any = if address.is_some() { "no rule matches" } else { NO_RULE_FOR_ANY };
                any.to_string() + &self.nearest(names, address)
            }
            // No descriptor to ask the kernel with.
            (other, _) => other.to_string(),
        };
        Answer { text: format!("deny: {text}"), is_denied: true }
    }

    /// The permit rule that came nearest, and what kept it from matching.
    fn nearest(&self, names: &[Option<&Name>], address: Option<IpAddr>) -> String {
        let nearest = names.iter().filter_map(|name| {
            let name = name.map(|name| name.as_str().as_bytes());
            self.proxy.rules.nearest(&self.request, name, address)
        });
        let Some(nearest) = nearest.min_by_key(|nearest| nearest.obstacles.len()) else {
            return String::new();
        };
        let rule = nearest.rule;
        let obstacles: Vec<_> = nearest.obstacles.iter().map(ToString::to_string).collect();
        format!("; nearest: line {}: {rule}: {}", rule.line, obstacles.join(", "))
    }

    /// What a permit rule that matches still asks for.
    fn conditions(&self, rule: &Rule) -> String {
        let user = Escaped(self.request.user);
        let mut text = String::new();
        if rule.auth {
            let _ = write!(text, "; if user \"{user}\" proves the password");
            text += if self.proxy.has_users { "" } else { ", which takes --users" };
        }
        let _ = match rule.ident {
            Ident::No => Ok(()),
            Ident::Strict => write!(text, "; if the client's identd names user \"{user}\""),
            Ident::Lax => {
                write!(text, "; if the client's identd names user \"{user}\" or does not answer")
            }
        };
        text
    }

    fn rule_on(&self, line: u32) -> Option<&Rule> {
        self.proxy.rules.rules().iter().find(|rule| rule.line == line)
    }

    /// Each of the addresses of a name, or of the peers, will be judged: the rules that may decide.
    fn depends(&self, names: &[Option<&Name>]) -> Answer {
        let mut text = String::from("depends on the address; in this order:");
        for &name in names {
            if names.len() > 1
                && let Some(name) = name
            {
                let _ = write!(text, "\n   as {name}:");
            }
            let asked = name.map(|name| name.as_str().as_bytes());
            for rule in self.proxy.rules.may_decide(&self.request, asked) {
                let _ = write!(text, "\n{:>4}: {rule}", rule.line);
                if rule.permit {
                    text += &self.conditions(rule);
                }
                if let (TargetPattern::Name { .. }, Some(name)) = (&rule.target, name) {
                    let _ = write!(
                        text,
                        "   ({name}, unless at a loopback, link-local or metadata address)"
                    );
                }
            }
        }
        Answer { text, is_denied: false }
    }
}

const NO_RULE_FOR_ANY: &str = "no rule permits this for any address";

#[cfg(test)]
#[path = "explain/explain_test.rs"]
mod tests;
