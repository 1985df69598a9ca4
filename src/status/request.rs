//! A request to the status listener, parsed from its head; a body is never awaited.
//!
//! Source: RFC 9110 and 9112 (HTTP, HTTP/1.1).

use crate::wire::Parsed;
use std::net::{IpAddr, Ipv6Addr};

/// Most bytes of a head.
pub const HEAD_BYTES_MAX: usize = 8 << 10;
/// Most header fields of a head.
const HEADERS_MAX: usize = 64;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// `/`: the page.
    Page,
    /// `/events`: snapshots, as long as the client reads them.
    Events,
    /// `/snapshot`: one snapshot.
    Snapshot,
    /// `/metrics`: the counters.
    Metrics {
        /// In the form of OpenMetrics 1.0, which the client accepts.
        open_metrics: bool,
    },
}

/// A request that can be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked for.
    pub resource: Resource,
    /// HEAD: the answer has no body.
    pub is_head: bool,
}

/// Why a request is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// 400: this is not HTTP/1, or lacks what it must have.
    Malformed,
    /// 403: a page of another site asks (Sec-Fetch-Site, W3C Fetch Metadata). Its browser would keep
    /// the answer from it, but the answer would be made.
    CrossSite,
    /// 403: `Host` names a host, where an address or `localhost` has to be. A page of a foreign
    /// site whose name leads to this address (DNS rebinding) could read the answer otherwise.
    ForeignHost,
    /// 404: nothing has this path.
    NotFound,
    /// 405: neither GET nor HEAD.
    Method,
    /// 431: more than [`HEAD_BYTES_MAX`] bytes or 64 fields.
    TooLarge,
}

/// Parses a request from the start of `bytes`, all that has arrived so far.
pub fn parse(bytes: &[u8]) -> Result<Parsed<Request>, RequestError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let head_bytes = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    let length = match head.parse(head_bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return Ok(Parsed::More),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Err(RequestError::TooLarge);
        }
        Err(_) => return Err(RequestError::Malformed),
    };
    let (Some(method), Some(target), Some(version)) = (head.method, head.path, head.version) else {
        return Err(RequestError::Malformed);
    };
    let (authority, path) = split(target);
    check_host(head.headers, version)?;
    if authority.is_some_and(|authority| !is_own(authority)) {
        return Err(RequestError::ForeignHost);
    }
    let is_head = match method {
        "GET" => false,
        "HEAD" => true,
        _ => return Err(RequestError::Method),
    };
    // The page itself says nothing, and a link may lead to it.
    if path != "/" && is_cross_site(head.headers) {
        return Err(RequestError::CrossSite);
    }
    let resource = match path {
        "/" => Resource::Page,
        "/events" => Resource::Events,
        "/snapshot" => Resource::Snapshot,
        "/metrics" => Resource::Metrics { open_metrics: accepts_open_metrics(head.headers) },
        _ => return Err(RequestError::NotFound),
    };
    Ok(Parsed::Done(Request { resource, is_head }, length))
}

/// The authority, if a target has one (absolute form, RFC 9112 section 3.2.2), and the path without
/// the query.
fn split(target: &str) -> (Option<&str>, &str) {
    let without_scheme = target
        .split_at_checked("http://".len())
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("http://"));
    let (authority, path) = match without_scheme {
        Some((_, rest)) => match rest.find(['/', '?']) {
            Some(end) => (Some(&rest[..end]), &rest[end..]),
            None => (Some(rest), "/"),
        },
        None => (None, target),
    };
    (authority, path.split('?').next().unwrap_or_default())
}

/// HTTP/1.1 must name the host, once (RFC 9112 section 3.2); HTTP/1.0 need not.
fn check_host(headers: &[httparse::Header<'_>], version: u8) -> Result<(), RequestError> {
    let mut hosts = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("host"));
    match (hosts.next(), hosts.next()) {
        (None, _) if version == 0 => Ok(()),
        (Some(host), None) => match str::from_utf8(host.value) {
            Ok(host) if is_own(host) => Ok(()),
            _ => Err(RequestError::ForeignHost),
        },
        _ => Err(RequestError::Malformed),
    }
}

/// Whether a browser says that a page of another site asks.
fn is_cross_site(headers: &[httparse::Header<'_>]) -> bool {
    let mut sites = headers.iter().filter(|one| one.name.eq_ignore_ascii_case("sec-fetch-site"));
    sites.any(|site| !matches!(site.value, b"same-origin" | b"none"))
}

/// Whether a host is an address or `localhost`, with any port: no name that somebody else controls.
fn is_own(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        return address.parse::<Ipv6Addr>().is_ok() && (port.is_empty() || is_port(port));
    }
    let end = host.find(':').unwrap_or(host.len());
    let (name, port) = host.split_at(end);
    let is_known = name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok();
    is_known && (port.is_empty() || is_port(port))
}

/// A colon and digits, if any.
fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether an `Accept` field lists OpenMetrics, at any quality but 0. A client that can read it
/// prefers it: it says more.
fn accepts_open_metrics(headers: &[httparse::Header<'_>]) -> bool {
    let accepts = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("accept"));
    let values = accepts.filter_map(|header| str::from_utf8(header.value).ok());
    values.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_named = parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("application/openmetrics-text"));
        let is_other = |part: &str| match part.split_once('=') {
            Some(("q", quality)) => quality.parse().is_ok_and(|quality: f32| quality == 0.0),
            Some(("version", version)) => !matches!(version, "1.0.0" | "0.0.1"),
            _ => false,
        };
        is_named && !parts.any(is_other)
    })
}

#[cfg(test)]
#[path = "request_test.rs"]
mod tests;
