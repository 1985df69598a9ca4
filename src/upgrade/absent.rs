//! Without the feature `upgrade`: this process never becomes another program.

use std::io;

/// Nothing is handed over.
pub enum Parcel {}

/// This process has just been started.
pub fn receive() -> io::Result<Option<Parcel>> {
    Ok(None)
}

/// There is no program to become.
pub struct Upgrading;

impl Upgrading {
    /// Only the program has one, as in other builds.
    pub fn new() -> Upgrading {
        Upgrading
    }
}
