//! The command line.

use crate::dns;
use crate::time::Millis;
use getopts::{Matches, Options, ParsingStyle};
use std::ffi::OsString;
use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// Serve.
    Run(Config),
    /// `-t`: print the rules as understood.
    Test(Config),
    /// `-e`: explain a decision.
    Explain(Config, String),
    /// `-V`.
    Version,
    /// `-h`: this text.
    Help(String),
}

/// The settings. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where to listen.
    pub listen: Vec<SocketAddrV4>,
    /// The rule file, if one is named.
    pub rule_file: Option<PathBuf>,
    /// Source address of outgoing connections.
    pub outbound: Option<Ipv4Addr>,
    /// Address told to BIND clients.
    pub bind_address: Option<Ipv4Addr>,
    /// Ports that BIND listens on.
    pub bind_ports: Option<RangeInclusive<u16>>,
    /// Most sessions; unset: as many as the open-file limit allows.
    pub max_sessions: Option<usize>,
    /// Most sessions of one client address.
    pub max_per_source: Option<u32>,
    /// The whole request must have arrived.
    pub request_timeout_ms: Millis,
    /// DNS servers in place of those of resolv.conf.
    pub nameservers: Vec<SocketAddr>,
    /// A name must have been resolved.
    pub dns_timeout_ms: Millis,
    /// identd must have answered.
    pub ident_timeout_ms: Millis,
    /// The target must have been reached.
    pub connect_timeout_ms: Millis,
    /// The peer of a BIND must have come.
    pub bind_timeout_ms: Millis,
    /// A relay without a byte either way; unset: never.
    pub idle_timeout_ms: Option<Millis>,
    /// A relay with one direction closed and the other silent.
    pub half_close_timeout_ms: Millis,
    /// After the first TERM or INT.
    pub drain_timeout_ms: Millis,
    /// Size of one relay buffer.
    pub buffer_bytes: usize,
    /// Sustained flows go through pipes.
    pub splice: bool,
    /// `NAME[:GROUP]` to become once listening.
    pub user: Option<String>,
}

/// Long enough for anybody, and far from any overflow: ten years.
const SECONDS_MAX: u64 = 10 * 366 * 24 * 3600;
const BUFFER_BYTES_MAX: usize = 16 << 20;
const BUFFER_BYTES_MIN: usize = 1024;

impl Config {
    /// The rule files to try, in order.
    pub fn rule_files(&self) -> Vec<PathBuf> {
        match &self.rule_file {
            Some(file) => vec![file.clone()],
            None => vec!["socks.conf".into(), "/etc/socku/socks.conf".into()],
        }
    }
}

fn options() -> Options {
    let mut o = Options::new();
    o.parsing_style(ParsingStyle::FloatingFrees);
    o.optmulti(
        "l",
        "listen",
        "listen here; may be given several times [127.0.0.1:1080]",
        "ADDR:PORT",
    );
    o.optopt("c", "config", "rule file [./socks.conf, else /etc/socku/socks.conf]", "FILE");
    o.optflag(
        "t",
        "test",
        "read the rules, print them as understood, exit 0; 1 with FILE:LINE: message if bad",
    );
    o.optopt("e", "explain", "print the verdict and the rule that gives it, e.g. -e \"c 140.113.1.1:80 from 10.0.0.2 user bob\"; a host may be a name", "QUERY");
    o.optopt("o", "outbound", "source address of outgoing connections", "ADDR");
    o.optopt("", "bind-address", "address reported to BIND clients (a gateway behind NAT)", "ADDR");
    o.optopt("", "bind-ports", "ports that BIND listens on [chosen by the kernel]", "LOW-HIGH");
    o.optmulti(
        "",
        "nameserver",
        "DNS server; may be given several times [/etc/resolv.conf]",
        "ADDR[:PORT]",
    );
    o.optopt("", "max-sessions", "at most N sessions [from the open-file limit]", "N");
    o.optopt("", "max-per-source", "at most N sessions of one client address [no limit]", "N");
    o.optopt("", "request-timeout", "whole request must have arrived [30]", "S");
    o.optopt("", "ident-timeout", "identd must have answered [15]", "S");
    o.optopt("", "dns-timeout", "a name must have been resolved [10]", "S");
    o.optopt("", "connect-timeout", "target must have been reached [120]", "S");
    o.optopt("", "bind-timeout", "the peer of a BIND must have come [120]", "S");
    o.optopt("", "idle-timeout", "relay with no byte either way; 0: never [7200]", "S");
    o.optopt(
        "",
        "half-close-timeout",
        "relay with one direction closed and the other silent [300]",
        "S",
    );
    o.optopt("", "drain-timeout", "after the first TERM or INT [30]", "S");
    o.optopt("", "buffer-size", "size of one relay buffer [65536]", "BYTES");
    o.optopt("", "splice", "zero-copy relay for sustained flows [auto]", "auto|off");
    o.optopt("u", "user", "drop to this user once listening", "NAME[:GROUP]");
    o.optflag("V", "version", "print the version");
    o.optflag("h", "help", "print this help");
    o
}

