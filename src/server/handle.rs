//! Control of a running server from other threads.

use crate::signals::Control;
use mio::{Registry, Token, Waker};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Stops and reloads a [`Server`](super::Server) from any thread. Clones control the same server.
///
/// No method blocks. Once the server has ended, all of them do nothing.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    waker: Waker,
    /// Calls of [`Handle::stop`] that the loop has not seen.
    stops: AtomicU32,
    /// [`Handle::reload`] was called and the loop has not seen it.
    reload: AtomicBool,
}

impl Handle {
    /// Wakes the loop with `token`.
    pub(super) fn new(registry: &Registry, token: usize) -> io::Result<Handle> {
        let waker = Waker::new(registry, Token(token))?;
        let (stops, reload) = (AtomicU32::new(0), AtomicBool::new(false));
        Ok(Handle(Arc::new(Shared { waker, stops, reload })))
    }

    /// Stops the server as TERM stops the program: it accepts no more clients, and sessions may
    /// finish within the drain time-out. A second call ends them at once. Then
    /// [`Server::run`](super::Server::run) returns.
    pub fn stop(&self) {
        self.0.stops.fetch_add(1, Ordering::Release);
        self.wake();
    }

    /// Reads the rule file, the users file, /etc/hosts and /etc/resolv.conf again, as HUP does for
    /// the program. An error in one of them is logged, and its old content stays in force. Sessions
    /// go on.
    pub fn reload(&self) {
        self.0.reload.store(true, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        // Writing to the loop's own eventfd: there is nothing that could fail.
        let _ = self.0.waker.wake();
    }

    /// The requests since the last call.
    pub(super) fn pending(&self) -> Vec<Control> {
        let mut pending = Vec::new();
        if self.0.reload.swap(false, Ordering::Acquire) {
            pending.push(Control::Reload);
        }
        // A third one has nothing left to stop.
        let stops = self.0.stops.swap(0, Ordering::Acquire).min(2);
        pending.extend((0..stops).map(|_| Control::Stop));
        pending
    }
}
