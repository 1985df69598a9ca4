//! The resolver of a server, from its flags and the files of this host.

use crate::config::Config;
use crate::dns::{Resolver, ResolverSettings};
use crate::net::interface_number;
use crate::reload;
use crate::time::Millis;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;

/// Settings of the resolver.
pub const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Names that are known without a query.
pub const HOSTS: &str = "/etc/hosts";

/// The resolver, and warnings about the files that it is made from.
pub fn resolver(config: &Config) -> (Resolver, Vec<String>) {
    let mut warnings = Vec::new();
    let settings = settings(config, &mut warnings);
    let hosts = or_empty(reload::read_hosts(Path::new(HOSTS)), &mut warnings);
    (Resolver::new(settings, hosts, Box::new(unpredictable())), warnings)
}

fn settings(config: &Config, warnings: &mut Vec<String>) -> ResolverSettings {
    match config.nameservers.as_slice() {
        [] => {
            let text = or_empty(reload::read_resolv_conf(Path::new(RESOLV_CONF)), warnings);
            resolv_conf_settings(&text, config.dns_timeout_ms)
        }
        servers => ResolverSettings {
            servers: servers.to_vec(),
            total_timeout_ms: config.dns_timeout_ms,
            ..ResolverSettings::default()
        },
    }
}

/// The settings by the text of resolv.conf. Without a text, this host's own server is asked, as other
/// resolvers do.
pub fn resolv_conf_settings(text: &[u8], total_timeout_ms: Millis) -> ResolverSettings {
    ResolverSettings {
        total_timeout_ms,
        ..ResolverSettings::from_resolv_conf(text, interface_number)
    }
}

/// The content of a file that the proxy can start without.
fn or_empty<T: Default>(read: Result<T, String>, warnings: &mut Vec<String>) -> T {
    read.unwrap_or_else(|error| {
        warnings.push(format!("{error}; taken as empty"));
        T::default()
    })
}

/// Numbers that others cannot guess: SipHash of a counter, with a key of the system's.
fn unpredictable() -> impl FnMut() -> u16 + Send {
    let keys = RandomState::new();
    let mut count = 0u64;
    move || {
        count += 1;
        keys.hash_one(count) as u16
    }
}