/// Reads the arguments behind the program's name. The error is one line that names the flag and
/// what was expected.
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Invocation, String> {
    let options = options();
    let matches = options.parse(arguments).map_err(|error| format!("{error}; see --help"))?;
    if matches.opt_present("help") {
        return Ok(Invocation::Help(options.usage("Usage: socku [options]")));
    }
    if matches.opt_present("version") {
        return Ok(Invocation::Version);
    }
    if let Some(argument) = matches.free.first() {
        return Err(format!("unexpected argument {argument:?}, expected options only; see --help"));
    }
    let config = read(&matches)?;
    Ok(match matches.opt_str("explain") {
        Some(query) => Invocation::Explain(config, query),
        None if matches.opt_present("test") => Invocation::Test(config),
        None => Invocation::Run(config),
    })
}

fn read(matches: &Matches) -> Result<Config, String> {
    let seconds = |flag, default, least| {
        let given = number(matches, flag, least..=SECONDS_MAX, "whole seconds")?;
        Ok::<Millis, String>(given.unwrap_or(default) * 1000)
    };
    let mut listen = Vec::new();
    for text in matches.opt_strs("listen") {
        listen.push(value::<SocketAddrV4>(
            "listen",
            &text,
            "ADDR:PORT, for example 127.0.0.1:1080",
        )?);
    }
    if listen.is_empty() {
        listen.push(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1080));
    }
    let buffer_bytes = BUFFER_BYTES_MIN..=BUFFER_BYTES_MAX;
    Ok(Config {
        listen,
        rule_file: matches.opt_str("config").map(PathBuf::from),
        outbound: address(matches, "outbound")?,
        bind_address: address(matches, "bind-address")?,
        bind_ports: matches.opt_str("bind-ports").map(|text| port_range(&text)).transpose()?,
        max_sessions: number(matches, "max-sessions", 1..=1 << 20, "a number")?,
        max_per_source: number(matches, "max-per-source", 1..=1 << 20, "a number")?,
        request_timeout_ms: seconds("request-timeout", 30, 1)?,
        nameservers: nameservers(matches)?,
        dns_timeout_ms: seconds("dns-timeout", 10, 1)?,
        ident_timeout_ms: seconds("ident-timeout", 15, 1)?,
        connect_timeout_ms: seconds("connect-timeout", 120, 1)?,
        bind_timeout_ms: seconds("bind-timeout", 120, 1)?,
        idle_timeout_ms: Some(seconds("idle-timeout", 7200, 0)?).filter(|&ms| ms > 0),
        half_close_timeout_ms: seconds("half-close-timeout", 300, 1)?,
        drain_timeout_ms: seconds("drain-timeout", 30, 0)?,
        buffer_bytes: number(matches, "buffer-size", buffer_bytes, "bytes")?.unwrap_or(65536),
        splice: splice(matches)?,
        user: matches.opt_str("user"),
    })
}

fn splice(matches: &Matches) -> Result<bool, String> {
    match matches.opt_str("splice").as_deref() {
        None | Some("auto") => Ok(true),
        Some("off") => Ok(false),
        Some(other) => Err(format!("--splice {other:?}: expected auto or off")),
    }
}

fn value<T: FromStr>(flag: &str, text: &str, expected: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("--{flag} {text:?}: expected {expected}"))
}

fn address(matches: &Matches, flag: &str) -> Result<Option<Ipv4Addr>, String> {
    matches.opt_str(flag).map(|text| value(flag, &text, "an IPv4 address")).transpose()
}

fn nameservers(matches: &Matches) -> Result<Vec<SocketAddr>, String> {
    let servers = matches.opt_strs("nameserver");
    let expected = "ADDR[:PORT], for example 127.0.0.1:5353";
    let read = |text: &String| {
        dns::Settings::parse_server(text)
            .ok_or_else(|| format!("--nameserver {text:?}: expected {expected}"))
    };
    servers.iter().map(read).collect()
}

fn number<T: FromStr + PartialOrd + Display>(
    matches: &Matches,
    flag: &str,
    range: RangeInclusive<T>,
    unit: &str,
) -> Result<Option<T>, String> {
    let Some(text) = matches.opt_str(flag) else { return Ok(None) };
    let expected = format!("{unit} from {} to {}", range.start(), range.end());
    let number = value(flag, &text, &expected)?;
    match range.contains(&number) {
        true => Ok(Some(number)),
        false => Err(format!("--{flag} {text:?}: expected {expected}")),
    }
}

