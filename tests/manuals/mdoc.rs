//! A manual page as text: as much of mdoc(7) as the pages of docs/man use.

use std::fs;
use std::path::Path;

/// An item of a list, as plain text.
pub struct Item {
    /// Its heading, after `.It`.
    pub head: String,
    /// What follows, up to the next item.
    pub text: String,
}

/// The lines of a page, or of one section.
pub struct Source {
    program: String,
    lines: Vec<String>,
}

/// Macros that say how a word is set, and leave it as it is.
const PLAIN: [&str; 13] =
    ["An", "Ar", "Cm", "Dv", "Em", "Ev", "Li", "Lk", "No", "Pa", "Ql", "Sx", "Sy"];
/// Macros that are about the layout.
const LAYOUT: [&str; 8] = [".Bd", ".Bl", ".Ed", ".El", ".Pp", ".Re", ".Rs", ".Sh"];

impl Source {
    /// Reads a page of docs/man.
    pub fn read(name: &str) -> Source {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/man").join(name);
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let program = name.rsplit_once('.').unwrap().0.into();
        Source { program, lines: text.lines().map(String::from).collect() }
    }

    /// One section.
    pub fn section(&self, title: &str) -> Source {
        let lines = self.lines.iter().skip_while(|line| **line != format!(".Sh {title}")).skip(1);
        let lines: Vec<_> =
            lines.take_while(|line| !line.starts_with(".Sh ")).map(String::from).collect();
        assert!(!lines.is_empty(), "no section {title}");
        Source { program: self.program.clone(), lines }
    }

    /// The arguments of a macro that occurs once.
    pub fn argument(&self, name: &str) -> &str {
        let mut found =
            self.lines.iter().filter_map(|line| line.strip_prefix(&format!(".{name} ")));
        let argument = found.next().unwrap_or_else(|| panic!("no .{name}"));
        assert!(found.next().is_none(), "more than one .{name}");
        argument
    }

    /// The items of its lists, which have no lists in them.
    pub fn items(&self) -> Vec<Item> {
        let mut items: Vec<(String, Vec<&str>)> = Vec::new();
        let mut is_open = false;
        for line in &self.lines {
            if let Some(head) = line.strip_prefix(".It ") {
                items.push((self.plain(&[&format!(".No {head}")]), Vec::new()));
                is_open = true;
            } else if line == ".El" {
                is_open = false;
            } else if is_open {
                items.last_mut().unwrap().1.push(line);
            }
        }
        assert!(!items.is_empty(), "no items");
        items.into_iter().map(|(head, lines)| Item { head, text: self.plain(&lines) }).collect()
    }

    /// The blocks of lines that are shown as they are.
    pub fn displays(&self) -> Vec<Vec<String>> {
        let mut displays: Vec<Vec<String>> = Vec::new();
        let mut is_open = false;
        for line in &self.lines {
            match line {
                line if line.starts_with(".Bd ") => {
                    displays.push(Vec::new());
                    is_open = true;
                }
                line if line == ".Ed" => is_open = false,
                line if is_open => displays.last_mut().unwrap().push(unescaped(line)),
                _ => {}
            }
        }
        displays
    }

    /// All of its text.
    pub fn text(&self) -> String {
        self.plain(&self.lines.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn plain(&self, lines: &[&str]) -> String {
        let mut text = String::new();
        for line in lines.iter().filter(|line| !line.starts_with(".\\\"")) {
            let is_layout = LAYOUT.iter().any(|name| line.split(' ').next() == Some(name));
            if let Some(line) = line.strip_prefix('.').filter(|_| !is_layout) {
                text += " ";
                self.set(line, &mut text);
            } else if !is_layout {
                text += &format!(" {}", unescaped(line));
            }
        }
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Appends the text of a line of macros.
    fn set(&self, line: &str, text: &mut String) {
        let words: Vec<_> = words(line);
        let (mut prefix, mut suffix, mut is_joined) = ("", "", true);
        let mut at = 0;
        while let Some(word) = words.get(at) {
            at += 1;
            match word.as_str() {
                "Fl" => prefix = "-",
                "Ns" => is_joined = true,
                "Nm" => text.push_str(&self.program),
                "Pq" => {
                    text.push('(');
                    (suffix, is_joined) = (")", true);
                }
                "Xr" => {
                    let (page, section) = (&words[at], &words[at + 1]);
                    text.push_str(&format!("{page}({section})"));
                    at += 2;
                }
                name if PLAIN.contains(&name) => prefix = "",
                mark @ ("," | "." | ";" | ":") => text.push_str(mark),
                word => {
                    let blank = if is_joined { "" } else { " " };
                    text.push_str(&format!("{blank}{prefix}{}", unescaped(word)));
                    is_joined = false;
                }
            }
        }
        text.push_str(suffix);
    }
}

/// The words of a line of macros; those in quotes are one.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (at, part) in line.split('"').enumerate() {
        match at % 2 {
            0 => words.extend(part.split_whitespace().map(String::from)),
            _ => words.push(part.into()),
        }
    }
    words
}

fn unescaped(text: &str) -> String {
    text.replace("\\-", "-").replace("\\&", "").replace("\\e", "\\")
}
