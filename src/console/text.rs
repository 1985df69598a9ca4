//! From the bytes of a remote shell to what the page shows.

/// Makes text of bytes that come in pieces: what it gives does not depend on where they were
/// cut. Each maximal part that is no UTF-8 becomes one U+FFFD, as `String::from_utf8_lossy` has
/// it.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The beginning of a character; at most three bytes.
    held: Vec<u8>,
}

impl Decoder {
    /// Appends the text of `bytes` to `out`. An incomplete character at their end waits for the
    /// next call.
    pub fn decode(&mut self, bytes: &[u8], out: &mut String) {
        if self.held.is_empty() {
            return self.decode_joined(bytes, out);
        }
        let mut joined = std::mem::take(&mut self.held);
        joined.extend_from_slice(bytes);
        self.decode_joined(&joined, out);
    }

    fn decode_joined(&mut self, bytes: &[u8], out: &mut String) {
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            out.push_str(chunk.valid());
            if chunk.invalid().is_empty() {
                continue;
            }
            if chunks.peek().is_none() && is_beginning(chunk.invalid()) {
                self.held.extend_from_slice(chunk.invalid());
            } else {
                out.push(char::REPLACEMENT_CHARACTER);
            }
        }
    }

    /// Appends what a character that was never completed stands for. To be called at the end.
    pub fn finish(&mut self, out: &mut String) {
        if !self.held.is_empty() {
            self.held.clear();
            out.push(char::REPLACEMENT_CHARACTER);
        }
    }
}

/// Whether more bytes could make a character of these.
fn is_beginning(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

/// Appends `text` to `out` as HTML inside a JavaScript string between single quotes, inside a
/// script element. What the browser then shows is `text`, but for carriage returns, which are
/// dropped, and NUL, which HTML cannot hold: U+FFFD stands in its place.
///
/// Every character is safe on all three levels by itself, so pieces may be cut anywhere:
/// nothing can end the script element (no `<`), the string (no quote, line end or lone
/// backslash) or the text (no `<` or `&`).
pub fn escape_streamed(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '\n' => out.push_str("&NewLine;"),
            '\r' => {}
            '\0' => out.push(char::REPLACEMENT_CHARACTER),
            '\\' => out.push_str("\\\\"),
            '\u{2028}' | '\u{2029}' | '\u{feff}' => push_unicode_escape(character, out),
            _ if character.is_control() => push_unicode_escape(character, out),
            _ => push_html(character, out),
        }
    }
}

/// Appends `text` to `out` for the page itself: as text, or as an attribute's value in quotes.
pub fn escape_html(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '\0' => out.push(char::REPLACEMENT_CHARACTER),
            _ => push_html(character, out),
        }
    }
}

fn push_html(character: char, out: &mut String) {
    match character {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '"' => out.push_str("&quot;"),
        '\'' => out.push_str("&#39;"),
        _ => out.push(character),
    }
}

/// `\u` with four digits: everything this is for lies in the first plane. Not `&#...;`, which
/// HTML reads as other characters from 128 to 159.
fn push_unicode_escape(character: char, out: &mut String) {
    out.push_str(&format!("\\u{:04x}", u32::from(character)));
}

#[cfg(test)]
#[path = "text_test.rs"]
mod tests;
