//! The close reasons for errors of the kernel.

use crate::net::lacks_resources;
use crate::reason::CloseReason;
use rustix::io::Errno;
use std::io::{self, ErrorKind};

/// Why an attempt to connect has failed.
pub fn reason_of_connect(error: &io::Error) -> CloseReason {
    if lacks_resources(error) || error.kind() == ErrorKind::QuotaExceeded {
        return CloseReason::NoResources;
    }
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::CONNREFUSED | Errno::CONNRESET) => CloseReason::TargetRefused,
        Some(Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::NETDOWN | Errno::HOSTDOWN) => {
            CloseReason::Unreachable
        }
        // From a blackhole route.
        Some(Errno::INVAL) => CloseReason::Unreachable,
        Some(Errno::ACCESS | Errno::PERM) => CloseReason::Prohibited,
        Some(Errno::TIMEDOUT) => CloseReason::ConnectTimeout,
        _ => CloseReason::ConnectFailed,
    }
}

/// Why a BIND could not listen: the same reasons, except that no connection has failed.
pub fn reason_of_listen(error: &io::Error) -> CloseReason {
    match reason_of_connect(error) {
        CloseReason::ConnectFailed | CloseReason::TargetRefused => CloseReason::BindFailed,
        reason => reason,
    }
}
