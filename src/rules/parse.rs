//! The grammar of a rule file.
//!
//! ```text
//! RULE      = ("permit" | "deny") ("c" | "b" | "cb") TARGET
//!             { "port" PORTS | "from" ADDRESSES | "user" NAME | "auth" | "ident" | "ident-lax" }
//! TARGET    = ADDRESSES | host name | "*." host name
//! ADDRESSES = "*" | four octets, each a number or "*" | an IPv6 address | a network in CIDR form
//! PORTS     = PORT or LOW-HIGH, several separated by ","
//! ```
//!
//! `#` at the start of a line or after a blank begins a comment; within a word it is like any other
//! character, since a USERID may hold it. Lines end with LF or CRLF.

use super::{AddressPattern, Ident, Rule, RuleSet, TargetPattern};
use crate::escape::Escaped;
use crate::lines::{Lines, ParseError, ParseErrors, parse_all};
use crate::name;
use crate::wire::USER_BYTES_MAX;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::{self, SplitAsciiWhitespace};

/// Longest line of a rule file, its end included.
pub const LINE_BYTES_MAX: usize = 64 << 10;

impl RuleSet {
    /// Parses a whole rule file. One error rejects all of it.
    pub fn parse(text: &[u8]) -> Result<RuleSet, ParseError> {
        let mut parser = Parser::default();
        parser.feed(text)?;
        parser.finish()
    }
}

/// Parses a rule file in pieces, so that a long one can be read a little at a time.
#[derive(Debug, Default)]
pub struct Parser {
    rules: Vec<Rule>,
    lines: Lines,
}

impl Parser {
    /// Parses the next piece, which may be cut anywhere. After an error the file is invalid,
    /// whatever follows.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), ParseError> {
        let Parser { rules, lines } = self;
        lines.feed(piece, LINE_BYTES_MAX, "expected a rule", |number, line| {
            rules.extend(parse_line(line, number)?);
            Ok(())
        })
    }

    /// Parses a whole file and goes on after an error: the rules, or all errors, of which at most
    /// `errors_max` are kept.
    pub fn parse_all(text: &[u8], errors_max: usize) -> Result<RuleSet, ParseErrors> {
        parse_all(text, errors_max, Parser::default(), Parser::feed, Parser::finish)
    }

    /// The rules, after the last piece. A file without any is an error: it was probably read while
    /// it was being written.
    pub fn finish(mut self) -> Result<RuleSet, ParseError> {
        self.lines.finish(|number, line| {
            self.rules.extend(parse_line(line, number)?);
            Ok(())
        })?;
        if self.rules.is_empty() {
            let message =
                "found no rule, expected at least one; to refuse everything, write `deny cb *`";
            return Err(ParseError { line: None, message: message.into() });
        }
        Ok(RuleSet::of(self.rules))
    }
}

/// The part of a line before its comment.
fn before_comment(line: &[u8]) -> &[u8] {
    let begins = |&at: &usize| {
        line[at] == b'#'
            && at.checked_sub(1).is_none_or(|before| line[before].is_ascii_whitespace())
    };
    &line[..(0..line.len()).find(begins).unwrap_or(line.len())]
}

fn parse_line(bytes: &[u8], line: u32) -> Result<Option<Rule>, String> {
    let code = before_comment(bytes);
    let code = str::from_utf8(code).map_err(|_| found(code, "a rule in ASCII or UTF-8"))?;
    let mut words = code.split_ascii_whitespace();
    let Some(verb) = words.next() else { return Ok(None) };
    let permit = match verb {
        "permit" => true,
        "deny" => false,
        _ => return Err(found(verb.as_bytes(), "`permit` or `deny`")),
    };
    let commands = next(&mut words, "`c`, `b` or `cb` after the verb")?;
    let (connect, bind) = match commands {
        "c" => (true, false),
        "b" => (false, true),
        "cb" => (true, true),
        _ => return Err(found(commands.as_bytes(), "`c` (CONNECT), `b` (BIND) or `cb`")),
    };
    let target = parse_target(next(&mut words, "an address, a network or a host name")?)?;
    let (ports, from, user, auth, ident) = (Vec::new(), None, None, false, Ident::No);
    let mut rule = Rule { line, permit, connect, bind, target, ports, from, user, auth, ident };
    while let Some(word) = words.next() {
        parse_option(&mut rule, word, &mut words)?;
    }
    Ok(Some(rule))
}

fn parse_option(
    rule: &mut Rule,
    word: &str,
    words: &mut SplitAsciiWhitespace<'_>,
) -> Result<(), String> {
    let is_given = match word {
        "port" => !rule.ports.is_empty(),
        "from" => rule.from.is_some(),
        "user" => rule.user.is_some(),
        "auth" => rule.auth,
        "ident" | "ident-lax" => rule.ident != Ident::No,
        _ => {
            let expected =
                "`port`, `from`, `user`, `auth`, `ident`, `ident-lax`, `#` or the end of the line";
            return Err(found(word.as_bytes(), expected));
        }
    };
    if is_given {
        return Err(format!("`{word}` is given twice, expected once"));
    }
    match word {
        "port" => rule.ports = parse_ports(next(words, "ports after `port`")?)?,
        "from" => rule.from = Some(parse_addresses(next(words, "addresses after `from`")?)?),
        "user" => {
            let user = next(words, "a name after `user`")?;
            if user.len() > USER_BYTES_MAX {
                return Err(found(user.as_bytes(), "a user of at most 512 bytes"));
            }
            rule.user = Some(user.as_bytes().into());
        }
        _ if !rule.permit => {
            return Err(format!("`{word}` is for permit rules, expected none after `deny`"));
        }
        "auth" => rule.auth = true,
        "ident" => rule.ident = Ident::Strict,
        _ => rule.ident = Ident::Lax,
    }
    Ok(())
}

