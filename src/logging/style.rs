//! How a line of the log is written: as text or as a JSON object, and under systemd's journal with
//! its priority in front.

use super::{object, stamp};
use crate::service;
use crate::settings::LogFormat;
use log::Level;
use std::io::{self, Write};
use std::time::SystemTime;

/// The name under which lines about the log itself and about the end of the program are written.
const PROGRAM: &str = "socku";

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Text or JSON.
    pub format: LogFormat,
    /// The journal reads standard error: a line begins with its priority (sd-daemon(3)), and a text
    /// leaves out time and level, which the journal keeps itself.
    pub is_journal: bool,
}

impl Style {
    /// The style for standard error as it is.
    pub fn of_stderr(format: LogFormat) -> Style {
        Style { format, is_journal: service::is_stderr_journal() }
    }

    /// Writes the line of a record, of which this is the text.
    pub fn write(
        self,
        out: &mut impl Write,
        now: SystemTime,
        level: Level,
        target: &str,
        text: &str,
    ) -> io::Result<()> {
        self.write_priority(out, level)?;
        if !self.format.is_text() {
            return object::write(out, now, level, target, text);
        }
        out.write_all(b"[")?;
        if !self.is_journal {
            stamp::write(out, now)?;
            write!(out, "{level:<5} ")?;
        }
        write!(out, "{target}] ")?;
        write_line(out, text)
    }

    /// A line about the log itself or the program's end: as text it begins with `socku:`.
    pub fn own_line(self, now: SystemTime, level: Level, text: &str) -> Vec<u8> {
        let mut line = Vec::new();
        // Nothing can fail that writes to memory.
        let _ = match self.format.is_text() {
            false => self.write(&mut line, now, level, PROGRAM, text),
            true => self
                .write_priority(&mut line, level)
                .and_then(|()| write!(line, "{PROGRAM}: "))
                .and_then(|()| write_line(&mut line, text)),
        };
        line
    }

    fn write_priority(self, out: &mut impl Write, level: Level) -> io::Result<()> {
        if !self.is_journal {
            return Ok(());
        }
        let priority = match level {
            Level::Error => 3,
            Level::Warn => 4,
            Level::Info => 6,
            Level::Debug | Level::Trace => 7,
        };
        write!(out, "<{priority}>")
    }
}

/// The rest of a line of text. It stays one line, whatever a file of the settings is called.
fn write_line(out: &mut impl Write, text: &str) -> io::Result<()> {
    if text.contains(char::is_control) {
        return writeln!(out, "{}", text.replace(char::is_control, "?"));
    }
    writeln!(out, "{text}")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::time::Duration;

    const STYLES: [Style; 2] = [
        Style { format: LogFormat::Text, is_journal: false },
        Style { format: LogFormat::Text, is_journal: true },
    ];

    pub fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_796_025_600_007)
    }

    /// A line in this style.
    pub fn written(style: Style, level: Level, target: &str, text: &str) -> String {
        let mut line = Vec::new();
        style.write(&mut line, now(), level, target, text).unwrap();
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_record_is_one_line_in_each_style() {
        let line = |style| written(style, Level::Info, "access", "id=1 client=192.0.2.1:1");
        let time = if cfg!(feature = "timestamps") { "2026-11-30T08:00:00Z " } else { "" };
        let expected = format!("[{time}INFO  access] id=1 client=192.0.2.1:1\n");
        assert_eq!(line(STYLES[0]), expected);
        assert_eq!(line(STYLES[1]), "<6>[access] id=1 client=192.0.2.1:1\n");
    }

    #[test]
    fn a_text_with_a_line_end_stays_one_line() {
        for style in STYLES {
            let line = written(style, Level::Info, "t", "a\nb\u{85}\x1b[0m");
            assert!(line.ends_with("] a?b??[0m\n") || line.ends_with("] a?b?[0m\n"), "{line:?}");
            assert_eq!(line.matches(char::is_control).count(), 1);
        }
    }

    #[test]
    fn each_level_has_a_priority_of_syslog() {
        for (level, priority) in [
            (Level::Error, "<3>"),
            (Level::Warn, "<4>"),
            (Level::Info, "<6>"),
            (Level::Debug, "<7>"),
            (Level::Trace, "<7>"),
        ] {
            assert!(written(STYLES[1], level, "t", "x").starts_with(priority));
            assert!(STYLES[1].own_line(now(), level, "x").starts_with(priority.as_bytes()));
        }
    }

    #[test]
    fn a_line_about_the_log_itself_begins_with_the_name_of_the_program() {
        let line = |style: Style| {
            String::from_utf8(style.own_line(now(), Level::Warn, "dropped 3 log lines")).unwrap()
        };
        assert_eq!(line(STYLES[0]), "socku: dropped 3 log lines\n");
        assert_eq!(line(STYLES[1]), "<4>socku: dropped 3 log lines\n");
    }
}
