//! The settings of the proxy, and their limits.

mod command_line;
mod help;
pub mod parts;

pub use command_line::{Invocation, UsageError, parse};
pub use parts::{PARTS, Part, built_without};

use crate::address::PerFamily;
use crate::settings::LogFormat;
use crate::time::Millis;
use std::error;
use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// The settings. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where to listen.
    pub listen: Vec<SocketAddr>,
    /// `listen` was given, and is not the default.
    pub is_listen_given: bool,
    /// The rule file, if one is named.
    pub rule_file: Option<PathBuf>,
    /// The file with the users of SOCKS5, if one is named.
    pub users_file: Option<PathBuf>,
    /// Source address of outgoing connections.
    pub outbound: PerFamily,
    /// Address reported to BIND clients.
    pub bind_address: PerFamily,
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
    /// The load balancers, as networks, whose connections begin with a PROXY header.
    pub proxy_protocol: Vec<(IpAddr, u32)>,
    /// Other processes may listen on the same addresses.
    pub reuse_port: bool,
    /// Size of one relay buffer.
    pub buffer_bytes: usize,
    /// Sustained flows go through pipes.
    pub splice: bool,
    /// The form of the log's lines.
    pub log_format: LogFormat,
    /// Where the status page and the metrics are served.
    pub status: Option<SocketAddr>,
    /// `NAME[:GROUP]` to become once listening.
    pub user: Option<String>,
    /// Signals of the process are taken over.
    pub signals: bool,
    /// The service manager passes sockets, and is notified.
    pub service: bool,
}

/// Effectively unlimited, and cannot overflow: ten years.
const SECONDS_MAX: u64 = 10 * 366 * 24 * 3600;
/// The last argument of a program on trial begins with this; a number follows. Programs that know
/// nothing of an upgrade reject it, so that they never take over.
pub const TRIAL_FLAG: &str = "--upgrade-trial=";
const BUFFER_BYTES: RangeInclusive<usize> = 1024..=16 << 20;
const SESSIONS: RangeInclusive<usize> = 1..=1 << 20;
const SESSIONS_PER_SOURCE: RangeInclusive<u32> = 1..=1 << 20;
const PORTS: &str = "LOW-HIGH, ports from 1 to 65535, for example 40000-40099";
const NETWORK: &str = "an address or a network, for example 10.0.0.1, 10.0.0.0/8 or 2001:db8::/32";

/// A setting that has a value it cannot have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettingError {
    /// The flag that has this setting, without its dashes: `buffer-size`.
    pub flag: &'static str,
    /// The value.
    pub found: String,
    /// The values that it could have.
    pub expected: String,
}

impl SettingError {
    fn new(flag: &'static str, found: impl Display, expected: impl Display) -> SettingError {
        SettingError { flag, found: found.to_string(), expected: expected.to_string() }
    }
}

impl Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SettingError { flag, found, expected } = self;
        write!(f, "--{flag} {found:?}: expected {expected}")
    }
}

impl error::Error for SettingError {}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: vec![(Ipv4Addr::LOCALHOST, 1080).into()],
            is_listen_given: false,
            rule_file: None,
            users_file: None,
            outbound: PerFamily::default(),
            bind_address: PerFamily::default(),
            bind_ports: None,
            max_sessions: None,
            max_per_source: None,
            request_timeout_ms: 30_000,
            nameservers: Vec::new(),
            dns_timeout_ms: 10_000,
            ident_timeout_ms: 15_000,
            connect_timeout_ms: 120_000,
            bind_timeout_ms: 120_000,
            idle_timeout_ms: Some(7_200_000),
            half_close_timeout_ms: 300_000,
            drain_timeout_ms: 30_000,
            proxy_protocol: Vec::new(),
            reuse_port: false,
            buffer_bytes: 65536,
            splice: true,
            log_format: LogFormat::Text,
            status: None,
            user: None,
            signals: false,
            service: false,
        }
    }
}

