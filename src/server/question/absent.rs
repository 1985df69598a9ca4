//! Without the feature `explain`: no question is answered, as the command line says first.

use super::error::{RulesError, UsersError};
use crate::config::Config;
use crate::config::parts::lacks;
use std::{error, fmt};

/// What would be printed.
pub struct Answer {
    /// A line, or several.
    pub text: String,
    /// The answer is no.
    pub is_denied: bool,
}

/// Why a question is not answered.
pub enum Unanswered {
    /// The rules cannot be read.
    Rules(RulesError),
    /// The users cannot be read.
    Users(UsersError),
    /// The question cannot be understood.
    Question(QuestionError),
}

/// This build understands no question.
#[derive(Debug)]
pub struct QuestionError;

impl fmt::Display for QuestionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--explain: {}", lacks("explain"))
    }
}

impl error::Error for QuestionError {}

/// Answers nothing.
pub fn answer(_: &Config, _: &str) -> Result<Answer, Unanswered> {
    Err(Unanswered::Question(QuestionError))
}
