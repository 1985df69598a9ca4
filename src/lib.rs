//! socku: a SOCKS4 and SOCKS4A proxy server in one thread over one mio readiness loop.
//!
//! The pure rooms ([`wire`] and those beside it) know no socket and no clock.

#![forbid(unsafe_code)]

pub mod dns;
pub mod ident;
pub mod name;
pub mod wire;
