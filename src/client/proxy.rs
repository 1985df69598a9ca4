//! The connection to a proxy while request and replies are under way, under one deadline.

use super::address::ProxyAddress;
use super::error::{Doing, Error};
use crate::wire::{self, Code, REPLY_BYTES};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

/// A connection to a proxy.
#[derive(Debug)]
pub(super) struct Proxy {
    stream: TcpStream,
    /// As the caller named it; errors do the same.
    address: ProxyAddress,
    /// `None`: no limit.
    deadline: Option<Instant>,
}

impl Proxy {
    /// Tries the proxy's addresses one after the other until one can be reached. Together they have
    /// `most` time: each has an even share of what is left, so that one that is silent cannot use
    /// up the time of all. [`Proxy::set_deadline`] gives time for anything further.
    pub fn dial(address: &ProxyAddress, most: Duration) -> Result<Proxy, Error> {
        let resolved = address.resolve();
        let resolved = resolved.map_err(|error| Error::io(Doing::LookingUp, address, error))?;
        if resolved.is_empty() {
            let error = ErrorKind::AddrNotAvailable.into();
            return Err(Error::io(Doing::LookingUp, address, error));
        }
        let deadline = Instant::now().checked_add(most);
        let mut failure = io::Error::from(ErrorKind::TimedOut);
        for (tried, at) in resolved.iter().enumerate() {
            let left = deadline.map(|until| until.saturating_duration_since(Instant::now()));
            let share = left.map_or(Duration::MAX, |left| left / (resolved.len() - tried) as u32);
            if share.is_zero() {
                continue;
            }
            match TcpStream::connect_timeout(at, share) {
                Ok(stream) => {
                    return Ok(Proxy { stream, address: address.clone(), deadline: None });
                }
                Err(error) => failure = error,
            }
        }
        Err(Error::io(Doing::Connecting, address, failure))
    }

    /// Everything until the next call has to be done within `most`.
    pub fn set_deadline(&mut self, most: Duration) {
        self.deadline = Instant::now().checked_add(most);
    }

    /// The time left; `None` for no limit.
    fn left(&self) -> io::Result<Option<Duration>> {
        let Some(deadline) = self.deadline else { return Ok(None) };
        match deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(ErrorKind::TimedOut.into()),
            left => Ok(Some(left)),
        }
    }

    /// Sends all of a request.
    pub fn send(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            match self.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io(Doing::Sending, &self.address, error)),
            }
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(bytes)
    }

    /// Reads one reply, not a byte more, and gives the address of a grant.
    pub fn granted(&mut self, doing: Doing) -> Result<SocketAddrV4, Error> {
        let mut bytes = [0; REPLY_BYTES];
        let mut length = 0;
        while length < REPLY_BYTES {
            match self.read(&mut bytes[length..]) {
                Ok(0) => return Err(Error::Protocol(bytes[..length].to_vec())),
                Ok(count) => length += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io(doing, &self.address, error)),
            }
        }
        let reply =
            wire::parse_reply(bytes).map_err(|error| Error::Protocol(error.bytes.into()))?;
        match reply.code {
            Code::Granted => Ok(reply.address),
            Code::Rejected => Err(Error::Rejected),
            Code::NoIdent => Err(Error::NoIdent),
            Code::OtherUser => Err(Error::OtherUser),
        }
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(bytes)
    }

    /// The proxy's address as the kernel has it, so never 0.0.0.0.
    pub fn ip(&self) -> Result<IpAddr, Error> {
        let peer = self.stream.peer_addr();
        let peer = peer.map_err(|error| Error::io(Doing::Reply, &self.address, error))?;
        Ok(peer.ip().to_canonical())
    }

    /// The stream as std makes it: without time-outs.
    pub fn into_stream(self) -> Result<TcpStream, Error> {
        let reset = self.stream.set_read_timeout(None);
        reset
            .and_then(|()| self.stream.set_write_timeout(None))
            .map_err(|error| Error::io(Doing::Reply, &self.address, error))?;
        Ok(self.stream)
    }
}
