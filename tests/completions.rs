//! The completions for shells have the options of `--help`. `tests/completions/run` tries them.

#![cfg(all(feature = "default", feature = "console"))]

#[path = "manuals/help.rs"]
mod help;

use help::Flag;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("completions").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What is shown beside a flag: its description up to the first clause.
fn short(flag: &Flag) -> &str {
    flag.text.split([';', ',', '(']).next().unwrap().trim()
}

/// Values that are words, if an argument has the form `text|json`.
fn choices(flag: &Flag) -> Option<String> {
    let argument = flag.argument.as_deref()?;
    argument.contains('|').then(|| argument.replace('|', " "))
}

/// Each line of this beginning is one of these, in this order, and there is no other.
fn assert_lines(name: &str, beginning: &str, expected: &[String]) {
    let text = read(name);
    let lines: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with(beginning))
        .map(|line| line.trim_end_matches(" \\"))
        .collect();
    for line in expected {
        assert!(lines.contains(&line.as_str()), "completions/{name} lacks the line\n{line}");
    }
    assert_eq!(lines, expected, "completions/{name}");
}

#[test]
fn fish_has_every_option() {
    let line = |flag: &Flag| {
        let mut line = "complete -c socku".to_string();
        for name in &flag.names {
            line += &match name.strip_prefix("--") {
                Some(long) => format!(" -l {long}"),
                None => format!(" -s {}", &name[1..]),
            };
        }
        line += &match (flag.argument.as_deref(), choices(flag)) {
            (Some("FILE"), _) => " -r -F".into(),
            (Some("NAME[:GROUP]"), _) => " -x -a '(__fish_complete_users)'".into(),
            (_, Some(words)) => format!(" -x -a '{words}'"),
            (Some(_), _) => " -x".into(),
            (None, _) => String::new(),
        };
        line + &format!(" -d '{}'", short(flag))
    };
    let expected: Vec<_> = help::flags().iter().map(line).collect();
    assert_lines("socku.fish", "complete -c socku -", &expected);
}

#[test]
fn zsh_has_every_option() {
    let line = |flag: &Flag| {
        let (has_value, name) = (flag.argument.is_some(), flag.names.join(" "));
        let mut line = match (flag.is_repeatable(), flag.names.len()) {
            (true, _) => "'*'".to_string(),
            (false, 1) => String::new(),
            (false, _) => format!("'({name})'"),
        };
        line += &match (&*flag.names, has_value) {
            ([short, long], true) => format!("{{{short}+,{long}=}}'"),
            ([short, long], false) => format!("{{{short},{long}}}'"),
            ([long], true) => format!("'{long}="),
            ([long], false) => format!("'{long}"),
            _ => panic!("{name}"),
        };
        line += &format!("[{}]", short(flag));
        if let Some(argument) = &flag.argument {
            let action = match (argument.as_str(), choices(flag)) {
                ("FILE", _) => "_files".into(),
                ("NAME[:GROUP]", _) => "_users".into(),
                (_, Some(words)) => format!("({words})"),
                _ => " ".into(),
            };
            line += &format!(":{}:{action}", argument.replace(':', "\\:"));
        }
        format!("    {line}'").replace("''", "")
    };
    let expected: Vec<_> = help::flags().iter().map(line).collect();
    assert_lines("_socku", "    ", &expected);
}

#[test]
fn bash_has_every_option() {
    let text = read("socku.bash");
    let dashed = |text: &str| {
        let words = text.split(|c: char| c.is_whitespace() || c == '"');
        words.filter(|word| word.starts_with('-')).map(String::from).collect::<BTreeSet<_>>()
    };
    let (values, names) = text.split_once("    *)\n").unwrap();
    let (names, _) = names.split_once(";;").unwrap();
    let flags = help::flags();
    let expected: BTreeSet<_> = flags.iter().flat_map(|flag| flag.names.clone()).collect();
    assert_eq!(dashed(names), expected);
    // Without a pattern of its own an option with a value would be followed by options.
    let (_, values) = values.split_once("case $prev in").unwrap();
    let patterns = values.lines().filter_map(|line| line.split_once(')')).map(|(left, _)| left);
    let patterns: Vec<_> = patterns.filter(|left| left.trim().starts_with('-')).collect();
    let with_value = flags.iter().filter(|flag| flag.argument.is_some());
    let expected: BTreeSet<_> = with_value.flat_map(|flag| flag.names.clone()).collect();
    assert_eq!(dashed(&patterns.join(" ")), expected);
    for flag in &flags {
        if let Some(words) = choices(flag) {
            let line = format!("{}) words=\"{words}\" ;;", flag.long());
            assert!(text.contains(&line), "completions/socku.bash lacks `{line}`");
        }
    }
}
