//! The command line.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use getopts::{Matches, Options as Parser};

use crate::client::{Plan, Task};
use crate::engine::Places;
use crate::pump::Sender;
use crate::socks::{self, Protocol};

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
    pub proxy: Option<SocketAddr>,
    /// How they reach the target.
    pub protocol: Protocol,
    /// Addresses of targets.
    pub targets: Vec<SocketAddr>,
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
        .optopt("", "protocol", &format!("{} [plain]", socks::NAMES), "NAME")
        .optopt("", "target", "first target, IPv4 or IPv6 [127.0.0.1:7000]", "ADDR:PORT")
        .optopt("", "targets", "targets at that many consecutive IPv4 addresses [1]", "N")
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
    let options = Options {
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
        targets: targets(&matches)?,
        sources: consecutive(Ipv4Addr::LOCALHOST, get(&matches, "sources", 0)?).collect(),
        listen: !matches.opt_present("no-listen"),
        pid: optional(&matches, "pid")?,
        sender: get(&matches, "sender", Sender::Sendfile)?,
        warmup: seconds(&matches, "warmup", 0.3)?,
        window: seconds(&matches, "seconds", 2.0)?,
        hold: seconds(&matches, "hold", 0.0)?,
        deadline: seconds(&matches, "deadline", 60.0)?,
    };
    options.check_families()?;
    Ok(options)
}

impl Options {
    /// Refuses what one family of addresses cannot do.
    fn check_families(&self) -> Result<(), String> {
        let to_ipv6 = self.targets[0].is_ipv6();
        if to_ipv6 && !self.protocol.has_ipv6() {
            return Err("--protocol: SOCKS4 and 4A have no IPv6 targets".to_owned());
        }
        if !self.sources.is_empty() && self.proxy.map_or(to_ipv6, |proxy| proxy.is_ipv6()) {
            return Err("--sources: clients connect by IPv6, these are IPv4".to_owned());
        }
        Ok(())
    }

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

fn targets(matches: &Matches) -> Result<Vec<SocketAddr>, String> {
    let first: SocketAddr = get(matches, "target", SocketAddr::from(([127, 0, 0, 1], 7000)))?;
    let count = get(matches, "targets", 1_u32)?.max(1);
    match first.ip() {
        IpAddr::V4(address) => Ok(consecutive(address, count)
            .map(|address| SocketAddr::new(address.into(), first.port()))
            .collect()),
        // The loopback interface has one.
        IpAddr::V6(_) if count == 1 => Ok(vec![first]),
        IpAddr::V6(_) => Err(format!("--targets {count}: one IPv6 target at most")),
    }
}

/// At most 250 addresses.
fn consecutive(first: Ipv4Addr, count: u32) -> impl Iterator<Item = Ipv4Addr> {
    (0..count.min(250)).map(move |at| Ipv4Addr::from_bits(first.to_bits().saturating_add(at)))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, String> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    fn refused(line: &str) -> String {
        parsed(line).err().unwrap()
    }

    #[test]
    fn targets_and_sources_are_consecutive_addresses() {
        let options = parsed("short --target 127.0.0.1:80 --targets 3 --sources 2").unwrap();
        let targets = ["127.0.0.1:80", "127.0.0.2:80", "127.0.0.3:80"];
        assert_eq!(options.targets, targets.map(|target| target.parse().unwrap()));
        assert_eq!(options.sources, [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2)]);
    }

    #[test]
    fn an_ipv6_target_is_one_address_and_not_for_socks4() {
        let line = "idle --proxy [::1]:1080 --target [::1]:80 --protocol";
        assert_eq!(
            parsed(&format!("{line} socks5")).unwrap().targets,
            ["[::1]:80".parse().unwrap()]
        );
        assert!(refused(&format!("{line} socks4")).contains("--protocol"));
        assert!(refused(&format!("{line} socks5 --targets 2")).contains("--targets 2"));
    }

    #[test]
    fn sources_are_for_clients_that_connect_by_ipv4() {
        let line = "short --sources 2 --protocol socks5";
        assert!(parsed(&format!("{line} --proxy 127.0.0.1:1080 --target [::1]:80")).is_ok());
        assert!(refused(&format!("{line} --proxy [::1]:1080")).contains("--sources"));
        assert!(refused(&format!("{line} --target [::1]:80")).contains("--sources"));
    }
}
