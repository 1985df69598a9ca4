//! How a run has failed: which check, and what it said.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// File and line of the check.
    pub check: String,
    pub message: String,
}

thread_local! {
    static LAST: RefCell<Option<Failure>> = const { RefCell::new(None) };
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Remembers each panic on the thread on which it happens.
pub fn install() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let check = info.location().map(|at| format!("{}:{}", at.file(), at.line()));
        let payload = info.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let message = text.or(payload.downcast_ref::<&str>().copied()).unwrap_or_default().into();
        LAST.set(Some(Failure { check: check.unwrap_or_default(), message }));
        if !QUIET.get() {
            usual(info);
        }
    }));
}

/// Runs something that may fail.
pub fn catch<T>(run: impl FnOnce() -> T) -> Result<T, Failure> {
    panic::catch_unwind(AssertUnwindSafe(run))
        .map_err(|_| LAST.take().expect("each panic is remembered"))
}

/// The same, and prints nothing of a failure.
pub fn catch_quietly<T>(run: impl FnOnce() -> T) -> Result<T, Failure> {
    QUIET.set(true);
    let result = catch(run);
    QUIET.set(false);
    result
}
