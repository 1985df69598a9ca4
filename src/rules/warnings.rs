//! Warnings about rules that are valid, and yet hardly meant so.

use super::{AddressPattern, DENY_RULES_MAX, Rule, RuleSet, TargetPattern};

/// Most warnings of one kind that name a rule each.
const WARNINGS_MAX: usize = 20;
/// Names of one word that are meant as every address, in other programs' rule files.
const MEANT_AS_EVERY: [&str; 2] = ["any", "all"];

/// What warnings depend on besides the rules.
pub struct Circumstances<'a> {
    /// The proxy listens on more than loopback.
    pub beyond_loopback: bool,
    /// Somebody can log in.
    pub has_users: bool,
    /// Whether a name of one word is in the hosts file.
    pub is_listed: &'a dyn Fn(&str) -> bool,
    /// resolv.conf has a search list: any name of one word may be completed.
    pub has_search: bool,
    /// How much may be compared to find rules that never match, see [`RuleSet::dead_rules`].
    pub comparisons_max: usize,
}

impl RuleSet {
    /// All warnings, each with its line or lines; those of one kind are bounded.
    pub fn warnings(&self, circumstances: &Circumstances<'_>) -> Vec<String> {
        let mut warnings = self.open_proxy_warnings(circumstances.beyond_loopback);
        warnings.extend(self.auth_warning(circumstances.has_users));
        warnings.extend(bounded(self.name_warnings(circumstances), "such names"));
        let dead = self.dead_rules(circumstances.comparisons_max).into_iter().map(|dead| {
            let rule = &self.rules[dead.place];
            format!("line {}: never matches (`{rule}`): {}", rule.line, dead.why)
        });
        warnings.extend(bounded(dead, "rules that never match"));
        warnings
    }

    /// Host names of one word that nothing on this host knows: most likely a word of another program.
    fn name_warnings(&self, circumstances: &Circumstances<'_>) -> impl Iterator<Item = String> {
        let is_known = |name: &str| {
            name == "localhost"
                || (circumstances.is_listed)(name)
                || (circumstances.has_search && !MEANT_AS_EVERY.contains(&name))
        };
        self.rules.iter().filter_map(move |rule| match &rule.target {
            TargetPattern::Name { name, subdomains: false }
                if !name.contains('.') && !is_known(name) =>
            {
                Some(format!(
                    "line {}: `{name}` is taken for the name of a host (`{rule}`), and /etc/hosts \
                     does not have it; `*` is every address",
                    rule.line
                ))
            }
            _ => None,
        })
    }

    /// Warnings for a proxy that listens on more than loopback: the rules make it an open proxy, or
    /// let clients of other hosts reach 127/8 or ::1.
    pub fn open_proxy_warnings(&self, beyond_loopback: bool) -> Vec<String> {
        if !beyond_loopback {
            return Vec::new();
        }
        let is_open = |rule: &&Rule| {
            rule.permit && !rule.auth && rule.from.is_none_or(AddressPattern::is_whole_family)
        };
        let open = self.rules.iter().find(is_open).map(|rule| {
            format!(
                "line {}: permits every client (`{rule}`); limit them by `from` or `auth` unless \
                 this is intended",
                rule.line
            )
        });
        let commands: [fn(&Rule) -> bool; 2] = [|rule| rule.connect, |rule| rule.bind];
        let exposing = AddressPattern::LOOPBACK.iter().flat_map(|own| {
            commands.iter().filter_map(|&command| self.rule_exposing(*own, command))
        });
        let exposed = exposing.min_by_key(|rule| rule.line).map(|rule| {
            format!(
                "line {}: lets other hosts reach services of this one (`{rule}`); deny them \
                 127.*.*.* and ::1 before it unless this is intended",
                rule.line
            )
        });
        open.into_iter().chain(exposed).collect()
    }

    /// A warning when users and rules do not belong together: passwords that no rule requires, or a
    /// rule that requires one while nobody has any.
    pub fn auth_warning(&self, has_users: bool) -> Option<String> {
        let requiring = self.rules.iter().find(|rule| rule.auth);
        match (has_users, requiring) {
            (true, None) => Some(
                "no rule has `auth`: clients without a password may do the same as users".into(),
            ),
            (false, Some(rule)) => Some(format!(
                "line {}: `auth` matches nobody (`{rule}`); name the users by --users",
                rule.line
            )),
            _ => None,
        }
    }

    /// The first permit rule for this command that lets other hosts reach some of this host's `own`
    /// addresses, unless rules before it deny all of them to every client it permits.
    fn rule_exposing(&self, own: AddressPattern, applies: fn(&Rule) -> bool) -> Option<&Rule> {
        let mut shields: Vec<AddressPattern> = Vec::new();
        self.rules.iter().filter(|rule| applies(rule)).find(|rule| {
            if rule.shields(own) && shields.len() < DENY_RULES_MAX {
                shields.push(rule.clients());
            }
            let is_shielded = |clients| shields.iter().any(|shield| shield.covers(clients));
            rule.permit && rule.exposes(own) && !rule.clients().families().all(is_shielded)
        })
    }
}

/// The first of these, and the number of the others.
fn bounded(warnings: impl Iterator<Item = String>, what: &str) -> Vec<String> {
    let mut warnings = warnings.fuse();
    let mut first: Vec<String> = warnings.by_ref().take(WARNINGS_MAX).collect();
    match warnings.count() {
        0 => {}
        more => first.push(format!("and {more} more {what}")),
    }
    first
}

impl Rule {
    /// Whether its target overlaps this host's `own` addresses and its clients may be other hosts.
    fn exposes(&self, own: AddressPattern) -> bool {
        let reaches =
            matches!(self.target, TargetPattern::Addresses(target) if target.overlaps(own));
        reaches && !AddressPattern::LOOPBACK.iter().any(|local| local.covers(self.clients()))
    }

    /// Whether it denies all of these addresses to the clients it matches.
    fn shields(&self, own: AddressPattern) -> bool {
        !self.permit
            && self.ports.is_empty()
            && self.user.is_none()
            && matches!(self.target, TargetPattern::Addresses(target) if target.covers(own))
    }
}
