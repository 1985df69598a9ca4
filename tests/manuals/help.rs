//! `--help`, taken apart. Each test uses a part of it.

#![allow(dead_code)]

use getopts::Fail;
use socku::internals::config::{self, Invocation, UsageError};

/// A flag as `--help` shows it.
pub struct Flag {
    /// `-l` and `--listen`, or the long one alone.
    pub names: Vec<String>,
    /// `ADDR:PORT`.
    pub argument: Option<String>,
    /// The description, without the default.
    pub text: String,
    /// The default, without its brackets.
    pub default: Option<String>,
}

impl Flag {
    /// The name with two dashes.
    pub fn long(&self) -> &str {
        self.names.last().unwrap()
    }

    /// Whether it may be given more than once.
    pub fn is_repeatable(&self) -> bool {
        let given = [Some(self.long().into()), self.argument.as_ref().map(|_| "x".into())];
        let twice = given.iter().chain(&given).flatten().cloned();
        !matches!(config::parse(twice), Err(UsageError::Flag(Fail::OptionDuplicated(_))))
    }
}

/// The column of the descriptions.
const COLUMN: usize = 24;

fn text() -> String {
    let Ok(Invocation::Help(help)) = config::parse(["-h".into()].into_iter()) else { panic!() };
    help
}

/// All flags, in order.
pub fn flags() -> Vec<Flag> {
    let help = text();
    let (_, flags) = help.split_once("Options:\n").unwrap();
    let (flags, _) = flags.split_once("\n\n").unwrap();
    let mut heads: Vec<(String, String)> = Vec::new();
    for line in flags.lines() {
        if line.starts_with(&" ".repeat(COLUMN)) {
            heads.last_mut().unwrap().1 += &format!(" {}", line.trim());
            continue;
        }
        // A head that fills its column has a line of its own: there, at most the argument follows.
        let words = line.split_whitespace().skip_while(|word| word.starts_with('-')).count();
        let (head, rest) = if words > 1 { line.split_at(COLUMN) } else { (line, "") };
        heads.push((head.into(), rest.trim().into()));
    }
    let flags: Vec<_> = heads.iter().map(|(head, text)| flag(head, text.trim())).collect();
    assert!(flags.len() > 20, "{help}");
    flags
}

fn flag(head: &str, text: &str) -> Flag {
    let (names, rest): (Vec<_>, Vec<_>) =
        head.split([' ', ',']).filter(|word| !word.is_empty()).partition(|w| w.starts_with('-'));
    assert!(rest.len() <= 1, "{head}");
    let (text, default) = match text.strip_suffix(']').and_then(|text| text.rsplit_once(" [")) {
        Some((text, default)) => (text, Some(default.to_string())),
        None => (text, None),
    };
    Flag {
        names: names.into_iter().map(String::from).collect(),
        argument: rest.first().map(|argument| argument.to_string()),
        text: text.into(),
        default,
    }
}

/// The rows of a part after the flags, such as `Signals`: the first word or words, and the text.
pub fn rows(part: &str) -> Vec<(String, String)> {
    let help = text();
    let (_, part) = help.split_once(&format!("\n{part}:\n")).unwrap();
    let mut rows: Vec<(String, String)> = Vec::new();
    for line in part.lines().take_while(|line| !line.is_empty()) {
        match line.strip_prefix("    ").filter(|rest| !rest.starts_with(' ')) {
            Some(row) => {
                let (head, text) = row.split_once("  ").unwrap_or((row, ""));
                rows.push((head.into(), text.trim().into()));
            }
            None => rows.last_mut().unwrap().1 += &format!(" {}", line.trim()),
        }
    }
    rows.into_iter().map(|(head, text)| (head, text.trim().into())).collect()
}
