//! The parts that a build may leave out: what the program says of those that it lacks.

#![cfg(feature = "server")]

mod common;

use common::{PERMIT_ALL, Proxy, socku};
use socku::internals::config::{PARTS, Part};

/// Exit code, standard output and standard error of the program with these arguments.
fn outcome(arguments: &[&str]) -> (i32, String, String) {
    let output = socku(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// `built without: …`, as this build should say; nothing of one that has all parts.
fn built_without() -> Option<String> {
    let absent = PARTS.iter().filter(|part| !part.is_built);
    let names: Vec<&str> = absent.map(|part| part.feature).collect();
    (!names.is_empty()).then(|| format!("built without: {}", names.join(", ")))
}

#[test]
fn the_help_has_the_flags_and_signals_of_the_parts_that_are_there() {
    let (_, help, _) = outcome(&["--help"]);
    // A flag follows its letter, if it has one.
    let first_words: Vec<&str> =
        help.lines().flat_map(|line| line.split_whitespace().take(2)).collect();
    assert!(first_words.contains(&"--splice") && first_words.contains(&"USR1"), "{help}");
    for Part { feature, flags, signals, is_built } in PARTS {
        let flags = flags.iter().map(|flag| format!("--{flag}"));
        for word in flags.chain(signals.iter().map(|signal| (*signal).into())) {
            assert_eq!(first_words.contains(&word.as_str()), is_built, "{feature}: {word}\n{help}");
        }
    }
}

#[test]
fn a_flag_of_an_absent_part_is_a_usage_error_that_names_the_feature() {
    for Part { feature, flags, .. } in PARTS.iter().filter(|part| !part.is_built) {
        for flag in *flags {
            for mode in [&["-t"][..], &["-e", "c 192.0.2.1:80"], &[]] {
                // Questions are a part themselves, and asked once.
                if mode.contains(&"-e") && (cfg!(not(feature = "explain")) || *flag == "explain") {
                    continue;
                }
                let flag = format!("--{flag}");
                let (code, out, error) = outcome(&[mode, &[&flag, "value"]].concat());
                let expected = format!(
                    "socku: {flag}: this socku was built without the feature `{feature}`\n"
                );
                assert_eq!((code, out.as_str(), error), (2, "", expected));
            }
        }
    }
}

#[test]
fn the_log_may_be_asked_for_as_text_by_every_build() {
    let (code, _, error) = outcome(&["-t", "--log-format", "text"]);
    assert_eq!((code, error.as_str()), (0, ""));
}

#[test]
fn the_version_names_the_parts_that_are_absent() {
    let mut expected = format!("socku {}\n", env!("CARGO_PKG_VERSION"));
    expected.extend(built_without().map(|line| line + "\n"));
    assert_eq!(outcome(&["--version"]), (0, expected, String::new()));
}

#[test]
fn a_start_names_the_parts_that_are_absent_after_its_first_line() {
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let log = proxy.log();
    let start = log.iter().position(|line| line.contains("] socku ")).unwrap();
    let found = Some(&log[start + 1]).filter(|line| line.contains("built without"));
    let found = found.map(|line| line.split_once("] ").unwrap().1);
    assert_eq!(found, built_without().as_deref(), "{log:#?}");
    assert!(log[start].contains("INFO"), "{log:#?}");
}
