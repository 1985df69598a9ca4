//! Giving up root.

use rustix::process::{Gid, Uid};
use rustix::thread::{self, CapabilitySet, CapabilitySets};
use std::path::Path;
use std::{fs, io};

/// A user and a group as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// Finds `NAME[:GROUP]`, each a name or a number, in /etc/passwd and /etc/group. Without GROUP
/// it is the user's own group. The error says what was looked for and where.
pub fn find_identity(text: &str) -> Result<Identity, String> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let (users, groups) = (Path::new("/etc/passwd"), Path::new("/etc/group"));
    let (uid, own_gid) = match (find_in(users, user, &[2, 3])?.as_deref(), user.parse()) {
        (Some(&[uid, gid]), _) => (uid, Some(gid)),
        // The kernel takes the last number for "leave it as it is": root would stay root.
        (_, Ok(uid)) if uid != u32::MAX => (uid, None),
        _ => return Err(format!("no user {user:?} in {}", users.display())),
    };
    let gid = match group {
        None => {
            own_gid.ok_or(format!("user id {uid} has no group of its own: expected UID:GROUP"))?
        }
        Some(group) => match (find_in(groups, group, &[2])?.as_deref(), group.parse()) {
            (Some(&[gid]), _) => gid,
            (_, Ok(gid)) if gid != u32::MAX => gid,
            _ => return Err(format!("no group {group:?} in {}", groups.display())),
        },
    };
    Ok(Identity { uid, gid })
}

/// The numeric fields of the line of `file` that begins with `name`, or, of a user, has it as
/// its id.
fn find_in(file: &Path, name: &str, fields: &[usize]) -> Result<Option<Vec<u32>>, String> {
    let text = fs::read(file).map_err(|error| format!("reading {}: {error}", file.display()))?;
    // Real names may be in any character set; nobody asks for them.
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = lines.find(|line| line.first() == Some(&name) || line.get(2) == Some(&name));
    Ok(found.and_then(|line| {
        fields.iter().map(|&field| line.get(field).and_then(|id| id.parse().ok())).collect()
    }))
}

/// Becomes this user for good: no supplementary groups, no capabilities, and no program that is
/// executed later can gain any. Only sound while the process has one thread.
pub fn drop_to(identity: Identity) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    thread::set_thread_groups(&[])?;
    thread::set_thread_res_gid(gid, gid, gid)?;
    thread::set_thread_res_uid(uid, uid, uid)?;
    // Leaving user id 0 drops every capability; this is for whoever had some without being root.
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
        assert_eq!(find_identity("root"), Ok(Identity { uid: 0, gid: 0 }));
        assert_eq!(find_identity("0"), Ok(Identity { uid: 0, gid: 0 }));
        assert_eq!(find_identity("54321:12345"), Ok(Identity { uid: 54321, gid: 12345 }));
        assert_eq!(find_identity("root:12345"), Ok(Identity { uid: 0, gid: 12345 }));
        assert!(find_identity("54321").unwrap_err().contains("expected UID:GROUP"));
        for minus_one in ["4294967295:1", "1:4294967295"] {
            assert!(find_identity(minus_one).is_err(), "{minus_one} would leave root as it is");
        }
        assert!(find_identity("no-such-user").unwrap_err().contains("no user \"no-such-user\""));
        assert!(find_identity("root:no-such").unwrap_err().contains("no group \"no-such\""));
    }
}
