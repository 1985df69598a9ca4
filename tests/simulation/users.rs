//! The users files that there may be, and what they say.

pub const USERS: [&str; 3] =
    ["bob:secret\neve:hunter2\n", "bob:changed\n", "# moved\neve:hunter2\nbob:secret\nzoe:z\n"];

/// The password of a user in one of the files.
pub fn password_of(file: usize, user: &str) -> Option<&'static str> {
    let lines = USERS[file].lines().filter_map(|line| line.split_once(':'));
    lines.filter(|(name, _)| *name == user).map(|(_, password)| password).next()
}
