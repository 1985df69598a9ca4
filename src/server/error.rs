//! Errors of starting and running a server.

use crate::config::SettingError;
use std::error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

/// Why a server did not start, or stopped running.
///
/// The text that `Display` gives names the setting, the file or the step. The system's words are
/// in [`source`](error::Error::source), and are not repeated in the text.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A setting has a value that it cannot have.
    Setting(SettingError),
    /// The rules cannot be read, or are wrong.
    Rules(RulesError),
    /// The users cannot be read, or are wrong.
    Users(UsersError),
    /// An address cannot be listened on.
    #[non_exhaustive]
    Listen {
        /// The setting that gives it, as the program's flag is called: `listen` or `status`.
        flag: &'static str,
        /// The address, as it was given.
        address: SocketAddr,
        /// The system's error, or which other address of the settings has the port.
        source: io::Error,
    },
    /// A step of starting or running failed.
    #[non_exhaustive]
    Step {
        /// The step.
        step: Step,
        /// The error that it failed with.
        source: Box<dyn error::Error + Send + Sync>,
    },
}

/// A step of starting or running a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Starting the event loop.
    EventLoop,
    /// Taking over the process's signals.
    Signals,
    /// Taking over the sockets of the service manager.
    Sockets,
    /// Becoming another user. Only the program does that.
    User,
    /// Taking over from the program that this process was. Only the program does that.
    Upgrade,
    /// Waiting for events.
    Wait,
}

/// Rules that cannot be read, or are wrong. The text that `Display` gives is one line with the
/// file, the line where there is one, and what was found and expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesError(String);

/// Users that cannot be read, or are wrong. The text that `Display` gives is one line with the file,
/// the line where there is one, and what was found and expected. It shows no password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsersError(String);

impl UsersError {
    pub(super) fn new(message: String) -> UsersError {
        UsersError(message)
    }
}

impl RulesError {
    pub(super) fn new(message: String) -> RulesError {
        RulesError(message)
    }
}

impl Error {
    pub(super) fn step(
        step: Step,
        source: impl Into<Box<dyn error::Error + Send + Sync>>,
    ) -> Error {
        Error::Step { step, source: source.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Setting(error) => error.fmt(f),
            Error::Rules(error) => error.fmt(f),
            Error::Users(error) => error.fmt(f),
            Error::Listen { flag, address, source } => {
                write!(f, "--{flag} {address}")?;
                // Other words than the system's say themselves what is in the way.
                let kind = source.raw_os_error().map(|_| source.kind());
                f.write_str(hint(flag, kind))
            }
            Error::Step { step, .. } => step.fmt(f),
        }
    }
}

/// What the system's words for an address that cannot be listened on leave open.
fn hint(flag: &str, kind: Option<ErrorKind>) -> &'static str {
    match (kind, flag) {
        (Some(ErrorKind::AddrInUse), "listen") => {
            ": something listens there already (to share a port, each socku needs --reuse-port)"
        }
        (Some(ErrorKind::AddrInUse), _) => ": something listens there already",
        _ => "",
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Error::Setting(_) | Error::Rules(_) | Error::Users(_) => None,
            Error::Listen { source, .. } => Some(source),
            Error::Step { source, .. } => Some(source.as_ref()),
        }
    }
}

impl From<SettingError> for Error {
    fn from(error: SettingError) -> Error {
        Error::Setting(error)
    }
}

impl From<RulesError> for Error {
    fn from(error: RulesError) -> Error {
        Error::Rules(error)
    }
}

impl From<UsersError> for Error {
    fn from(error: UsersError) -> Error {
        Error::Users(error)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::EventLoop => "starting the event loop",
            Step::Signals => "taking over signals",
            Step::Sockets => "LISTEN_FDS",
            Step::User => "--user",
            Step::Upgrade => "taking over",
            Step::Wait => "waiting for events",
        })
    }
}

impl fmt::Display for RulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl error::Error for RulesError {}

impl fmt::Display for UsersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl error::Error for UsersError {}
