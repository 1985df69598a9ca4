//! The origin of a server's rules.

use super::error::RulesError;
use crate::reload;
use crate::rules::RuleSet;
use std::path::PathBuf;

/// The origin of a server's rules.
#[derive(Clone, Debug)]
pub enum RuleSource {
    /// A file, which is read again when it changes.
    File(PathBuf),
    /// Text in the form of a rule file.
    Text(Vec<u8>),
}

impl RuleSource {
    /// The first of these files that is there. One that cannot be looked at counts as there:
    /// the error of reading it has the reason.
    pub fn find(candidates: &[PathBuf]) -> Result<RuleSource, RulesError> {
        match candidates.iter().find(|file| file.try_exists().unwrap_or(true)) {
            Some(file) => Ok(RuleSource::File(file.clone())),
            None => {
                let tried: Vec<_> =
                    candidates.iter().map(|file| file.display().to_string()).collect();
                let tried = tried.join(", ");
                Err(RulesError::new(format!("{tried}: no such file, expected a rule file")))
            }
        }
    }

    /// The file.
    pub fn file(&self) -> Option<PathBuf> {
        match self {
            RuleSource::File(path) => Some(path.clone()),
            RuleSource::Text(_) => None,
        }
    }

    /// Reads and parses the rules at once.
    pub fn read(&self) -> Result<RuleSet, RulesError> {
        match self {
            RuleSource::File(path) => reload::read_rules(path).map_err(RulesError::new),
            RuleSource::Text(text) => RuleSet::parse(text).map_err(|error| {
                let line = error.line.map(|line| format!(":{line}")).unwrap_or_default();
                RulesError::new(format!("{}{line}: {}", self.name(), error.message))
            }),
        }
    }

    /// The name that messages about the rules begin with.
    pub fn name(&self) -> String {
        match self {
            RuleSource::File(path) => path.display().to_string(),
            RuleSource::Text(_) => "rules".into(),
        }
    }

    /// A warning if a file that has been read could not be read again by --user.
    pub fn unreadable(&self) -> Option<String> {
        let RuleSource::File(path) = self else { return None };
        let error = reload::open_rules(path).err()?;
        Some(format!("{error}; --user may not read it, so changes will not take effect"))
    }
}
