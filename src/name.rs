//! The names that a client may send: an address as text, or a host name fit for a DNS query.
//!
//! Sources: RFC 1035 section 2.3.4 (63 octets a label, 255 octets a name on the wire, which is 253
//! octets of text), RFC 1123 section 2.1 (letters, digits and hyphens; a dotted quad is an address
//! and is checked for first); RFC 2782 and practice add the underscore.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Most octets in a name, not counting its final dot.
pub const NAME_OCTETS_MAX: usize = 253;
/// Most octets in a label.
pub const LABEL_OCTETS_MAX: usize = 63;

/// The kind of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Classified {
    /// A strict dotted quad or IPv6 address (RFC 4291 section 2.2), never looked up. An IPv4 address
    /// written as IPv6 is IPv4.
    Address(IpAddr),
    /// A host name.
    Name(Name),
}

/// A valid host name, case folded, so that rules, cache and hosts file compare it as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// Lower case, without the final dot; shared, because thousands may ask for the same name.
    text: Arc<str>,
    absolute: bool,
}

impl Name {
    /// The name in lower case, without a final dot.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a final dot was written: such a name is never completed from a search list.
    pub fn is_absolute(&self) -> bool {
        self.absolute
    }

    /// Whether it is a single label without a final dot: only such a name may be completed.
    pub fn is_short(&self) -> bool {
        !self.absolute && !self.text.contains('.')
    }

    /// Whether it is `localhost`.
    pub fn is_localhost(&self) -> bool {
        &*self.text == "localhost"
    }

    /// Whether it ends in `.localhost`.
    pub fn is_below_localhost(&self) -> bool {
        self.text.ends_with(".localhost")
    }

    /// This name, never to be completed.
    pub fn to_absolute(&self) -> Name {
        Name { text: self.text.clone(), absolute: true }
    }

    /// This name completed with `suffix`; `None` when the result would be too long.
    pub fn completed(&self, suffix: &Name) -> Option<Name> {
        let text = format!("{}.{}", self.text, suffix.text);
        (text.len() <= NAME_OCTETS_MAX).then(|| Name { text: text.into(), absolute: true })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why bytes are neither an address nor a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameError {
    /// No octets. Some clients send two NULs after an empty USERID, and the second one then ends an
    /// empty name: worth a log line of its own.
    Empty,
    /// More than [`NAME_OCTETS_MAX`] octets.
    TooLong,
    /// An octet other than letters, digits, `-`, `_` and the dot.
    Octet(u8),
    /// A label that is empty (`..`, a leading dot) or exceeds [`LABEL_OCTETS_MAX`].
    Label,
    /// An address in a form other than a strict dotted quad (`127.1`, `0x7f.1`, `2130706433`,
    /// `010.0.0.1`, `127.0.0.1.`): such forms mean different addresses to different programs,
    /// so a rule could be read one way and the connection go another. Or an IPv6 address in
    /// brackets, or with a zone, which means something on one host only.
    Numeric,
}

impl NameError {
    /// One word for the log.
    pub fn word(self) -> &'static str {
        match self {
            NameError::Empty => "name-empty",
            NameError::TooLong => "name-too-long",
            NameError::Octet(_) => "name-octet",
            NameError::Label => "name-label",
            NameError::Numeric => "name-numeric",
        }
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Empty => {
                f.write_str("the name is empty (a client that sends two NULs after the USERID?)")
            }
            NameError::TooLong => write!(f, "the name exceeds {NAME_OCTETS_MAX} octets"),
            NameError::Octet(octet) => write!(f, "the name contains octet 0x{octet:02x}"),
            NameError::Label => {
                write!(f, "a label of the name is empty or exceeds {LABEL_OCTETS_MAX} octets")
            }
            NameError::Numeric => {
                f.write_str("an address must be four decimal numbers, or IPv6 without [] and zone")
            }
        }
    }
}

impl std::error::Error for NameError {}

/// Classifies bytes as an address, a name, or an error that must not be looked up.
pub fn classify(bytes: &[u8]) -> Result<Classified, NameError> {
    let (relative, absolute) = match bytes.split_last() {
        None => return Err(NameError::Empty),
        Some((b'.', front)) => (front, true),
        Some(_) => (bytes, false),
    };
    if relative.len() > NAME_OCTETS_MAX {
        return Err(NameError::TooLong);
    }
    if let Some(address) = ipv6(bytes)? {
        return Ok(Classified::Address(address));
    }
    if let Some(&octet) = relative.iter().find(|&&octet| !allowed(octet)) {
        return Err(NameError::Octet(octet));
    }
    let mut last: &[u8] = b"";
    for label in relative.split(|&octet| octet == b'.') {
        if label.is_empty() || label.len() > LABEL_OCTETS_MAX {
            return Err(NameError::Label);
        }
        last = label;
    }
    // No top-level domain is numeric, so the last label decides (RFC 1123 2.1, RFC 3696 2).
    if numeric(last) {
        let quad = quad(relative).filter(|_| !absolute).ok_or(NameError::Numeric)?;
        return Ok(Classified::Address(quad.into()));
    }
    let text: String = relative.iter().map(|octet| octet.to_ascii_lowercase() as char).collect();
    Ok(Classified::Name(Name { text: text.into(), absolute }))
}

fn allowed(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.')
}

/// An IPv6 address, if this is one; an error if it is one but for brackets or a zone.
fn ipv6(bytes: &[u8]) -> Result<Option<IpAddr>, NameError> {
    let Some(text) = str::from_utf8(bytes).ok().filter(|text| text.contains(':')) else {
        return Ok(None);
    };
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Ok(Some(IpAddr::V6(address).to_canonical()));
    }
    let bare = text.strip_prefix('[').unwrap_or(text);
    let bare = bare.split([']', '%']).next().unwrap_or_default();
    if bare.parse::<Ipv6Addr>().is_ok() { Err(NameError::Numeric) } else { Ok(None) }
}

/// Whether some `inet_aton` would read the label as a number: decimal, octal or `0x` hex.
fn numeric(label: &[u8]) -> bool {
    match label {
        [b'0', b'x' | b'X', digits @ ..] => digits.iter().all(u8::is_ascii_hexdigit),
        digits => digits.iter().all(u8::is_ascii_digit),
    }
}

/// Four decimal numbers up to 255 without leading zeros.
fn quad(bytes: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut parts = bytes.split(|&octet| octet == b'.');
    for octet in &mut octets {
        *octet = match parts.next()? {
            b"0" => 0,
            [b'0', ..] => return None,
            part => std::str::from_utf8(part).ok()?.parse().ok()?,
        };
    }
    parts.next().is_none().then(|| octets.into())
}

#[cfg(test)]
#[path = "name_test.rs"]
mod tests;
