//! Where a request comes from: whether it may run scripts at once, only after a click in the
//! panel, or not be answered.
//!
//! Any web site can send its visitors' browsers here, with a query that hands a script and its
//! password to a proxy of that site's choosing. Sources: Fetch Metadata Request Headers (W3C), RFC
//! 6454 (Origin), RFC 9110 section 7.2 (Host) and 10.1.3 (Referer).

use crate::name::{self, Classified};
use std::net::Ipv6Addr;

/// The headers of a request that tell its origin; `None`: the header is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Host: the authority that the browser believes to talk to.
    pub host: Option<String>,
    /// Sec-Fetch-Site. Browsers leave it out over plain HTTP to anything but this machine.
    pub site: Option<String>,
    /// Sec-Purpose: whether this is a guess at what the user will open next.
    pub purpose: Option<String>,
    /// Origin.
    pub origin: Option<String>,
    /// Referer.
    pub referer: Option<String>,
    /// User-Agent.
    pub agent: Option<String>,
    /// Accept-Language.
    pub language: Option<String>,
}

/// The permission of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Run what it asks for.
    Run,
    /// Show what it asks for and run it after a click; with the reason.
    Confirm(&'static str),
    /// Nothing now: the browser prefetches, and asks again when the user goes there.
    Prefetch,
}

const OTHER_SITE: &str = "Another site asked for this, so nothing has been run. Look at the \
                          hosts and the SOCKS server before you press Run.";
const UNKNOWN_SITE: &str = "The browser does not say which site asked for this, so nothing has \
                            been run. Look at the hosts and the SOCKS server before you press Run.";

impl Origin {
    /// Judges a request that asks for sessions.
    pub fn permission(&self) -> Permission {
        if self.purpose.as_deref().is_some_and(|purpose| purpose.contains("prefetch")) {
            return Permission::Prefetch;
        }
        match self.site.as_deref() {
            // `none` is the user: typed, bookmarked, or a link in a program that is no browser.
            Some("same-origin" | "none") => Permission::Run,
            Some(_) => Permission::Confirm(OTHER_SITE),
            None => self.permission_by_address(),
        }
    }

    /// Without Sec-Fetch-Site. A site can make its visitors' browsers leave out Referer, so that
    /// a missing one permits nothing.
    fn permission_by_address(&self) -> Permission {
        match self.origin.as_deref().or(self.referer.as_deref()) {
            Some(address) if self.is_own(address) => Permission::Run,
            Some(_) => Permission::Confirm(OTHER_SITE),
            None if self.is_browser() => Permission::Confirm(UNKNOWN_SITE),
            None => Permission::Run,
        }
    }

    /// Whether the page at `address` comes from the host that was asked.
    fn is_own(&self, address: &str) -> bool {
        let (_, rest) = address.split_once("://").unwrap_or_default();
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        self.host.as_deref().is_some_and(|host| host.eq_ignore_ascii_case(authority))
    }

    /// Graphical browsers call themselves Mozilla, and all browsers name languages. Neither can
    /// be taken away by a page. curl and its like do neither.
    fn is_browser(&self) -> bool {
        self.language.is_some()
            || self.agent.as_deref().is_some_and(|agent| agent.starts_with("Mozilla/"))
    }

    /// Whether the host asked for can be this server: an address, localhost, or one of `hosts`.
    ///
    /// Any other name may belong to a hostile site that had its name lead here (DNS rebinding):
    /// for the browser its pages and ours are then of the same origin. SERVER_NAME is no help:
    /// lighttpd and Apache copy it from the Host header. All browsers send Host.
    pub fn is_known_host(&self, hosts: &KnownHosts) -> bool {
        let Some(host) = self.host.as_deref() else { return true };
        let (host, port) = match host.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => (host, ""),
        };
        if !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return false;
        }
        if let Some(address) = host.strip_prefix('[') {
            return address.strip_suffix(']').is_some_and(|text| text.parse::<Ipv6Addr>().is_ok());
        }
        match name::classify(host.as_bytes()) {
            // An IPv6 address has brackets here (RFC 3986 section 3.2.2).
            Ok(Classified::Address(address)) => address.is_ipv4(),
            Ok(Classified::Name(name)) => {
                name.as_str() == "localhost" || hosts.contains(name.as_str())
            }
            Err(_) => false,
        }
    }
}

/// The names of the console's server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownHosts(Vec<String>);

impl KnownHosts {
    /// Reads names between blanks or commas.
    pub fn parse(text: &str) -> KnownHosts {
        let is_between = |letter: char| letter == ',' || letter.is_whitespace();
        let names = text.split(is_between).filter(|name| !name.is_empty());
        KnownHosts(names.map(|name| name.trim_end_matches('.').to_ascii_lowercase()).collect())
    }

    /// `name` is in lower case, without a final dot.
    fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|known| known == name)
    }
}

#[cfg(test)]
#[path = "origin_test.rs"]
mod tests;
