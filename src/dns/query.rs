//! One query: one question sent once to one server through one socket.

use std::net::SocketAddr;

use super::message::{Asked, Reading, STREAM_ANSWER_BYTES_MAX};
use crate::name::Name;

/// What a query travels by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A connected UDP socket of its own, so that the kernel picks a fresh port and drops what
    /// comes from elsewhere (RFC 5452 section 9.2).
    Udp,
    /// A TCP connection of its own (RFC 7766).
    Tcp,
}

/// Bytes to send, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Names the query, and so its socket, in everything that follows. Never used again.
    pub key: u64,
    /// Where to connect to.
    pub server: SocketAddr,
    /// How.
    pub transport: Transport,
    /// One datagram, or all that is written to the connection.
    pub bytes: Vec<u8>,
}

#[derive(Debug)]
pub struct Query {
    pub name: Name,
    pub server: SocketAddr,
    pub transport: Transport,
    pub id: u16,
    pub edns: bool,
    pub deadline: u64,
    /// Whether the driver knows of it, and so has a socket to close.
    pub transmitted: bool,
    /// What has come over TCP and is not yet a whole message.
    stream: Vec<u8>,
}

impl Query {
    pub fn new(name: Name, server: SocketAddr, transport: Transport, edns: bool) -> Query {
        Query {
            name,
            server,
            transport,
            id: 0,
            edns,
            deadline: 0,
            transmitted: false,
            stream: Vec::new(),
        }
    }

    fn asked(&self) -> Asked<'_> {
        Asked { id: self.id, name: &self.name, edns: self.edns }
    }

    pub fn transmit(&self, key: u64) -> Transmit {
        let message = self.asked().encode();
        let bytes = match self.transport {
            Transport::Udp => message,
            // RFC 1035 section 4.2.2: the length in front; in one write, as RFC 7766 asks.
            Transport::Tcp => [&(message.len() as u16).to_be_bytes(), &message[..]].concat(),
        };
        Transmit { key, server: self.server, transport: self.transport, bytes }
    }

    pub fn read_datagram(&self, bytes: &[u8]) -> Reading {
        self.asked().read(bytes)
    }

    /// Reads what has come over TCP. [`Reading::Foreign`] means that more must come.
    pub fn read_stream(&mut self, mut bytes: &[u8]) -> Reading {
        while !bytes.is_empty() {
            let wanted = match self.stream[..] {
                [high, low, ..] => 2 + usize::from(u16::from_be_bytes([high, low])),
                _ => 2,
            };
            if wanted > 2 + STREAM_ANSWER_BYTES_MAX {
                return Reading::Failure;
            }
            let (now, later) = bytes.split_at(bytes.len().min(wanted - self.stream.len()));
            self.stream.extend_from_slice(now);
            bytes = later;
            match self.whole_message() {
                Some(Reading::Foreign) => self.stream.clear(),
                // There is nothing larger than TCP to go to.
                Some(Reading::Truncated) => return Reading::Failure,
                Some(reading) => return reading,
                None => {}
            }
        }
        Reading::Foreign
    }

    fn whole_message(&self) -> Option<Reading> {
        let (length, message) = self.stream.split_first_chunk::<2>()?;
        (message.len() == usize::from(u16::from_be_bytes(*length)))
            .then(|| self.asked().read(message))
    }
}
