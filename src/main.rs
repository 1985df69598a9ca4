//! The `socku` program.

use socku::internals::config::{self, Config, Invocation, UsageError};
use socku::internals::server::{
    Report, RuleSource, Unanswered, Unhealthy, answer, answer_trial, check, check_health, start,
    take_over,
};
use socku::internals::{logging, signals, upgrade};
use socku::server::{self, RulesError};
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::{fmt, iter};

/// An error at run time, or in the rules.
const RUNTIME: u8 = 1;
/// A wrong command line, or query of `-e`.
const USAGE: u8 = 2;
/// `-e` says no.
const DENIED: u8 = 3;
/// Most errors that `-t` prints.
const ERRORS_MAX: usize = 100;

/// An error that ends the program: the exit code, and the text of it and of its sources.
struct Failure(u8, String);

impl Failure {
    /// The log makes one line of the text, whatever a flag or a file is called.
    fn new(code: u8, error: &dyn Error) -> Failure {
        let sources = iter::successors(error.source(), |&source| source.source());
        let mut text = error.to_string();
        sources.for_each(|source| text += &format!(": {source}"));
        Failure(code, text)
    }
}

impl From<UsageError> for Failure {
    fn from(error: UsageError) -> Failure {
        Failure::new(USAGE, &error)
    }
}

impl From<Unanswered> for Failure {
    fn from(error: Unanswered) -> Failure {
        match error {
            Unanswered::Rules(error) => Failure::new(RUNTIME, &error),
            Unanswered::Users(error) => Failure::new(RUNTIME, &error),
            Unanswered::Question(error) => Failure::new(USAGE, &error),
        }
    }
}

impl From<RulesError> for Failure {
    fn from(error: RulesError) -> Failure {
        Failure::new(RUNTIME, &error)
    }
}

impl From<server::Error> for Failure {
    fn from(error: server::Error) -> Failure {
        Failure::new(RUNTIME, &error)
    }
}

impl From<Unhealthy> for Failure {
    fn from(error: Unhealthy) -> Failure {
        Failure::new(RUNTIME, &error)
    }
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Failure {
        Failure::new(RUNTIME, &error)
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
        Err(Failure(code, text)) => {
            // The exit code remains even if standard error has no reader.
            logging::finish_with(&text);
            ExitCode::from(code)
        }
    }
}

fn perform(invocation: Invocation) -> Result<ExitCode, Failure> {
    match invocation {
        Invocation::Help(text) => print(&text)?,
        Invocation::Version => print(&version())?,
        Invocation::Test(config) => return test(&config),
        Invocation::Explain(config, question) => {
            let answer = answer(&config, &question)?;
            print(&(answer.text + "\n"))?;
            if answer.is_denied {
                return Ok(ExitCode::from(DENIED));
            }
        }
        Invocation::Health(config) => check_health(&config)?,
        Invocation::Trial(config, descriptors) => print(&answer_trial(&config, descriptors)?)?,
        Invocation::Run(config) => {
            logging::init(config.log_format);
            signals::survive_early_requests()
                .map_err(|error| StepError("taking over signals", error))?;
            let handed = upgrade::receive().map_err(|error| StepError("taking over", error))?;
            let server = match handed {
                None => start(&config, RuleSource::find(&config.rule_files())?)?,
                Some(parcel) => take_over(&config, parcel)?,
            };
            server.run()?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The version, and a line about what this build lacks, if it lacks anything.
fn version() -> String {
    let version = format!("socku {}", env!("CARGO_PKG_VERSION"));
    let lines = iter::once(version).chain(config::built_without());
    lines.map(|line| line + "\n").collect()
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
    for error in errors.iter().take(ERRORS_MAX) {
        logging::finish_with(error);
    }
    let more = more + errors.len().saturating_sub(ERRORS_MAX);
    if more > 0 {
        logging::finish_with(&format!("and {more} more"));
    }
    Ok(ExitCode::from(RUNTIME))
}
