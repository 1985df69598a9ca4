//! The two forms of a session's line: as text and as JSON.

use super::{IdentWord, Line, Value};
use crate::escape::Escaped;
use crate::settings::LogFormat;
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::fmt::{self, Display, Formatter};
use std::io;

impl Display for Line<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.format {
            LogFormat::Text => self.write_text(f),
            LogFormat::Json => serde_json::to_writer(Written(f), self).map_err(|_| fmt::Error),
        }
    }
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        self.fields(|name, value| match value {
            Value::None => Ok(()),
            value => object.serialize_entry(name, &value),
        })?;
        object.end()
    }
}

/// As JSON: numbers are numbers, everything else is a string, escaped as in a text.
impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Value::None => serializer.serialize_none(),
            Value::Number(number) => serializer.serialize_u64(number),
            Value::Word(word) => serializer.collect_str(word),
            Value::Bytes(bytes) => serializer.collect_str(&Escaped(bytes)),
            Value::Ident(result) => match result.user() {
                Some(user) => serializer.collect_str(&Escaped(user)),
                None => serializer.collect_str(&format_args!("no user: {}", IdentWord(result))),
            },
        }
    }
}

/// A formatter as the output of serde_json, which writes whole characters.
struct Written<'a, 'f>(&'a mut Formatter<'f>);

impl io::Write for Written<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = str::from_utf8(bytes).map_err(io::Error::other)?;
        self.0.write_str(text).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
