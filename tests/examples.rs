//! The examples, run against the program; and those of docs/embedding.md.

#![cfg(all(feature = "server", feature = "client"))]

mod common;

use common::*;
use socku::client::{Error, Rejection};
use std::io::{Read, Write};
use std::process::Command;
use std::thread;

/// Builds an example, which may take its time and wait for another cargo; the program.
fn example(name: &str) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--quiet", "--offline", "--message-format", "json", "--example", name]);
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let messages = String::from_utf8(output.stdout).unwrap();
    let program = messages.rsplit("\"executable\":\"").next().unwrap().split('"').next();
    Command::new(program.unwrap())
}

#[test]
fn the_example_fetch_prints_the_page() {
    let mut fetch = example("fetch");
    let proxy = Proxy::start("permit c *.*.*.* user bob\n", &[]);
    let (listener, address) = listener();
    let server = thread::spawn(move || {
        let mut stream = accept(&listener);
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        stream.write_all(b"HTTP/1.0 200 OK\r\nX: y\r\n\r\nthe\npage\n").unwrap();
        String::from_utf8(request).unwrap()
    });
    let (proxy_text, url) = (proxy.address.to_string(), format!("http://{address}/a/b"));
    let output = fetch.args(["--proxy", &proxy_text, "--user", "bob", &url]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"the\npage\n");
    assert!(server.join().unwrap().starts_with("GET /a/b HTTP/1.0\r\nHost: "));

    let output = example("fetch").args(["--proxy", &proxy_text, &url]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text, format!("fetch: {}\n", Error::Rejected(Rejection::Failed)));
}

#[test]
fn the_example_bind_transfers_a_file() {
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let proxy_text = proxy.address.to_string();
    let output = example("bind").args(["--proxy", &proxy_text]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"hello through the proxy\n");
    let access = proxy.wait_log("command=bind");
    assert!(access.contains(" reply=90 reason=done up=0 down=24 "), "{access}");
}

/// The page's blocks are the first examples of the modules' documentation, which are compiled.
#[test]
fn the_page_shows_the_examples_that_are_compiled() {
    let page = without_blanks(include_str!("../docs/embedding.md"));
    for documentation in [include_str!("../src/client.rs"), include_str!("../src/server.rs")] {
        let example = documentation.split("```").nth(1).unwrap();
        let lines = example.lines().skip(1).filter_map(|line| line.strip_prefix("//!"));
        let block: String =
            lines.map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line))).collect();
        assert!(page.contains(&without_blanks(&block)), "{block}");
    }
}

fn without_blanks(text: &str) -> String {
    text.lines().filter(|line| !line.trim().is_empty()).map(|line| format!("{line}\n")).collect()
}
