//! What a start checks and tells besides what it does.

use super::rule_source::RuleSource;
use super::user_source::UserSource;
use crate::address::PerFamily;
use crate::config::{Config, SettingError};
use crate::net::has_address;
use crate::rules::RuleSet;
use crate::users::Users;
use std::net::{IpAddr, SocketAddr};

/// Whether other hosts can reach a proxy that listens on these addresses.
pub fn is_beyond_loopback(listening: &[SocketAddr]) -> bool {
    listening.iter().any(|address| !address.ip().is_loopback())
}

/// An error if an address of --outbound is not one of this host. A link-local one is of no link
/// before its target is known, so it is not checked.
pub fn check_outbound(config: &Config) -> Result<(), SettingError> {
    let PerFamily { v4, v6 } = config.outbound;
    let v6 = v6.filter(|address| !address.is_unicast_link_local());
    let addresses = v4.map(IpAddr::V4).into_iter().chain(v6.map(IpAddr::V6));
    for address in addresses {
        if let Err(error) = has_address((address, 0).into()) {
            let expected = format!("an address of this host ({error})");
            return Err(SettingError { flag: "outbound", found: address.to_string(), expected });
        }
    }
    Ok(())
}

/// The line that tells what a server starts with.
pub fn start_line(
    source: &RuleSource,
    rules: &RuleSet,
    user_source: &UserSource,
    users: Option<&Users>,
    max_sessions: usize,
) -> String {
    let from = match source {
        RuleSource::File(path) => format!("rules from {}", path.display()),
        RuleSource::Text(_) => "rules of the program".into(),
    };
    let users = users.map(|users| {
        let users = counted(users.count(), "user");
        match user_source {
            UserSource::File(path) => format!("; {users} from {}", path.display()),
            UserSource::Text(_) | UserSource::None => format!("; {users}"),
        }
    });
    format!(
        "socku {}: {from}: {}{}; at most {}",
        env!("CARGO_PKG_VERSION"),
        counted(rules.rules().len(), "rule"),
        users.unwrap_or_default(),
        counted(max_sessions, "session"),
    )
}

/// A number of things: `1 rule`, `2 rules`.
pub fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
