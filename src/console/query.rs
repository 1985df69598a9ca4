//! The query string: five rows and the proxy.
//!
//! Sources: RFC 3986 section 2.1 (percent encoding) and the form encoding of HTML (`+` is a
//! blank). Decoding never fails: what is not an escape stands for itself, as in browsers.

use crate::name::{self, Classified, Name, NameError};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// Rows of the panel, and most sessions of one page.
pub const ROWS: usize = 5;
/// Most bytes a query string may have; all fields full, with every byte escaped, are fewer.
pub const QUERY_BYTES_MAX: usize = 16 << 10;
/// Most bytes a field may have once decoded.
pub const FIELD_BYTES_MAX: usize = 255;

/// One row as it was filled in: nothing here has been checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// `hN`: address or name of the remote shell.
    pub host: String,
    /// `pN`: its port.
    pub port: String,
    /// `fN`: the name of the script.
    pub script: String,
}

/// The host of a remote shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// An address.
    Address(IpAddr),
    /// A name, for the proxy to resolve.
    Name(Name),
}

/// The proxy, and what it is told of the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proxy<'a> {
    /// An address, or a name for the system's resolver.
    pub host: &'a str,
    /// The port.
    pub port: u16,
    /// SOCKS5 instead of SOCKS4.
    pub is_socks5: bool,
    /// The user; empty for none.
    pub user: &'a str,
    /// The password for SOCKS5; empty for none.
    pub password: &'a str,
}

/// Everything that was filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// The rows, `h0 p0 f0` first.
    pub rows: [Row; ROWS],
    /// `sh`: address or name of the SOCKS server.
    pub proxy_host: String,
    /// `sp`: its port.
    pub proxy_port: String,
    /// `sv`: the version of SOCKS, 4 or 5; empty is 4.
    pub version: String,
    /// `su`: the user.
    pub user: String,
    /// `sw`: the password, for SOCKS5.
    pub password: String,
}

/// Why a row, or the address of the proxy, cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldError {
    /// No host, or one that is longer than [`FIELD_BYTES_MAX`].
    Host,
    /// The host is no name that a proxy would look up.
    Name(NameError),
    /// The port is not a number from 1 to 65535.
    Port,
    /// The SOCKS server's host is missing or longer than [`FIELD_BYTES_MAX`].
    ProxyHost,
    /// The SOCKS server's port is not a number from 1 to 65535.
    ProxyPort,
    /// The version of SOCKS is neither 4 nor 5.
    Version,
    /// There is a password, but SOCKS4 has none.
    Password,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, port) = match self {
            FieldError::Name(error) => return write!(f, "not a host: {error}"),
            FieldError::Version => return f.write_str("the version of SOCKS must be 4 or 5"),
            FieldError::Password => return f.write_str("a password needs SOCKS5"),
            FieldError::Host => ("the host", false),
            FieldError::ProxyHost => ("the host of the SOCKS server", false),
            FieldError::Port => ("the port", true),
            FieldError::ProxyPort => ("the port of the SOCKS server", true),
        };
        match port {
            true => write!(f, "{what} must be a number from 1 to 65535"),
            false => write!(f, "{what} is missing, or longer than {FIELD_BYTES_MAX} bytes"),
        }
    }
}

impl std::error::Error for FieldError {}

impl Row {
    /// Whether a session is wanted here; a script alone is a list left as it stood.
    pub fn is_used(&self) -> bool {
        !(self.host.is_empty() && self.port.is_empty())
    }

    /// The target to ask the proxy for.
    pub fn target(&self) -> Result<(Host, u16), FieldError> {
        if !fits(&self.host) {
            return Err(FieldError::Host);
        }
        let host = match ipv6(&self.host) {
            Some((_, address)) => Host::Address(address.into()),
            None => match name::classify(self.host.as_bytes()).map_err(FieldError::Name)? {
                Classified::Address(address) => Host::Address(address),
                Classified::Name(name) => Host::Name(name),
            },
        };
        Ok((host, port(&self.port).ok_or(FieldError::Port)?))
    }
}

