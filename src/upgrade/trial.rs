//! The trial of another program before this one gives up anything.
//!
//! The program is started with a copy of what it would take over and says whether it could. It
//! touches no socket. Whatever it does instead, this process goes on as before.

use super::program::{Content, Program};
use crate::time::Millis;
use rustix::io::{Errno, ioctl_fionbio};
use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::process::{Child, ExitStatus};

/// The program must have answered by then.
const TRIAL_MS: Millis = 10_000;
/// How often to look at it.
const LOOK_EVERY_MS: Millis = 10;
/// Most bytes kept of what it says.
const SAID_BYTES_MAX: usize = 500;

/// A program that is being tried.
pub struct Trial {
    program: Program,
    /// What was at its path before the trial.
    file: Content,
    child: Child,
    output: PipeReader,
    said: Vec<u8>,
    look_at: Millis,
    until: Millis,
    was_killed: bool,
    /// The form of what would be handed over.
    format: u32,
}

impl Trial {
    /// Starts the program with what would be handed over in this format, beside so many
    /// descriptors, as standard input. It inherits no descriptor but that and a pipe for what it
    /// says.
    pub fn start(
        program: &Program,
        (memory, descriptors): (File, usize),
        format: u32,
        now: Millis,
    ) -> io::Result<Trial> {
        let (output, input) = io::pipe()?;
        let file = program.file()?;
        ioctl_fionbio(&output, true)?;
        let mut command = program.trial(descriptors);
        command.stdin(memory).stdout(input.try_clone()?).stderr(input);
        let child = command.spawn()?;
        Ok(Trial {
            program: program.clone(),
            file,
            child,
            output,
            said: Vec::new(),
            look_at: now + LOOK_EVERY_MS,
            until: now + TRIAL_MS,
            was_killed: false,
            format,
        })
    }

    /// When to call [`Trial::step`] again.
    pub fn look_at(&self) -> Millis {
        self.look_at
    }

    /// Looks at the program without waiting for it: the version that accepts, or why there is none.
    /// `None` while it is still running. The end of its output would be no sign: a child of its own
    /// may keep the pipe.
    pub fn step(&mut self, now: Millis) -> Option<Result<String, String>> {
        if now < self.look_at {
            return None;
        }
        self.look_at = now + LOOK_EVERY_MS;
        // It ends first, and then nothing is added to what it has said.
        let ended = self.child.try_wait();
        self.listen();
        match ended {
            Ok(Some(_)) if self.was_killed => {
                Some(Err(self.with_words(&format!("no answer within {} s", TRIAL_MS / 1000))))
            }
            Ok(Some(status)) => Some(self.verdict(status)),
            Ok(None) => {
                if now >= self.until && !self.was_killed {
                    self.stop();
                }
                None
            }
            // Started with SIGCHLD ignored, this process is not told how its children end; this one
            // ends with its words.
            Err(error) if error.raw_os_error() == Some(Errno::CHILD.raw_os_error()) => {
                Some(self.verdict(ExitStatus::default()))
            }
            Err(error) => Some(Err(error.to_string())),
        }
    }

    /// Ends the program. It is gone once [`Trial::step`] says so.
    pub fn stop(&mut self) {
        self.was_killed = true;
        // This fails if it has ended.
        let _ = self.child.kill();
    }

    /// Takes in what it says. What is beyond the limit is dropped, so that it is never blocked.
    fn listen(&mut self) {
        let mut piece = [0; 4096];
        // A bounded number of reads: it may talk without end.
        for _ in 0..16 {
            let Ok(read @ 1..) = self.output.read(&mut piece) else { return };
            let room = SAID_BYTES_MAX - self.said.len();
            self.said.extend_from_slice(&piece[..read.min(room)]);
        }
    }

    fn verdict(&self, status: ExitStatus) -> Result<String, String> {
        let expected = format!(" accepts hand-over {}", self.format);
        let said = self.said.trim_ascii();
        let version =
            said.strip_prefix(b"socku ").and_then(|s| s.strip_suffix(expected.as_bytes()));
        match version {
            Some(version) if status.success() => match self.program.file() {
                Ok(file) if file == self.file => Ok(escaped(version)),
                _ => Err("it was replaced since the trial began".into()),
            },
            _ => Err(self.with_words(&status.to_string())),
        }
    }

    /// The reason, and what the program said.
    fn with_words(&self, reason: &str) -> String {
        match self.said.trim_ascii() {
            [] => format!("{reason}; it said nothing"),
            said => format!("{reason}; it said \"{}\"", escaped(said)),
        }
    }
}

/// A program on trial is of no use once nobody listens.
impl Drop for Trial {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One line of bounded length.
fn escaped(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).escape_debug().to_string()
}
