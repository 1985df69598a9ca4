//! Signals as events of the loop.

#[cfg(feature = "upgrade")]
pub mod held;

use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
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
    /// USR2: become the program that is now on disk.
    Upgrade,
}

/// The signals that [`Signals`] takes over, but for USR2.
const TAKEN: [i32; 5] = [SIGHUP, SIGTERM, SIGINT, SIGUSR1, SIGXFSZ];
/// The signals that are handled. PIPE is ignored by the Rust runtime.
pub struct Signals(signal_hook_mio::v1_0::Signals);

/// Keeps HUP, USR1 and USR2 from ending the process until `Signals` takes them over. Nothing is
/// lost: a start reads all files anyway, it is the newest program, and there is no session yet to be
/// listed.
pub fn survive_early_requests() -> io::Result<()> {
    for signal in [SIGHUP, SIGUSR1, SIGUSR2] {
        flag::register(signal, Arc::default())?;
    }
    Ok(())
}

impl Signals {
    /// Takes the signals over and lets them wake the loop with `token`. USR2 is one of them in the
    /// program only: a program that embeds the server cannot be upgraded by it.
    pub fn new(registry: &Registry, token: usize, upgrades: bool) -> io::Result<Signals> {
        let taken = TAKEN.into_iter().chain(upgrades.then_some(SIGUSR2));
        let mut signals = signal_hook_mio::v1_0::Signals::new(taken)?;
        registry.register(&mut signals, Token(token), Interest::READABLE)?;
        Ok(Signals(signals))
    }

    /// The requests since the last call.
    pub fn pending(&mut self) -> impl Iterator<Item = Control> + '_ {
        self.0.pending().filter_map(|signal| match signal {
            SIGHUP => Some(Control::Reload),
            SIGUSR1 => Some(Control::Dump),
            SIGUSR2 => Some(Control::Upgrade),
            // A log file may grow no more: the write has failed, and there is nothing else to do.
            SIGXFSZ => None,
            _ => Some(Control::Stop),
        })
    }
}
