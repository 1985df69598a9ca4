//! What `--health` does: takes a client's first step at each address of a proxy that runs with the
//! same flags. An open port is not enough, since the kernel accepts clients for a loop that hangs.

use super::settings::balancers;
use crate::config::Config;
use crate::proxy_header;
use crate::wire::{self, Methods, Received};
use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// All addresses must have answered by then. A proxy that is well takes a millisecond.
const PATIENCE: Duration = Duration::from_secs(5);

/// An address at which no proxy answers.
#[derive(Debug)]
pub struct Unhealthy {
    address: SocketAddr,
    cause: io::Error,
}

impl fmt::Display for Unhealthy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--health: {}", self.address)
    }
}

impl Error for Unhealthy {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}

/// Asks at each address of `--listen`. The first one without an answer is the error.
pub fn check_health(config: &Config) -> Result<(), Unhealthy> {
    let until = Instant::now() + PATIENCE;
    for &listening in &config.listen {
        let address = reachable(listening);
        greet(address, config, until).map_err(|cause| Unhealthy { address, cause })?;
    }
    Ok(())
}

/// Where a proxy that listens there is reached from this host.
fn reachable(mut listening: SocketAddr) -> SocketAddr {
    match listening {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => {
            listening.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            listening.set_ip(Ipv6Addr::LOCALHOST.into());
        }
        _ => {}
    }
    listening
}

/// Sends a greeting and reads the answer. Which method the proxy chooses does not matter.
fn greet(address: SocketAddr, config: &Config, until: Instant) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, left(until)?).map_err(in_time)?;
    let mut hello = proxy_header::own_header(&balancers(config), stream.local_addr()?.ip());
    wire::encode_greeting(Methods { none: true, password: false }, &mut hello);
    stream.write_all(&hello)?;
    let mut answer = Vec::new();
    loop {
        let missing = match wire::parse_method(&answer) {
            Ok(Received::Done(_)) => return Ok(()),
            Ok(Received::Need(length)) => length - answer.len(),
            Err(_) => return Err(io::Error::new(ErrorKind::InvalidData, "no SOCKS5 server")),
        };
        stream.set_read_timeout(Some(left(until)?))?;
        let read = (&mut stream).take(missing as u64).read_to_end(&mut answer).map_err(in_time)?;
        if read < missing {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "closed without an answer"));
        }
    }
}

/// The time that is left.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(in_time(ErrorKind::TimedOut.into())) } else { Ok(left) }
}

/// An error; one of a time-out says how long the wait was.
fn in_time(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => io::Error::new(
            ErrorKind::TimedOut,
            format!("no answer within {} s", PATIENCE.as_secs()),
        ),
        _ => error,
    }
}