fn parse_target(word: &str) -> Result<TargetPattern, String> {
    let (name, subdomains) = match word.strip_prefix("*.") {
        Some(name) => (name, true),
        None => (word, false),
    };
    // `*.com` is a name and `*.1.2.3` an address: the last label decides.
    if let Ok(name::Classified::Name(name)) = name::classify(name.as_bytes()) {
        return Ok(TargetPattern::Name { name: name.as_str().into(), subdomains });
    }
    match parse_addresses(word) {
        Ok(addresses) => Ok(TargetPattern::Addresses(addresses)),
        Err(error) if word.contains(|c: char| c.is_ascii_alphabetic()) && !word.contains(':') => {
            Err(error + ", or a host name")
        }
        Err(error) => Err(error),
    }
}

/// Reads `*`, four octets that may be `*`, an IPv6 address, or a network in CIDR form.
fn parse_addresses(word: &str) -> Result<AddressPattern, String> {
    if word == "*" {
        return Ok(AddressPattern::ANY);
    }
    let is_ipv6 = word.matches(':').count() > 1;
    if word.contains('/') && !word.contains(['[', '%']) {
        return parse_network(word, is_ipv6);
    }
    let addresses = match word.parse() {
        Ok(IpAddr::V6(address)) => Some(AddressPattern::network(address.into(), Ipv6Addr::BITS)),
        _ => parse_octets(word),
    };
    addresses.ok_or_else(|| {
        let expected = match is_ipv6 {
            true if word.contains('[') => "an IPv6 address without brackets",
            true if word.contains('%') => "an IPv6 address without a zone (`%` and what follows)",
            true => "an IPv6 address like 2001:db8::1 or a network like 2001:db8::/32",
            false if word.contains(':') => "addresses without a port, which goes after `port`",
            false => {
                "four octets (0 to 255 or `*`), an IPv6 address, \
                 a network like 10.0.0.0/8 or 2001:db8::/32, or `*`"
            }
        };
        found(word.as_bytes(), expected)
    })
}

fn parse_octets(word: &str) -> Option<AddressPattern> {
    let mut words = word.split('.');
    let mut octets = [None; 4];
    for octet in &mut octets {
        *octet = match words.next()? {
            "*" => None,
            number => Some(parse_number(number)?),
        };
    }
    words.next().is_none().then(|| AddressPattern::octets(octets))
}

fn parse_network(word: &str, is_ipv6: bool) -> Result<AddressPattern, String> {
    let wrong = || match is_ipv6 {
        true => found(word.as_bytes(), "a network like 2001:db8::/32, with 0 to 128 bits"),
        false => found(word.as_bytes(), "a network like 10.0.0.0/8, with 0 to 32 bits"),
    };
    let (address, bits) = word.split_once('/').ok_or_else(wrong)?;
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let width = if address.is_ipv6() { Ipv6Addr::BITS } else { Ipv4Addr::BITS };
    let bits = parse_number(bits).filter(|&bits| bits <= width).ok_or_else(wrong)?;
    let network = AddressPattern::network(address, bits);
    match network.as_network() {
        Some((first, bits)) if first != address.to_canonical() => {
            let expected = format!("{first}/{bits}, the network that contains it");
            Err(found(word.as_bytes(), &expected))
        }
        _ => Ok(network),
    }
}

fn parse_ports(word: &str) -> Result<Vec<RangeInclusive<u16>>, String> {
    let wrong = || found(word.as_bytes(), "ports like 80 or 20,21,8000-8999, from 0 to 65535");
    word.split(',')
        .map(|ports| {
            let (low, high) = ports.split_once('-').unwrap_or((ports, ports));
            let low = parse_number::<u16>(low).ok_or_else(wrong)?;
            let high = parse_number::<u16>(high).ok_or_else(wrong)?;
            if low <= high { Ok(low..=high) } else { Err(wrong()) }
        })
        .collect()
}

/// A decimal number without a sign or leading zeros, which some programs would read as octal.
fn parse_number<T: str::FromStr>(word: &str) -> Option<T> {
    let is_plain = word == "0" || !word.starts_with(['0', '+']);
    if is_plain { word.parse().ok() } else { None }
}

fn next<'a>(words: &mut SplitAsciiWhitespace<'a>, expected: &str) -> Result<&'a str, String> {
    words.next().ok_or_else(|| format!("the line ends, expected {expected}"))
}

fn found(word: &[u8], expected: &str) -> String {
    format!("found `{}`, expected {expected}", Escaped(word))
}

#[cfg(test)]
#[path = "parse_test.rs"]
mod tests;
