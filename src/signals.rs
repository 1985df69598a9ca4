//! Signals as events of the loop.

use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::flag;
use std::io;
use std::sync::Arc;

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

/// Keeps HUP and USR1 from ending the process until [`Signals`] takes them over. What they ask
/// for is done anyway by a start, or there is nothing yet to be told.
pub fn survive_early_requests() -> io::Result<()> {
    for signal in [SIGHUP, SIGUSR1] {
        flag::register(signal, Arc::default())?;
    }
    Ok(())
}

impl Signals {
    /// Takes the signals over and lets them wake the loop with `token`.
    pub fn new(registry: &Registry, token: usize) -> io::Result<Signals> {
        let taken = [SIGHUP, SIGTERM, SIGINT, SIGUSR1, SIGXFSZ];
        let mut signals = signal_hook_mio::v1_0::Signals::new(taken)?;
        registry.register(&mut signals, Token(token), Interest::READABLE)?;
        Ok(Signals(signals))
    }

    /// What has been asked for since the last call.
    pub fn pending(&mut self) -> impl Iterator<Item = Request> + '_ {
        self.0.pending().filter_map(|signal| match signal {
            SIGHUP => Some(Request::Reload),
            SIGUSR1 => Some(Request::Dump),
            // A log file may grow no more: the write has failed, which is all there is to do.
            SIGXFSZ => None,
            _ => Some(Request::Stop),
        })
    }
}
