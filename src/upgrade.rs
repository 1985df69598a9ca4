//! Becoming the program that is now on disk, in the same process (USR2).
//!
//! The process hands over to itself: what the new program has to know goes into a file in memory,
//! the descriptors into sockets, and standard input leads to both. Then it executes the program.
//! Nothing is given up before that, so whatever fails, everything goes on as it was. Where this is
//! done otherwise, both programs run for a while (nginx, HAProxy); here the process id stays, no
//! other process is able to take part, and a session is in one program only.

mod program;
mod transfer;
mod trial;

pub use program::Program;
pub use transfer::{Memory, Parcel, receive, send};
pub use trial::Trial;

use std::io;

/// The program to become, and how far that has come.
pub struct Upgrading {
    /// The program, or why it is not known.
    pub program: io::Result<Program>,
    /// Its trial, while there is one.
    pub trial: Option<Trial>,
}

impl Upgrading {
    /// The program at the path of this one. Nothing has been asked for yet.
    pub fn new() -> Upgrading {
        Upgrading { program: Program::this(), trial: None }
    }
}
