//! The service manager that has started this process: the listening sockets that it passes, the
//! messages that it is sent, and its journal. All are systemd's, and others speak them as well.

mod journal;
mod notifier;
mod sockets;

pub use journal::is_stderr_journal;
pub use notifier::Notifier;
pub use sockets::Passed;
