//! What `-t` does: all checks of a start, without becoming what runs.

use super::conflict::{conflict, listened};
use super::names;
use super::rule_source::RuleSource;
use super::settings::settings;
use super::start::{check_outbound, counted, is_beyond_loopback};
use super::user_source::UserSource;
use crate::config::Config;
use crate::limits;
use crate::listing::listing;
use crate::net::has_address;
use crate::privileges::{self, IdentityError};
use crate::reload::{self, Checked};
use crate::rules::{Circumstances, RuleSet};
use crate::token::LISTENERS_MAX;
use crate::users::Users;

/// Most comparisons to find rules that never match: a second or two.
const COMPARISONS_MAX: usize = 100_000_000;

/// The result of a check.
#[derive(Debug, Default)]
pub struct Report {
    /// The rules as understood and the number of users, for standard output.
    pub listing: String,
    /// What a start would warn about.
    pub warnings: Vec<String>,
    /// What a start would end with, one line each.
    pub errors: Vec<String>,
    /// How many more errors there are.
    pub more: usize,
}

/// Checks all that a start with these settings would. Nothing is listened on. It becomes the user of
/// --user for good, if it can, to see what that one may read; so it is only for a process that ends
/// then.
pub fn check(config: &Config) -> Report {
    let mut report = Report::default();
    let source = RuleSource::find(&config.rule_files());
    let rules = match &source {
        Ok(RuleSource::File(path)) => report.take(reload::check_rules(path)),
        Ok(RuleSource::Text(_)) => None,
        Err(error) => {
            report.errors.push(error.to_string());
            None
        }
    };
    let users = config.users_file.as_deref().map(reload::check_users);
    let users = users.and_then(|checked| report.take(checked));
    report.check_flags(config);
    let (_, warnings) = settings(config, limits::raise_descriptor_limit(), config.listen.len());
    report.warnings.extend(warnings);
    if let Some(rules) = rules {
        report.check_rules(config, &source.map(|source| source.name()).unwrap_or_default(), &rules);
    }
    report.list_users(config, users.as_ref());
    report.check_user(config);
    report
}

impl Report {
    /// The content of a file, if a start could use it; whatever is wrong with it is kept.
    fn take<T>(&mut self, checked: Checked<T>) -> Option<T> {
        let Checked { content, errors, more, warning } = checked;
        self.errors.extend(errors);
        self.more += more;
        self.warnings.extend(warning);
        content
    }

    /// Whether the addresses are those of this host, and no port is taken twice.
    fn check_flags(&mut self, config: &Config) {
        self.errors.extend(check_outbound(config).err().map(|error| error.to_string()));
        if let Some(address) = config.listen.get(LISTENERS_MAX) {
            self.errors.push(format!("--listen {address}: expected at most 32 addresses"));
        }
        let all = listened(config);
        for (place, &(flag, address)) in all.iter().enumerate() {
            let error = conflict(config, &all, place).or_else(|| has_address(address).err());
            self.errors.extend(error.map(|error| format!("--{flag} {address}: {error}")));
        }
    }

    fn check_rules(&mut self, config: &Config, name: &str, rules: &RuleSet) {
        let (resolver, warnings) = names::resolver(config);
        self.warnings.extend(warnings);
        let warnings = rules.warnings(&Circumstances {
            beyond_loopback: is_beyond_loopback(&config.listen),
            has_users: config.users_file.is_some(),
            is_listed: &|name| resolver.is_listed(name),
            has_search: resolver.has_search(),
            comparisons_max: COMPARISONS_MAX,
        });
        self.warnings.extend(warnings.iter().map(|warning| format!("{name}: {warning}")));
        self.listing = listing(rules, &rules.dead_rules(COMPARISONS_MAX));
    }

    fn list_users(&mut self, config: &Config, users: Option<&Users>) {
        if let (Some(path), Some(users)) = (&config.users_file, users) {
            let users = counted(users.count(), "user");
            self.listing += &format!("{}: {users}\n", path.display());
        }
    }

    /// Whether --user exists, and may read the files again.
    fn check_user(&mut self, config: &Config) {
        let Some(user) = &config.user else { return };
        let identity = privileges::find_identity(user);
        let dropped = identity.and_then(privileges::drop_to);
        match dropped {
            Ok(()) => {
                let source = RuleSource::find(&config.rule_files()).ok();
                self.warnings.extend(source.and_then(|source| source.unreadable()));
                self.warnings.extend(UserSource::find(config).unreadable());
            }
            // Most likely the service is started as root, and this check is not.
            Err(IdentityError::Refused(error)) => {
                let message = format!("--user: {error}; not checked whether it may read the files");
                self.warnings.push(message);
            }
            Err(error) => self.errors.push(format!("--user: {error}")),
        }
    }
}
