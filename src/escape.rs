//! Escapes bytes from the network for a line of text.

use std::fmt::{self, Display, Formatter, Write};

/// Most bytes of one text from the network shown in a line.
pub const SHOWN_BYTES_MAX: usize = 80;

/// Shows printable ASCII as it is, and blanks, quotes, backslashes and all other bytes as `\xNN`;
/// `...` marks a text that was cut.
pub struct Escaped<'a>(pub &'a [u8]);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for &byte in self.0.iter().take(SHOWN_BYTES_MAX) {
            match byte {
                b'"' | b'\\' | b' ' => write!(f, "\\x{byte:02x}")?,
                _ if byte.is_ascii_graphic() => f.write_char(char::from(byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        if self.0.len() > SHOWN_BYTES_MAX { f.write_str("...") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_from_the_network_cannot_break_a_line_or_a_value() {
        let text = Escaped(b"a b\"\\\r\n\x1b\0\x80\xff").to_string();
        assert_eq!(text, "a\\x20b\\x22\\x5c\\x0d\\x0a\\x1b\\x00\\x80\\xff");
        let long = Escaped(&[b'u'; 512]).to_string();
        assert_eq!(long.len(), SHOWN_BYTES_MAX + 3);
        assert!(long.ends_with("u..."));
        assert_eq!(Escaped(&[b'u'; SHOWN_BYTES_MAX]).to_string(), "u".repeat(SHOWN_BYTES_MAX));
    }
}
