//! The log must not hold up the relay.

mod common;

use common::{
    PERMIT_ALL, read_reply, request, scratch_directory, socku, wait_until, with_deadline,
};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;

/// More than a pipe and what is kept for it take: the access lines are about 170 bytes each.
const SESSIONS: usize = 1500;

#[test]
fn a_log_that_nobody_reads_holds_up_nobody_and_says_what_was_lost() {
    let directory = scratch_directory();
    fs::write(directory.join("socks.conf"), PERMIT_ALL).unwrap();
    let mut command = socku(&["-l", "127.0.0.1:0", "--nameserver", "127.0.0.1:1"]);
    command.current_dir(&directory).env("RUST_LOG", "info").stderr(Stdio::piped());
    let mut child = Killed(command.stdout(Stdio::null()).spawn().unwrap());
    let mut log = BufReader::new(child.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let listening = log.find(|line| line.contains("listening on ")).unwrap();
    let address = listening.rsplit(' ').next().unwrap().to_string();

    // Port 0 is refused before any rule, so nothing is dialled.
    let refused = || {
        let mut client = with_deadline(TcpStream::connect(&address).unwrap());
        client.write_all(&request(1, "127.0.0.1:0".parse().unwrap(), b"bob")).unwrap();
        assert_eq!(read_reply(&mut client).0, 91);
    };
    (0..SESSIONS).for_each(|_| refused());
    // Somebody begins to read, and each further session is a turn that writes.
    let (lines, read) = mpsc::channel();
    thread::spawn(move || log.for_each(|line| drop(lines.send(line))));
    let lost = wait_until("what was lost", || {
        refused();
        read.try_iter().find(|line| line.contains("lines of the log are lost"))
    });
    let count: usize = lost.split(' ').find_map(|word| word.parse().ok()).unwrap();
    assert!((1..SESSIONS).contains(&count), "{lost}");
}

/// A child that does not outlive its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
