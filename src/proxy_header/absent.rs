//! Without the feature `proxy-protocol`: no connection begins with a header.

use crate::rules::AddressPattern;
use std::net::IpAddr;

/// Whether connections from this address begin with a header.
pub fn is_balancer(_: &[AddressPattern], _: IpAddr) -> bool {
    false
}

/// The header that an address sends for itself: none.
#[cfg(feature = "health")]
pub fn own_header(_: &[AddressPattern], _: IpAddr) -> Vec<u8> {
    Vec::new()
}
