//! Conventions of this repository that would otherwise have to be checked by eye. The documents are
//! about the default features.

#![cfg(feature = "default")]

use socku::internals::config::{self, Invocation, PARTS, Part};
use socku::internals::limit::Limit;
use socku::internals::listing::listing;
use socku::internals::reason::CloseReason;
use socku::internals::rules::RuleSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const LINES_MAX: usize = 500;
const README_LINES_MAX: usize = 150;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below these places that `wanted` accepts, as paths from the root, sorted.
fn files(places: &[&str], wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut open: Vec<PathBuf> = places.iter().map(PathBuf::from).collect();
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if root().join(&path).is_dir() {
            if !matches!(name.as_str(), "target" | "__pycache__" | "corpus" | "corpora") {
                let entries = fs::read_dir(root().join(&path)).unwrap();
                open.extend(entries.map(|entry| path.join(entry.unwrap().file_name())));
            }
        } else if root().join(&path).is_file() && wanted(&name) {
            found.push(path);
        }
    }
    found.sort();
    assert!(!found.is_empty(), "nothing found in {places:?}");
    found
}

fn is_rust(name: &str) -> bool {
    name.ends_with(".rs")
}

/// Lines of code: no comments, and nothing after the first `#[cfg(test)]`.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim()));
    lines
        .take_while(|(_, line)| *line != "#[cfg(test)]")
        .map(|(number, line)| (number, line.split("//").next().unwrap_or_default()))
}

#[test]
fn no_source_file_has_more_than_500_lines() {
    for path in files(&["src", "tests", "examples", "bench", "fuzz"], is_rust) {
        let lines = read(&path).lines().count();
        assert!(lines <= LINES_MAX, "{}: {lines} lines, {LINES_MAX} allowed", path.display());
    }
}

#[test]
fn every_source_file_starts_with_a_description() {
    for path in files(&["src", "tests"], |name| is_rust(name) && !name.ends_with("_test.rs")) {
        let text = read(&path);
        let first = text.lines().find(|line| !line.starts_with("#!["));
        assert!(first.is_some_and(|line| line.starts_with("//!")), "{}", path.display());
    }
}

/// The only file with unsafe code: calls that no library provides.
const UNSAFE: &str = "src/net/sys.rs";

#[test]
fn only_one_file_has_unsafe_code_and_each_block_has_its_reason() {
    let manifest = read("Cargo.toml");
    let (_, lints) = manifest.split_once("[lints.rust]").unwrap();
    assert!(lints.contains("unsafe_code = \"deny\""), "Cargo.toml: [lints.rust]");
    let text = read(UNSAFE);
    let blocks = text.matches("unsafe {").count();
    assert!(blocks > 0 && blocks == text.matches("// SAFETY: ").count(), "{UNSAFE}");
    for path in files(&["src"], is_rust).iter().filter(|path| *path != Path::new(UNSAFE)) {
        for (number, line) in code(&read(path)) {
            let is_unsafe = line
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .any(|word| matches!(word, "unsafe" | "unsafe_code"));
            let is_ban = line.starts_with("#![forbid(unsafe_code)]");
            assert!(!is_unsafe || is_ban, "{}:{number}", path.display());
        }
    }
}

/// The names of the dependencies in the parts of Cargo.toml that list any.
fn dependencies() -> Vec<String> {
    let text = read("Cargo.toml");
    let mut names = Vec::new();
    let mut listed = false;
    for line in text.lines() {
        if line.starts_with('[') {
            listed = line.ends_with("dependencies]");
        } else if let Some((name, _)) = line.split_once(['=', '.']).filter(|_| listed) {
            names.push(name.trim().to_string());
        }
    }
    assert!(names.iter().any(|name| name == "mio"));
    names
}

#[test]
fn every_dependency_has_its_reason_in_contributing() {
    let text = read("CONTRIBUTING.md");
    for name in dependencies() {
        let row = text.lines().find(|line| line.starts_with(&format!("| {name} |")));
        assert!(row.is_some(), "CONTRIBUTING.md has no row `| {name} | reason |`");
    }
}

#[test]
fn links_in_documents_lead_to_files() {
    for path in documents() {
        let folder = path.parent().unwrap();
        let text = read(&path);
        for rest in text.split("](").skip(1) {
            let link = rest.split(')').next().unwrap().split('#').next().unwrap();
            let is_file = !link.is_empty() && !link.contains("://");
            assert!(
                !is_file || root().join(folder).join(link).exists(),
                "{}: `{link}` does not exist",
                path.display()
            );
        }
    }
}

#[test]
fn the_page_about_rules_shows_the_shipped_rules_as_they_are() {
    let page = read("docs/rules.md");
    let rules = RuleSet::parse(read("socks.conf").as_bytes()).unwrap();
    for line in listing(&rules, &[]).lines() {
        assert!(page.contains(&format!("\n{line}\n")), "`socku -t` shows `{line}`");
    }
}

