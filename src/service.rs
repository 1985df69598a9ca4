//! The service manager that has started this process: the listening sockets that it passes, and the
//! messages that it is sent. Both are systemd's, and others speak them as well.

mod notifier;
mod sockets;

pub use notifier::Notifier;
pub use sockets::passed_listeners;