fn port_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let expected = "LOW-HIGH, ports from 1 to 65535, for example 40000-40099";
    let (low, high) = text.split_once('-').unwrap_or((text, ""));
    let low: u16 = value("bind-ports", low, expected)?;
    let high: u16 = value("bind-ports", high, expected)?;
    match 0 < low && low <= high {
        true => Ok(low..=high),
        false => Err(format!("--bind-ports {text:?}: expected {expected}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Invocation, String> {
        parse(arguments.iter().map(OsString::from))
    }

    fn config(arguments: &[&str]) -> Config {
        match parsed(arguments) {
            Ok(Invocation::Run(config)) => config,
            other => panic!("{arguments:?}: {other:?}"),
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_help_text() {
        let Ok(Invocation::Help(help)) = parsed(&["-h"]) else { panic!() };
        let defaults = config(&[]);
        assert_eq!(defaults.rule_files()[0], PathBuf::from("socks.conf"));
        assert_eq!(defaults.rule_files()[1], PathBuf::from("/etc/socku/socks.conf"));
        for shown in help.split("--").skip(1) {
            let (flag, rest) = shown.split_once(' ').unwrap();
            let Some((_, rest)) = rest.split_once('[').filter(|_| flag != "user") else { continue };
            let (default, _) = rest.split_once(']').unwrap();
            if default.parse::<u64>().is_ok() || flag == "listen" {
                assert_eq!(config(&[&format!("--{flag}"), default]), defaults, "--{flag}");
            }
        }
    }

    #[test]
    fn values_are_read() {
        let config = config(&[
            "-l",
            "0.0.0.0:0",
            "--listen",
            "127.0.0.2:9",
            "-c",
            "x.conf",
            "-o",
            "127.0.0.3",
            "--bind-address",
            "9.9.9.9",
            "--bind-ports",
            "40000-40001",
            "--max-sessions",
            "7",
            "--max-per-source",
            "3",
            "--idle-timeout",
            "0",
            "--buffer-size",
            "1024",
            "--splice",
            "off",
            "-u",
            "nobody:daemon",
        ]);
        assert_eq!(config.listen.len(), 2);
        assert_eq!(config.rule_files(), [PathBuf::from("x.conf")]);
        assert_eq!(config.outbound, Some(Ipv4Addr::new(127, 0, 0, 3)));
        assert_eq!(config.bind_address, Some(Ipv4Addr::new(9, 9, 9, 9)));
        assert_eq!(config.bind_ports, Some(40000..=40001));
        assert_eq!((config.max_sessions, config.max_per_source), (Some(7), Some(3)));
        assert_eq!((config.idle_timeout_ms, config.buffer_bytes), (None, 1024));
        assert!(!config.splice);
        assert_eq!(config.user.as_deref(), Some("nobody:daemon"));
    }

    #[test]
    fn errors_name_the_flag_and_what_was_expected() {
        for (arguments, flag, expected) in [
            (&["--listen", "1080"][..], "--listen \"1080\"", "expected ADDR:PORT"),
            (&["--listen", "[::1]:1080"], "--listen", "expected ADDR:PORT"),
            (&["-o", "eth0"], "--outbound \"eth0\"", "expected an IPv4 address"),
            (&["--bind-ports", "9"], "--bind-ports", "expected LOW-HIGH"),
            (&["--bind-ports", "9-8"], "--bind-ports", "expected LOW-HIGH"),
            (&["--bind-ports", "0-8"], "--bind-ports", "expected LOW-HIGH"),
            (&["--max-sessions", "0"], "--max-sessions", "expected a number from 1"),
            (&["--request-timeout", "0"], "--request-timeout", "expected whole seconds from 1"),
            (&["--connect-timeout", "-1"], "--connect-timeout", "expected whole seconds from 1"),
            (&["--idle-timeout", "1.5"], "--idle-timeout", "expected whole seconds from 0"),
            (&["--drain-timeout", "99999999999"], "--drain-timeout", "expected whole seconds"),
            (&["--buffer-size", "1023"], "--buffer-size", "expected bytes from 1024 to 16777216"),
            (&["--nameserver", "ns.example"], "--nameserver", "expected ADDR[:PORT]"),
            (&["--splice", "on"], "--splice \"on\"", "expected auto or off"),
            (&["--status", "127.0.0.1:1"], "status", "see --help"),
            (&["-c"], "'c'", "see --help"),
            (&["-t", "-t"], "'test'", "see --help"),
            (&["file"], "\"file\"", "expected options only"),
        ] {
            let error = parsed(arguments).unwrap_err();
            assert!(error.contains(flag) && error.contains(expected), "{arguments:?}: {error}");
            assert!(!error.contains('\n'));
        }
    }
}
