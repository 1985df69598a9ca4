//! Which requests run scripts: the console as a web server starts it, with the headers of browsers,
//! hostile pages and command-line programs.

#![cfg(all(feature = "server", feature = "console"))]

mod common;

use common::{listener, scratch_directory};
use std::fs;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// The result of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answered {
    /// Sessions: the proxy was asked.
    Runs,
    /// The panel, filled in.
    Panel,
    /// A status other than 200 and no page.
    Refused(&'static str),
}

/// A proxy that closes every connection, and counts them.
fn closing_proxy() -> (SocketAddrV4, Arc<AtomicUsize>) {
    let (listener, address) = listener();
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            counter.fetch_add(1, Ordering::SeqCst);
            drop(stream);
        }
    });
    (address, count)
}

fn scripts() -> PathBuf {
    let directory = scratch_directory();
    fs::write(directory.join("login.txt"), "secret\n").unwrap();
    directory
}

/// The whole answer to a GET with these CGI variables.
fn answer(variables: &[(&str, &str)], scripts: &PathBuf) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_socku-console"));
    command.env_clear().env("REQUEST_METHOD", "GET").env("SOCKU_SCRIPTS", scripts);
    let output = command.envs(variables.iter().copied()).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    String::from_utf8(output.stdout).unwrap()
}

/// Sends a request for one session, with these variables.
fn outcome(variables: &[(&str, &str)], scripts: &PathBuf) -> Answered {
    let (proxy, connections) = closing_proxy();
    let query = format!("h0=127.0.0.1&p0=7001&f0=login.txt&sh=127.0.0.1&sp={}", proxy.port());
    let answer = answer(&[variables, &[("QUERY_STRING", &query)]].concat(), scripts);
    let outcome = if let Some((status, _)) =
        answer.strip_prefix("Status: ").and_then(|answer| answer.split_once(' '))
    {
        let statuses = ["403", "503"];
        Answered::Refused(statuses.into_iter().find(|known| *known == status).unwrap())
    } else if answer.contains("<pre id=\"s0\"") {
        Answered::Runs
    } else {
        for part in
            ["value=\"7001\"", "<option value=\"login.txt\" selected>", "class=\"notice\"", "Run"]
        {
            assert!(answer.contains(part), "{part}: {answer}");
        }
        Answered::Panel
    };
    assert_eq!(connections.load(Ordering::SeqCst), usize::from(outcome == Answered::Runs));
    if let Answered::Refused(_) = outcome {
        assert!(!answer.contains("login.txt"), "{answer}");
    }
    outcome
}

#[test]
fn only_the_user_and_the_panel_run_scripts() {
    const HOST: (&str, &str) = ("HTTP_HOST", "127.0.0.1:8080");
    const MOZILLA: (&str, &str) = ("HTTP_USER_AGENT", "Mozilla/5.0 (X11; Linux x86_64)");
    const SITE: &str = "HTTP_SEC_FETCH_SITE";
    const REFERER: &str = "HTTP_REFERER";
    let scripts = scripts();
    let rows: &[(&[(&str, &str)], Answered)] = &[
        (&[HOST, MOZILLA, (SITE, "same-origin")], Answered::Runs),
        (&[HOST, MOZILLA, (SITE, "none")], Answered::Runs),
        (&[HOST, MOZILLA, (SITE, "cross-site")], Answered::Panel),
        (&[HOST, MOZILLA, (SITE, "same-site")], Answered::Panel),
        (
            &[HOST, MOZILLA, (SITE, "none"), ("HTTP_SEC_PURPOSE", "prefetch")],
            Answered::Refused("503"),
        ),
        (
            &[HOST, MOZILLA, (REFERER, "http://127.0.0.1:8080/cgi-bin/socku-console")],
            Answered::Runs,
        ),
        (&[HOST, MOZILLA, (REFERER, "http://evil.example/")], Answered::Panel),
        (&[HOST, MOZILLA, ("HTTP_ORIGIN", "http://127.0.0.1:8080")], Answered::Runs),
        (&[HOST, MOZILLA, ("HTTP_ORIGIN", "null")], Answered::Panel),
        (&[HOST, MOZILLA], Answered::Panel),
        (&[HOST, ("HTTP_ACCEPT_LANGUAGE", "en")], Answered::Panel),
        (&[HOST, ("HTTP_USER_AGENT", "curl/8.5.0")], Answered::Runs),
        (&[], Answered::Runs),
    ];
    for (variables, expected) in rows {
        assert_eq!(outcome(variables, &scripts), *expected, "{variables:?}");
    }
}

#[test]
fn a_host_name_that_is_not_listed_gets_no_page() {
    const SITE: (&str, &str) = ("HTTP_SEC_FETCH_SITE", "same-origin");
    const HOSTS: (&str, &str) = ("SOCKU_CONSOLE_HOSTS", "gateway.lan, gw");
    const EVIL: (&str, &str) = ("HTTP_HOST", "evil.example:8080");
    let scripts = scripts();
    let refused = Answered::Refused("403");
    let rows: &[(&[(&str, &str)], Answered)] = &[
        (&[SITE, EVIL], refused),
        (&[SITE, EVIL, HOSTS], refused),
        // A web server may copy the header.
        (&[SITE, EVIL, ("SERVER_NAME", "evil.example")], refused),
        (&[EVIL, ("HTTP_USER_AGENT", "curl/8.5.0")], refused),
        (&[SITE, ("HTTP_HOST", "gateway.lan")], refused),
        (&[SITE, ("HTTP_HOST", "gateway.lan"), HOSTS], Answered::Runs),
        (&[SITE, ("HTTP_HOST", "GW:8080"), HOSTS], Answered::Runs),
        (&[SITE, ("HTTP_HOST", "localhost:8080")], Answered::Runs),
        (&[SITE, ("HTTP_HOST", "[::1]:8080")], Answered::Runs),
    ];
    for (variables, expected) in rows {
        assert_eq!(outcome(variables, &scripts), *expected, "{variables:?}");
    }
    // Not even the panel, whose list of scripts a hostile page could read.
    assert!(answer(&[SITE, EVIL], &scripts).starts_with("Status: 403 Forbidden\r\n"));
}