impl Form {
    /// The rows that want a session, with their numbers.
    pub fn sessions(&self) -> impl Iterator<Item = (usize, &Row)> {
        self.rows.iter().enumerate().filter(|(_, row)| row.is_used())
    }

    /// The proxy. The client checks the length of user and password.
    pub fn proxy(&self) -> Result<Proxy<'_>, FieldError> {
        if !fits(&self.proxy_host) {
            return Err(FieldError::ProxyHost);
        }
        let host = ipv6(&self.proxy_host).map_or(&*self.proxy_host, |(text, _)| text);
        let port = port(&self.proxy_port).ok_or(FieldError::ProxyPort)?;
        let is_socks5 = self.is_socks5().ok_or(FieldError::Version)?;
        if !is_socks5 && !self.password.is_empty() {
            return Err(FieldError::Password);
        }
        Ok(Proxy { host, port, is_socks5, user: &self.user, password: &self.password })
    }

    /// Whether the version is that of SOCKS5; `None` if it is none.
    pub fn is_socks5(&self) -> Option<bool> {
        match &*self.version {
            "" | "4" => Some(false),
            "5" => Some(true),
            _ => None,
        }
    }

    /// The value of a field by its name in the query string.
    fn field(&mut self, name: &str) -> Option<&mut String> {
        match name {
            "sh" => return Some(&mut self.proxy_host),
            "sp" => return Some(&mut self.proxy_port),
            "sv" => return Some(&mut self.version),
            "su" => return Some(&mut self.user),
            "sw" => return Some(&mut self.password),
            _ => {}
        }
        let mut letters = name.chars();
        let (kind, digit) = (letters.next()?, letters.next()?.to_digit(10)?);
        let row = self.rows.get_mut(digit as usize).filter(|_| letters.next().is_none())?;
        match kind {
            'h' => Some(&mut row.host),
            'p' => Some(&mut row.port),
            'f' => Some(&mut row.script),
            _ => None,
        }
    }
}

fn fits(host: &str) -> bool {
    (1..=FIELD_BYTES_MAX).contains(&host.len())
}

/// An IPv6 address, also in brackets, and its text without them.
pub fn ipv6(host: &str) -> Option<(&str, Ipv6Addr)> {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let text = inner.unwrap_or(host);
    Some((text, text.parse().ok()?))
}

/// Digits only: `u16::from_str` would take a sign too.
fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&port| digits && port != 0)
}

/// Reads a query string. Blanks around a value, unless it is the password, are dropped, and unknown
/// fields are ignored. Of two fields with one name the first counts. `None` when it exceeds
/// [`QUERY_BYTES_MAX`].
pub fn parse(query: &[u8]) -> Option<Form> {
    if query.len() > QUERY_BYTES_MAX {
        return None;
    }
    let mut form = Form::default();
    let mut seen = Vec::new();
    for pair in query.split(|&byte| byte == b'&') {
        let at = pair.iter().position(|&byte| byte == b'=').unwrap_or(pair.len());
        let (name, value) = (decode(&pair[..at]), decode(pair.get(at + 1..).unwrap_or(b"")));
        if let Some(field) = form.field(&name)
            && !seen.contains(&name)
        {
            let blanks: &[char] = if name == "sw" { &[] } else { &[' ', '\t', '\r', '\n'] };
            *field = value.trim_matches(blanks).into();
            seen.push(name);
        }
    }
    Some(form)
}

/// Undoes the form encoding; bytes that are no UTF-8 become U+FFFD, which no host, port or
/// script name holds.
pub fn decode(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, next)) = rest.split_first() {
        rest = next;
        let digit = |at: usize| next.get(at).and_then(|&byte| char::from(byte).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &next[2..];
            }
            (b'+', ..) => bytes.push(b' '),
            _ => bytes.push(first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
#[path = "query_test.rs"]
mod tests;
