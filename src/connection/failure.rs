//! The close reasons for errors of the kernel.

use crate::errno::ErrorCode;
use crate::net::lacks_resources;
use crate::reason::{Cause, CloseReason};
use rustix::io::Errno;
use std::io::{self, ErrorKind};

/// A reason, with the error that it comes from.
pub fn cause(reason: CloseReason, error: &io::Error) -> Cause {
    Cause { reason, error: ErrorCode::of(error) }
}

/// Why an attempt to connect could not be sent.
pub fn reason_of_connect(error: &io::Error) -> CloseReason {
    if lacks_resources(error) || error.kind() == ErrorKind::QuotaExceeded {
        return CloseReason::NoResources;
    }
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::CONNREFUSED | Errno::CONNRESET) => CloseReason::TargetRefused,
        // The last when this host does not have the family at all.
        Some(Errno::NETUNREACH | Errno::NETDOWN | Errno::AFNOSUPPORT) => {
            CloseReason::NetworkUnreachable
        }
        // The last from a blackhole route.
        Some(Errno::HOSTUNREACH | Errno::HOSTDOWN | Errno::INVAL) => CloseReason::Unreachable,
        Some(Errno::ACCESS | Errno::PERM) => CloseReason::Prohibited,
        Some(Errno::TIMEDOUT) => CloseReason::ConnectTimeout,
        _ => CloseReason::ConnectFailed,
    }
}

/// Why an attempt that had been sent has failed: an error that a router reported (ICMP) says
/// nothing of this host's routes and firewall.
pub fn reason_of_answer(error: &io::Error) -> CloseReason {
    match reason_of_connect(error) {
        CloseReason::NetworkUnreachable | CloseReason::Prohibited => CloseReason::Unreachable,
        reason => reason,
    }
}

/// Why a BIND could not listen: the same reasons, except that no connection has failed.
pub fn reason_of_listen(error: &io::Error) -> CloseReason {
    match reason_of_connect(error) {
        CloseReason::ConnectFailed | CloseReason::TargetRefused => CloseReason::BindFailed,
        reason => reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_of_the_kernel_has_its_reason() {
        use CloseReason::*;
        for (error, connect, listen) in [
            (Errno::CONNREFUSED, TargetRefused, BindFailed),
            // A target that accepts and resets at once.
            (Errno::CONNRESET, TargetRefused, BindFailed),
            (Errno::NETUNREACH, NetworkUnreachable, NetworkUnreachable),
            (Errno::NETDOWN, NetworkUnreachable, NetworkUnreachable),
            (Errno::AFNOSUPPORT, NetworkUnreachable, NetworkUnreachable),
            (Errno::HOSTUNREACH, Unreachable, Unreachable),
            (Errno::HOSTDOWN, Unreachable, Unreachable),
            (Errno::INVAL, Unreachable, Unreachable),
            (Errno::ACCESS, Prohibited, Prohibited),
            (Errno::PERM, Prohibited, Prohibited),
            (Errno::TIMEDOUT, ConnectTimeout, ConnectTimeout),
            (Errno::MFILE, NoResources, NoResources),
            (Errno::NOBUFS, NoResources, NoResources),
            (Errno::ADDRINUSE, ConnectFailed, BindFailed),
            (Errno::ADDRNOTAVAIL, ConnectFailed, BindFailed),
        ] {
            let error = io::Error::from(error);
            assert_eq!(reason_of_connect(&error), connect, "{error}");
            assert_eq!(reason_of_listen(&error), listen, "{error}");
            let answer = match connect {
                NetworkUnreachable | Prohibited => Unreachable,
                reason => reason,
            };
            assert_eq!(reason_of_answer(&error), answer, "{error}");
        }
        let quota = io::Error::from(ErrorKind::QuotaExceeded);
        assert_eq!(reason_of_connect(&quota), NoResources);
    }
}
