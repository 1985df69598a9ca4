//! The `socku` program.

use socku::config::{self, Config, Invocation};
use socku::explain;
use socku::logging;
use socku::rules::RuleSet;
use socku::server::{Server, read_rules};
use socku::signals;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// What went wrong: the exit code, and one line.
struct Failure(u8, String);

/// An error at run time, or in the rules.
impl From<String> for Failure {
    fn from(message: String) -> Failure {
        Failure(1, message)
    }
}

fn main() -> ExitCode {
    let invocation = config::parse(std::env::args_os().skip(1)).map_err(wrong_command_line);
    match invocation.and_then(perform) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(code, message)) => {
            // One line, whatever a flag or a file is called. If nobody reads standard error, the
            // exit code still says it.
            logging::finish_with(&message.replace(|c: char| c.is_control(), "?"));
            ExitCode::from(code)
        }
    }
}

fn wrong_command_line(message: String) -> Failure {
    Failure(2, format!("socku: {message}"))
}

fn perform(invocation: Invocation) -> Result<(), Failure> {
    match invocation {
        Invocation::Help(text) => print(&text)?,
        Invocation::Version => print(&format!("socku {}\n", env!("CARGO_PKG_VERSION")))?,
        Invocation::Test(config) => print(&explain::listing(&load(&config)?.1))?,
        Invocation::Explain(config, query) => {
            let (_, rules) = load(&config)?;
            let answer = explain::explain(&rules, &query);
            let answer =
                answer.map_err(|error| wrong_command_line(format!("--explain: {error}")))?;
            print(&(answer + "\n"))?;
        }
        Invocation::Run(config) => {
            logging::init();
            signals::survive_early_requests()
                .map_err(|error| format!("taking over signals: {error}"))?;
            let (file, rules) = load(&config)?;
            Server::start(&config, &file, rules)?.run()?;
        }
    }
    Ok(())
}

/// Writes to standard output, which may be a closed pipe or a full disk.
fn print(text: &str) -> Result<(), String> {
    let mut stdout = std::io::stdout();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|error| format!("writing to standard output: {error}"))
}

/// Finds and reads the rule file. One that cannot be looked at is there: reading says why not.
fn load(config: &Config) -> Result<(PathBuf, RuleSet), String> {
    let candidates = config.rule_files();
    let Some(file) = candidates.iter().find(|file| file.try_exists().unwrap_or(true)) else {
        let tried: Vec<_> = candidates.iter().map(|file| file.display().to_string()).collect();
        return Err(format!("{}: no such file, expected a rule file", tried.join(", ")));
    };
    Ok((file.clone(), read_rules(file)?))
}
