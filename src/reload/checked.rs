//! Checks a whole file for `-t`: all of its errors, not only the first.

use super::{BYTES_PER_TURN, Source, check_private, open, place, torn};
use crate::lines::ParseErrors;
use crate::rules::{self, RuleSet};
use crate::users::{self, Users};
use std::path::Path;

/// Most errors of one file that are kept.
const ERRORS_MAX: usize = 100;

/// All that is wrong with a file that a start would read.
pub struct Checked<T> {
    /// The content, if a start could use it.
    pub content: Option<T>,
    /// Errors, one line each with the file, and its line if it has one.
    pub errors: Vec<String>,
    /// How many more errors there are.
    pub more: usize,
    /// A start would read the file, but not a reload.
    pub warning: Option<String>,
}

impl<T> Checked<T> {
    fn of(
        source: Source,
        path: &Path,
        parse: impl Fn(&[u8], usize) -> Result<T, ParseErrors>,
    ) -> Checked<T> {
        let mut checked = Checked { content: None, errors: Vec::new(), more: 0, warning: None };
        if let Err(error) = checked.fill(source, path, parse) {
            checked.errors.push(error);
        }
        if !checked.errors.is_empty() {
            checked.content = None;
        }
        checked
    }

    fn fill(
        &mut self,
        source: Source,
        path: &Path,
        parse: impl Fn(&[u8], usize) -> Result<T, ParseErrors>,
    ) -> Result<(), String> {
        let Some(mut reader) = open(source, path)? else { return Ok(()) };
        if source == Source::Users {
            self.errors.extend(check_private(path, &reader).err());
        }
        let (mut text, mut piece) = (Vec::new(), [0; BYTES_PER_TURN]);
        loop {
            match reader.read(&mut piece).map_err(|error| format!("{}: {error}", path.display()))? {
                0 => break,
                read => text.extend_from_slice(&piece[..read]),
            }
        }
        match parse(&text, ERRORS_MAX) {
            Ok(content) => self.content = Some(content),
            Err(ParseErrors { first, more }) => {
                self.errors.extend(first.iter().map(|error| place(path, error)));
                self.more = more;
            }
        }
        let is_torn = text.last().is_some_and(|&last| last != b'\n');
        self.warning = is_torn.then(|| torn(source, path) + "; a reload will refuse the file");
        Ok(())
    }
}

/// Checks a rule file as a start would read it.
pub fn check_rules(file: &Path) -> Checked<RuleSet> {
    Checked::of(Source::Rules, file, rules::Parser::parse_all)
}

/// Checks a users file as a start would read it.
pub fn check_users(file: &Path) -> Checked<Users> {
    Checked::of(Source::Users, file, users::Parser::parse_all)
}
