//! The manual pages of docs/man say what the programs do.

#![cfg(all(feature = "default", feature = "console"))]

mod common;
#[path = "manuals/help.rs"]
mod help;
#[path = "manuals/mdoc.rs"]
mod mdoc;

use common::{scratch_directory, socku};
use mdoc::Source;
use socku::internals::limit::Limit;
use socku::internals::reason::CloseReason;
use socku::internals::rules::RuleSet;
use socku::internals::wire::Protocol;
use socku::internals::{config, console};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const SOCKU: &str = "socku.8";
const RULES: &str = "socks.conf.5";
const CONSOLE: &str = "socku-console.1";

fn read(path: impl AsRef<Path>) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The headings of a list.
fn heads(section: &Source) -> Vec<String> {
    section.items().into_iter().map(|item| item.head).collect()
}

/// The text between each pair of these in a source file, without its tests.
fn quoted(path: impl AsRef<Path>, before: &str, after: &str) -> Vec<String> {
    let text = read(path);
    let code = text.split("#[cfg(test)]").next().unwrap();
    let rest = code.split(before).skip(1);
    rest.map(|rest| rest.split(after).next().unwrap().to_string()).collect()
}

/// The source files in a folder, and in those in it.
fn sources(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap();
    let paths = entries.map(|entry| entry.unwrap());
    paths
        .flat_map(|entry| {
            let path = format!("{folder}/{}", entry.file_name().display());
            if entry.path().is_dir() { sources(&path) } else { vec![path] }
        })
        .filter(|path| path.ends_with(".rs"))
        .collect()
}

/// Words with one blank between them.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The default that the text of an item ends with.
fn default(text: &str) -> Option<&str> {
    let (_, default) = text.split_once("Default: ")?;
    Some(default.strip_suffix('.').unwrap_or_else(|| panic!("the default is not last: {text}")))
}

#[test]
fn the_pages_have_the_version_of_the_package_and_one_date() {
    let version = format!("socku {}", env!("CARGO_PKG_VERSION"));
    let date = Source::read(SOCKU).argument("Dd").to_string();
    for (page, title) in [(SOCKU, "SOCKU 8"), (RULES, "SOCKS.CONF 5"), (CONSOLE, "SOCKU-CONSOLE 1")]
    {
        let source = Source::read(page);
        assert_eq!(source.argument("Os"), version, "{page}");
        assert_eq!((source.argument("Dd"), source.argument("Dt")), (&*date, title), "{page}");
    }
}

#[test]
fn every_option_has_its_argument_and_its_default() {
    let items = Source::read(SOCKU).section("OPTIONS").items();
    let flags = help::flags();
    let expected = flags.iter().map(|flag| match &flag.argument {
        Some(argument) => format!("{} {argument}", flag.names.join(", ")),
        None => flag.names.join(", "),
    });
    let heads: Vec<_> = items.iter().map(|item| item.head.clone()).collect();
    assert_eq!(heads, expected.collect::<Vec<_>>());
    for (flag, item) in flags.iter().zip(&items) {
        assert_eq!(default(&item.text), flag.default.as_deref(), "{}: {}", item.head, item.text);
        let several = ["may be given several times", "may be given once for each"]
            .iter()
            .any(|text| item.text.contains(text));
        assert_eq!(several, flag.is_repeatable(), "{}: {}", item.head, item.text);
    }
}

#[test]
fn signals_files_and_exit_codes_are_those_of_the_help() {
    let page = Source::read(SOCKU);
    for (part, section) in
        [("Signals", "SIGNALS"), ("Files", "FILES"), ("Exit codes", "EXIT STATUS")]
    {
        let items = page.section(section).items();
        let rows = help::rows(part);
        for (head, text) in &rows {
            let item = items.iter().find(|item| item.head == *head);
            let item = item.unwrap_or_else(|| panic!("{section} has no {head}"));
            assert!(
                item.text.to_lowercase().starts_with(&text.to_lowercase()),
                "{head}: {text}: {}",
                item.text
            );
        }
        let more = items.iter().find(|item| rows.iter().all(|(head, _)| item.head != *head));
        // It is for the unit, which the help is not about.
        let more = more.filter(|item| item.head != "/etc/socku/environment");
        assert!(more.is_none(), "{section}: --help has no {}", more.unwrap().head);
    }
    let unit = read("systemd/socku.service");
    assert!(unit.contains("EnvironmentFile=-/etc/socku/environment"));
    assert!(unit.contains("$SOCKU_OPTIONS"));
}

