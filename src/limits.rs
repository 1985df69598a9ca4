//! The limits of this process: descriptors and memory.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs;

/// Raises the open-file limit to its maximum, and returns it.
pub fn raise_descriptor_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum.unwrap_or(u64::MAX),
        Err(_) => current.unwrap_or(u64::MAX),
    }
}

/// How many bytes of memory are left under RLIMIT_AS and RLIMIT_DATA; `None` without limits.
pub fn memory_left() -> Option<u64> {
    let left = |resource, field| {
        let limit = getrlimit(resource).current?;
        Some(limit.saturating_sub(bytes_used(field)))
    };
    [left(Resource::As, 0), left(Resource::Data, 5)].into_iter().flatten().min()
}

/// A field of /proc/self/statm in bytes: 0 is the address space, 5 is data and stack.
fn bytes_used(field: usize) -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(field)?.parse::<u64>().ok());
    pages.unwrap_or(0).saturating_mul(rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_open_file_limit_is_raised_to_its_maximum() {
        let raised = raise_descriptor_limit();
        assert_eq!(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX), raised);
        assert!(raised > 3);
    }
}
