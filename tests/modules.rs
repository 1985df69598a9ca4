//! The boundaries between the modules of `src/`: which may use a socket or a clock, and that there
//! is no dependency cycle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules without sockets, clocks and threads: `src/NAME.rs` and all of `src/NAME/`.
const PURE: [&str; 23] = [
    "cbor",
    "handover",
    "lines",
    "address",
    "wire",
    "name",
    "rules",
    "ident",
    "dns",
    "session",
    "reason",
    "settings",
    "sizes",
    "time",
    "timer",
    "stats",
    "access",
    "escape",
    "errno",
    "users",
    "logins",
    "proxy_header",
    "limit",
];
/// The pure parts of modules that are not pure as a whole, and what they use.
const PURE_PARTS: [&str; 14] = [
    "spin",
    "status::exposition",
    "status::metrics",
    "status::pace",
    "status::page",
    "status::refusal",
    "status::request",
    "status::response",
    "status::snapshot",
    "status::survey",
    "status::top",
    "status::trouble",
    "status::absent",
    "status::view",
];
/// Names that only the other modules may use.
const IMPURE: [&str; 14] = [
    "mio::",
    "socket2",
    "rustix",
    "signal_hook",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "Instant",
    "SystemTime",
    "std::thread",
    "thread::",
    "std::fs",
    "std::env",
    "std::process",
];

/// A module: its path below the crate, and its code without comments and tests.
struct Module {
    path: String,
    file: PathBuf,
    code: String,
}

/// The modules of the library.
fn modules() -> Vec<Module> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut open = vec![src.clone()];
    let mut found = Vec::new();
    while let Some(place) = open.pop() {
        if place.is_dir() {
            open.extend(fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let file = place.strip_prefix(&src).unwrap().to_path_buf();
        let text = file.to_str().unwrap();
        let is_library = !text.starts_with("bin/") && !matches!(text, "main.rs" | "lib.rs");
        if let Some(path) = text.strip_suffix(".rs").filter(|_| is_library)
            && !path.ends_with("_test")
        {
            let code = code(&fs::read_to_string(&place).unwrap());
            found.push(Module { path: path.replace('/', "::"), file, code });
        }
    }
    assert!(found.len() > 40, "found {} modules", found.len());
    found
}

/// The code before the tests, without comments.
fn code(text: &str) -> String {
    let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
    lines.map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The `use` declarations of some code: whether each is public, and the paths that it names.
fn uses(code: &str) -> Vec<(bool, Vec<String>)> {
    let mut found = Vec::new();
    for (start, _) in code.match_indices("use ") {
        let before = code[..start].rsplit('\n').next().unwrap_or_default().trim();
        if !before.is_empty() && !before.starts_with("pub") {
            continue;
        }
        let declaration = code[start + 4..].split(';').next().unwrap_or_default();
        found.push((!before.is_empty(), expand(declaration)));
    }
    found
}

/// The paths of a declaration with braces: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expand(declaration: &str) -> Vec<String> {
    let Some((front, rest)) = declaration.split_once('{') else {
        let path = declaration.split(" as ").next().unwrap_or_default().trim();
        return if path.is_empty() { vec![] } else { vec![path.into()] };
    };
    let inside = rest.rsplit_once('}').unwrap().0;
    let (mut depth, mut paths, mut part) = (0, Vec::new(), String::new());
    for c in inside.chars().chain([',']) {
        depth += i32::from(c == '{') - i32::from(c == '}');
        if c == ',' && depth == 0 {
            let inner = expand(&part).into_iter();
            paths.extend(inner.map(|path| format!("{}{path}", front.trim())));
            part.clear();
        } else {
            part.push(c);
        }
    }
    paths
}

/// The module that a path leads to, as seen from another one.
fn resolve(path: &str, from: &str, modules: &BTreeSet<&str>) -> Option<String> {
    let mut base: Vec<&str> = from.split("::").collect();
    let mut parts = path.split("::").map(str::trim).peekable();
    match *parts.peek()? {
        "crate" => {
            base.clear();
            parts.next();
        }
        "self" => drop(parts.next()),
        "super" => {
            while parts.next_if_eq(&"super").is_some() {
                base.pop();
            }
        }
        child if modules.contains(format!("{from}::{child}").as_str()) => {}
        _ => return None,
    }
    base.extend(parts);
    let known = (1..=base.len()).rev().map(|length| base[..length].join("::"));
    known.into_iter().find(|path| modules.contains(path.as_str()) && path != from)
}

/// The modules that each one uses. Re-exporting a name of a child does not count.
fn graph() -> BTreeMap<String, BTreeSet<String>> {
    let modules = modules();
    let names: BTreeSet<&str> = modules.iter().map(|module| module.path.as_str()).collect();
    let mut graph = BTreeMap::new();
    for module in &modules {
        let mut used = BTreeSet::new();
        for (is_public, paths) in uses(&module.code) {
            for path in paths {
                let Some(to) = resolve(&path, &module.path, &names) else { continue };
                let name = path.rsplit("::").next().unwrap_or_default();
                let is_child = to.starts_with(&format!("{}::", module.path));
                let is_named = words(&module.code).filter(|word| *word == name).count() > 1;
                if !is_public || !is_child || is_named {
                    used.insert(to);
                }
            }
        }
        graph.insert(module.path.clone(), used);
    }
    graph
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
}

#[test]
fn modules_have_no_dependency_cycle() {
    let graph = graph();
    let arrows: usize = graph.values().map(BTreeSet::len).sum();
    assert!(arrows > 2 * graph.len(), "{arrows} arrows between {} modules", graph.len());
    // Modules that use none of those left are removed, until none is left.
    let mut left = graph;
    loop {
        let lowest: Vec<String> = left
            .iter()
            .filter(|(_, used)| used.iter().all(|path| !left.contains_key(path)))
            .map(|(path, _)| path.clone())
            .collect();
        if lowest.is_empty() {
            break;
        }
        lowest.iter().for_each(|path| drop(left.remove(path)));
    }
    assert!(left.is_empty(), "in a cycle, or above one: {left:#?}");
}

#[test]
fn pure_modules_use_no_socket_clock_or_thread() {
    for Module { file, code, .. } in pure_modules() {
        for word in IMPURE {
            assert!(!code.contains(word), "src/{}: `{word}`", file.display());
        }
    }
}

#[test]
fn pure_modules_use_only_pure_modules() {
    let graph = graph();
    for Module { path, .. } in pure_modules() {
        for used in &graph[&path] {
            assert!(is_pure(used), "{path} uses {used}");
        }
    }
}

fn pure_modules() -> Vec<Module> {
    let pure: Vec<Module> = modules().into_iter().filter(|module| is_pure(&module.path)).collect();
    assert!(pure.len() >= PURE.len());
    pure
}

fn is_pure(path: &str) -> bool {
    let mut below = PURE.iter().chain(&PURE_PARTS).filter_map(|pure| path.strip_prefix(pure));
    below.any(|rest| rest.is_empty() || rest.starts_with("::"))
}
