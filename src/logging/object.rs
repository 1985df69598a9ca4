//! A line of the log as a JSON object.

use super::stamp;
use log::Level;
use std::io::{self, Write};
use std::time::SystemTime;

/// The records of these are objects themselves.
const OBJECT_TARGETS: [&str; 2] = ["access", "dump"];

/// Writes a whole object: of a session with its fields as members, else with the text as `message`.
pub fn write(
    out: &mut impl Write,
    now: SystemTime,
    level: Level,
    target: &str,
    text: &str,
) -> io::Result<()> {
    let time = stamp::utc(now);
    write!(out, "{{\"time\":\"{time:.3}\",\"level\":\"{level}\",\"logger\":")?;
    serde_json::to_writer(&mut *out, target)?;
    match text.strip_prefix('{').filter(|_| OBJECT_TARGETS.contains(&target)) {
        Some(members) => writeln!(out, ",{members}"),
        None => {
            out.write_all(b",\"message\":")?;
            serde_json::to_writer(&mut *out, text)?;
            writeln!(out, "}}")
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::logging::style::Style;
    use crate::logging::style::tests::{now, written};
    use crate::settings::LogFormat;
    use log::Level;
    use serde_json::{Value, json};

    const OBJECT: Style = Style { format: LogFormat::Json, is_journal: false };
    const JOURNAL: Style = Style { format: LogFormat::Json, is_journal: true };

    #[test]
    fn a_record_of_a_session_is_one_object_after_its_priority() {
        let object = |style| written(style, Level::Warn, "access", r#"{"id":1}"#);
        let expected = concat!(
            r#"{"time":"2026-11-30T08:00:00.007Z","level":"WARN","logger":"access","id":1}"#,
            "\n"
        );
        assert_eq!(object(OBJECT), expected);
        assert_eq!(object(JOURNAL), format!("<4>{expected}"));
    }

    #[test]
    fn a_text_becomes_the_message_of_an_object_whatever_is_in_it() {
        for (target, text) in [
            ("socku::server", "watching \"a\\b\"\n\r\t\0\u{7f}\u{85}\u{2028}\u{fffd}"),
            ("socku::server", "{\"id\":1}"),
            ("dump", "sessions=1 opened=2"),
            ("x\"y", ""),
        ] {
            let line = written(OBJECT, Level::Error, target, text);
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            let time = "2026-11-30T08:00:00.007Z";
            let expected =
                json!({"time": time, "level": "ERROR", "logger": target, "message": text});
            assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), expected);
        }
    }

    #[test]
    fn a_line_about_the_log_itself_is_an_object_of_the_program() {
        let line = |style: Style| {
            String::from_utf8(style.own_line(now(), Level::Warn, "dropped 3 log lines")).unwrap()
        };
        let object: Value = serde_json::from_str(&line(OBJECT)).unwrap();
        assert_eq!((&object["logger"], &object["level"]), (&json!("socku"), &json!("WARN")));
        assert_eq!(object["message"], "dropped 3 log lines");
        assert_eq!(line(JOURNAL), format!("<4>{}", line(OBJECT)));
    }
}
