//! The command line.

use super::help::help;
use super::parts;
use super::{BUFFER_BYTES, Config, NETWORK, PORTS, SECONDS_MAX, SESSIONS, SESSIONS_PER_SOURCE};
use super::{SettingError, TRIAL_FLAG, numbers};
use crate::address::PerFamily;
use crate::dns;
use crate::rules;
use crate::settings::LogFormat;
use crate::time::Millis;
use getopts::{Fail, Matches, Options, ParsingStyle};
use std::error;
use std::ffi::{OsStr, OsString};
use std::fmt::{self, Display};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

/// The request of a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// Serve.
    Run(Config),
    /// Say whether this program could take over from one with this command line, which would hand
    /// over so many descriptors. Only a running proxy asks this, so it is not in the help.
    Trial(Config, usize),
    /// `-t`: print the rules as understood.
    Test(Config),
    /// `-e`: explain a decision.
    Explain(Config, String),
    /// `--health`: say whether a proxy with these settings answers.
    Health(Config),
    /// `-V`.
    Version,
    /// `-h`: this text.
    Help(String),
}

/// A command line that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsageError {
    /// A flag that is unknown, given twice, or without its value.
    Flag(Fail),
    /// An argument that belongs to no flag.
    Argument(String),
    /// The value of a flag.
    Setting(SettingError),
    /// A flag beside --health that asks for something else, without its dashes.
    BesideHealth(&'static str),
    /// A flag of a part that this build lacks.
    Absent {
        /// The flag, without its dashes.
        flag: &'static str,
        /// The cargo feature that it needs.
        feature: &'static str,
    },
}

impl Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UsageError::Flag(error) => write!(f, "{error}; see --help"),
            UsageError::Argument(argument) => {
                write!(f, "unexpected argument {argument:?}, expected options only; see --help")
            }
            UsageError::Setting(error) => error.fmt(f),
            UsageError::BesideHealth(flag) => write!(f, "--health: expected without --{flag}"),
            UsageError::Absent { flag, feature } => {
                write!(f, "--{flag}: {}", parts::lacks(feature))
            }
        }
    }
}

impl error::Error for UsageError {}

impl From<SettingError> for UsageError {
    fn from(error: SettingError) -> UsageError {
        UsageError::Setting(error)
    }
}

