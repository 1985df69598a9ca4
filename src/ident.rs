//! The IDENT question and answer, on byte slices, and what an answer means for a request.
//!
//! Source: RFC 1413 (Identification Protocol). Whoever runs the client's machine controls the
//! answer: it is good for audit, not for security.

use crate::wire::{Code, Parsed};

/// The port of every identd (RFC 1413 section 1).
pub const PORT: u16 = 113;
/// Most octets that may come without a line end (RFC 1413 section 5: a client may give up
/// after 1000).
pub const ANSWER_BYTES_MAX: usize = 1000;
/// Most octets of a user (RFC 1413 section 5).
pub const USER_BYTES_MAX: usize = 512;

/// The connection asked about, as the identd sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The port on the identd's host: the source port of our client.
    pub client: u16,
    /// The port on this host that the client connected to.
    pub ours: u16,
}

impl Ports {
    /// The line to send (RFC 1413 section 3).
    pub fn question(self) -> String {
        format!("{} , {}\r\n", self.client, self.ours)
    }
}

/// What a well-formed line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// USERID: all octets behind the third colon, the usual leading blank included.
    User(&'a [u8]),
    /// ERROR: the reason, blanks around it taken off.
    Error(&'a [u8]),
}

/// Why bytes are not an answer to the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerError {
    /// No line end within [`ANSWER_BYTES_MAX`].
    TooLong,
    /// The line breaks the grammar, or holds a NUL or a CR of its own.
    Malformed,
    /// The answer is about another connection.
    OtherPorts,
    /// The user is empty or exceeds [`USER_BYTES_MAX`].
    User,
}

/// Reads the answer from the start of `bytes`, all that has come so far.
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
    let kind = blanks_off(kind);
    let answer = if kind.eq_ignore_ascii_case(b"USERID") {
        let (_operating_system, user) = split(rest, b':')?;
        Answer::User(user)
    } else if kind.eq_ignore_ascii_case(b"ERROR") {
        Answer::Error(blanks_off(rest))
    } else {
        return Err(AnswerError::Malformed);
    };
    if answered != asked {
        return Err(AnswerError::OtherPorts);
    }
    match answer {
        Answer::User(user) if !(1..=USER_BYTES_MAX).contains(&without_blank(user).len()) => {
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
    let digits = blanks_off(bytes);
    if !(1..=5).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return Err(AnswerError::Malformed);
    }
    let number = digits.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    u16::try_from(number).map_err(|_| AnswerError::Malformed)
}

fn blanks_off(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// A blank behind the third colon belongs to the user by the letter of the RFC, but daemons put
/// one there for looks.
fn without_blank(user: &[u8]) -> &[u8] {
    user.strip_prefix(b" ").unwrap_or(user)
}

/// How asking ended. Owned, because it outlives the buffer and goes into the access line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The identd named a user (the bytes of `Answer::User`).
    User(Box<[u8]>),
    /// The identd answered ERROR with this reason.
    Error(Box<[u8]>),
    /// The identd answered something else.
    Invalid(AnswerError),
    /// No answer: not reachable, silent or closed early.
    Missing,
}

impl Outcome {
    /// Judges the bytes that have come so far; `None` while the line is not complete. When the
    /// connection ends or the time is over before that, the outcome is [`Outcome::Missing`].
    pub fn read(bytes: &[u8], asked: Ports) -> Option<Outcome> {
        Some(match parse_answer(bytes, asked) {
            Ok(Parsed::More) => return None,
            Ok(Parsed::Done(Answer::User(user), _)) => Outcome::User(user.into()),
            Ok(Parsed::Done(Answer::Error(reason), _)) => Outcome::Error(reason.into()),
            Err(error) => Outcome::Invalid(error),
        })
    }

    /// One word for the log.
    pub fn word(&self) -> &'static str {
        match self {
            Outcome::User(_) => "ident-user",
            Outcome::Error(_) => "ident-error",
            Outcome::Invalid(AnswerError::TooLong) => "ident-too-long",
            Outcome::Invalid(AnswerError::Malformed) => "ident-malformed",
            Outcome::Invalid(AnswerError::OtherPorts) => "ident-other-ports",
            Outcome::Invalid(AnswerError::User) => "ident-bad-user",
            Outcome::Missing => "ident-missing",
        }
    }

    /// The user for the access line, without the customary blank; `None` when none was named.
    pub fn user(&self) -> Option<&[u8]> {
        match self {
            Outcome::User(user) => Some(without_blank(user)),
            _ => None,
        }
    }
}

/// What a rule demands of the identd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Strictness {
    /// `ident`: it must name the user of the request.
    Strict,
    /// `ident-lax`: it must not name another user.
    Lax,
}

/// What the outcome means for the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The request goes on.
    Ok,
    /// Reply 92.
    NoIdent,
    /// Reply 93.
    OtherUser,
}

impl Verdict {
    /// The reply code of a refusal; `None` when the request goes on.
    pub fn refusal(self) -> Option<Code> {
        match self {
            Verdict::Ok => None,
            Verdict::NoIdent => Some(Code::NoIdent),
            Verdict::OtherUser => Some(Code::OtherUser),
        }
    }
}

/// Compares an outcome with the USERID of the request.
pub fn judge(outcome: &Outcome, wanted: &[u8], strictness: Strictness) -> Verdict {
    match (outcome, strictness) {
        (Outcome::User(user), _) if **user == *wanted || without_blank(user) == wanted => {
            Verdict::Ok
        }
        (Outcome::User(_), _) => Verdict::OtherUser,
        (_, Strictness::Strict) => Verdict::NoIdent,
        (_, Strictness::Lax) => Verdict::Ok,
    }
}

#[cfg(test)]
#[path = "ident_test.rs"]
mod tests;
