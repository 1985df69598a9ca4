//! Several processes on one address, and clients that wait in the queue of one that stops.

#![cfg(feature = "server")]

mod common;

use common::traffic::ping;
use common::{
    PERMIT_ALL, Proxy, echo_server, machine, read_reply, request, scratch_directory, socku,
    wait_until,
};
use std::io::Write;
use std::net::TcpStream;

/// More than the loop accepts in a turn.
const QUEUED: usize = 200;

#[test]
fn two_processes_on_one_port_both_get_clients() {
    let first = Proxy::start(PERMIT_ALL, &["--reuse-port"]);
    let address = first.address.to_string();
    let second = Proxy::start(PERMIT_ALL, &["--reuse-port", "-l", &address]);
    assert_eq!(first.address, second.address);
    let target = echo_server();
    // The kernel chooses by a hash of the addresses: all in one process would be a rare chance.
    let clients: Vec<TcpStream> = (0..64).map(|_| first.connect(target)).collect();
    clients.iter().for_each(ping);
    let opened = |proxy: &Proxy| {
        let dump = proxy.dump();
        let count = dump.split(" opened=").nth(1).unwrap().split(' ').next().unwrap();
        count.parse::<usize>().unwrap()
    };
    let counts = (opened(&first), opened(&second));
    assert!(counts.0 > 0 && counts.1 > 0 && counts.0 + counts.1 == clients.len(), "{counts:?}");
    // One stops: its sessions go on, and the other takes all new clients.
    first.signal("TERM");
    first.wait_log("stopping");
    clients.iter().for_each(ping);
    let more: Vec<TcpStream> = (0..32).map(|_| second.connect(target)).collect();
    more.iter().for_each(ping);
    assert_eq!(opened(&second), counts.1 + more.len());
}

#[test]
fn without_the_flag_a_second_process_does_not_start() {
    for (flags, second_flags) in
        [(&[][..], &["--reuse-port"][..]), (&["--reuse-port"], &[]), (&[], &[])]
    {
        let first = Proxy::start(PERMIT_ALL, flags);
        let address = first.address.to_string();
        let rule_file = scratch_directory().join("socks.conf");
        std::fs::write(&rule_file, PERMIT_ALL).unwrap();
        let mut second = socku(&["-l", &address, "--nameserver", &machine::CLOSED.to_string()]);
        let output = second.arg("-c").arg(&rule_file).args(second_flags).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let error = String::from_utf8(output.stderr).unwrap();
        let last = error.lines().last().unwrap();
        assert!(last.contains(&address) && last.contains("in use"), "{error}");
    }
}

#[test]
fn a_proxy_that_stops_serves_the_clients_in_its_queue() {
    let mut proxy = Proxy::start(PERMIT_ALL, &[]);
    let target = echo_server();
    proxy.pause();
    let mut clients: Vec<TcpStream> = (0..QUEUED).map(|_| proxy.dial()).collect();
    for client in &mut clients {
        client.write_all(&request(1, target, b"")).unwrap();
    }
    proxy.signal("TERM");
    proxy.resume();
    for client in &mut clients {
        assert_eq!(read_reply(client).0, 90);
        ping(client);
    }
    // Nobody is accepted after them.
    let is_closed = || TcpStream::connect(proxy.address).is_err().then_some(());
    wait_until("the listener to be closed", is_closed);
    drop(clients);
    assert_eq!(proxy.wait_exit(), Some(0));
}
