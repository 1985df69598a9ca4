//! The `socku` program.

use socku::internals::config::{self, Config, Invocation, UsageError};
use socku::internals::server::{Report, RuleSource, Unanswered, answer, check, start};
use socku::internals::{logging, signals};
use socku::server::{self, RulesError};
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::{fmt, iter};

/// An error at run time, or in the rules.
const RUNTIME: u8 = 1;
/// A wrong command line, or question of `-e`.
const USAGE: u8 = 2;
/// `-e` says no.
const DENIED: u8 = 3;
/// Most errors that `-t` prints.
const ERRORS_MAX: usize = 100;

/// An error that ends the program: the exit code, and its cause.
struct Failure(u8, Box<dyn Error>);

impl From<UsageError> for Failure {
    fn from(error: UsageError) -> Failure {
        Failure(USAGE, error.into())
    }
}

impl From<Unanswered> for Failure {
    fn from(error: Unanswered) -> Failure {
        match error {
            Unanswered::Rules(error) => Failure(RUNTIME, error.into()),
            Unanswered::Users(error) => Failure(RUNTIME, error.into()),
            Unanswered::Question(error) => Failure(USAGE, error.into()),
        }
    }
}

impl From<RulesError> for Failure {
    fn from(error: RulesError) -> Failure {
        Failure(RUNTIME, error.into())
    }
}

impl From<server::Error> for Failure {
    fn from(error: server::Error) -> Failure {
        Failure(RUNTIME, error.into())
    }
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Failure {
        Failure(RUNTIME, error.into())
    }
}

/// A step of the program itself that the system refuses.
#[derive(Debug)]
struct StepError(&'static str, io::Error);

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for StepError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.1)
    }
}

fn main() -> ExitCode {
    let invocation = config::parse(std::env::args_os().skip(1)).map_err(Failure::from);
    match invocation.and_then(perform) {
        Ok(code) => code,
        Err(Failure(code, error)) => {
            // The exit code remains even if standard error has no reader.
            logging::finish_with(&line(&with_sources(error.as_ref())));
            ExitCode::from(code)
        }
    }
}

/// The text of an error and of its sources.
fn with_sources(error: &dyn Error) -> String {
    let sources = iter::successors(error.source(), |&source| source.source());
    let texts: Vec<_> =
        iter::once(error.to_string()).chain(sources.map(|source| source.to_string())).collect();
    texts.join(": ")
}

/// One line with an error, whatever a flag or a file is called.
fn line(error: &str) -> String {
    format!("socku: {error}").replace(|c: char| c.is_control(), "?")
}

fn perform(invocation: Invocation) -> Result<ExitCode, Failure> {
    match invocation {
        Invocation::Help(text) => print(&text)?,
        Invocation::Version => print(&format!("socku {}\n", env!("CARGO_PKG_VERSION")))?,
        Invocation::Test(config) => return test(&config),
        Invocation::Explain(config, question) => {
            let answer = answer(&config, &question)?;
            print(&(answer.text + "\n"))?;
            if answer.is_denied {
                return Ok(ExitCode::from(DENIED));
            }
        }
        Invocation::Run(config) => {
            logging::init();
            signals::survive_early_requests()
                .map_err(|error| StepError("taking over signals", error))?;
            start(&config, RuleSource::find(&config.rule_files())?)?.run()?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes to standard output, which may be a closed pipe or a full disk.
fn print(text: &str) -> Result<(), StepError> {
    let mut stdout = io::stdout();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|error| StepError("writing to standard output", error))
}

/// `-t`: the rules as understood and what a start would warn about, or all errors.
fn test(config: &Config) -> Result<ExitCode, Failure> {
    let Report { mut listing, warnings, errors, more } = check(config);
    if errors.is_empty() {
        for warning in warnings {
            let warning = warning.replace(|c: char| c.is_control(), "?");
            listing += &format!("warning: {warning}\n");
        }
        print(&listing)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut lines: Vec<String> = errors.iter().take(ERRORS_MAX).map(|error| line(error)).collect();
    let more = more + errors.len() - lines.len();
    if more > 0 {
        lines.push(line(&format!("and {more} more")));
    }
    logging::finish_with(&lines.join("\n"));
    Ok(ExitCode::from(RUNTIME))
}
