//! Messages to the service manager, as sd_notify(3) describes them.
//!
//! The crates for this send by a socket that blocks when the manager is slow.

use log::warn;
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::{env, fmt};

/// The manager's socket, if it has named one.
///
/// It is connected once: the user that the process becomes, or a process that has used up its
/// descriptors, may not be able to.
#[derive(Default)]
pub struct Notifier(Option<UnixDatagram>);

impl Notifier {
    /// Connects to the socket that NOTIFY_SOCKET names: a path, or `@` and an abstract name. A socket
    /// that cannot be reached is only worth a warning.
    pub fn from_env() -> Notifier {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Notifier::default();
        };
        match connect(&name) {
            Ok(socket) => Notifier(Some(socket)),
            Err(error) => {
                warn!("NOTIFY_SOCKET {name:?}: {error}; the service manager is not notified");
                Notifier::default()
            }
        }
    }

    /// Goes on with a socket that was handed over.
    pub fn resume(socket: OwnedFd) -> Notifier {
        Notifier(Some(socket.into()))
    }

    /// The socket, to be handed over.
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(UnixDatagram::as_fd)
    }

    /// Whether anybody is notified.
    pub fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    /// Sends these assignments (`READY=1`) as one message, if anybody is notified. Never blocks: what
    /// a slow manager has no room for is dropped.
    pub fn send<const N: usize>(&self, assignments: impl FnOnce() -> [String; N]) {
        let Some(socket) = &self.0 else { return };
        // Paths of files are part of some: none of them begins an assignment of its own.
        let lines =
            assignments().into_iter().map(|line| line.replace(|c: char| c.is_control(), "?"));
        let message = lines.collect::<Vec<_>>().join("\n");
        if let Err(error) = socket.send(message.as_bytes()) {
            warn!("notifying the service manager: {error}");
        }
    }
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Notifier").field(&self.is_enabled()).finish()
    }
}

fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(name)?,
        _ => {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "expected a path, or `@` and a name",
            ));
        }
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    Ok(socket)
}