/// Rule files that a reader may copy: whole files, and blocks that begin with a file's name.
fn documented_rule_files() -> Vec<(String, String)> {
    let whole = files(&["docs"], |name| name == "socks.conf").into_iter();
    let mut found: Vec<_> = whole.map(|path| (path.display().to_string(), read(&path))).collect();
    for path in documents() {
        for block in read(&path).split("```conf\n").skip(1) {
            let block = block.split("```").next().unwrap();
            if block.lines().next().is_some_and(|line| line.ends_with("socks.conf")) {
                found.push((path.display().to_string(), block.into()));
            }
        }
    }
    found
}

#[test]
fn documented_rules_for_every_target_deny_first_what_the_shipped_rules_deny() {
    let rules_of = |text: &str| listing(&RuleSet::parse(text.as_bytes()).unwrap(), &[]);
    let texts = |listing: &str| -> Vec<String> {
        listing.lines().map(|line| line.split_once(": ").unwrap().1.into()).collect()
    };
    let shipped = texts(&rules_of(&read("socks.conf")));
    let denied: Vec<_> = shipped.iter().filter(|rule| rule.starts_with("deny cb ")).collect();
    assert!(denied.len() >= 8, "{shipped:#?}");
    let documented = documented_rule_files();
    assert!(documented.len() >= 2, "{documented:#?}");
    for (place, text) in documented {
        let rules = texts(&rules_of(&text));
        let is_wide = |rule: &String| rule.starts_with("permit") && rule.contains(" * ");
        let first = rules.iter().position(is_wide).unwrap_or(rules.len());
        for rule in &denied {
            assert!(rules[..first].contains(rule), "{place} lacks `{rule}`: {rules:#?}");
        }
    }
}

#[test]
fn the_readme_is_one_page() {
    let lines = read("README.md").lines().count();
    assert!(lines <= README_LINES_MAX, "README.md: {lines} lines, {README_LINES_MAX} allowed");
}

/// The table of parts has each of them, in the order of the program, with its flags and signals.
#[test]
fn the_page_about_platforms_says_what_each_part_brings() {
    let page = read("docs/platforms.md");
    let rows = page.lines().skip_while(|line| !line.starts_with("| part |")).skip(2);
    let rows: Vec<&str> = rows.take_while(|line| line.starts_with("| ")).collect();
    assert_eq!(rows.len(), PARTS.len(), "{rows:#?}");
    for (row, Part { feature, flags, signals, .. }) in rows.iter().zip(PARTS) {
        assert!(row.starts_with(&format!("| `{feature}` | ")), "{feature}: `{row}`");
        for flag in flags {
            assert!(row.contains(&format!("`--{flag}`")), "--{flag}: `{row}`");
        }
        for signal in signals {
            assert!(row.contains(signal), "{signal}: `{row}`");
        }
    }
}

/// The page with the flags, the limits, the signals and the reasons.
const OPERATING: &str = "docs/operating.md";

/// The rows of that page's table with this head, each with its cells.
fn table(head: &str) -> Vec<Vec<String>> {
    let page = read(OPERATING);
    let rows = page.lines().skip_while(|line| !line.starts_with(&format!("| {head} |")));
    let rows = rows.skip(2).take_while(|line| line.starts_with("| "));
    let cells = |row: &str| {
        let row = row.replace("\\|", "/or/").replace('`', "");
        row.trim_matches('|').split('|').map(|cell| cell.trim().replace("/or/", "|")).collect()
    };
    rows.map(cells).collect()
}

#[test]
fn the_help_and_the_tables_of_the_documents_say_the_same() {
    let Ok(Invocation::Help(help)) = config::parse(["-h".into()].into_iter()) else { panic!() };
    assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
    let (flags, after) = help.split_once("\nUnits: ").unwrap();
    // Descriptions are indented further.
    let begins = |line: &&str| line.len() - line.trim_start().len() <= 8 && line.contains(" -");
    let count = flags.lines().filter(begins).count();
    let flags = flags.split_whitespace().collect::<Vec<_>>().join(" ");
    let rows = table("flag");
    for row in &rows {
        assert!(flags.contains(&format!("{} {}", row[0], row[1])), "--help lacks {row:?}");
    }
    assert_eq!(rows.len(), count, "flags of {OPERATING}, and of --help");
    for head in ["signal", "exit code"] {
        let rows = table(head);
        assert!(rows.len() >= 3);
        for row in rows {
            assert!(after.contains(&format!("\n    {} ", row[0])), "--help lacks {row:?}");
        }
    }
}

