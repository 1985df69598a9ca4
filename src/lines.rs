//! The lines of a configuration file that is read in pieces.

use std::fmt;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// An error in a file of rules or of users, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The line, counted from 1; `None` for the file as a whole.
    pub line: Option<u32>,
    /// The text found, and what was expected instead.
    pub message: String,
}

/// The errors of a whole file, in order.
#[derive(Debug, PartialEq, Eq)]
pub struct ParseErrors {
    /// The first of them.
    pub first: Vec<ParseError>,
    /// How many more there are.
    pub more: usize,
}

/// Parses a whole file line by line with `feed`, and goes on after an error. Then `finish` gives the
/// content, unless a line was wrong. At most `errors_max` errors are kept.
pub fn parse_all<P, T>(
    text: &[u8],
    errors_max: usize,
    mut parser: P,
    feed: impl Fn(&mut P, &[u8]) -> Result<(), ParseError>,
    finish: impl FnOnce(P) -> Result<T, ParseError>,
) -> Result<T, ParseErrors> {
    let mut errors = ParseErrors { first: Vec::new(), more: 0 };
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        match feed(&mut parser, line) {
            Err(error) if errors.first.len() < errors_max => errors.first.push(error),
            Err(_) => errors.more += 1,
            Ok(()) => {}
        }
    }
    match finish(parser) {
        Ok(content) if errors.first.is_empty() => return Ok(content),
        // That no line is left is no news.
        Err(error) if error.line.is_some() || errors.first.is_empty() => errors.first.push(error),
        _ => {}
    }
    Err(errors)
}

/// Cuts pieces of a file into its lines.
#[derive(Default)]
pub struct Lines {
    /// The start of the current line, as far as it has been read.
    line: Vec<u8>,
    /// How many lines are complete.
    count: u32,
}

impl Lines {
    /// Takes the next piece, which may be cut anywhere, and calls `act` with the number of each line
    /// that is complete, from 1, and its bytes without a byte order mark and without LF or CRLF.
    /// A line has at most `bytes_max` bytes, its end included; `expected` says of what.
    pub fn feed(
        &mut self,
        piece: &[u8],
        bytes_max: usize,
        expected: &str,
        mut act: impl FnMut(u32, &[u8]) -> Result<(), String>,
    ) -> Result<(), ParseError> {
        for part in piece.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.len() > bytes_max {
                let message = format!("found a line of more than {bytes_max} bytes, {expected}");
                let number = self.next_line();
                return Err(ParseError { line: Some(number), message });
            }
            if part.ends_with(b"\n") {
                self.end_line(&mut act)?;
            }
        }
        Ok(())
    }

    /// Calls `act` with what has come after the last line end.
    pub fn finish(
        &mut self,
        act: impl FnOnce(u32, &[u8]) -> Result<(), String>,
    ) -> Result<(), ParseError> {
        self.end_line(act)
    }

    fn end_line(
        &mut self,
        act: impl FnOnce(u32, &[u8]) -> Result<(), String>,
    ) -> Result<(), ParseError> {
        let bytes = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let bytes = match self.count {
            0 => bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes),
            _ => bytes,
        };
        let result = act(self.count + 1, bytes);
        let number = self.next_line();
        result.map_err(|message| ParseError { line: Some(number), message })
    }

    /// Leaves the current line, whose number it returns.
    fn next_line(&mut self) -> u32 {
        self.line.clear();
        self.count += 1;
        self.count
    }
}

/// Shows how far it has come, and no line: that may hold a password.
impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lines", self.count)
    }
}
