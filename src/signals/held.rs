//! Signals that the kernel keeps while the process becomes another program.

use crate::net::set_blocked;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use std::io;

/// All that [`Signals`](super::Signals) takes over.
const HELD: [i32; 6] = [SIGHUP, SIGTERM, SIGINT, SIGUSR1, SIGXFSZ, SIGUSR2];

/// Leaves requests to the kernel, which keeps them while the process becomes another program.
pub fn hold_requests() -> io::Result<()> {
    set_blocked(&HELD, true)
}

/// Ends [`hold_requests`], also that of the program that this process was.
pub fn release_requests() -> io::Result<()> {
    set_blocked(&HELD, false)
}
