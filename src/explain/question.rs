//! A question of `-e`.

use crate::name::{self, Classified, Name};
use crate::rules::PartialRequest;
use crate::wire::Command;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::{error, fmt};

/// A question of `-e`.
pub struct Question<'a> {
    /// What it asks for, but for the target.
    pub request: PartialRequest<'a>,
    /// The target.
    pub target: Target,
}

/// The target of a question.
pub enum Target {
    /// BIND: any peer.
    AnyPeer,
    /// An address.
    Address(IpAddr),
    /// A name, whatever addresses it has.
    Name(Name),
    /// A name, and an address that it has.
    NameAt(Name, IpAddr),
}

/// A question that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuestionError(String);

impl fmt::Display for QuestionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--explain: {}", self.0)
    }
}

impl error::Error for QuestionError {}

/// Reads `c|b HOST:PORT [from ADDRESS] [user NAME] [auth]`, where HOST is an IPv4 address, an IPv6
/// address in brackets, a name, or NAME=ADDRESS: a name and one address that it leads to. The client
/// is 127.0.0.1, the user empty and without proof (`auth`) unless the question has them. The error
/// says what was found and expected.
pub fn parse(text: &str) -> Result<Question<'_>, QuestionError> {
    parse_words(text).map_err(QuestionError)
}

fn parse_words(text: &str) -> Result<Question<'_>, String> {
    const FORM: &str = "expected c|b HOST:PORT [from ADDRESS] [user NAME] [auth]";
    let mut words = text.split_ascii_whitespace();
    let command = match words.next() {
        Some("c") => Command::Connect,
        Some("b") => Command::Bind,
        other => return Err(format!("{:?}: {FORM}", other.unwrap_or_default())),
    };
    let target = words.next().ok_or(FORM)?;
    let parts = target.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
    let (host, port) = parts.ok_or(format!("{target:?}: {FORM}"))?;
    let port = port.parse().map_err(|_| format!("{port:?}: expected a port from 0 to 65535"))?;
    let target = parse_host(host, command)?;
    let (client, user) = (Ipv4Addr::LOCALHOST.into(), "".as_bytes());
    let mut request = PartialRequest { command, port, client, user, proven: false };
    let mut seen = Vec::new();
    while let Some(word) = words.next() {
        if seen.contains(&word) {
            return Err(format!("{word:?} is given twice: {FORM}"));
        }
        seen.push(word);
        let mut value = || words.next().ok_or(format!("{word:?} has no value: {FORM}"));
        match word {
            "from" => request.client = parse_address(value()?)?,
            "user" => request.user = value()?.as_bytes(),
            "auth" => request.proven = true,
            _ => return Err(format!("{word:?}: {FORM}")),
        }
    }
    Ok(Question { request, target })
}

/// An IPv6 address needs brackets where a port follows it; after `NAME=` they may be missing.
fn parse_host(host: &str, command: Command) -> Result<Target, String> {
    // BIND for 0.0.0.0 is for any peer that the rules permit.
    let bare = |address: IpAddr| match command == Command::Bind && address.is_unspecified() {
        true => Target::AnyPeer,
        false => Target::Address(address),
    };
    if host.starts_with('[') {
        return Ok(bare(parse_address(host)?));
    }
    let (name, address) = match host.split_once('=') {
        Some((name, address)) => (name, Some(parse_address(address)?)),
        None => (host, None),
    };
    match (name::classify(name.as_bytes()), address) {
        (Ok(Classified::Name(name)), None) => Ok(Target::Name(name)),
        (Ok(Classified::Name(name)), Some(address)) => Ok(Target::NameAt(name, address)),
        (Ok(Classified::Address(given @ IpAddr::V4(_))), None) => Ok(bare(given)),
        _ => Err(format!(
            "{host:?}: expected an address (IPv6 in brackets), a host name, or NAME=ADDRESS"
        )),
    }
}

/// An address of either family; an IPv6 address may be in brackets.
fn parse_address(text: &str) -> Result<IpAddr, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = match bare {
        Some(bare) => bare.parse::<Ipv6Addr>().map(IpAddr::V6),
        None => text.parse(),
    };
    let address = address.map_err(|_| format!("{text:?}: expected an IPv4 or IPv6 address"))?;
    Ok(address.to_canonical())
}
