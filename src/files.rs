//! Files written by other programs, read in pieces and without ever blocking.

use rustix::fs::{FileType, OFlags, Stat, fstat, stat};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Reads a regular file of limited size.
pub struct Reader {
    file: File,
    bytes_max: u64,
    bytes_read: u64,
    at_start: Stat,
}

impl Reader {
    /// Opens a regular file of at most `bytes_max` bytes. Anything else is an error: opening a FIFO
    /// would wait for its writer, and a device may do anything.
    pub fn open(path: &Path, bytes_max: u64) -> io::Result<Reader> {
        check(&stat(path)?, bytes_max)?;
        // It may have been replaced since, so the descriptor itself is checked as well.
        let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
        let file = File::options().read(true).custom_flags(flags).open(path)?;
        let at_start = fstat(&file)?;
        check(&at_start, bytes_max)?;
        Ok(Reader { file, bytes_max, bytes_read: 0, at_start })
    }

    /// The permissions of the file, as of when it was opened: the last twelve bits of its mode.
    pub fn mode(&self) -> u32 {
        self.at_start.st_mode & 0o7777
    }

    /// Reads the next piece, at most as long as `piece`; 0 at the end. The limit also holds for a
    /// file with size 0, as in /proc, and for one that grows meanwhile. A file written to since it
    /// was opened is an error: its pieces may not belong together.
    pub fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        let read = loop {
            match self.file.read(piece) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.bytes_read += read as u64;
        if self.bytes_read > self.bytes_max {
            return Err(too_long(self.bytes_read, self.bytes_max));
        }
        let version = |stat: &Stat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
        if read == 0 && version(&fstat(&self.file)?) != version(&self.at_start) {
            return Err(io::Error::other("was written to while it was read"));
        }
        Ok(read)
    }
}

fn check(stat: &Stat, bytes_max: u64) -> io::Result<()> {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            let bytes = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
            return if bytes > bytes_max { Err(too_long(bytes, bytes_max)) } else { Ok(()) };
        }
        FileType::Directory => "a directory",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "something else",
    };
    Err(io::Error::other(format!("found {kind}, expected a regular file")))
}

fn too_long(bytes: u64, bytes_max: u64) -> io::Error {
    io::Error::other(format!("found {bytes} bytes or more, expected at most {bytes_max}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, Mode, mknodat};
    use std::fs;
    use std::io::Write;
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    fn scratch(name: &str) -> PathBuf {
        let place = std::env::temp_dir().join(format!("socku-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&place);
        fs::create_dir_all(&place).unwrap();
        place
    }

    /// The length of a file.
    fn read(path: &Path, bytes_max: u64) -> io::Result<usize> {
        let mut reader = Reader::open(path, bytes_max)?;
        let (mut piece, mut bytes) = ([0; 1000], 0);
        loop {
            match reader.read(&mut piece)? {
                0 => return Ok(bytes),
                read => bytes += read,
            }
        }
    }

    #[test]
    fn only_a_regular_file_of_limited_size_is_read() {
        let place = scratch("files");
        let at = |name: &str| place.join(name);
        fs::write(at("plain"), "12345678").unwrap();
        mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let _listener = UnixListener::bind(at("socket")).unwrap();
        File::create(at("sparse")).unwrap().set_len(900 << 20).unwrap();
        for (path, bytes_max, expected) in [
            (at("plain"), 8, Ok(8)),
            (at("plain"), 7, Err("found 8 bytes or more, expected at most 7")),
            (at("fifo"), 8, Err("found a FIFO, expected a regular file")),
            (at("socket"), 8, Err("found a socket, expected a regular file")),
            (place.clone(), 8, Err("found a directory, expected a regular file")),
            ("/dev/zero".into(), 8, Err("found a device, expected a regular file")),
            (at("sparse"), 16 << 20, Err("found 943718400 bytes or more, expected at most")),
            (at("none"), 8, Err("No such file")),
            // Its size is 0.
            ("/proc/self/status".into(), 4, Err("bytes or more, expected at most 4")),
        ] {
            match (read(&path, bytes_max), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{}", path.display()),
                (Err(found), Err(expected)) => {
                    assert!(found.to_string().contains(expected), "{}: {found}", path.display());
                }
                (found, _) => panic!("{}: {found:?}", path.display()),
            }
        }
        assert!(read(Path::new("/proc/self/status"), 1 << 20).unwrap() > 100);
        fs::remove_dir_all(place).unwrap();
    }

    #[test]
    fn a_file_written_to_while_it_is_read_is_rejected() {
        let place = scratch("files-torn");
        let path = place.join("file");
        fs::write(&path, "permit").unwrap();
        let mut piece = [0; 4];
        let mut reader = Reader::open(&path, 8).unwrap();
        assert_eq!(reader.read(&mut piece).unwrap(), 4);
        let mut writer = File::options().append(true).open(&path).unwrap();
        writer.write_all(b"s").unwrap();
        assert_eq!(reader.read(&mut piece).unwrap(), 3);
        let error = reader.read(&mut piece).unwrap_err();
        assert!(error.to_string().contains("written to"), "{error}");
        let mut reader = Reader::open(&path, 8).unwrap();
        writer.write_all(b"2 is too long").unwrap();
        let error = std::iter::repeat_with(|| reader.read(&mut piece)).find_map(Result::err);
        assert!(error.unwrap().to_string().contains("expected at most 8"));
        fs::remove_dir_all(place).unwrap();
    }
}
