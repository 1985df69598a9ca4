//! The header in which a load balancer says whose connection it passes on: the PROXY protocol,
//! versions 1 (text) and 2 (binary).
//!
//! Source: Willy Tarreau, "The PROXY protocol, versions 1 & 2" (HAProxy's proxy-protocol.txt). Its
//! sections are named here. The crate `ppp` reads complete headers; it takes some incomplete text
//! headers for wrong ones, so what is complete is decided here.

use crate::address::IpPort;
use crate::rules::AddressPattern;
use crate::sizes::SMALL_BYTES;
use crate::wire::Parsed;
use std::net::IpAddr;

/// Most bytes of a header of version 1, with its CR LF (section 2.1).
pub const TEXT_BYTES_MAX: usize = 107;
/// Most bytes of a header of version 2: one that is longer does not fit into a small buffer. Its
/// addresses take 52 at most; the rest is additions, which are skipped.
pub const BINARY_BYTES_MAX: usize = SMALL_BYTES;

const TEXT_START: &[u8] = b"PROXY ";
const SIGNATURE: &[u8] = ppp::v2::PROTOCOL_PREFIX;
/// Signature, version and command, family and protocol, and the length of the rest (section 2.2).
const BINARY_START_BYTES: usize = 16;
/// Version 2 and the command LOCAL.
const LOCAL: u8 = 0x20;

/// The meaning of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// The addresses of the connection itself count: the balancer speaks for itself (LOCAL), or
    /// does not know the client (UNKNOWN).
    Direct,
    /// The connection of this client is passed on.
    Proxied {
        /// The client.
        client: IpPort,
        /// The address that the client connected to.
        destination: IpPort,
    },
}

/// The bytes are no header, or not one that is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Whether connections from this address begin with a header: it is one of these load balancers.
pub fn is_balancer(balancers: &[AddressPattern], address: IpAddr) -> bool {
    balancers.iter().any(|balancers| balancers.contains(address))
}

/// Parses a header from the start of `bytes`. A byte with which no header can begin is an error at
/// once, and so is a length that is too long.
pub fn parse(bytes: &[u8]) -> Result<Parsed<Header>, Malformed> {
    match bytes.first() {
        None => Ok(Parsed::More),
        Some(b'P') => parse_text(bytes),
        Some(_) => parse_binary(bytes),
    }
}

fn parse_text(bytes: &[u8]) -> Result<Parsed<Header>, Malformed> {
    let bytes = &bytes[..bytes.len().min(TEXT_BYTES_MAX)];
    let start = &bytes[..bytes.len().min(TEXT_START.len())];
    if !TEXT_START.starts_with(start) {
        return Err(Malformed);
    }
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < TEXT_BYTES_MAX { Ok(Parsed::More) } else { Err(Malformed) };
    };
    let (line, length) = (&bytes[start.len()..end], end + 2);
    // Everything after UNKNOWN is ignored; the crate knows a fixed number of words there.
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Ok(Parsed::Done(Header::Direct, length));
    }
    // The crate takes a sign before a port.
    if line.contains(&b'+') {
        return Err(Malformed);
    }
    match ppp::v1::Header::try_from(&bytes[..length]).map_err(|_| Malformed)?.addresses {
        ppp::v1::Addresses::Tcp4(ends) => Ok(Parsed::Done(of_v4(ends)?, length)),
        ppp::v1::Addresses::Tcp6(ends) => Ok(Parsed::Done(of_v6(ends)?, length)),
        ppp::v1::Addresses::Unknown => Err(Malformed),
    }
}

fn parse_binary(bytes: &[u8]) -> Result<Parsed<Header>, Malformed> {
    if !SIGNATURE.starts_with(&bytes[..bytes.len().min(SIGNATURE.len())]) {
        return Err(Malformed);
    }
    let Some(&[.., high, low]) = bytes.first_chunk::<BINARY_START_BYTES>() else {
        return Ok(Parsed::More);
    };
    let length = BINARY_START_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if length > BINARY_BYTES_MAX {
        return Err(Malformed);
    }
    if bytes[SIGNATURE.len()] == LOCAL {
        // Of LOCAL only the length counts; the crate also wants addresses for the family.
        let is_complete = bytes.len() >= length;
        return Ok(if is_complete { Parsed::Done(Header::Direct, length) } else { Parsed::More });
    }
    let header = match ppp::v2::Header::try_from(bytes) {
        Ok(header) => header,
        Err(ppp::v2::ParseError::Partial(..)) => return Ok(Parsed::More),
        Err(_) => return Err(Malformed),
    };
    // A family or protocol that is not assigned has been an error. The others that no TCP client
    // has (UDP, UNIX and UNSPEC) are treated as UNKNOWN, which section 2.2 allows and HAProxy and
    // nginx do: the connection is real, only its client has no address.
    let meaning = match (header.protocol, header.addresses) {
        (ppp::v2::Protocol::Stream, ppp::v2::Addresses::IPv4(ends)) => of_v4(ends)?,
        (ppp::v2::Protocol::Stream, ppp::v2::Addresses::IPv6(ends)) => of_v6(ends)?,
        _ => Header::Direct,
    };
    Ok(Parsed::Done(meaning, length))
}

fn of_v4(ends: ppp::v2::IPv4) -> Result<Header, Malformed> {
    let (client, destination) = (ends.source_address, ends.destination_address);
    proxied((client.into(), ends.source_port), (destination.into(), ends.destination_port))
}

fn of_v6(ends: ppp::v2::IPv6) -> Result<Header, Malformed> {
    let (client, destination) = (ends.source_address, ends.destination_address);
    proxied((client.into(), ends.source_port), (destination.into(), ends.destination_port))
}

/// No client has the address of nobody or of a group, and identd could not be asked there.
fn proxied(client: (IpAddr, u16), destination: (IpAddr, u16)) -> Result<Header, Malformed> {
    let ip = client.0.to_canonical();
    let is_nobody = match ip {
        IpAddr::V4(ip) => ip.octets()[0] == 0 || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unspecified(),
    };
    if is_nobody || ip.is_multicast() {
        return Err(Malformed);
    }
    Ok(Header::Proxied {
        client: IpPort::new(ip, client.1),
        destination: IpPort::new(destination.0, destination.1),
    })
}

#[cfg(test)]
#[path = "proxy_header_test.rs"]
mod tests;