/// The table has the words of the log, with the doc comment of each.
#[test]
fn the_documents_have_every_reason() {
    let (page, source) = (read(OPERATING), read("src/reason.rs"));
    let mut meaning = String::new();
    let mut rows = Vec::new();
    for line in source.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("/// ") {
            meaning = text.trim_end_matches('.').into();
        } else if let Some((_, word)) = line.split_once(" = \"").filter(|_| !line.contains('$')) {
            rows.push(format!("| `{}` | {meaning} |", word.trim_end_matches("\",")));
        }
    }
    assert_eq!(rows.len(), CloseReason::ALL.len());
    for row in rows {
        assert!(page.contains(&format!("\n{row}\n")), "{OPERATING} has no row `{row}`");
    }
}

#[test]
fn the_documents_have_every_limit() {
    let rows: Vec<String> = table("limit").into_iter().map(|row| row[0].clone()).collect();
    let words: Vec<&str> = Limit::ALL.iter().map(|limit| limit.word()).collect();
    assert_eq!(rows, words);
}

/// Every file and test that the document names exists.
#[test]
fn files_and_tests_named_in_the_architecture_exist() {
    let text = read("ARCHITECTURE.md");
    let tests: String =
        files(&["src", "tests"], is_rust).iter().map(read).collect::<Vec<_>>().join("\n");
    for quoted in text.split('`').skip(1).step_by(2) {
        let is_path = quoted.starts_with("src/") || quoted.starts_with("tests/");
        assert!(!is_path || root().join(quoted).exists(), "`{quoted}` does not exist");
        let is_test = quoted.matches('_').count() >= 3 && !quoted.contains(['/', ' ', ':']);
        assert!(!is_test || tests.contains(&format!("fn {quoted}(")), "no test `{quoted}`");
    }
    for path in files(&["src"], |name| is_rust(name) && !name.ends_with("_test.rs")) {
        let path = path.display().to_string();
        let folder = path.rsplit_once('/').unwrap().0.to_string() + "/";
        let is_named = text.contains(&format!("`{path}`"))
            || (folder != "src/" && text.contains(&format!("`{folder}`")));
        assert!(is_named, "ARCHITECTURE.md does not say what `{path}` is for");
    }
}

#[test]
fn no_text_has_a_marker_of_unfinished_work() {
    // Put together here, so that this file does not name them.
    let words =
        ["TO DO", "FIX ME", "X XX", "T BD", "W IP", "to do!", "unimple mented!", "place holder"];
    let words = words.map(|word| word.replace(' ', ""));
    let is_text = |name: &str| {
        [".rs", ".md", ".py", ".conf", ".toml", ".java"].iter().any(|end| name.ends_with(end))
            || !name.contains('.')
    };
    for path in files(&["src", "tests", "docs", "examples", "bench", ".ci"], is_text)
        .into_iter()
        .chain(documents())
    {
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        for word in &words {
            assert!(!text.contains(word), "{}: `{word}`", path.display());
        }
    }
}

fn documents() -> Vec<PathBuf> {
    let top = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs"];
    files(&top, |name| name.ends_with(".md"))
}

/// Where the files of the cargo package are from.
const PACKAGED: [&str; 14] = [
    "src/",
    "examples/",
    "tests/",
    "docs/",
    "completions/",
    "systemd/",
    "test_case/",
    "socks.conf",
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "LICENSE-",
    "Cargo.",
    // Cargo's own note of the commit.
    ".cargo_vcs_info.json",
];

/// The files that `cargo package` takes.
fn packaged() -> Vec<PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    let cargo = cargo.args(["package", "--list", "--offline", "--allow-dirty"]).current_dir(root());
    let output = cargo.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo package --list: {errors}");
    String::from_utf8(output.stdout).unwrap().lines().map(PathBuf::from).collect()
}

#[test]
fn the_cargo_package_holds_what_users_need_and_nothing_else() {
    let packaged = packaged();
    for path in &packaged {
        let path = path.display().to_string();
        let is_wanted = PACKAGED.iter().any(|place| path.starts_with(place));
        // Scripts of the suite need the repository.
        let is_script =
            path.starts_with("tests/") && ![".rs", ".cbor"].iter().any(|end| path.ends_with(end));
        assert!(is_wanted && !is_script, "`{path}` is packaged: see `include` in Cargo.toml");
    }
    let whole = ["src", "examples", "completions", "systemd", "docs/man", "socks.conf"];
    for path in files(&whole, |_| true) {
        assert!(packaged.contains(&path), "`{}` is not packaged", path.display());
    }
    // What the compiler reads besides.
    for path in packaged.iter().filter(|path| is_rust(&path.to_string_lossy())) {
        let text = read(path);
        let named = ["include_str!(\"", "#[path = \""].map(|before| text.split(before).skip(1));
        for rest in named.into_iter().flatten() {
            let file = root().join(path).with_file_name(rest.split('"').next().unwrap());
            let file = fs::canonicalize(file).unwrap();
            let file = file.strip_prefix(fs::canonicalize(root()).unwrap()).unwrap();
            assert!(
                packaged.iter().any(|path| path == file),
                "`{}` is not packaged",
                file.display()
            );
        }
    }
}
