//! The IDENT query and answer, on byte slices, and whether an answer satisfies a rule.
//!
//! Source: RFC 1413 (Identification Protocol). The administrator of the client's machine controls
//! the answer: it is good for audit, not for security.

use crate::wire::{Parsed, Status};
use minicbor::{Decode, Encode};

/// The port of identd (RFC 1413 section 1).
pub const PORT: u16 = 113;
/// Most octets accepted without a line end (RFC 1413 section 5: a client may give up after 1000).
pub const ANSWER_BYTES_MAX: usize = 1000;
/// Most octets of a user (RFC 1413 section 5).
pub const USER_BYTES_MAX: usize = 512;

/// The connection that the query is about, as the identd sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The port on the identd's host: the client's source port.
    pub client: u16,
    /// The port on this host that the client connected to.
    pub ours: u16,
}

impl Ports {
    /// The line to send (RFC 1413 section 3).
    pub fn query(self) -> String {
        format!("{} , {}\r\n", self.client, self.ours)
    }
}

/// A well-formed answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// USERID: all octets after the third colon, including the usual leading blank.
    User(&'a [u8]),
    /// ERROR: the reason, without the blanks around it.
    Error(&'a [u8]),
}

/// Why bytes are not an answer to the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum AnswerError {
    /// No line end within [`ANSWER_BYTES_MAX`].
    #[n(0)]
    TooLong,
    /// The line violates the grammar, or contains a NUL or a bare CR.
    #[n(1)]
    Malformed,
    /// The answer is about another connection.
    #[n(2)]
    OtherPorts,
    /// The user is empty or exceeds [`USER_BYTES_MAX`].
    #[n(3)]
    User,
}

/// Parses the answer from the start of `bytes`, all that has arrived so far.
pub fn parse_answer(bytes: &[u8], asked: Ports) -> Result<Parsed<Answer<'_>>, AnswerError> {
    let Some(end) = bytes.iter().take(ANSWER_BYTES_MAX).position(|&octet| octet == b'\n') else {
        return match bytes.len() {
            ..ANSWER_BYTES_MAX => Ok(Parsed::More),
            _ => Err(AnswerError::TooLong),
        };
    };
    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    Ok(Parsed::Done(parse_line(line, asked)?, end + 1))
}

fn parse_line(line: &[u8], asked: Ports) -> Result<Answer<'_>, AnswerError> {
    if line.iter().any(|octet| matches!(octet, 0 | b'\r')) {
        return Err(AnswerError::Malformed);
    }
    let (ports, rest) = split(line, b':')?;
    let (client, ours) = split(ports, b',')?;
    let answered = Ports { client: port(client)?, ours: port(ours)? };
    let (kind, rest) = split(rest, b':')?;
    let kind = trim_blanks(kind);
    let answer = if kind.eq_ignore_ascii_case(b"USERID") {
        let (_operating_system, user) = split(rest, b':')?;
        Answer::User(user)
    } else if kind.eq_ignore_ascii_case(b"ERROR") {
        Answer::Error(trim_blanks(rest))
    } else {
        return Err(AnswerError::Malformed);
    };
    if answered != asked {
        return Err(AnswerError::OtherPorts);
    }
    match answer {
        Answer::User(user) if !(1..=USER_BYTES_MAX).contains(&strip_blank(user).len()) => {
            Err(AnswerError::User)
        }
        answer => Ok(answer),
    }
}

fn split(bytes: &[u8], at: u8) -> Result<(&[u8], &[u8]), AnswerError> {
    let position = bytes.iter().position(|&octet| octet == at).ok_or(AnswerError::Malformed)?;
    Ok((&bytes[..position], &bytes[position + 1..]))
}

/// A port: one to five digits (RFC 1413 section 6), so no sign.
fn port(bytes: &[u8]) -> Result<u16, AnswerError> {
    let digits = trim_blanks(bytes);
    if !(1..=5).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return Err(AnswerError::Malformed);
    }
    let number = digits.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    u16::try_from(number).map_err(|_| AnswerError::Malformed)
}

fn trim_blanks(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// By the letter of the RFC, a blank after the third colon belongs to the user, but daemons insert
/// one for readability.
fn strip_blank(user: &[u8]) -> &[u8] {
    user.strip_prefix(b" ").unwrap_or(user)
}

/// How a query ended. Owned, because it outlives the buffer and goes into the access line.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum IdentResult {
    /// The identd named a user (the bytes of `Answer::User`).
    #[n(0)]
    User(#[cbor(n(0), with = "minicbor::bytes")] Box<[u8]>),
    /// The identd answered ERROR with this reason.
    #[n(1)]
    Error(#[cbor(n(0), with = "minicbor::bytes")] Box<[u8]>),
    /// The identd's answer is invalid.
    #[n(2)]
    Invalid(#[n(0)] AnswerError),
    /// No answer: unreachable, silent or closed early.
    #[n(3)]
    Missing,
}

impl IdentResult {
    /// Parses the bytes that have arrived so far; `None` while the line is incomplete. When the
    /// connection ends or times out before that, the result is [`IdentResult::Missing`].
    pub fn parse(bytes: &[u8], asked: Ports) -> Option<IdentResult> {
        Some(match parse_answer(bytes, asked) {
            Ok(Parsed::More) => return None,
            Ok(Parsed::Done(Answer::User(user), _)) => IdentResult::User(user.into()),
            Ok(Parsed::Done(Answer::Error(reason), _)) => IdentResult::Error(reason.into()),
            Err(error) => IdentResult::Invalid(error),
        })
    }

    /// One word for the log.
    pub fn word(&self) -> &'static str {
        match self {
            IdentResult::User(_) => "ident-user",
            IdentResult::Error(_) => "ident-error",
            IdentResult::Invalid(AnswerError::TooLong) => "ident-too-long",
            IdentResult::Invalid(AnswerError::Malformed) => "ident-malformed",
            IdentResult::Invalid(AnswerError::OtherPorts) => "ident-other-ports",
            IdentResult::Invalid(AnswerError::User) => "ident-bad-user",
            IdentResult::Missing => "ident-missing",
        }
    }

    /// The user for the access line, without the customary blank; `None` when none was named.
    pub fn user(&self) -> Option<&[u8]> {
        match self {
            IdentResult::User(user) => Some(strip_blank(user)),
            _ => None,
        }
    }
}

/// What a rule requires of the identd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Strictness {
    /// `ident`: it must name the user of the request.
    Strict,
    /// `ident-lax`: it must not name another user.
    Lax,
}

/// Whether a result satisfies the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Evaluation {
    /// It does.
    Ok,
    /// Reply 92.
    NoIdent,
    /// Reply 93.
    OtherUser,
}

impl Evaluation {
    /// The status of a refusal; `None` when the rule is satisfied.
    pub fn refusal(self) -> Option<Status> {
        match self {
            Evaluation::Ok => None,
            Evaluation::NoIdent => Some(Status::NoIdent),
            Evaluation::OtherUser => Some(Status::OtherUser),
        }
    }
}

/// Compares a result with the USERID of the request.
pub fn evaluate(result: &IdentResult, wanted: &[u8], strictness: Strictness) -> Evaluation {
    match (result, strictness) {
        (IdentResult::User(user), _) if **user == *wanted || strip_blank(user) == wanted => {
            Evaluation::Ok
        }
        (IdentResult::User(_), _) => Evaluation::OtherUser,
        (_, Strictness::Strict) => Evaluation::NoIdent,
        (_, Strictness::Lax) => Evaluation::Ok,
    }
}

#[cfg(test)]
#[path = "ident_test.rs"]
mod tests;