impl Config {
    /// Checks the values that did not come from a command line.
    pub fn check(&self) -> Result<(), SettingError> {
        check("max-sessions", self.max_sessions, &SESSIONS, "a number")?;
        check("max-per-source", self.max_per_source, &SESSIONS_PER_SOURCE, "a number")?;
        check("buffer-size", Some(self.buffer_bytes), &BUFFER_BYTES, "bytes")?;
        if let Some(ports) = &self.bind_ports
            && (ports.is_empty() || *ports.start() == 0)
        {
            let found = format!("{}-{}", ports.start(), ports.end());
            return Err(SettingError::new("bind-ports", found, PORTS));
        }
        for &(address, bits) in &self.proxy_protocol {
            let width = if address.is_ipv6() { Ipv6Addr::BITS } else { Ipv4Addr::BITS };
            if bits > width {
                let found = format!("{address}/{bits}");
                return Err(SettingError::new("proxy-protocol", found, NETWORK));
            }
        }
        let timeouts = [
            ("request-timeout", Some(self.request_timeout_ms), 1),
            ("ident-timeout", Some(self.ident_timeout_ms), 1),
            ("dns-timeout", Some(self.dns_timeout_ms), 1),
            ("connect-timeout", Some(self.connect_timeout_ms), 1),
            ("bind-timeout", Some(self.bind_timeout_ms), 1),
            ("idle-timeout", self.idle_timeout_ms, 1),
            ("half-close-timeout", Some(self.half_close_timeout_ms), 1),
            ("drain-timeout", Some(self.drain_timeout_ms), 0),
        ];
        for (flag, given, least) in timeouts {
            check(flag, given, &(least..=SECONDS_MAX * 1000), "milliseconds")?;
        }
        Ok(())
    }

    /// The rule files to try, in order.
    pub fn rule_files(&self) -> Vec<PathBuf> {
        match &self.rule_file {
            Some(file) => vec![file.clone()],
            None => vec!["socks.conf".into(), "/etc/socku/socks.conf".into()],
        }
    }
}

/// Checks a number that was given as such.
fn check<T: PartialOrd + Display>(
    flag: &'static str,
    given: Option<T>,
    range: &RangeInclusive<T>,
    unit: &str,
) -> Result<(), SettingError> {
    match given.filter(|number| !range.contains(number)) {
        Some(number) => Err(SettingError::new(flag, number, numbers(range, unit))),
        None => Ok(()),
    }
}

fn numbers<T: Display>(range: &RangeInclusive<T>, unit: &str) -> String {
    format!("{unit} from {} to {}", range.start(), range.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_given_as_such_have_the_same_limits() {
        assert_eq!(Config::default().check(), Ok(()));
        type Change = fn(&mut Config);
        let changes: [(Change, &str); 9] = [
            (|c| c.max_sessions = Some(0), "--max-sessions \"0\": expected a number from 1"),
            (|c| c.max_per_source = Some(0), "--max-per-source \"0\": expected a number from 1"),
            (|c| c.buffer_bytes = 1023, "--buffer-size \"1023\": expected bytes from 1024"),
            (
                |c| c.proxy_protocol = vec![(Ipv4Addr::LOCALHOST.into(), 33)],
                "--proxy-protocol \"127.0.0.1/33\": expected an address or a network",
            ),
            (|c| c.bind_ports = Some(0..=8), "--bind-ports \"0-8\": expected LOW-HIGH"),
            (|c| c.bind_ports = Some(RangeInclusive::new(9, 8)), "--bind-ports \"9-8\""),
            (|c| c.idle_timeout_ms = Some(0), "--idle-timeout \"0\": expected milliseconds from 1"),
            (|c| c.connect_timeout_ms = Millis::MAX, "--connect-timeout"),
            (|c| c.drain_timeout_ms = Millis::MAX, "expected milliseconds from 0"),
        ];
        for (change, expected) in changes {
            let mut config = Config::default();
            change(&mut config);
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
