//! What is wrong right now, in a few words each and with what to do: for the top of the page, and
//! for scripts.

use super::view::View;
use crate::time::Millis;

/// Dropped lines of the log are trouble for so long after the last one.
pub const DROPPED_LINES_MS: Millis = 300_000;
/// Most characters of an error in a file.
const ERROR_CHARS_MAX: usize = 200;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The word of a limit, `failed-reload` or `log-lines-dropped`.
    pub name: &'static str,
    /// What is wrong, and what to do.
    pub text: String,
    /// When it is over unless it happens again, by the clock of the loop; `None` if that takes
    /// another event.
    pub until: Option<Millis>,
}

/// All that is wrong now, files first. There is at most one for each file and each limit, and one
/// for the log.
pub fn troubles(view: &View<'_>) -> Vec<Trouble> {
    let files = view.process.bad_files.iter().map(|error| {
        let error: String = error.chars().take(ERROR_CHARS_MAX).collect();
        let text = format!("{error}; what was read before stays in force until this is mended");
        Trouble { name: "failed-reload", text, until: None }
    });
    let limits = view.usage.reached.iter().map(|reached| Trouble {
        name: reached.limit.word(),
        text: reached.meaning.clone(),
        until: reached.until,
    });
    let until = view.process.log_dropped_at.map(|at| at.saturating_add(DROPPED_LINES_MS));
    let log = until.filter(|&until| view.now < until).map(|until| {
        let dropped = view.process.log_dropped;
        let text = format!(
            "{dropped} so far; the reader of the log is slow or has stopped: look after it, or log less"
        );
        Trouble { name: "log-lines-dropped", text, until: Some(until) }
    });
    files.chain(limits).chain(log).collect()
}