#[test]
fn the_environment_is_what_the_program_reads() {
    let mut read = BTreeSet::new();
    for path in sources("src") {
        for call in ["env::var(\"", "env::var_os(\"", "const JOURNAL_STREAM: &str = \""] {
            read.extend(quoted(&path, call, "\""));
        }
    }
    assert!(read.contains("RUST_LOG") && read.contains("JOURNAL_STREAM"), "{read:?}");
    let section = Source::read(SOCKU).section("ENVIRONMENT");
    assert_eq!(BTreeSet::from_iter(heads(&section)), read);
    let (name, text) = &help::rows("Environment")[0];
    let item = section.items().into_iter().find(|item| item.head == *name).unwrap();
    let in_help = text.rsplit_once(" [").unwrap().1.trim_end_matches(']');
    assert_eq!(default(&item.text), Some(in_help), "{text}");
}

/// The words with the doc comment of each.
#[test]
fn every_reason_has_its_meaning() {
    let mut meaning = String::new();
    let mut expected = Vec::new();
    for line in read("src/reason.rs").lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("/// ") {
            meaning = text.replace('`', "");
        } else if let Some((_, word)) = line.split_once(" = \"").filter(|_| !line.contains('$')) {
            expected.push((word.trim_end_matches("\",").to_string(), meaning.clone()));
        }
    }
    assert_eq!(expected.len(), CloseReason::ALL.len());
    let section = Source::read(SOCKU).section("REASONS");
    let items: Vec<_> = section.items().into_iter().map(|item| (item.head, item.text)).collect();
    assert_eq!(items, expected);
    let text = section.text();
    let (_, cut) = text.rsplit_once("Its reason is ").unwrap();
    let cut: Vec<_> = cut.trim_end_matches('.').split([',', ' ']).collect();
    let cut: Vec<_> = cut.into_iter().filter(|word| !matches!(*word, "" | "or")).collect();
    let expected = CloseReason::ALL.iter().filter(|reason| reason.is_cut());
    assert_eq!(cut, expected.map(|reason| reason.word()).collect::<Vec<_>>());
}

#[test]
fn every_reply_has_its_reasons() {
    let items = Source::read(SOCKU).section("REPLIES").items();
    for reason in CloseReason::ALL {
        let (v5, v4) = (Protocol::Socks5, Protocol::Socks4);
        let head = format!("{} / {}", reason.status().code(v5), reason.status().code(v4));
        let listed = items.iter().find(|item| item.text.split(", ").any(|w| w == reason.word()));
        let expected = listed.map_or("1 / 91", |item| &item.head);
        assert_eq!(head, expected, "{reason}");
    }
    let words = items.iter().flat_map(|item| item.text.split(", "));
    for word in words.filter(|word| *word != "anything else") {
        assert!(CloseReason::ALL.iter().any(|reason| reason.word() == word), "{word}");
    }
}

#[test]
fn the_log_has_these_fields_and_the_limits_these_names() {
    let page = Source::read(SOCKU);
    let log = page.section("LOG");
    let mut fields = quoted("src/access.rs", "visit(\"", "\"");
    fields.dedup();
    assert_eq!(heads(&log), fields);
    let limits: Vec<_> = Limit::ALL.iter().map(|limit| limit.word().to_string()).collect();
    assert_eq!(heads(&page.section("LIMITS")), limits);
    let looks_like = log.items().into_iter().find(|item| item.head == "looks-like").unwrap().text;
    let (_, listed) = looks_like.split_once(": ").unwrap();
    let listed = listed.trim_end_matches('.').replace(" or ", ", ");
    let listed: BTreeSet<_> = listed.split(", ").map(String::from).collect();
    let known = quoted("src/session/foreign.rs", "Some(\"", "\"");
    assert_eq!(listed, BTreeSet::from_iter(known));
}

/// Runs the command lines that a page shows, and compares what they print with what it shows.
fn try_examples(page: &str) {
    let directory = scratch_directory();
    let lan = "permit c 192.0.2.0/24 port 80,443 from 192.168.1.0/24\ndeny cb *\n";
    fs::write(directory.join("lan.conf"), lan).unwrap();
    fs::write(directory.join("bad.conf"), "permit c 1.2.3.4\npermit x 1.2.3.4\n").unwrap();
    let mut examples: Vec<(String, Vec<String>)> = Vec::new();
    for display in Source::read(page).displays() {
        let mut is_open = false;
        for line in display {
            if let Some(command) = line.strip_prefix("$ socku ") {
                examples.push((command.into(), Vec::new()));
                is_open = true;
            } else if is_open {
                examples.last_mut().unwrap().1.push(line);
            }
        }
    }
    assert!(!examples.is_empty(), "{page}");
    for (command, shown) in examples {
        let (flags, question) = command.split_once(" \"").unwrap_or((&command, ""));
        let question = Some(question.trim_end_matches('"')).filter(|text| !text.is_empty());
        let arguments: Vec<_> = flags.split(' ').chain(question).collect();
        let output = socku(&arguments).current_dir(&directory).output().unwrap();
        let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(printed.lines().collect::<Vec<_>>(), shown, "{command}");
    }
}

#[test]
fn the_examples_print_what_the_pages_show() {
    try_examples(SOCKU);
    try_examples(RULES);
}

