//! What `-e` does: answers a question as the proxy with these settings would decide.

use super::error::{RulesError, UsersError};
use super::names;
use super::rule_source::RuleSource;
use super::user_source::UserSource;
use crate::config::Config;
use crate::context::is_own;
use crate::explain::{Answer, Proxy, QuestionError, explain};
use crate::net::is_local;

/// Why a question has no answer.
#[derive(Debug)]
pub enum Unanswered {
    /// The rules cannot be read, or are wrong.
    Rules(RulesError),
    /// The users cannot be read, or are wrong.
    Users(UsersError),
    /// The question cannot be understood.
    Question(QuestionError),
}

/// Answers a question by the rules, the users, the hosts file, the search list and the listening
/// addresses that a proxy with these settings would have.
pub fn answer(config: &Config, question: &str) -> Result<Answer, Unanswered> {
    let source = RuleSource::find(&config.rule_files()).map_err(Unanswered::Rules)?;
    let rules = source.read().map_err(Unanswered::Rules)?;
    let users = UserSource::find(config).read().map_err(Unanswered::Users)?;
    // A file that cannot be read is taken as empty, as by a start.
    let (resolver, _) = names::resolver(config);
    let own = || config.listen.iter().copied().chain(config.status);
    let proxy = Proxy {
        rules: &rules,
        has_users: users.is_some(),
        resolver: &resolver,
        is_own: &|target| is_own(own(), target, is_local),
    };
    explain(&proxy, question).map_err(Unanswered::Question)
}
