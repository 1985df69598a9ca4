//! Catches the access lines of the run on this thread, and prints all in a replay.

use std::cell::RefCell;

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Catcher;

impl log::Log for Catcher {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target() == "access" || log::max_level() > log::Level::Info
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.target() == "access" {
            LINES.with_borrow_mut(|lines| lines.push(record.args().to_string()));
        }
        if log::max_level() > log::Level::Info {
            println!("         {} {}", record.target(), record.args());
        }
    }

    fn flush(&self) {}
}

pub fn install() {
    // Another test of this program may have done so.
    let _ = log::set_logger(&Catcher);
    let replays = std::env::var_os("SOCKU_SEED").is_some();
    log::set_max_level(if replays { log::LevelFilter::Debug } else { log::LevelFilter::Info });
}

/// The access lines since the last call.
pub fn take() -> Vec<String> {
    LINES.take()
}

pub fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let start = line.find(&format!("{name}=")).expect("the field") + name.len() + 1;
    line[start..].split(' ').next().expect("a value")
}
