//! A program that is replaced while it runs.

use super::machine::CLOSED;
use super::{Proxy, scratch_directory, wait_until};
use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The proxy, started from a file of its own that another program can take the place of.
pub struct Upgradable {
    proxy: Proxy,
    /// The file.
    pub program: PathBuf,
    upgrades: usize,
}

impl Upgradable {
    /// Starts it as [`Proxy::start`] does.
    pub fn start(rules: &str, flags: &[&str]) -> Upgradable {
        Upgradable::start_in(&scratch_directory(), rules, flags)
    }

    /// The same in this directory, which is empty.
    pub fn start_in(directory: &Path, rules: &str, flags: &[&str]) -> Upgradable {
        Upgradable::start_after("true", directory, rules, flags)
    }

    /// The same after these commands of a shell.
    pub fn start_after(
        commands: &str,
        directory: &Path,
        rules: &str,
        flags: &[&str],
    ) -> Upgradable {
        let (program, rule_file) = (directory.join("socku"), directory.join("socks.conf"));
        put_program(&program);
        fs::write(&rule_file, rules).unwrap();
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{commands}; exec \"$0\" \"$@\"")).arg(&program);
        command.env("RUST_LOG", "debug").stdin(Stdio::null()).args(flags);
        command.args(["-l", "127.0.0.1:0", "-c"]).arg(&rule_file);
        if !flags.contains(&"--nameserver") {
            command.args(["--nameserver", &CLOSED.to_string()]);
        }
        Upgradable { proxy: Proxy::spawn(command, rule_file), program, upgrades: 0 }
    }

    /// Lets it become the program on disk, and waits until that listens.
    pub fn upgrade(&mut self) {
        let pid = self.pid();
        self.signal("USR2");
        self.upgrades += 1;
        self.wait_logs("listening on ", 1 + self.upgrades);
        assert!(self.is_running() && self.pid() == pid, "another process");
    }

    /// Puts a script in the place of the program. The proxy is told nothing.
    pub fn install_script(&self, text: &str) {
        let written = self.program.with_extension("text");
        fs::write(&written, text).unwrap();
        install(&written, &self.program);
    }

    /// Puts the program back in its place.
    pub fn install_program(&self) {
        put_program(&self.program);
    }

    /// Its children, ended ones included.
    pub fn children(&self) -> String {
        let pid = self.pid();
        fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap()
    }

    /// Asks for an upgrade that must fail; the line of the log that says why.
    pub fn failed_upgrade(&self) -> String {
        let failures = || self.log().into_iter().filter(|line| line.contains("no upgrade: "));
        let before = failures().count();
        self.signal("USR2");
        let line = wait_until("the upgrade to fail", || failures().nth(before));
        assert_eq!(self.children(), "");
        line
    }
}

fn put_program(at: &Path) {
    install(Path::new(env!("CARGO_BIN_EXE_socku")), at);
}

/// Replaces a program in one step. The copy is made by another process: a program that another test
/// starts meanwhile has the descriptors of this one for a moment, and a file that anybody has open
/// for writing cannot be executed.
fn install(from: &Path, to: &Path) {
    let new = to.with_extension("new");
    let copied = Command::new("install").arg("-m755").arg(from).arg(&new).status().unwrap();
    assert!(copied.success());
    fs::rename(new, to).unwrap();
}

impl Deref for Upgradable {
    type Target = Proxy;

    fn deref(&self) -> &Proxy {
        &self.proxy
    }
}

impl DerefMut for Upgradable {
    fn deref_mut(&mut self) -> &mut Proxy {
        &mut self.proxy
    }
}
