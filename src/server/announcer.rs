//! The news of a server for the service manager.

use crate::net;
use crate::reload::Source;
use crate::service::Notifier;
use crate::time::Millis;
use std::os::fd::BorrowedFd;

/// After the drain time-out, for the end itself: a slow reader of the log has a second.
const END_MS: Millis = 5000;

/// Says when the server is ready, reloads and stops, and how things stand, in one line.
#[derive(Debug, Default)]
pub struct Announcer {
    notifier: Notifier,
    /// The manager waits for the end of a reload.
    is_reloading: bool,
    /// A file was read, which has not been announced.
    has_news: bool,
    is_stopping: bool,
    /// Files that are not in force as they are, and why.
    errors: Vec<(Source, String)>,
}

impl Announcer {
    /// Announces to this manager.
    pub fn new(notifier: Notifier) -> Announcer {
        Announcer { notifier, ..Announcer::default() }
    }

    /// The manager's socket, to be handed over.
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.notifier.socket()
    }

    /// The server listens.
    pub fn ready(&self, status: &str) {
        self.notifier.send(|| ["READY=1".into(), self.status(status)]);
    }

    /// All files are read again, because the manager or somebody else wants it.
    pub fn reload_begins(&mut self) {
        self.is_reloading = !self.is_stopping;
        if self.is_reloading {
            self.notifier.send(|| ["RELOADING=1".into(), format!("MONOTONIC_USEC={}", now_us())]);
        }
    }

    /// A file was read, with an error or without.
    pub fn file_read(&mut self, source: Source, error: Option<&String>) {
        self.has_news = self.notifier.is_enabled();
        self.errors.retain(|(other, _)| *other != source);
        self.errors.extend(error.map(|error| (source, error.clone())));
    }

    /// The files that are not in force as they are: the error of each, with its place.
    pub fn errors(&self) -> impl Iterator<Item = &str> {
        self.errors.iter().map(|(_, error)| error.as_str())
    }

    /// Whether the end of a reload has not been announced.
    pub fn is_due(&self) -> bool {
        self.has_news
    }

    /// Every file that was to be read has been, in a reload or since it has changed.
    pub fn reload_ends(&mut self, status: &str) {
        self.has_news = false;
        let is_reloading = std::mem::take(&mut self.is_reloading);
        match (self.is_stopping, is_reloading) {
            (true, _) => {}
            (false, true) => self.ready(status),
            (false, false) => self.notifier.send(|| [self.status(status)]),
        }
    }

    /// The server stops, and sessions may finish. The manager is to wait for that.
    pub fn stopping(&mut self, status: &str, drain_timeout_ms: Millis) {
        self.is_stopping = true;
        let microseconds = drain_timeout_ms.saturating_add(END_MS).saturating_mul(1000);
        self.notifier.send(|| {
            [
                "STOPPING=1".into(),
                format!("EXTEND_TIMEOUT_USEC={microseconds}"),
                format!("STATUS={status}"),
            ]
        });
    }

    fn status(&self, status: &str) -> String {
        let errors = self.errors().map(|error| format!("; not reloaded: {error}"));
        format!("STATUS={status}{}", errors.collect::<String>())
    }
}

/// The time of the system's clock that only goes forward, in microseconds.
fn now_us() -> u64 {
    net::clock_ns() / 1000
}
