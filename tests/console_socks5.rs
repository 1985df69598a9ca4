//! The console by SOCKS5, with user and password, and to IPv6 addresses.

#![cfg(all(feature = "server", feature = "console"))]

mod common;

use common::{accept, listener, request, scratch_directory};
use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddrV4;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};

/// A proxy for one client that reads each of these messages to the byte and then gives its answer.
fn proxy(dialogue: Vec<(Vec<u8>, &'static [u8])>) -> (SocketAddrV4, JoinHandle<()>) {
    let (listener, address) = listener();
    let thread = thread::spawn(move || {
        let mut stream = accept(&listener);
        for (message, answer) in dialogue {
            let mut found = vec![0; message.len()];
            stream.read_exact(&mut found).unwrap();
            assert_eq!(found, message);
            stream.write_all(answer).unwrap();
        }
    });
    (address, thread)
}

/// The whole page for a query, to which the proxy's address is added.
fn page(query: &str, proxy: SocketAddrV4) -> String {
    let scripts = scratch_directory();
    fs::write(scripts.join("t.txt"), "exit\n").unwrap();
    let query = format!("{query}&f0=t.txt&sh={}&sp={}", proxy.ip(), proxy.port());
    let mut command = Command::new(env!("CARGO_BIN_EXE_socku-console"));
    command.env("QUERY_STRING", query).env("SOCKU_SCRIPTS", scripts).stdin(Stdio::null());
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

/// What the only column has, as it is written in the page.
fn column(page: &str) -> String {
    let pieces = page.split("<script>show(0,'").skip(1);
    pieces.map(|piece| piece.split("')</script>").next().unwrap()).collect()
}

const SHELL: &[u8] = b"\x05\0\0\x01\0\0\0\0\0\0% ";

#[test]
fn user_and_password_go_to_the_proxy_and_the_target_may_be_an_ipv6_address() {
    let request = b"\x05\x01\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x1b\x59";
    for host in ["::1", "%5B::1%5D"] {
        let (address, thread) = proxy(vec![
            (b"\x05\x02\0\x02".to_vec(), b"\x05\x02"),
            (b"\x01\x03bob\x09 s<cret\" ".to_vec(), b"\x01\0"),
            (request.to_vec(), SHELL),
            (b"exit\n".to_vec(), b"bye\n"),
        ]);
        let query = format!("h0={host}&p0=7001&sv=5&su=bob&sw=+s%3Ccret%22+");
        let page = page(&query, address);
        thread.join().unwrap();
        assert_eq!(column(&page), "% <b>exit&NewLine;</b>bye&NewLine;");
        assert!(page.contains("<bdi class=\"host\">[::1]</bdi><bdi>:7001</bdi>"), "{page}");
        assert!(page.contains(&format!("title=\"{address}\"")) && page.contains("by SOCKS5"));
        assert_eq!(page.matches("cret").count(), 1, "only the form's own field has it");
    }
}

#[test]
fn without_a_password_nothing_but_a_name_goes_to_a_socks5_proxy() {
    let (address, thread) = proxy(vec![
        (b"\x05\x01\0".to_vec(), b"\x05\0"),
        (b"\x05\x01\0\x03\x0dshell.example\x1b\x59".to_vec(), SHELL),
        (b"exit\n".to_vec(), b""),
    ]);
    let page = page("h0=Shell.Example&p0=7001&sv=5&su=bob", address);
    thread.join().unwrap();
    assert_eq!(column(&page), "% <b>exit&NewLine;</b>");
}

#[test]
fn the_user_is_the_userid_of_socks4() {
    let request = request(1, "127.0.0.1:7001".parse().unwrap(), b"bob");
    let (address, thread) = proxy(vec![(request, b"\0\x5a\0\0\0\0\0\0% ")]);
    let page = page("h0=127.0.0.1&p0=7001&su=bob", address);
    thread.join().unwrap();
    assert!(column(&page).starts_with("% "), "{page}");
    assert!(!page.contains("by SOCKS5"));
}

#[test]
fn a_column_says_what_the_proxy_says() {
    let request = b"\x05\x01\0\x01\x7f\0\0\x01\x1b\x59";
    let offer = b"\x05\x02\0\x02";
    let password = b"\x01\x03bob\x01x";
    for (dialogue, expected) in [
        (
            vec![(&offer[..], &b"\x05\0"[..]), (request, b"\x05\x05\0\x01\0\0\0\0\0\0")],
            "the SOCKS proxy rejected the request: the target refused the connection",
        ),
        (
            vec![(offer, b"\x05\x02"), (password, b"\x01\x01")],
            "the SOCKS proxy does not accept this user and password",
        ),
        (
            vec![(offer, b"\x05\xff")],
            "the SOCKS proxy requires an authentication that was not offered",
        ),
    ] {
        let dialogue = dialogue.into_iter().map(|(message, answer)| (message.to_vec(), answer));
        let (address, thread) = proxy(dialogue.collect());
        let page = page("h0=127.0.0.1&p0=7001&sv=5&su=bob&sw=x", address);
        thread.join().unwrap();
        assert_eq!(column(&page), format!("<em>{expected}</em>"));
        assert!(page.contains("ended(0,'failed')"));
    }
}

#[test]
fn what_socks4_cannot_do_is_an_error_before_anything_is_sent() {
    let (listener, address) = listener();
    listener.set_nonblocking(true).unwrap();
    for (query, expected) in [
        ("h0=::1&p0=7001", "SOCKS4 cannot ask for an IPv6 address: use SOCKS5"),
        ("h0=127.0.0.1&p0=7001&su=bob&sw=x", "a password needs SOCKS5"),
        ("h0=127.0.0.1&p0=7001&sv=6", "the version of SOCKS must be 4 or 5"),
    ] {
        assert_eq!(column(&page(query, address)), format!("<em>{expected}</em>"));
    }
    assert!(listener.accept().is_err());
}
