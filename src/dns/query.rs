//! A query: one question sent once to one server through one socket.

use std::net::SocketAddr;

use super::family::QuestionKey;
use super::message::{QueryMessage, Response, STREAM_ANSWER_BYTES_MAX};

/// The transport of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A separate connected UDP socket, so that the kernel picks a new port and drops datagrams
    /// from elsewhere (RFC 5452 section 9.2).
    Udp,
    /// A separate TCP connection (RFC 7766).
    Tcp,
}

/// Bytes to send, and their destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Identifies the query, and so its socket, in later calls. Never reused.
    pub key: u64,
    /// The server to connect to.
    pub server: SocketAddr,
    /// UDP or TCP.
    pub transport: Transport,
    /// One datagram, or everything to be written to the connection.
    pub bytes: Vec<u8>,
}

#[derive(Debug)]
pub struct Query {
    pub question: QuestionKey,
    pub server: SocketAddr,
    pub transport: Transport,
    pub id: u16,
    pub edns: bool,
    pub deadline: u64,
    /// Whether the driver knows of it, and so has a socket to close.
    pub transmitted: bool,
    /// Bytes received over TCP that are not yet a whole message.
    stream: Vec<u8>,
}

impl Query {
    pub fn new(
        question: QuestionKey,
        server: SocketAddr,
        transport: Transport,
        edns: bool,
    ) -> Query {
        Query {
            question,
            server,
            transport,
            id: 0,
            edns,
            deadline: 0,
            transmitted: false,
            stream: Vec::new(),
        }
    }

    fn message(&self) -> QueryMessage<'_> {
        QueryMessage { id: self.id, question: &self.question, edns: self.edns }
    }

    pub fn transmit(&self, key: u64) -> Transmit {
        let message = self.message().encode();
        let bytes = match self.transport {
            Transport::Udp => message,
            // RFC 1035 section 4.2.2: a length prefix; in one write, as RFC 7766 asks.
            Transport::Tcp => [&(message.len() as u16).to_be_bytes(), &message[..]].concat(),
        };
        Transmit { key, server: self.server, transport: self.transport, bytes }
    }

    pub fn read_datagram(&self, bytes: &[u8]) -> Response {
        self.message().parse_response(bytes)
    }

    /// Parses bytes received over TCP. [`Response::Unrelated`] means that more are needed.
    pub fn read_stream(&mut self, mut bytes: &[u8]) -> Response {
        while !bytes.is_empty() {
            let wanted = match self.stream[..] {
                [high, low, ..] => 2 + usize::from(u16::from_be_bytes([high, low])),
                _ => 2,
            };
            if wanted > 2 + STREAM_ANSWER_BYTES_MAX {
                return Response::Failure;
            }
            let (now, later) = bytes.split_at(bytes.len().min(wanted - self.stream.len()));
            self.stream.extend_from_slice(now);
            bytes = later;
            match self.whole_message() {
                Some(Response::Unrelated) => self.stream.clear(),
                // No transport carries more than TCP.
                Some(Response::Truncated) => return Response::Failure,
                Some(response) => return response,
                None => {}
            }
        }
        Response::Unrelated
    }

    fn whole_message(&self) -> Option<Response> {
        let (length, message) = self.stream.split_first_chunk::<2>()?;
        (message.len() == usize::from(u16::from_be_bytes(*length)))
            .then(|| self.message().parse_response(message))
    }
}