fn options() -> Options {
    let mut o = Options::new();
    o.parsing_style(ParsingStyle::FloatingFrees);
    o.optmulti(
        "l",
        "listen",
        "listen here; may be given several times; an IPv6 address is in brackets [127.0.0.1:1080]",
        "ADDR:PORT",
    );
    o.optopt("c", "config", "rule file [./socks.conf, else /etc/socku/socks.conf]", "FILE");
    o.optflag(
        "t",
        "test",
        "check all that a start would, print the rules as understood and what a start would warn about, exit 0; 1 with FILE:LINE: message if bad",
    );
    o.optopt("e", "explain", "print the verdict and the rule that gives it, e.g. -e \"c 140.113.1.1:80 from 10.0.0.2 user bob\"; a host may be a name", "QUERY");
    o.optflag(
        "",
        "health",
        "exit 0 if the proxy that runs with the same flags answers at each --listen address within 5 seconds; 1 with a message if not",
    );
    o.optmulti(
        "o",
        "outbound",
        "source address of outgoing connections; at most one of each family",
        "ADDR",
    );
    o.optmulti(
        "",
        "bind-address",
        "address reported to BIND clients (a gateway behind NAT); at most one of each family",
        "ADDR",
    );
    o.optopt("", "bind-ports", "ports that BIND listens on [chosen by the kernel]", "LOW-HIGH");
    o.optmulti(
        "",
        "nameserver",
        "DNS server; may be given several times; an IPv6 address with a port is in brackets [/etc/resolv.conf]",
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
    o.optopt(
        "",
        "users",
        "names and passwords of SOCKS5 clients, one NAME:PASSWORD a line",
        "FILE",
    );
    o.optopt("", "log-format", "form of the access lines [text]", "text|json");
    o.optflag("", "reuse-port", "several processes on one address");
    o.optmulti(
        "",
        "proxy-protocol",
        "expect a PROXY header from these load balancers; may be given several times",
        "CIDR",
    );
    o.optopt("", "status", "serve /metrics and a status page [off]", "ADDR:PORT");
    o.optflag("V", "version", "print the version");
    o.optflag("h", "help", "print this help");
    o
}

/// Reads the arguments after the program's name.
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Invocation, UsageError> {
    let options = options();
    let mut arguments: Vec<OsString> = arguments.collect();
    let trial = arguments.last().and_then(|last| trial(last));
    arguments.truncate(arguments.len() - usize::from(trial.is_some()));
    let matches = options.parse(arguments).map_err(UsageError::Flag)?;
    if matches.opt_present("help") {
        return Ok(Invocation::Help(help(&options)));
    }
    if matches.opt_present("version") {
        return Ok(Invocation::Version);
    }
    refuse_absent(&matches)?;
    if let Some(argument) = matches.free.first() {
        return Err(UsageError::Argument(argument.clone()));
    }
    let config = read(&matches)?;
    let mut others = ["test", "explain"].into_iter().filter(|flag| matches.opt_present(flag));
    if let Some(flag) = others.next().filter(|_| matches.opt_present("health")) {
        return Err(UsageError::BesideHealth(flag));
    }
    Ok(match matches.opt_str("explain") {
        Some(query) => Invocation::Explain(config, query),
        None if matches.opt_present("test") => Invocation::Test(config),
        None if matches.opt_present("health") => Invocation::Health(config.with_known_ports()?),
        None => match trial {
            Some(descriptors) => Invocation::Trial(config, descriptors),
            None => Invocation::Run(config),
        },
    })
}

/// An error if a flag needs a part that this build lacks.
fn refuse_absent(matches: &Matches) -> Result<(), UsageError> {
    for part in parts::absent() {
        let is_asked = |flag: &str| matches.opt_present(flag) && !is_text(matches, flag);
        if let Some(flag) = part.flags.iter().find(|flag| is_asked(flag)) {
            return Err(UsageError::Absent { flag, feature: part.feature });
        }
    }
    Ok(())
}

/// Whether the flag asks for the form of the log that every build has.
fn is_text(matches: &Matches, flag: &str) -> bool {
    flag == "log-format" && matches.opt_str(flag).as_deref() == Some("text")
}

/// The number of descriptors that a program on trial would take over.
fn trial(argument: &OsStr) -> Option<usize> {
    argument.to_str()?.strip_prefix(TRIAL_FLAG)?.parse().ok()
}

fn read(matches: &Matches) -> Result<Config, SettingError> {
    let default = Config::default();
    let seconds = |flag, default, least| {
        let given = number(matches, flag, &(least..=SECONDS_MAX), "whole seconds")?;
        Ok::<Millis, SettingError>(given.map_or(default, |seconds| seconds * 1000))
    };
    let idle_ms = seconds("idle-timeout", default.idle_timeout_ms.unwrap_or(0), 0)?;
    Ok(Config {
        listen: listen(matches)?.unwrap_or(default.listen),
        is_listen_given: matches.opt_present("listen"),
        rule_file: matches.opt_str("config").map(PathBuf::from),
        users_file: matches.opt_str("users").map(PathBuf::from),
        outbound: addresses(matches, "outbound")?,
        bind_address: addresses(matches, "bind-address")?,
        bind_ports: matches.opt_str("bind-ports").map(|text| port_range(&text)).transpose()?,
        max_sessions: number(matches, "max-sessions", &SESSIONS, "a number")?,
        max_per_source: number(matches, "max-per-source", &SESSIONS_PER_SOURCE, "a number")?,
        request_timeout_ms: seconds("request-timeout", default.request_timeout_ms, 1)?,
        nameservers: nameservers(matches)?,
        dns_timeout_ms: seconds("dns-timeout", default.dns_timeout_ms, 1)?,
        ident_timeout_ms: seconds("ident-timeout", default.ident_timeout_ms, 1)?,
        connect_timeout_ms: seconds("connect-timeout", default.connect_timeout_ms, 1)?,
        bind_timeout_ms: seconds("bind-timeout", default.bind_timeout_ms, 1)?,
        idle_timeout_ms: Some(idle_ms).filter(|&ms| ms > 0),
        half_close_timeout_ms: seconds("half-close-timeout", default.half_close_timeout_ms, 1)?,
        drain_timeout_ms: seconds("drain-timeout", default.drain_timeout_ms, 0)?,
        proxy_protocol: networks(matches, "proxy-protocol")?,
        reuse_port: matches.opt_present("reuse-port"),
        buffer_bytes: number(matches, "buffer-size", &BUFFER_BYTES, "bytes")?
            .unwrap_or(default.buffer_bytes),
        splice: splice(matches)?,
        log_format: log_format(matches)?,
        status: status(matches)?,
        user: matches.opt_str("user"),
        signals: true,
        service: true,
    })
}

fn listen(matches: &Matches) -> Result<Option<Vec<SocketAddr>>, SettingError> {
    let texts = matches.opt_strs("listen");
    let expected = "ADDR:PORT, an address and no name, for example 127.0.0.1:1080 or [::1]:1080";
    let addresses: Result<Vec<_>, _> =
        texts.iter().map(|text| value("listen", text, expected)).collect();
    Ok(Some(addresses?).filter(|addresses| !addresses.is_empty()))
}

fn status(matches: &Matches) -> Result<Option<SocketAddr>, SettingError> {
    let expected = "ADDR:PORT, an address and no name, for example 127.0.0.1:9100 or [::1]:9100";
    let text = matches.opt_str("status");
    text.map(|text| value("status", &text, expected)).transpose()
}

fn splice(matches: &Matches) -> Result<bool, SettingError> {
    match matches.opt_str("splice").as_deref() {
        None | Some("auto") => Ok(true),
        Some("off") => Ok(false),
        Some(other) => Err(SettingError::new("splice", other, "auto or off")),
    }
}

fn log_format(matches: &Matches) -> Result<LogFormat, SettingError> {
    let Some(text) = matches.opt_str("log-format") else { return Ok(LogFormat::Text) };
    let format = LogFormat::ALL.iter().find(|(word, _)| *word == text);
    let format = format.map(|(_, format)| *format);
    format.ok_or_else(|| SettingError::new("log-format", text, "text or json"))
}

fn value<T: FromStr>(flag: &'static str, text: &str, expected: &str) -> Result<T, SettingError> {
    text.parse().map_err(|_| SettingError::new(flag, text, expected))
}

fn addresses(matches: &Matches, flag: &'static str) -> Result<PerFamily, SettingError> {
    let mut addresses = PerFamily::default();
    for text in matches.opt_strs(flag) {
        let address: IpAddr = value(flag, &text, "an IPv4 or IPv6 address, without brackets")?;
        if !addresses.set(address.to_canonical()) {
            return Err(SettingError::new(flag, text, "at most one address of each family"));
        }
    }
    Ok(addresses)
}

fn networks(matches: &Matches, flag: &'static str) -> Result<Vec<(IpAddr, u32)>, SettingError> {
    let read = |text: String| {
        let network = rules::parse::parse_addresses(&text).ok().and_then(|read| read.as_network());
        network.ok_or_else(|| SettingError::new(flag, text, NETWORK))
    };
    matches.opt_strs(flag).into_iter().map(read).collect()
}

fn nameservers(matches: &Matches) -> Result<Vec<SocketAddr>, SettingError> {
    let servers = matches.opt_strs("nameserver");
    let expected = "ADDR[:PORT], for example 127.0.0.1:5353";
    let read = |text: &String| {
        dns::ResolverSettings::parse_server(text)
            .ok_or_else(|| SettingError::new("nameserver", text, expected))
    };
    servers.iter().map(read).collect()
}

fn number<T: FromStr + PartialOrd + Display>(
    matches: &Matches,
    flag: &'static str,
    range: &RangeInclusive<T>,
    unit: &str,
) -> Result<Option<T>, SettingError> {
    let Some(text) = matches.opt_str(flag) else { return Ok(None) };
    let number = text.parse().ok().filter(|number| range.contains(number));
    match number {
        Some(number) => Ok(Some(number)),
        None => Err(SettingError::new(flag, text, numbers(range, unit))),
    }
}

fn port_range(text: &str) -> Result<RangeInclusive<u16>, SettingError> {
    let error = || SettingError::new("bind-ports", text, PORTS);
    let (low, high) = text.split_once('-').ok_or_else(error)?;
    let range = low.parse().map_err(|_| error())?..=high.parse().map_err(|_| error())?;
    match range.is_empty() || *range.start() == 0 {
        true => Err(error()),
        false => Ok(range),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn parsed(arguments: &[&str]) -> Result<Invocation, UsageError> {
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
        assert_eq!(defaults, Config { signals: true, service: true, ..Config::default() });
        assert_eq!(defaults.rule_files()[0], PathBuf::from("socks.conf"));
        assert_eq!(defaults.rule_files()[1], PathBuf::from("/etc/socku/socks.conf"));
        for shown in help.split("--").skip(1) {
            let (flag, rest) = shown.split_once(' ').unwrap();
            let Some((_, rest)) = rest.split_once('[').filter(|_| flag != "user") else { continue };
            let (default, _) = rest.split_once(']').unwrap();
            if default.parse::<u64>().is_ok() || flag == "listen" {
                let is_listen_given = flag == "listen";
                let expected = Config { is_listen_given, ..defaults.clone() };
                assert_eq!(config(&[&format!("--{flag}"), default]), expected, "--{flag}");
            }
        }
    }

    #[test]
    fn a_trial_is_asked_for_by_the_last_argument_only_and_not_in_the_help() {
        let Ok(Invocation::Help(help)) = parsed(&["-h"]) else { panic!() };
        assert!(!help.contains("trial"));
        let (trial, rules) = ("--upgrade-trial=7", PathBuf::from("x.conf"));
        let Ok(Invocation::Trial(config, 7)) = parsed(&["-c", "x.conf", trial]) else { panic!() };
        assert_eq!(config.rule_file, Some(rules));
        for wrong in [&[trial, "-c", "x.conf"][..], &["--upgrade-trial=x"], &["--upgrade-trial"]] {
            assert!(matches!(parsed(wrong), Err(UsageError::Flag(_))), "{wrong:?}");
        }
    }

    #[test]
    fn values_are_read() {
        let config = config(&[
            "-l",
            "0.0.0.0:0",
            "--listen",
            "[fe80::1%2]:9",
            "-c",
            "x.conf",
            "-o",
            "127.0.0.3",
            "-o",
            "::1",
            "--bind-address",
            "::ffff:9.9.9.9",
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
            "--users",
            "x.users",
            "--reuse-port",
        ]);
        assert_eq!(config.listen.len(), 2);
        assert_eq!(config.rule_files(), [PathBuf::from("x.conf")]);
        let outbound = (Ipv4Addr::new(127, 0, 0, 3), Ipv6Addr::LOCALHOST);
        assert_eq!((config.outbound.v4, config.outbound.v6), (Some(outbound.0), Some(outbound.1)));
        assert_eq!(config.bind_address.v4, Some(Ipv4Addr::new(9, 9, 9, 9)));
        assert_eq!(config.bind_ports, Some(40000..=40001));
        assert_eq!((config.max_sessions, config.max_per_source), (Some(7), Some(3)));
        assert_eq!((config.idle_timeout_ms, config.buffer_bytes), (None, 1024));
        assert!(!config.splice && config.reuse_port);
        assert_eq!(config.user.as_deref(), Some("nobody:daemon"));
        assert_eq!(config.users_file, Some(PathBuf::from("x.users")));
    }

    #[cfg(feature = "status")]
    #[test]
    fn the_address_of_the_status_page_is_read() {
        let config = config(&["--status", "[::1]:9100"]);
        assert_eq!(config.status, Some((Ipv6Addr::LOCALHOST, 9100).into()));
    }

    #[cfg(feature = "json")]
    #[test]
    fn both_forms_of_the_log_are_read() {
        assert_eq!(config(&["--log-format", "json"]).log_format, LogFormat::Json);
        assert_eq!(config(&["--log-format", "text"]).log_format, LogFormat::Text);
    }

    #[cfg(feature = "proxy-protocol")]
    #[test]
    fn the_networks_of_load_balancers_are_read() {
        let arguments = ["--proxy-protocol", "10.0.0.5", "--proxy-protocol", "2001:db8::/32"];
        let balancers = [("10.0.0.5".parse().unwrap(), 32), ("2001:db8::".parse().unwrap(), 32)];
        assert_eq!(config(&arguments).proxy_protocol, balancers);
    }

    /// Whether these arguments are about a part that this build lacks.
    fn is_absent(arguments: &[&str]) -> bool {
        let flag = arguments[0].trim_start_matches('-');
        parts::absent().any(|part| part.flags.contains(&flag))
    }

    #[test]
    fn errors_name_the_flag_and_what_was_expected() {
        for (arguments, flag, expected) in [
            (&["--listen", "1080"][..], "--listen \"1080\"", "expected ADDR:PORT"),
            (&["--listen", "::1:1080"], "--listen", "expected ADDR:PORT"),
            (&["--listen", "localhost:1080"], "--listen \"localhost:1080\"", "no name"),
            (&["-o", "eth0"], "--outbound \"eth0\"", "expected an IPv4 or IPv6 address"),
            (&["-o", "::1", "-o", "::2"], "--outbound \"::2\"", "at most one address of each"),
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
            (&["--log-format", "xml"], "--log-format \"xml\"", "expected text or json"),
            (&["--proxy-protocol", "*"], "--proxy-protocol \"*\"", "expected an address or a net"),
            (&["--proxy-protocol", "10.0.0.1/8"], "--proxy-protocol", "expected an address or"),
            (&["--proxy-protocol", "::/129"], "--proxy-protocol", "expected an address or"),
            (&["--splice", "on"], "--splice \"on\"", "expected auto or off"),
            (&["--status", "9100"], "--status \"9100\"", "expected ADDR:PORT"),
            (&["--status", "localhost:9100"], "--status \"localhost:9100\"", "no name"),
            (&["--status"], "'status'", "see --help"),
            (&["-c"], "'c'", "see --help"),
            (&["--users"], "'users'", "see --help"),
            (&["-t", "-t"], "'test'", "see --help"),
            (&["file"], "\"file\"", "expected options only"),
        ] {
            if is_absent(arguments) {
                continue;
            }
            let error = parsed(arguments).unwrap_err().to_string();
            assert!(error.contains(flag) && error.contains(expected), "{arguments:?}: {error}");
            assert!(!error.contains('\n'));
        }
    }
}
