//! The users of SOCKS5 with their passwords (RFC 1929), and the only function that compares them.
//!
//! ```text
//! NAME:PASSWORD
//! ```
//!
//! Everything after the first colon is the password, as it is: blanks, `:` and `#` included. Blank
//! lines and lines that begin with `#` are skipped. Lines end with LF or CRLF. Name and password
//! have 1 to 255 bytes each (RFC 1929 section 2), none of which is NUL.
//!
//! Nothing here shows a password, or a part of one: neither an error nor `Debug`.

use crate::escape::Escaped;
use crate::lines::{Lines, ParseError, ParseErrors, parse_all};
use std::collections::HashMap;
use std::fmt;
use subtle::{Choice, ConstantTimeEq};

/// Longest name, and longest password: their length is one byte on the wire.
const FIELD_BYTES_MAX: usize = 255;
/// Longest line, its end included. No line with a user is that long, but a comment may be.
const LINE_BYTES_MAX: usize = 1024;
/// Most users of a file. With long names they take some 40 MiB.
const USERS_MAX: usize = 64 << 10;

/// A password, padded so that comparing it takes the same time whatever its length is.
#[derive(Clone, Eq)]
struct Password {
    bytes: [u8; FIELD_BYTES_MAX],
    length: u16,
}

/// Compared in place of the password of a user that does not exist. No password has its length, so
/// it equals none.
static DUMMY: Password = Password { bytes: [0; FIELD_BYTES_MAX], length: u16::MAX };

impl Password {
    /// A password of any length; one that is too long equals none of a file.
    fn new(bytes: &[u8]) -> Password {
        let kept = bytes.len().min(FIELD_BYTES_MAX);
        let mut padded = [0; FIELD_BYTES_MAX];
        padded[..kept].copy_from_slice(&bytes[..kept]);
        Password { bytes: padded, length: bytes.len().min(FIELD_BYTES_MAX + 1) as u16 }
    }

    /// Whether both are the same, in a time that depends on neither.
    fn is_same(&self, other: &Password) -> Choice {
        self.bytes.ct_eq(&other.bytes) & self.length.ct_eq(&other.length)
    }
}

impl PartialEq for Password {
    fn eq(&self, other: &Password) -> bool {
        self.is_same(other).into()
    }
}

/// The users of one file.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Users {
    passwords: HashMap<Box<[u8]>, Box<Password>>,
}

impl Users {
    /// Parses a whole users file. One error rejects all of it.
    pub fn parse(text: &[u8]) -> Result<Users, ParseError> {
        let mut parser = Parser::default();
        parser.feed(text)?;
        parser.finish()
    }

    /// How many users there are.
    pub fn count(&self) -> usize {
        self.passwords.len()
    }

    /// Whether there is a user with this name and this password, both as they came (RFC 1929
    /// section 2).
    ///
    /// One comparison is made in any case, of 255 bytes and a length, in a time that depends on
    /// neither of both passwords: it does not tell how much of one is right. Without such a user
    /// the password is compared with a dummy. Not constant are the copy of the given password into
    /// its buffer, which depends on its own length only, and the search for the name, which is
    /// hashed with a secret key and compared byte by byte with that of a user who exists: some
    /// nanoseconds, not to be seen from the network.
    pub fn check(&self, name: &[u8], password: &[u8]) -> bool {
        self.check_by(name, password, Password::is_same)
    }

    /// [`Users::check`] by a given comparison, so that a test can count.
    fn check_by(
        &self,
        name: &[u8],
        password: &[u8],
        compare: impl FnOnce(&Password, &Password) -> Choice,
    ) -> bool {
        let given = Password::new(password);
        let expected = self.passwords.get(name).map_or(&DUMMY, |password| password);
        compare(expected, &given).into()
    }
}

/// Shows how many there are, and none of them.
impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({})", self.count())
    }
}

/// Parses a users file in pieces, so that a long one can be read a little at a time.
#[derive(Default)]
pub struct Parser {
    users: Users,
    lines: Lines,
}

/// Shows how far it has come, and no line.
impl fmt::Debug for Parser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parser({:?}, {:?})", self.users, self.lines)
    }
}

impl Parser {
    /// Parses the next piece, which may be cut anywhere. After an error the file is invalid,
    /// whatever follows.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), ParseError> {
        let Parser { users, lines } = self;
        let expected = "expected NAME:PASSWORD";
        lines.feed(piece, LINE_BYTES_MAX, expected, |_, line| users.add_line(line))
    }

    /// Parses a whole file and goes on after an error: the users, or all errors, of which at most
    /// `errors_max` are kept.
    pub fn parse_all(text: &[u8], errors_max: usize) -> Result<Users, ParseErrors> {
        parse_all(text, errors_max, Parser::default(), Parser::feed, Parser::finish)
    }

    /// The users, after the last piece. A file without any is an error: it was probably read while
    /// it was being written.
    pub fn finish(mut self) -> Result<Users, ParseError> {
        self.lines.finish(|_, line| self.users.add_line(line))?;
        if self.users.count() == 0 {
            let message = "found no user, expected at least one line NAME:PASSWORD";
            return Err(ParseError { line: None, message: message.into() });
        }
        Ok(self.users)
    }
}

impl Users {
    fn add_line(&mut self, line: &[u8]) -> Result<(), String> {
        if line.starts_with(b"#") || line.trim_ascii().is_empty() {
            return Ok(());
        }
        let wrong = |found: String, expected| Err(format!("found {found}, expected {expected}"));
        // The line is not shown: it may be a password.
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            return wrong("a line without a colon".into(), "NAME:PASSWORD");
        };
        let (name, password) = (&line[..colon], &line[colon + 1..]);
        for (field, what) in [(name, "name"), (password, "password")] {
            if field.is_empty() || field.len() > FIELD_BYTES_MAX {
                return wrong(format!("a {what} of {} bytes", field.len()), "1 to 255 bytes");
            }
            if field.contains(&0) {
                return wrong(format!("a NUL in a {what}"), "none");
            }
        }
        if self.passwords.contains_key(name) {
            return wrong(format!("a second user `{}`", Escaped(name)), "each name once");
        }
        if self.count() == USERS_MAX {
            return wrong(format!("more than {USERS_MAX} users"), "at most that many");
        }
        self.passwords.insert(name.into(), Box::new(Password::new(password)));
        Ok(())
    }
}

#[cfg(test)]
#[path = "users/users_test.rs"]
mod tests;
