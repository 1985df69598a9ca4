//! Signals as events of the loop.

use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::flag;
use std::io;
use std::sync::Arc;

/// A request of the operator, or of the embedding program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// HUP: read the rules again.
    Reload,
    /// TERM, INT: finish; a second one: at once.
    Stop,
    /// USR1: write the state to the log.
    Dump,
}

/// The signals that are handled. PIPE is ignored by the Rust runtime.
pub struct Signals(signal_hook_mio::v1_0::Signals);

/// Keeps HUP and USR1 from ending the process until `Signals` takes them over. Nothing is lost:
/// a start reads all files anyway, and there is no session yet to be listed.
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

    /// The requests since the last call.
    pub fn pending(&mut self) -> impl Iterator<Item = Control> + '_ {
        self.0.pending().filter_map(|signal| match signal {
            SIGHUP => Some(Control::Reload),
            SIGUSR1 => Some(Control::Dump),
            // A log file may grow no more: the write has failed, and there is nothing else to do.
            SIGXFSZ => None,
            _ => Some(Control::Stop),
        })
    }
}
