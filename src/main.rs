//! The `socku` program.

use socku::config::{self, Config, Invocation};
use socku::explain;
use socku::logging;
use socku::rules::RuleSet;
use socku::server::{Server, read_rules};
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let invocation = match config::parse(std::env::args_os().skip(1)) {
        Ok(invocation) => invocation,
        Err(error) => {
            eprintln!("socku: {error}");
            return ExitCode::from(2);
        }
    };
    match perform(invocation) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // FILE:LINE comes first, where editors look for it.
            eprintln!("{error}");
            ExitCode::from(1)
        }
    }
}

fn perform(invocation: Invocation) -> Result<(), String> {
    match invocation {
        Invocation::Help(text) => print!("{text}"),
        Invocation::Version => println!("socku {}", env!("CARGO_PKG_VERSION")),
        Invocation::Test(config) => print!("{}", explain::listing(&load(&config)?.1)),
        Invocation::Explain(config, query) => {
            let (_, rules) = load(&config)?;
            let answer = explain::explain(&rules, &query);
            println!("{}", answer.map_err(|error| format!("--explain: {error}"))?);
        }
        Invocation::Run(config) => {
            logging::init();
            let (file, rules) = load(&config)?;
            Server::start(&config, &file, rules)?.run()?;
        }
    }
    Ok(())
}

/// Finds and reads the rule file.
fn load(config: &Config) -> Result<(PathBuf, RuleSet), String> {
    let candidates = config.rule_files();
    let file = candidates.iter().find(|file| file.exists()).unwrap_or(&candidates[0]);
    Ok((file.clone(), read_rules(file)?))
}
