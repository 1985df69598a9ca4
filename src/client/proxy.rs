//! The connection to a proxy while request and replies are under way, under one deadline.

use super::address::ProxyAddress;
use super::error::{Doing, Error};
use super::rejection::Rejection;
use crate::wire::{self, AnswerError, Protocol, Received};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
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
    /// Connects, by whichever of the proxy's addresses can be reached within `most` time.
    /// [`Proxy::set_deadline`] gives time for anything further.
    pub fn dial(address: &ProxyAddress, most: Duration) -> Result<Proxy, Error> {
        let resolved = address.resolve();
        let resolved = resolved.map_err(|error| Error::io(Doing::LookingUp, address, error))?;
        if resolved.is_empty() {
            let error = ErrorKind::AddrNotAvailable.into();
            return Err(Error::io(Doing::LookingUp, address, error));
        }
        let stream = reach(&resolved, most);
        let stream = stream.map_err(|error| Error::io(Doing::Connecting, address, error))?;
        Ok(Proxy { stream, address: address.clone(), deadline: None })
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

    /// Sends all of these bytes.
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
    pub fn granted(&mut self, protocol: Protocol, doing: Doing) -> Result<SocketAddr, Error> {
        let reply = self.receive(doing, |bytes| wire::parse_reply(protocol, bytes))?;
        match Rejection::from_code(reply.code, protocol) {
            None => Ok(reply.address),
            Some(rejection) => Err(Error::Rejected(rejection)),
        }
    }

    /// Reads one answer, not a byte more: `parse` says how many are needed.
    pub fn receive<T>(
        &mut self,
        doing: Doing,
        parse: impl Fn(&[u8]) -> Result<Received<T>, AnswerError>,
    ) -> Result<T, Error> {
        let mut bytes = Vec::new();
        loop {
            match parse(&bytes) {
                Ok(Received::Done(answer)) => return Ok(answer),
                Ok(Received::Need(length)) => self.fill(&mut bytes, length, doing)?,
                Err(AnswerError) => return Err(Error::Protocol(bytes)),
            }
        }
    }

    /// Reads until there are `length` bytes.
    fn fill(&mut self, bytes: &mut Vec<u8>, length: usize, doing: Doing) -> Result<(), Error> {
        let mut filled = bytes.len();
        bytes.resize(length, 0);
        while filled < length {
            match self.read(&mut bytes[filled..]) {
                Ok(0) => return Err(Error::Closed(bytes[..filled].to_vec())),
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io(doing, &self.address, error)),
            }
        }
        Ok(())
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(bytes)
    }

    /// The proxy's address as the kernel has it, so never an unspecified one.
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

/// Tries addresses one after the other until one can be reached. Each has an even share of the time
/// left, so that one that is silent cannot use up the time of all. The error is that of the last
/// one tried.
fn reach(addresses: &[SocketAddr], most: Duration) -> io::Result<TcpStream> {
    let deadline = Instant::now().checked_add(most);
    let mut failure = io::Error::from(ErrorKind::TimedOut);
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.map(|until| until.saturating_duration_since(Instant::now()));
        let share = left.map_or(Duration::MAX, |left| left / (addresses.len() - tried) as u32);
        if share.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(address, share) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};

    const SECONDS: Duration = Duration::from_secs(20);
    /// A port that the kernel never hands out, so no other test comes to listen there.
    const CLOSED: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1));

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[test]
    fn an_address_that_refuses_makes_way_for_the_next_one() {
        let (_listener, open) = listener();
        for most in [SECONDS, Duration::MAX] {
            let stream = reach(&[CLOSED, CLOSED, open], most).unwrap();
            assert_eq!(stream.peer_addr().unwrap(), open);
        }
        let error = reach(&[CLOSED, CLOSED], SECONDS).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }

    #[test]
    fn without_time_no_address_is_tried() {
        let (_listener, open) = listener();
        let error = reach(&[open, open], Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[cfg(feature = "server")]
    #[test]
    fn a_silent_address_uses_up_its_share_of_the_time_only() {
        // With its queue full, a listener on Linux answers no further SYN.
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let silent = socket.local_addr().unwrap().as_socket().unwrap();
        let _waiting = TcpStream::connect(silent).unwrap();
        let (_listener, open) = listener();
        let (most, started) = (Duration::from_secs(2), Instant::now());
        let stream = reach(&[silent, open], most).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
        assert!((most / 2..most).contains(&started.elapsed()), "{:?}", started.elapsed());
    }
}
