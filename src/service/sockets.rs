//! Listening sockets that the service manager passes, as sd_listen_fds(3) describes them.

use listenfd::ListenFd;
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::{env, process};

/// The number of the first descriptor that is passed.
const FIRST: usize = 3;

/// Listening TCP sockets that were passed, at least one.
pub struct Passed(Vec<TcpListener>);

impl Passed {
    /// Takes the sockets that were passed to this process; none if the variables are missing or
    /// meant for another one. Sets close-on-exec, and removes the variables from the environment,
    /// so that no program that this process starts, or becomes, takes them for its own.
    ///
    /// # Errors
    ///
    /// More than `most` sockets, or a descriptor that is something else.
    pub fn take(most: usize) -> io::Result<Option<Passed>> {
        Ok(Some(take_all(most)?).filter(|listeners| !listeners.is_empty()).map(Passed))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The sockets.
    pub fn into_listeners(self) -> Vec<TcpListener> {
        self.0
    }
}

fn take_all(most: usize) -> io::Result<Vec<TcpListener>> {
    // The library also takes them when no process is named; systemd's own functions do not.
    let own_pid = process::id().to_string();
    let is_for_us = env::var("LISTEN_PID").is_ok_and(|pid| pid == own_pid);
    let Some(count) = env::var_os("LISTEN_FDS").filter(|_| is_for_us) else {
        drop(ListenFd::from_env());
        return Ok(Vec::new());
    };
    let number = count.to_str().and_then(|count| count.parse::<usize>().ok());
    if number.is_none_or(|number| number > most) {
        return Err(invalid(format!("found {count:?}, expected at most {most} sockets")));
    }
    let mut passed = ListenFd::from_env();
    (0..passed.len()).map(|number| take(&mut passed, number)).collect()
}

fn take(passed: &mut ListenFd, number: usize) -> io::Result<TcpListener> {
    match passed.take_tcp_listener(number) {
        Ok(Some(listener)) => Ok(listener),
        _ => {
            let (descriptor, found) = (FIRST + number, kind(passed, number));
            Err(invalid(format!(
                "descriptor {descriptor} is {found}, expected a listening TCP socket"
            )))
        }
    }
}

/// The kind of a descriptor that is no TCP socket.
fn kind(passed: &mut ListenFd, number: usize) -> &'static str {
    if passed.take_udp_socket(number).is_ok() {
        "a UDP socket"
    } else if passed.take_unix_listener(number).is_ok() || passed.take_unix_datagram(number).is_ok()
    {
        "a Unix socket"
    } else {
        "no TCP socket"
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, message)
}
