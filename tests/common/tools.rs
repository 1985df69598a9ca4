//! Requirements of some tests: root, and system programs.

use super::{DEADLINE, wait_until};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

/// Whether this test can run: as root, and with these programs. If not, prints that it is skipped,
/// or fails if `CI` is set.
pub fn can_run(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_installed =
        |program: &&str| std::env::split_paths(&path).any(|d| d.join(program).exists());
    let mut missing: Vec<&str> = programs.iter().copied().filter(|p| !is_installed(p)).collect();
    if !rustix::process::geteuid().is_root() {
        missing.push("root");
    }
    let missing = missing.join(", ");
    assert!(missing.is_empty() || std::env::var_os("CI").is_none(), "this test needs {missing}");
    if !missing.is_empty() {
        eprintln!("skipped: needs {missing}");
    }
    missing.is_empty()
}

/// The value of a field of /proc/PID/status.
pub fn status_field(pid: u32, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.unwrap_or_else(|| panic!("no {field}")).trim().to_string()
}

/// strace, attached to a running program; detached when dropped.
pub struct Strace {
    child: Child,
    pid: u32,
    /// The file that it writes the calls to.
    pub calls: PathBuf,
    /// Kept open: strace writes more when it is detached.
    _stderr: BufReader<ChildStderr>,
}

impl Strace {
    /// Attaches, and waits until the next call is traced. The `-e` expressions say what to trace
    /// and to inject; counts of calls start here.
    pub fn attach(pid: u32, directory: &Path, expressions: &[&str]) -> Strace {
        Strace::attach_with(pid, directory, &[], expressions)
    }

    /// The same, for calls on one file.
    pub fn attach_to_path(pid: u32, directory: &Path, file: &str, expressions: &[&str]) -> Strace {
        Strace::attach_with(pid, directory, &["-P", file], expressions)
    }

    fn attach_with(pid: u32, directory: &Path, flags: &[&str], expressions: &[&str]) -> Strace {
        let calls = directory.join("calls");
        let mut command = Command::new("strace");
        command.args(["-f", "-e", "quiet=exit,personality", "-p", &pid.to_string(), "-o"]);
        command.arg(&calls).args(flags);
        for expression in expressions {
            command.args(["-e", expression]);
        }
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        // The kernel names the tracer before calls are traced; strace itself reports when they are.
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        assert!(line.ends_with(" attached\n"), "{line}");
        Strace { child, pid, calls, _stderr: stderr }
    }

    /// Waits until a line of the trace contains `text`; returns the line.
    pub fn wait_call(&self, text: &str) -> String {
        wait_until(&format!("{text:?} from strace"), || {
            let calls = fs::read_to_string(&self.calls).unwrap_or_default();
            calls.lines().find(|line| line.contains(text)).map(String::from)
        })
    }

    /// How many calls had an error injected.
    pub fn injected(&self) -> usize {
        fs::read_to_string(&self.calls).unwrap_or_default().matches("(INJECTED)").count()
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let until = std::time::Instant::now() + DEADLINE;
        while Path::new(&format!("/proc/{}", self.pid)).exists()
            && status_field(self.pid, "TracerPid") == self.child.id().to_string()
            && std::time::Instant::now() < until
        {
            std::thread::yield_now();
        }
        let _ = self.child.wait();
    }
}
