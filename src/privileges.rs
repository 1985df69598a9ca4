//! Giving up root.

use rustix::process::{Gid, Uid};
use rustix::thread::{self, CapabilitySet, CapabilitySets};
use std::path::{Path, PathBuf};
use std::{error, fmt, fs, io};

/// A user and a group as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// Why this process cannot become another user.
#[derive(Debug)]
pub enum IdentityError {
    /// One of the two files cannot be read.
    File(PathBuf, io::Error),
    /// There is no such user in this file.
    NoUser(String, &'static str),
    /// There is no such group in this file.
    NoGroup(String, &'static str),
    /// A user that is given by its id alone, and not in the file.
    NoOwnGroup(u32),
    /// The system refuses.
    Refused(io::Error),
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IdentityError::File(path, error) => write!(f, "reading {}: {error}", path.display()),
            IdentityError::NoUser(user, file) => write!(f, "no user {user:?} in {file}"),
            IdentityError::NoGroup(group, file) => write!(f, "no group {group:?} in {file}"),
            IdentityError::NoOwnGroup(uid) => {
                write!(f, "user id {uid} has no group of its own: expected UID:GROUP")
            }
            IdentityError::Refused(error) => {
                write!(f, "{error}, expected to be started as root")
            }
        }
    }
}

impl error::Error for IdentityError {}

const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

/// Finds `NAME[:GROUP]`, each a name or a number, in /etc/passwd and /etc/group. Without GROUP
/// it is the user's own group.
pub fn find_identity(text: &str) -> Result<Identity, IdentityError> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let (uid, own_gid) = match (find_in(USERS, user, &[2, 3])?.as_deref(), user.parse()) {
        (Some(&[uid, gid]), _) => (uid, Some(gid)),
        // The kernel takes the last number for "leave it as it is": root would stay root.
        (_, Ok(uid)) if uid != u32::MAX => (uid, None),
        _ => return Err(IdentityError::NoUser(user.into(), USERS)),
    };
    let gid = match group {
        None => own_gid.ok_or(IdentityError::NoOwnGroup(uid))?,
        Some(group) => match (find_in(GROUPS, group, &[2])?.as_deref(), group.parse()) {
            (Some(&[gid]), _) => gid,
            (_, Ok(gid)) if gid != u32::MAX => gid,
            _ => return Err(IdentityError::NoGroup(group.into(), GROUPS)),
        },
    };
    Ok(Identity { uid, gid })
}

/// The numeric fields of the line of `file` that begins with `name`, or, of a user, has it as
/// its id.
fn find_in(file: &str, name: &str, fields: &[usize]) -> Result<Option<Vec<u32>>, IdentityError> {
    let file = Path::new(file);
    let text = fs::read(file).map_err(|error| IdentityError::File(file.into(), error))?;
    // Real names may be in any character set; they are not used.
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = lines.find(|line| line.first() == Some(&name) || line.get(2) == Some(&name));
    Ok(found.and_then(|line| {
        fields.iter().map(|&field| line.get(field).and_then(|id| id.parse().ok())).collect()
    }))
}

/// Becomes this user for good: no supplementary groups, no capabilities, and no program that is
/// executed later can gain any. Only sound while the process has one thread.
pub fn drop_to(identity: Identity) -> Result<(), IdentityError> {
    try_drop_to(identity).map_err(IdentityError::Refused)
}

fn try_drop_to(identity: Identity) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    thread::set_thread_groups(&[])?;
    thread::set_thread_res_gid(gid, gid, gid)?;
    thread::set_thread_res_uid(uid, uid, uid)?;
    // Leaving user id 0 drops every capability; this is for a process that had some without being
    // root.
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    thread::set_capabilities(None, sets)?;
    thread::set_no_new_privs(true)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        for (text, uid, gid) in
            [("root", 0, 0), ("0", 0, 0), ("54321:12345", 54321, 12345), ("root:12345", 0, 12345)]
        {
            assert_eq!(find_identity(text).unwrap(), Identity { uid, gid }, "{text}");
        }
        let error = |text| find_identity(text).unwrap_err().to_string();
        assert!(error("54321").contains("expected UID:GROUP"));
        for minus_one in ["4294967295:1", "1:4294967295"] {
            assert!(find_identity(minus_one).is_err(), "{minus_one} would leave root as it is");
        }
        assert!(error("no-such-user").contains("no user \"no-such-user\""));
        assert!(error("root:no-such").contains("no group \"no-such\""));
    }
}
