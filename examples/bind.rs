//! Fetches a file by FTP in active mode, where the server connects back: BIND makes that work
//! through a SOCKS proxy.
//!
//!     cargo run --example bind                                  # plays the FTP server itself
//!     cargo run --example bind -- --proxy 127.0.0.1:1080 ftp://127.0.0.1:2121/file
//!     cargo run --example bind -- --socks5                      # likewise by SOCKS5
//!
//! The file goes to standard output, what happens to standard error.

use getopts::Options;
use socku::client::Client;
use std::env;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bind: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut options = Options::new();
    options.optopt("", "proxy", "SOCKS proxy [127.0.0.1:1080]", "HOST:PORT");
    options.optopt("", "user", "user to name to the proxy", "NAME");
    options.optflag("", "socks5", "speak SOCKS5");
    options.optopt("", "password", "password of the user, for SOCKS5", "PASSWORD");
    let matches = options.parse(env::args().skip(1))?;
    let proxy = matches.opt_str("proxy").unwrap_or("127.0.0.1:1080".into());
    let mut client = Client::new(proxy).user(matches.opt_str("user").unwrap_or_default());
    if matches.opt_present("socks5") {
        client = client.socks5();
    }
    if let Some(password) = matches.opt_str("password") {
        client = client.password(password);
    }
    match &matches.free[..] {
        [] => {
            let server = play_server()?;
            eprintln!("playing the FTP server on {server}");
            fetch(&client, "127.0.0.1", server.port(), "greeting.txt")
        }
        [url] => {
            let (host, port, path) = split(url).ok_or("expected ftp://HOST[:PORT]/FILE")?;
            fetch(&client, host, port, path)
        }
        _ => Err(options.usage("usage: bind [options] [ftp://HOST[:PORT]/FILE]").into()),
    }
}

/// Host, port and file of a URL.
fn split(url: &str) -> Option<(&str, u16, &str)> {
    let (authority, path) = url.strip_prefix("ftp://")?.split_once('/')?;
    Some(match authority.split_once(':') {
        Some((host, port)) => (host, port.parse().ok()?, path),
        None => (authority, 21, path),
    })
}

fn fetch(client: &Client, host: &str, port: u16, file: &str) -> Result<()> {
    let (stream, _) = client.connect((host, port))?;
    let mut control = Control::new(stream)?;
    control.expect('2')?;
    control.say("USER anonymous")?;
    if control.expect_one_of(&['2', '3'])? == '3' {
        control.say("PASS guest@example.com")?;
        control.expect('2')?;
    }
    control.say("TYPE I")?;
    control.expect('2')?;

    let bound = client.bind((host, port))?;
    eprintln!("the proxy listens on {}", bound.address());
    let SocketAddr::V4(address) = bound.address() else {
        return Err("PORT takes an IPv4 address only".into());
    };
    let [a, b, c, d] = address.ip().octets();
    let [high, low] = address.port().to_be_bytes();
    control.say(&format!("PORT {a},{b},{c},{d},{high},{low}"))?;
    control.expect('2')?;
    control.say(&format!("RETR {file}"))?;
    control.expect('1')?;

    let (mut data, peer) = bound.accept()?;
    eprintln!("{peer} has connected to it");
    data.set_read_timeout(Some(Duration::from_secs(60)))?;
    let count = io::copy(&mut data, &mut io::stdout())?;
    eprintln!("{count} bytes have come");
    control.expect('2')?;
    control.say("QUIT")?;
    control.expect('2')?;
    Ok(())
}

/// The control connection, either side of it.
struct Control {
    reader: BufReader<TcpStream>,
    /// Whether the lines are shown.
    shown: bool,
}

impl Control {
    fn new(stream: TcpStream) -> io::Result<Control> {
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Control { reader: BufReader::new(stream), shown: true })
    }

    fn say(&mut self, line: &str) -> io::Result<()> {
        if self.shown {
            eprintln!("> {line}");
        }
        self.reader.get_mut().write_all(format!("{line}\r\n").as_bytes())
    }

    fn hear(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        if self.shown {
            eprintln!("< {}", line.escape_debug());
        }
        Ok(line.to_string())
    }

    /// Reads a reply, which must begin with this digit.
    fn expect(&mut self, digit: char) -> Result<()> {
        self.expect_one_of(&[digit]).map(drop)
    }

    /// Reads a reply of one line or more (RFC 959 4.2); gives the first digit of its code.
    fn expect_one_of(&mut self, digits: &[char]) -> Result<char> {
        let first = self.hear()?;
        if let Some((code, _)) = first.split_once('-').filter(|(code, _)| code.len() == 3) {
            let last = format!("{code} ");
            while !self.hear()?.starts_with(&last) {}
        }
        match first.chars().next().filter(|digit| digits.contains(digit)) {
            Some(digit) => Ok(digit),
            None => Err(format!("the FTP server answered {first:?}").into()),
        }
    }
}

/// Starts an FTP server for one client, which can send one file in active mode.
fn play_server() -> io::Result<SocketAddrV4> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let SocketAddr::V4(address) = listener.local_addr()? else { unreachable!() };
    thread::spawn(move || {
        let served = listener.accept().and_then(|(stream, _)| serve(stream));
        if let Err(error) = served {
            eprintln!("the FTP server: {error}");
        }
    });
    Ok(address)
}

fn serve(stream: TcpStream) -> io::Result<()> {
    let mut control = Control::new(stream)?;
    control.shown = false;
    let mut client = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    control.say("220 ready")?;
    loop {
        let line = control.hear()?;
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("USER", _) => control.say("230 welcome")?,
            ("TYPE", _) => control.say("200 as you like")?,
            ("PORT", text) => {
                let numbers: Vec<u8> = text.split(',').filter_map(|n| n.parse().ok()).collect();
                let [a, b, c, d, high, low] = numbers[..] else {
                    control.say("501 six numbers")?;
                    continue;
                };
                let port = u16::from_be_bytes([high, low]);
                client = SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), port);
                control.say(&format!("200 will connect to {client}"))?;
            }
            ("RETR", _) => {
                control.say("150 here it comes")?;
                TcpStream::connect(client)?.write_all(b"hello through the proxy\n")?;
                control.say("226 done")?;
            }
            ("QUIT", _) => return control.say("221 bye"),
            _ => control.say("502 not known here")?,
        }
    }
}
