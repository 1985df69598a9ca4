//! The origin of a server's users.

use super::error::UsersError;
use crate::config::Config;
use crate::reload;
use crate::users::Users;
use std::fmt;
use std::path::PathBuf;

/// The origin of a server's users.
#[derive(Clone)]
pub enum UserSource {
    /// There are none: nobody can log in.
    None,
    /// A file, which is read again when it changes.
    File(PathBuf),
    /// Text in the form of a users file.
    Text(Vec<u8>),
}

impl UserSource {
    /// The file that a command line names, if any.
    pub fn find(config: &Config) -> UserSource {
        config.users_file.clone().map_or(UserSource::None, UserSource::File)
    }

    /// Reads and parses the users at once; `None` without a source.
    pub fn read(&self) -> Result<Option<Users>, UsersError> {
        let users = match self {
            UserSource::None => return Ok(None),
            UserSource::File(path) => reload::read_users(path),
            UserSource::Text(text) => Users::parse(text).map_err(|error| {
                let line = error.line.map(|line| format!(":{line}")).unwrap_or_default();
                format!("{}{line}: {}", self.name(), error.message)
            }),
        };
        users.map(Some).map_err(UsersError::new)
    }

    /// The name that messages about the users begin with.
    pub fn name(&self) -> String {
        match self {
            UserSource::File(path) => path.display().to_string(),
            UserSource::None | UserSource::Text(_) => "users".into(),
        }
    }

    /// A warning if a file that has been read could not be read again by --user.
    pub fn unreadable(&self) -> Option<String> {
        let UserSource::File(path) = self else { return None };
        let error = reload::open_users(path).err()?;
        Some(format!("{error}; --user may not read it, so changes will not take effect"))
    }
}

/// Shows no password.
impl fmt::Debug for UserSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UserSource::None => f.write_str("None"),
            UserSource::File(path) => f.debug_tuple("File").field(path).finish(),
            UserSource::Text(_) => f.debug_tuple("Text").finish_non_exhaustive(),
        }
    }
}
