//! The limits of this process: descriptors and memory.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs;

const DESCRIPTORS: &str = "/proc/self/fd";
/// Each costs a microsecond or more, and sessions would wait meanwhile.
const COUNTED_MAX: usize = 4096;

/// Raises the open-file limit to its maximum, and returns it.
pub fn raise_descriptor_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum.unwrap_or(u64::MAX),
        Err(_) => current.unwrap_or(u64::MAX),
    }
}

/// What a process can address at least: on 32-bit processors some kernels leave it no more than this
/// half.
const ADDRESSABLE_BYTES: u64 = isize::MAX as u64;

/// How many bytes of memory are left under RLIMIT_AS and RLIMIT_DATA, and in any case no more than a
/// process can address.
pub fn memory_left() -> u64 {
    let left = |resource, field| {
        let limit = getrlimit(resource).current?;
        Some(limit.saturating_sub(bytes_used(field)))
    };
    let limits = [left(Resource::As, 0), left(Resource::Data, 5)];
    limits.into_iter().flatten().fold(ADDRESSABLE_BYTES, u64::min)
}

/// An error with both numbers if so many more bytes exceed a limit of memory.
pub fn check_memory(needed: usize) -> Result<(), String> {
    let left = memory_left();
    if left < needed as u64 {
        return Err(format!(
            "{} KiB of memory are needed, {} KiB are left",
            needed / 1024,
            left / 1024
        ));
    }
    Ok(())
}

/// Most descriptors that may be open.
pub fn descriptors_max() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How many descriptors are open, if the system tells. Before Linux 6.2 they have to be counted,
/// and at most [`COUNTED_MAX`] are.
pub fn descriptors_open() -> Option<u64> {
    match fs::metadata(DESCRIPTORS).ok()?.len() {
        0 => Some(fs::read_dir(DESCRIPTORS).ok()?.take(COUNTED_MAX).count() as u64),
        count => Some(count),
    }
}

/// The memory in use, in bytes, if the system tells.
pub fn resident_bytes() -> Option<u64> {
    Some(bytes_used(1)).filter(|&bytes| bytes > 0)
}

/// The processor time used, in milliseconds, if the system tells.
pub fn cpu_ms() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program may have blanks and brackets in it. User and system time are fields
    // 14 and 15, and the state after the name is the third (proc_pid_stat(5)).
    let (_, fields) = text.rsplit_once(") ")?;
    let times = fields.split(' ').skip(14 - 3).take(2);
    let ticks: u64 = times.map(|field| field.parse::<u64>().unwrap_or(0)).sum();
    Some(ticks * 1000 / rustix::param::clock_ticks_per_second())
}

/// A field of /proc/self/statm in bytes: 0 is the address space, 1 what is resident, 5 data and stack.
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

    #[test]
    fn no_more_memory_is_left_than_can_be_addressed() {
        assert!((1 << 20..=isize::MAX as u64).contains(&memory_left()));
        assert!(check_memory(usize::MAX).is_err());
    }

    #[test]
    fn the_system_tells_what_the_process_uses() {
        let before = descriptors_open().unwrap();
        let _files: Vec<_> = (0..50).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        // Tests beside this one open and close some of their own.
        assert!(descriptors_open().unwrap() > before.saturating_sub(20) + 20);
        assert!((3..=descriptors_max()).contains(&before));
        assert!(resident_bytes().unwrap() > 100_000);
        let start = std::time::Instant::now();
        while cpu_ms().unwrap() == 0 {
            assert!(start.elapsed().as_secs() < 20, "no processor time is seen");
        }
    }
}
