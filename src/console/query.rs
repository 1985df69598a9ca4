//! The query string: five rows and the proxy.
//!
//! Sources: RFC 3986 section 2.1 (percent encoding) and the form encoding of HTML (`+` is a
//! blank). Decoding never fails: what is not an escape stands for itself, as in browsers.

use crate::name::{self, Classified, NameError};
use std::fmt;

/// Rows of the panel, and most sessions of one page.
pub const ROWS: usize = 5;
/// Most bytes a query string may have; five full rows with every byte escaped are fewer.
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

/// Everything that was filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// The rows, `h0 p0 f0` first.
    pub rows: [Row; ROWS],
    /// `sh`: address or name of the SOCKS server.
    pub proxy_host: String,
    /// `sp`: its port.
    pub proxy_port: String,
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
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, port) = match self {
            FieldError::Name(error) => return write!(f, "not a host: {error}"),
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
    pub fn target(&self) -> Result<(Classified, u16), FieldError> {
        if !fits(&self.host) {
            return Err(FieldError::Host);
        }
        let target = name::classify(self.host.as_bytes()).map_err(FieldError::Name)?;
        Ok((target, port(&self.port).ok_or(FieldError::Port)?))
    }
}

impl Form {
    /// The rows that want a session, with their numbers.
    pub fn sessions(&self) -> impl Iterator<Item = (usize, &Row)> {
        self.rows.iter().enumerate().filter(|(_, row)| row.is_used())
    }

    /// Host (an address, or a name for the system's resolver) and port of the proxy.
    pub fn proxy(&self) -> Result<(&str, u16), FieldError> {
        if !fits(&self.proxy_host) {
            return Err(FieldError::ProxyHost);
        }
        Ok((&self.proxy_host, port(&self.proxy_port).ok_or(FieldError::ProxyPort)?))
    }

    /// The value of a field by its name in the query string.
    fn field(&mut self, name: &str) -> Option<&mut String> {
        match name {
            "sh" => return Some(&mut self.proxy_host),
            "sp" => return Some(&mut self.proxy_port),
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

/// Digits only: `u16::from_str` would take a sign too.
fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&port| digits && port != 0)
}

/// Reads a query string. Blanks around a value are dropped and unknown fields are ignored. Of two
/// fields with one name the first counts. `None` when it exceeds
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
            *field = value.trim_matches([' ', '\t', '\r', '\n']).into();
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
