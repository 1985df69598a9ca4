//! One result as one line of JSON.

use std::fmt::{self, Write};

/// Names and values in the order they were added.
#[derive(Default)]
pub struct Report {
    fields: String,
}

impl Report {
    /// Adds a number.
    pub fn number(mut self, name: &str, value: f64) -> Report {
        // JSON has no NaN and no infinity: a figure that is none is left out.
        if value.is_finite() {
            self.separate();
            let _ = write!(self.fields, "\"{name}\":{value}");
        }
        self
    }

    /// Adds a text.
    pub fn text(mut self, name: &str, value: &str) -> Report {
        self.separate();
        let _ = write!(self.fields, "\"{name}\":\"");
        for character in value.chars() {
            let _ = match character {
                '"' | '\\' => write!(self.fields, "\\{character}"),
                '\0'..='\x1f' => write!(self.fields, "\\u{:04x}", u32::from(character)),
                _ => write!(self.fields, "{character}"),
            };
        }
        self.fields.push('"');
        self
    }

    fn separate(&mut self) {
        if !self.fields.is_empty() {
            self.fields.push(',');
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", self.fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_json() {
        let report = Report::default().number("a", 1.5).number("none", f64::NAN).text("b", "x\"\n");
        assert_eq!(report.to_string(), r#"{"a":1.5,"b":"x\"\u000a"}"#);
    }
}
