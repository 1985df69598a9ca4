//! Without the feature `service`: no manager passes sockets, nor is it notified.

use crate::config::parts::lacks;
use log::warn;
use std::net::TcpListener;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::{env, io, process};

/// Nobody is notified.
#[derive(Debug, Default)]
pub struct Notifier(());

impl Notifier {
    /// A manager that waits for messages waits in vain, which is worth a warning.
    pub fn from_env() -> Notifier {
        if env::var_os("NOTIFY_SOCKET").is_some_and(|value| !value.is_empty()) {
            warn!("NOTIFY_SOCKET: {}", lacks("service"));
        }
        Notifier(())
    }

    /// Closes a socket that was handed over. Its manager gets no more messages.
    pub fn resume(_: OwnedFd) -> Notifier {
        warn!("NOTIFY_SOCKET: {}", lacks("service"));
        Notifier(())
    }

    /// There is nothing to be handed over.
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Nobody is notified.
    pub fn is_enabled(&self) -> bool {
        false
    }

    /// Sends nothing.
    pub fn send<const N: usize>(&self, _: impl FnOnce() -> [String; N]) {}
}

/// No socket is passed.
pub enum Passed {}

impl Passed {
    /// Sockets of a manager are an error: the kernel would connect clients that nobody accepts.
    pub fn take(_: usize) -> io::Result<Option<Passed>> {
        let own_pid = process::id().to_string();
        if env::var("LISTEN_PID").is_ok_and(|pid| pid == own_pid) {
            let error = format!("LISTEN_FDS: {}", lacks("service"));
            return Err(io::Error::new(io::ErrorKind::Unsupported, error));
        }
        Ok(None)
    }

    /// There are none.
    pub fn count(&self) -> usize {
        match *self {}
    }

    /// There are none.
    pub fn into_listeners(self) -> Vec<TcpListener> {
        match self {}
    }
}

/// Lines are written for any reader of standard error.
pub fn is_stderr_journal() -> bool {
    false
}