#[test]
fn the_command_lines_of_the_examples_are_right() {
    let lines = Source::read(SOCKU).section("EXAMPLES").displays().concat().join("\n");
    let mut count = 0;
    for line in lines.replace("\\\n", " ").lines() {
        if let Some(arguments) = line.strip_prefix("socku ") {
            config::parse(arguments.split_whitespace().map(Into::into))
                .unwrap_or_else(|error| panic!("{line}: {error}"));
            count += 1;
        }
    }
    assert!(count >= 4);
}

#[test]
fn the_grammar_is_that_of_the_parser() {
    let grammar = &quoted("src/rules/parse.rs", "//! ```text\n", "//! ```")[0];
    let shown = Source::read(RULES).section("GRAMMAR").displays().concat().join(" ");
    assert_eq!(words(&shown), words(&grammar.replace("//!", "")));
}

#[test]
fn every_keyword_that_the_parser_knows_is_explained() {
    let mut known = BTreeSet::new();
    let source = read("src/rules/parse.rs");
    for line in source.lines().map(str::trim).filter(|line| line.starts_with('"')) {
        let Some((pattern, _)) = line.split_once(" => ") else { continue };
        known.extend(pattern.split('"').skip(1).step_by(2).map(String::from));
    }
    // A part of an address.
    assert!(known.remove("*") && known.contains("ident-lax"), "{known:?}");
    let page = Source::read(RULES);
    let explained = heads(&page.section("RULES")).into_iter().filter_map(|head| {
        let keyword = head.split(' ').next().unwrap().to_string();
        // Targets have a dot, a colon or a star.
        (!keyword.contains(['.', ':', '*'])).then_some(keyword)
    });
    assert_eq!(BTreeSet::from_iter(explained), known);
    let grammar = page.section("GRAMMAR").displays().concat().join(" ");
    let named = grammar.split('"').skip(1).step_by(2);
    let named = named.filter(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-'));
    assert_eq!(BTreeSet::from_iter(named.map(String::from)), known);
}

#[test]
fn the_example_rules_are_right() {
    let page = Source::read(RULES);
    let examples = page.section("EXAMPLES").displays();
    assert!(examples.len() >= 5);
    for rules in examples {
        let text = rules.join("\n") + "\n";
        let parsed = RuleSet::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        assert_eq!(parsed.rules().len(), rules.len(), "{text}");
    }
    for target in heads(&page.section("RULES")).iter().filter(|h| h.contains(['.', ':', '*'])) {
        let rule = format!("permit c {target}\n");
        RuleSet::parse(rule.as_bytes()).unwrap_or_else(|e| panic!("{rule}: {e:?}"));
    }
}

#[test]
fn the_console_has_these_fields_and_this_environment() {
    let page = Source::read(CONSOLE);
    let source = read("src/console/query.rs");
    let patterns = source.lines().map(str::trim).filter(|line| line.contains("=> return Some("));
    let single = patterns.map(|line| line.split('"').nth(1).unwrap().to_string());
    let kinds = quoted("src/console/query.rs", "            '", "' => Some(&mut row.");
    let last = panel_rows() - 1;
    let fields = kinds.iter().map(|kind| format!("{kind}0 to {kind}{last}")).chain(single);
    assert_eq!(heads(&page.section("QUERY FIELDS")), fields.collect::<Vec<_>>());

    let items = page.section("ENVIRONMENT").items();
    let listed = items.iter().flat_map(|item| item.head.split(", ")).map(String::from);
    let mut known = BTreeSet::new();
    for call in ["variable(\"", "text(\"", "seconds(\""] {
        known.extend(quoted("src/console/run.rs", call, "\""));
    }
    assert!(known.contains("SOCKU_SCRIPTS") && known.contains("QUERY_STRING"), "{known:?}");
    assert_eq!(BTreeSet::from_iter(listed), known);
    for (name, constant) in
        [("SOCKU_CONNECT_TIMEOUT", "CONNECT_SECONDS"), ("SOCKU_IDLE_TIMEOUT", "IDLE_SECONDS")]
    {
        let item = items.iter().find(|item| item.head == name).unwrap();
        let value = &quoted("src/console/run.rs", &format!("{constant}: u64 = "), ";")[0];
        assert_eq!(default(&item.text), Some(value.as_str()), "{name}");
    }
}

#[test]
fn the_query_of_the_console_s_example_asks_for_a_session() {
    let lines = Source::read(CONSOLE).section("EXAMPLES").displays().concat().join(" ");
    let (_, query) = lines.split_once("QUERY_STRING='").unwrap();
    let form = console::parse(query.split('\'').next().unwrap().as_bytes()).unwrap();
    let (_, row) = form.sessions().next().unwrap();
    assert!(row.target().is_ok() && form.proxy().is_ok() && !row.script.is_empty());
}

/// The rows of the panel.
fn panel_rows() -> usize {
    quoted("src/console/query.rs", "const ROWS: usize = ", ";")[0].parse().unwrap()
}
