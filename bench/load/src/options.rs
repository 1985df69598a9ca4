//! The command line.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::str::FromStr;
use std::time::Duration;

use getopts::{Matches, Options as Parser};

use crate::client::{Plan, Task};
use crate::engine::Places;
use crate::pump::Sender;
use crate::socks::Protocol;

/// The kind of measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Throughput of some streams.
    Bulk,
    /// Sessions of one echo, one after the other.
    Short,
    /// Echoes on open sessions.
    PingPong,
    /// Sessions that do nothing.
    Idle,
    /// Nothing: targets only, for other clients.
    Target,
}

/// Everything the command line says.
pub struct Options {
    /// The kind of measurement.
    pub mode: Mode,
    /// Sessions open at once.
    pub sessions: usize,
    /// Sessions in all, for [`Mode::Short`]; `None` until time is up.
    pub count: Option<u64>,
    /// Sessions before those that count.
    pub warmup_count: u64,
    /// [`Task::Upload`] instead of [`Task::Download`].
    pub upload: bool,
    /// Where clients connect; `None` for the target itself.
    pub proxy: Option<SocketAddrV4>,
    /// How they reach the target.
    pub protocol: Protocol,
    /// Addresses of targets.
    pub targets: Vec<SocketAddrV4>,
    /// Source addresses of clients.
    pub sources: Vec<Ipv4Addr>,
    /// Whether the targets are in this process.
    pub listen: bool,
    /// The proxy's process.
    pub pid: Option<i32>,
    /// How bulk bytes are sent.
    pub sender: Sender,
    /// Time before anything is counted.
    pub warmup: Duration,
    /// Time that is counted.
    pub window: Duration,
    /// Longest wait for a line on standard input while idle.
    pub hold: Duration,
    /// The whole run fails when it takes longer.
    pub deadline: Duration,
}

const USAGE: &str = "usage: bench-load MODE [options]

MODE is bulk, short, pingpong, idle or target. One line of JSON is the result. The targets are
part of this process unless --no-listen is given.";

fn parser() -> Parser {
    let mut parser = Parser::new();
    parser
        .optopt(
            "",
            "proxy",
            "the proxy or relay; without it the target is reached directly",
            "ADDR:PORT",
        )
        .optopt("", "protocol", "plain, socks4, socks4a or socks5 [plain]", "NAME")
        .optopt("", "target", "first target [127.0.0.1:7000]", "ADDR:PORT")
        .optopt("", "targets", "targets at that many consecutive addresses [1]", "N")
        .optopt("", "sources", "clients from 127.0.0.1 and that many addresses in all", "N")
        .optflag("", "no-listen", "the targets are in another process")
        .optopt("", "pid", "report CPU and memory of this process and its descendants", "PID")
        .optopt("", "sessions", "sessions or streams at once [1]", "N")
        .optopt("", "count", "short: measure N sessions instead of some seconds", "N")
        .optopt("", "warmup-count", "short: sessions before those of --count [0]", "N")
        .optopt("", "direction", "bulk: down or up [down]", "NAME")
        .optopt("", "sender", "bulk: sendfile or copy [sendfile]", "NAME")
        .optopt("", "warmup", "seconds before the measured window [0.3]", "S")
        .optopt("", "seconds", "seconds measured [2]", "S")
        .optopt("", "hold", "idle: wait for a line on standard input, at most so long [0]", "S")
        .optopt("", "deadline", "fail after so many seconds [60]", "S");
    parser
}

/// The text of `--help`.
pub fn usage() -> String {
    parser().usage(USAGE)
}

/// Reads the arguments after the program's name.
pub fn parse(arguments: &[String]) -> Result<Options, String> {
    let matches = parser().parse(arguments).map_err(|error| error.to_string())?;
    let mode = match matches.free.as_slice() {
        [word] => match word.as_str() {
            "bulk" => Mode::Bulk,
            "short" => Mode::Short,
            "pingpong" => Mode::PingPong,
            "idle" => Mode::Idle,
            "target" => Mode::Target,
            other => return Err(format!("{other}: no such mode\n{USAGE}")),
        },
        _ => return Err(USAGE.to_owned()),
    };
    let target = get(&matches, "target", SocketAddrV4::new(Ipv4Addr::LOCALHOST, 7000))?;
    let targets = get(&matches, "targets", 1_u32)?.clamp(1, 250);
    let sources = get(&matches, "sources", 0_u32)?.min(250);
    Ok(Options {
        mode,
        sessions: get(&matches, "sessions", 1_usize)?.max(1),
        count: optional(&matches, "count")?,
        warmup_count: get(&matches, "warmup-count", 0)?,
        upload: match matches.opt_str("direction").as_deref() {
            None | Some("down") => false,
            Some("up") => true,
            Some(other) => return Err(format!("--direction {other}: expected down or up")),
        },
        proxy: optional(&matches, "proxy")?,
        protocol: get(&matches, "protocol", Protocol::Plain)?,
        targets: consecutive(*target.ip(), targets)
            .map(|address| SocketAddrV4::new(address, target.port()))
            .collect(),
        sources: consecutive(Ipv4Addr::LOCALHOST, sources).collect(),
        listen: !matches.opt_present("no-listen"),
        pid: optional(&matches, "pid")?,
        sender: get(&matches, "sender", Sender::Sendfile)?,
        warmup: seconds(&matches, "warmup", 0.3)?,
        window: seconds(&matches, "seconds", 2.0)?,
        hold: seconds(&matches, "hold", 0.0)?,
        deadline: seconds(&matches, "deadline", 60.0)?,
    })
}

impl Options {
    /// The addresses of the run.
    pub fn places(&self) -> Places {
        Places { proxy: self.proxy, targets: self.targets.clone(), sources: self.sources.clone() }
    }

    /// The work of the clients.
    pub fn plan(&self) -> Plan {
        let task = match self.mode {
            Mode::Bulk if self.upload => Task::Upload,
            Mode::Bulk | Mode::Target => Task::Download,
            Mode::Short => Task::PingClose,
            Mode::PingPong => Task::PingPong,
            Mode::Idle => Task::PingRest,
        };
        Plan { protocol: self.protocol, task }
    }
}

fn consecutive(first: Ipv4Addr, count: u32) -> impl Iterator<Item = Ipv4Addr> {
    (0..count).map(move |at| Ipv4Addr::from_bits(first.to_bits().saturating_add(at)))
}

fn optional<T: FromStr>(matches: &Matches, name: &str) -> Result<Option<T>, String> {
    match matches.opt_str(name) {
        None => Ok(None),
        Some(text) => {
            text.parse().map(Some).map_err(|_| format!("--{name} {text}: not a valid value"))
        }
    }
}

fn get<T: FromStr>(matches: &Matches, name: &str, default: T) -> Result<T, String> {
    Ok(optional(matches, name)?.unwrap_or(default))
}

fn seconds(matches: &Matches, name: &str, default: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(get(matches, name, default)?)
        .map_err(|error| format!("--{name}: {error}"))
}
