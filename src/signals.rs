//! Signals as events of the loop.

use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use std::io;

/// What the operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// HUP: read the rules again.
    Reload,
    /// TERM, INT: finish; a second one: at once.
    Stop,
    /// USR1: write the state to the log.
    Dump,
}

/// The signals that are handled. PIPE is ignored by the Rust runtime.
pub struct Signals(signal_hook_mio::v1_0::Signals);

impl Signals {
    /// Takes the signals over and lets them wake the loop with `token`.
    pub fn new(registry: &Registry, token: usize) -> io::Result<Signals> {
        let mut signals = signal_hook_mio::v1_0::Signals::new([SIGHUP, SIGTERM, SIGINT, SIGUSR1])?;
        registry.register(&mut signals, Token(token), Interest::READABLE)?;
        Ok(Signals(signals))
    }

    /// What has been asked for since the last call.
    pub fn pending(&mut self) -> impl Iterator<Item = Request> + '_ {
        self.0.pending().map(|signal| match signal {
            SIGHUP => Request::Reload,
            SIGUSR1 => Request::Dump,
            _ => Request::Stop,
        })
    }
}
