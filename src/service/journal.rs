//! The journal, which takes the standard error of a service.

use rustix::fs::fstat;
use rustix::stdio::stderr;
use std::env;

/// The device and inode of the journal's socket, in the environment of a service (systemd.exec(5)).
const JOURNAL_STREAM: &str = "JOURNAL_STREAM";

/// Whether the journal reads standard error.
pub fn is_stderr_journal() -> bool {
    let stream = env::var(JOURNAL_STREAM).unwrap_or_default();
    fstat(stderr()).is_ok_and(|stat| is_stream(&stream, stat.st_dev, stat.st_ino))
}

/// Whether `JOURNAL_STREAM` names this file, as `DEVICE:INODE`.
fn is_stream(stream: &str, device: u64, inode: u64) -> bool {
    let numbers = stream.split_once(':').map(|(device, inode)| (device.parse(), inode.parse()));
    numbers == Some((Ok(device), Ok(inode)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_stream_that_systemd_names_is_the_journal() {
        for (stream, is_journal) in [
            ("9:1234", true),
            ("9:1235", false),
            ("8:1234", false),
            ("9:", false),
            ("", false),
            ("9", false),
            ("9:1234:", false),
            ("x:1234", false),
            ("99999999999999999999:1234", false),
        ] {
            assert_eq!(is_stream(stream, 9, 1234), is_journal, "{stream:?}");
        }
    }
}
