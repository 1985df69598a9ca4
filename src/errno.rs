//! The number of an error of the system, and its name in the log.

use minicbor::{Decode, Encode};
use std::fmt;
use std::io::{self, ErrorKind};
use std::num::NonZeroU16;

/// The number of an error of the system (errno). Two bytes, since connections keep one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct ErrorCode(#[n(0)] NonZeroU16);

impl ErrorCode {
    /// The number of an error; `None` if it is no error of the system, but of a library. That no
    /// port of a range is free counts as the error that each of them has.
    pub fn of(error: &io::Error) -> Option<ErrorCode> {
        let in_use = || (error.kind() == ErrorKind::AddrInUse).then_some(libc::EADDRINUSE);
        let code = u16::try_from(error.raw_os_error().or_else(in_use)?).ok()?;
        NonZeroU16::new(code).map(ErrorCode)
    }
}

/// Declares the names once: those of errno(3), whose numbers differ between architectures.
macro_rules! names {
    ($($name:ident)*) => {
        fn name(code: i32) -> Option<&'static str> {
            match code {
                $(libc::$name => Some(stringify!($name)),)*
                _ => None,
            }
        }
    };
}

// All that calls on sockets and routes may return, as the manual has them.
names! {
    EACCES EADDRINUSE EADDRNOTAVAIL EAFNOSUPPORT EBADF ECONNABORTED ECONNREFUSED ECONNRESET
    EFAULT EHOSTDOWN EHOSTUNREACH EINVAL EIO EISCONN EMFILE EMSGSIZE ENETDOWN ENETRESET
    ENETUNREACH ENFILE ENOBUFS ENODEV ENOENT ENOMEM ENONET ENOPROTOOPT ENOSPC ENOSR ENOTCONN
    ENOTSOCK EOPNOTSUPP EPERM EPIPE EPROTO EPROTONOSUPPORT ETIMEDOUT
}

impl fmt::Display for ErrorCode {
    /// Its name, for example `ECONNREFUSED`; `errno-123` if it has none here.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match name(self.0.get().into()) {
            Some(name) => f.write_str(name),
            None => write!(f, "errno-{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_system_has_the_name_that_its_manual_gives_it() {
        for (code, shown) in [
            (libc::ECONNREFUSED, "ECONNREFUSED"),
            (libc::EHOSTUNREACH, "EHOSTUNREACH"),
            (libc::EACCES, "EACCES"),
            (libc::EMFILE, "EMFILE"),
            (libc::ETIMEDOUT, "ETIMEDOUT"),
            (libc::EADDRINUSE, "EADDRINUSE"),
            (4000, "errno-4000"),
        ] {
            let error = ErrorCode::of(&io::Error::from_raw_os_error(code)).unwrap();
            assert_eq!(error.to_string(), shown);
        }
        let in_use = io::Error::new(ErrorKind::AddrInUse, "no port is free");
        assert_eq!(ErrorCode::of(&in_use).unwrap().to_string(), "EADDRINUSE");
    }

    #[test]
    fn an_error_of_a_library_or_without_a_number_has_no_name() {
        let none = [
            io::Error::from(ErrorKind::QuotaExceeded),
            io::Error::from_raw_os_error(0),
            io::Error::from_raw_os_error(-1),
            io::Error::from_raw_os_error(1 << 16),
        ];
        assert!(none.iter().all(|error| ErrorCode::of(error).is_none()));
    }
}
