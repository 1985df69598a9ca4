//! Bulk bytes, sent and received with as little work as possible.

use std::io;
use std::os::fd::OwnedFd;
use std::str::FromStr;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use crate::net::{self, Outcome};

/// Most bytes of one call. Also the size of what is sent over and over, thus what a proxy that
/// copies finds in its caches.
const CHUNK_BYTES: usize = 1 << 20;
/// Echoes are small: requests, replies and pings.
const SCRATCH_BYTES: usize = 4096;

/// How bulk bytes are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// sendfile(2) from memory, pages of 4 KiB, not copied.
    Sendfile,
    /// send(2), copied once, as most programs do.
    Copy,
}

impl FromStr for Sender {
    type Err = String;

    fn from_str(text: &str) -> Result<Sender, String> {
        match text {
            "sendfile" => Ok(Sender::Sendfile),
            "copy" => Ok(Sender::Copy),
            _ => Err(format!("{text}: expected sendfile or copy")),
        }
    }
}

/// Sends and discards for all sessions in turn.
pub struct Pump {
    sender: Sender,
    file: OwnedFd,
    buffer: Vec<u8>,
    /// Bulk bytes discarded so far.
    pub received: u64,
}

impl Pump {
    /// A pump with its file in memory.
    pub fn new(sender: Sender) -> io::Result<Pump> {
        let file = memfd_create("bench-load", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, CHUNK_BYTES as u64)?;
        // Written once, so that its pages exist and are not the one zero page.
        rustix::io::pwrite(&file, &vec![0x5a; CHUNK_BYTES], 0)?;
        Ok(Pump { sender, file, buffer: vec![0x5a; CHUNK_BYTES], received: 0 })
    }

    /// A small buffer for what is looked at.
    pub fn scratch(&mut self) -> &mut [u8] {
        &mut self.buffer[..SCRATCH_BYTES]
    }

    /// Sends what fits, in one call.
    pub fn send(&mut self, socket: &OwnedFd) -> io::Result<()> {
        match self.sender {
            Sender::Sendfile => net::send_file(socket, &self.file, CHUNK_BYTES)?,
            Sender::Copy => net::send_some(socket, &self.buffer)?,
        };
        Ok(())
    }

    /// Discards what is there, in one call; `Done(0)` is the end.
    pub fn drain(&mut self, socket: &OwnedFd) -> io::Result<Outcome<usize>> {
        let outcome = net::discard(socket, &mut self.buffer)?;
        if let Outcome::Done(received) = outcome {
            self.received += received as u64;
        }
        Ok(outcome)
    }
}
