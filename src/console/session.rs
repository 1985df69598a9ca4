//! One session: a socket, a dialogue, and pieces of the page for its writer.

use super::dial::dial;
use super::dialogue::{Dialogue, Effect};
use super::page;
use super::query::{FieldError, Host, Proxy};
use super::script::{Script, ScriptError};
use crate::client;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::SyncSender;
use std::time::Duration;
use std::{error, fmt};

/// `% ` in the middle of a line is a prompt once nothing has followed it for this long.
const QUIET: Duration = Duration::from_millis(300);
/// Most bytes of one read; it also bounds the pieces.
const READ_BYTES: usize = 16 << 10;
/// Most bytes that one column gets: a browser would choke on more.
pub const OUTPUT_BYTES_MAX: u64 = 256 << 20;

/// How long a session waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the proxy to answer once it is connected.
    pub connect: Duration,
    /// For the next byte from the remote shell, or to it.
    pub idle: Duration,
}

/// Everything a session needs.
#[derive(Debug)]
pub struct Plan<'a> {
    /// Its number, which is that of its column.
    pub at: usize,
    /// The proxy.
    pub proxy: Result<Proxy<'a>, FieldError>,
    /// The remote shell.
    pub target: Result<(Host, u16), FieldError>,
    /// The lines to send.
    pub script: Result<Script, ScriptError>,
    /// Its time-outs.
    pub timeouts: Timeouts,
}

/// Why a session ended otherwise than by the remote shell closing.
#[derive(Debug)]
enum Failure {
    Field(FieldError),
    Script(ScriptError),
    Dial(client::Error),
    Broken(io::Error),
    Idle(Duration),
    TooMuch,
    /// The pieces are taken no more.
    Unwatched,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Field(error) => error.fmt(f),
            Failure::Script(error) => error.fmt(f),
            Failure::Dial(error) => error.fmt(f),
            Failure::Broken(error) => write!(f, "the connection broke: {error}"),
            Failure::Idle(idle) => write!(f, "nothing for {} seconds: given up", idle.as_secs()),
            Failure::TooMuch => write!(f, "more than {OUTPUT_BYTES_MAX} bytes: given up"),
            Failure::Unwatched => f.write_str("the browser has left"),
        }
    }
}

impl error::Error for Failure {}

impl From<FieldError> for Failure {
    fn from(error: FieldError) -> Failure {
        Failure::Field(error)
    }
}

impl From<ScriptError> for Failure {
    fn from(error: ScriptError) -> Failure {
        Failure::Script(error)
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Failure {
        Failure::Dial(error)
    }
}

/// Runs a session to its end. `pieces` gets what is to be written, in order.
pub fn run(plan: Plan<'_>, pieces: &SyncSender<String>) {
    let at = plan.at;
    let last = match talk(plan, pieces) {
        Ok(()) => page::state(at, "closed"),
        Err(failure) => page::reason(at, &failure.to_string()) + &page::state(at, "failed"),
    };
    let _ = pieces.send(last);
}

fn talk(plan: Plan<'_>, pieces: &SyncSender<String>) -> Result<(), Failure> {
    let (proxy, target, script) = (plan.proxy?, plan.target?, plan.script?);
    let mut stream = dial(&proxy, &target, plan.timeouts.connect)?;
    stream.set_write_timeout(Some(plan.timeouts.idle)).map_err(Failure::Broken)?;
    let mut dialogue = Dialogue::new(script);
    let mut buffer = vec![0; READ_BYTES];
    let mut total = 0;
    loop {
        let event = wait(&mut stream, &mut buffer, &dialogue, plan.timeouts.idle)?;
        match event {
            Event::Bytes(count) => dialogue.handle_bytes(&buffer[..count]),
            Event::Quiet => dialogue.handle_quiet(),
            Event::End => dialogue.handle_end(),
            Event::Broken(_) => dialogue.handle_end(),
        }
        while let Some(effect) = dialogue.poll() {
            perform(effect, plan.at, &mut stream, pieces)?;
        }
        match event {
            Event::Bytes(count) => total += count as u64,
            Event::Quiet => {}
            Event::End => return Ok(()),
            Event::Broken(error) => return Err(Failure::Broken(error)),
        }
        if total > OUTPUT_BYTES_MAX {
            return Err(Failure::TooMuch);
        }
    }
}

enum Event {
    Bytes(usize),
    Quiet,
    End,
    Broken(io::Error),
}

/// Waits for bytes, the end, or silence if the dialogue asks for that.
fn wait(
    stream: &mut TcpStream,
    buffer: &mut [u8],
    dialogue: &Dialogue,
    idle: Duration,
) -> Result<Event, Failure> {
    let patience = if dialogue.expects_quiet() { QUIET.min(idle) } else { idle };
    stream.set_read_timeout(Some(patience)).map_err(Failure::Broken)?;
    loop {
        return match stream.read(buffer) {
            Ok(0) => Ok(Event::End),
            Ok(count) => Ok(Event::Bytes(count)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if is_timeout(&error) && dialogue.expects_quiet() => Ok(Event::Quiet),
            Err(error) if is_timeout(&error) => Err(Failure::Idle(idle)),
            Err(error) => Ok(Event::Broken(error)),
        };
    }
}

fn perform(
    effect: Effect,
    at: usize,
    stream: &mut TcpStream,
    pieces: &SyncSender<String>,
) -> Result<(), Failure> {
    let give = |piece| pieces.send(piece).map_err(|_| Failure::Unwatched);
    match effect {
        Effect::Show(text) => give(page::output(at, &text)),
        Effect::Send(line) => {
            // Shown first, so that it stands before its result.
            give(page::command(at, &String::from_utf8_lossy(&line)))?;
            // A shell that has closed meanwhile ends the session when what it sent has been read.
            match stream.write_all(&line) {
                Err(error) if is_timeout(&error) => {
                    Err(Failure::Broken(io::ErrorKind::TimedOut.into()))
                }
                _ => Ok(()),
            }
        }
        Effect::CloseWriting => {
            let _ = stream.shutdown(Shutdown::Write);
            Ok(())
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
