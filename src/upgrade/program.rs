//! The program on disk that this process was started from, and would become.

use crate::config::TRIAL_FLAG;
use crate::net;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io, path};

/// The running program, as the kernel knows it.
const RUNNING: &str = "/proc/self/exe";
/// What the kernel adds to its path once another file is there.
const DELETED: &[u8] = b" (deleted)";

/// A program and its arguments.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    /// From its name on.
    arguments: Vec<OsString>,
}

/// A file with its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    id: (u64, u64),
    written: (i64, i64),
}

impl Program {
    /// This program, by the path that it was started by: where that is a symbolic link, the link
    /// may lead to another version later.
    ///
    /// # Errors
    ///
    /// Without /proc.
    pub fn this() -> io::Result<Program> {
        let arguments: Vec<_> = env::args_os().collect();
        let running = fs::read_link(RUNNING)?;
        let name = arguments.first().map(OsString::as_os_str).unwrap_or_default();
        let path = as_started(name).unwrap_or_else(|| without_deleted(running));
        Ok(Program { path, arguments })
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which file is at the path now, as written last.
    pub fn file(&self) -> io::Result<Content> {
        let at = fs::metadata(&self.path)?;
        Ok(Content { id: (at.dev(), at.ino()), written: (at.mtime(), at.mtime_nsec()) })
    }

    /// The command that tries whether it could take over so many descriptors.
    pub fn trial(&self, descriptors: usize) -> Command {
        let mut command = Command::new(&self.path);
        command.args(self.arguments.iter().skip(1)).arg(format!("{TRIAL_FLAG}{descriptors}"));
        // Signals to the group are for this process.
        command.process_group(0);
        command
    }

    /// Becomes it; returns only if that fails.
    pub fn exec(&self) -> io::Error {
        let text = |text: &OsStr| CString::new(text.as_bytes());
        let arguments: Result<Vec<_>, _> = self.arguments.iter().map(|a| text(a)).collect();
        match (text(self.path.as_os_str()), arguments) {
            (Ok(path), Ok(arguments)) => net::exec(&path, &arguments),
            (Err(error), _) | (_, Err(error)) => error.into(),
        }
    }
}

/// The path by which a shell has found the running program, if it is still there.
fn as_started(name: &OsStr) -> Option<PathBuf> {
    let running = fs::metadata(RUNNING).ok()?;
    let is_running = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|at| (at.dev(), at.ino()) == (running.dev(), running.ino()))
    };
    if name.as_bytes().contains(&b'/') {
        return path::absolute(name).ok().filter(is_running);
    }
    let places = env::var_os("PATH")?;
    let found = env::split_paths(&places).map(|place| place.join(name));
    found.filter_map(|path| path::absolute(path).ok()).find(is_running)
}

fn without_deleted(path: PathBuf) -> PathBuf {
    match path.as_os_str().as_bytes().strip_suffix(DELETED) {
        Some(path) => OsStr::from_bytes(path).into(),
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_the_name_it_was_started_by() {
        let running = env::current_exe().unwrap();
        assert_eq!(as_started(running.as_os_str()), Some(running.clone()));
        assert_eq!(as_started(OsStr::new("/bin/sh")), None, "another program");
        assert_eq!(as_started(OsStr::new("no-such-program")), None);
        let link = env::temp_dir().join(format!("socku-link-{}", std::process::id()));
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(&running, &link).unwrap();
        assert_eq!(as_started(link.as_os_str()), Some(link.clone()));
        fs::remove_file(link).unwrap();
        assert_eq!(without_deleted("/a/b (deleted)".into()), Path::new("/a/b"));
        assert_eq!(without_deleted("/a/b".into()), Path::new("/a/b"));
    }
}
