//! Fetches a page through a SOCKS proxy:
//!
//!     cargo run --example fetch -- --proxy 127.0.0.1:1080 http://127.0.0.1:8000/
//!     cargo run --example fetch -- --proxy 127.0.0.1:1080 --socks5 'http://[::1]:8000/'
//!     cargo run --example fetch -- --user bob --password secret http://127.0.0.1:8000/

use getopts::Options;
use socku::client::Client;
use std::env;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fetch: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut options = Options::new();
    options.optopt("", "proxy", "SOCKS proxy [127.0.0.1:1080]", "HOST:PORT");
    options.optopt("", "user", "user to name to the proxy", "NAME");
    options.optflag("", "socks5", "speak SOCKS5");
    options.optopt("", "password", "password of the user, for SOCKS5", "PASSWORD");
    let matches = options.parse(env::args().skip(1))?;
    let [url] = &matches.free[..] else {
        return Err(options.usage("usage: fetch [options] http://HOST[:PORT]/PATH").into());
    };
    let (host, port, path) = split(url).ok_or("expected http://HOST[:PORT]/PATH")?;

    let proxy = matches.opt_str("proxy").unwrap_or("127.0.0.1:1080".into());
    let mut client = Client::new(proxy).user(matches.opt_str("user").unwrap_or_default());
    if matches.opt_present("socks5") {
        client = client.socks5();
    }
    if let Some(password) = matches.opt_str("password") {
        client = client.password(password);
    }
    // A name is sent as it is, for the proxy to resolve.
    let (mut stream, _) = client.connect((bare(host), port))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;

    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = BufReader::new(stream);
    let mut line = String::new();
    answer.read_line(&mut line)?;
    if line.split(' ').nth(1) != Some("200") {
        return Err(format!("the server answered {:?}", line.trim_end()).into());
    }
    while !line.trim_end().is_empty() {
        line.clear();
        answer.read_line(&mut line)?;
    }
    io::copy(&mut answer, &mut io::stdout())?;
    Ok(())
}

/// Host, port and path of a URL.
fn split(url: &str) -> Option<(&str, u16, &str)> {
    let rest = url.strip_prefix("http://")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (authority, 80),
    };
    Some((host, port, if path.is_empty() { "/" } else { path }))
}

/// A host without the brackets that a URL has around an IPv6 address.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}
