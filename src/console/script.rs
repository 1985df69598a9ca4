//! Scripts: the plain files of one directory, and nothing else.

use rustix::fs::{Mode, OFlags};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::{error, fmt};

/// Most bytes a script may have.
pub const SCRIPT_BYTES_MAX: u64 = 1 << 20;
/// Most bytes the name of a script may have (what Linux allows in one directory entry).
pub const NAME_BYTES_MAX: usize = 255;
/// Most scripts that a list shows.
pub const LIST_MAX: usize = 1000;

/// The directory that scripts come from.
#[derive(Clone, Debug)]
pub struct Directory(pub PathBuf);

/// Why there is no script.
#[derive(Debug)]
pub enum ScriptError {
    /// No script was chosen.
    Missing,
    /// The name could lead out of the directory, or is hidden.
    Name,
    /// It is no plain file: a directory, a link, a device, ...
    NotPlain,
    /// It exceeds [`SCRIPT_BYTES_MAX`].
    TooLong,
    /// It cannot be read.
    Io(io::Error),
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScriptError::Missing => f.write_str("no script was chosen"),
            ScriptError::Name => f.write_str("not the name of a script"),
            ScriptError::NotPlain => f.write_str("the script is not a plain file"),
            ScriptError::TooLong => write!(f, "the script exceeds {SCRIPT_BYTES_MAX} bytes"),
            ScriptError::Io(error) => write!(f, "the script cannot be read: {}", error.kind()),
        }
    }
}

impl error::Error for ScriptError {}

impl From<io::Error> for ScriptError {
    fn from(error: io::Error) -> ScriptError {
        ScriptError::Io(error)
    }
}

impl Directory {
    /// The names of the scripts that exist, in order. A directory that cannot be read has none.
    pub fn list(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.0) else { return Vec::new() };
        let plain = entries
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_ok_and(|file_type| file_type.is_file()));
        let mut names: Vec<_> = plain
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| is_name(name))
            .take(LIST_MAX)
            .collect();
        names.sort();
        names
    }

    /// Reads a script.
    ///
    /// The name is a single component, and the last component is not followed if it is a symbolic
    /// link. The open file is checked, so that it cannot be swapped in between. Opening does not
    /// wait for the other end of a FIFO.
    pub fn read(&self, name: &str) -> Result<Script, ScriptError> {
        if name.is_empty() {
            return Err(ScriptError::Missing);
        }
        if !is_name(name) {
            return Err(ScriptError::Name);
        }
        let file = open(&self.0.join(name))?;
        if !file.metadata()?.is_file() {
            return Err(ScriptError::NotPlain);
        }
        let mut bytes = Vec::new();
        file.take(SCRIPT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > SCRIPT_BYTES_MAX {
            return Err(ScriptError::TooLong);
        }
        Ok(Script::new(bytes))
    }
}

fn open(path: &Path) -> Result<File, ScriptError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(descriptor) => Ok(descriptor.into()),
        Err(rustix::io::Errno::LOOP | rustix::io::Errno::NXIO) => Err(ScriptError::NotPlain),
        Err(error) => Err(ScriptError::Io(error.into())),
    }
}

/// One component that is neither hidden nor `.` nor `..`.
fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && !name.starts_with('.')
        && !name.contains(['/', '\0'])
}

/// The lines that are still to be sent.
#[derive(Debug)]
pub struct Script {
    bytes: Vec<u8>,
    sent: usize,
}

impl Script {
    /// A script of these bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Script {
        Script { bytes: bytes.into(), sent: 0 }
    }

    /// The next line with one LF at its end, whether the file has LF, CRLF or nothing there.
    pub fn next_line(&mut self) -> Option<Vec<u8>> {
        let line = self.bytes[self.sent..].split_inclusive(|&byte| byte == b'\n').next()?;
        self.sent += line.len();
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Some([line, b"\n"].concat())
    }
}

#[cfg(test)]
#[path = "script_test.rs"]
mod tests;
