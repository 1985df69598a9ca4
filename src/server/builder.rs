//! The settings of a server, for programs that embed it.

use super::rule_source::RuleSource;
use super::user_source::UserSource;
use super::{Error, Server};
use crate::config::Config;
use crate::settings::LogFormat;
use crate::time::Millis;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// The settings of a [`Server`]. Most methods correspond to the program's flag of the same name.
/// Defaults are in brackets.
///
/// [`start`](Builder::start) checks all values.
///
/// ```no_run
/// use socku::server::Builder;
/// use std::time::Duration;
///
/// # fn main() -> Result<(), socku::server::Error> {
/// let server = Builder::with_rule_file("/etc/socku/socks.conf")
///     .listen("192.0.2.1:1080".parse().expect("an address"))
///     .max_per_source(100)
///     .idle_timeout(Some(Duration::from_secs(600)))
///     .start()?;
/// server.run()
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "only `start` starts a server"]
pub struct Builder {
    config: Config,
    rules: RuleSource,
    users: UserSource,
    listen: Vec<SocketAddr>,
}

impl Builder {
    /// A server by the rules of this file. They are read by [`start`](Builder::start) and again
    /// when the file changes.
    pub fn with_rule_file(path: impl Into<PathBuf>) -> Builder {
        Builder::new(RuleSource::File(path.into()))
    }

    /// A server by these rules, which have the form of a rule file and stay as they are.
    pub fn with_rules(text: impl Into<Vec<u8>>) -> Builder {
        Builder::new(RuleSource::Text(text.into()))
    }

    fn new(rules: RuleSource) -> Builder {
        let users = UserSource::None;
        Builder { config: Config::default(), rules, users, listen: Vec::new() }
    }

    /// Listens on this address. May be called up to 32 times. With port 0 the kernel chooses one;
    /// [`Server::addresses`] has it. An IPv6 address accepts no IPv4. \[127.0.0.1:1080\]
    pub fn listen(mut self, address: SocketAddr) -> Builder {
        self.listen.push(address);
        self
    }

    /// The users of SOCKS5 are those of this file, which has a line `NAME:PASSWORD` for each and
    /// which others cannot read or write. It is read by [`start`](Builder::start) and again when it
    /// changes. \[nobody can log in\]
    pub fn users_file(mut self, path: impl Into<PathBuf>) -> Builder {
        self.users = UserSource::File(path.into());
        self
    }

    /// The users of SOCKS5 are these, in the form of a users file, and stay as they are.
    /// \[nobody can log in\]
    ///
    /// Of this and [`users_file`](Builder::users_file), the last call counts.
    pub fn users(mut self, text: impl Into<Vec<u8>>) -> Builder {
        self.users = UserSource::Text(text.into());
        self
    }

    /// Source address of outgoing connections of its family, and the address that BIND listens on: one
    /// of this host. May be called once for each family. \[chosen by the kernel\]
    pub fn outbound(mut self, address: IpAddr) -> Builder {
        self.config.outbound.set(address.to_canonical());
        self
    }

    /// Address reported to BIND clients when they are waiting for a peer of its family, for a
    /// gateway behind NAT. May be called once for each family. \[the address listened on\]
    pub fn bind_address(mut self, address: IpAddr) -> Builder {
        self.config.bind_address.set(address.to_canonical());
        self
    }

    /// Ports that BIND listens on, from 1. \[chosen by the kernel\]
    pub fn bind_ports(mut self, ports: RangeInclusive<u16>) -> Builder {
        self.config.bind_ports = Some(ports);
        self
    }

    /// Asks this DNS server in place of those of /etc/resolv.conf. May be called several times.
    pub fn nameserver(mut self, address: SocketAddr) -> Builder {
        self.config.nameservers.push(address);
        self
    }

    /// At most so many sessions, from 1 to 1,048,576. The open-file limit and memory limits lower
    /// it. \[as many as they allow\]
    pub fn max_sessions(mut self, count: usize) -> Builder {
        self.config.max_sessions = Some(count);
        self
    }

    /// At most so many sessions of one client address, from 1 to 1,048,576. \[no limit\]
    pub fn max_per_source(mut self, count: u32) -> Builder {
        self.config.max_per_source = Some(count);
        self
    }

    /// Lets other processes of this user listen on the same addresses, if they do the same
    /// (SO_REUSEPORT); the kernel chooses among them for each client. \[false\]
    pub fn reuse_port(mut self, shared: bool) -> Builder {
        self.config.reuse_port = shared;
        self
    }

    /// Connections from the addresses that have the first `bits` bits of `network` are those of
    /// load balancers. Each begins with a PROXY header (HAProxy's PROXY protocol, version 1 or 2),
    /// whose client is the one that rules, limits and log go by. May be called several times. \[a
    /// header is accepted from nobody\]
    #[cfg(feature = "proxy-protocol")]
    pub fn proxy_protocol(mut self, network: IpAddr, bits: u32) -> Builder {
        self.config.proxy_protocol.push((network, bits));
        self
    }

    /// Time for the whole request to arrive. \[30 s\]
    pub fn request_timeout(mut self, most: Duration) -> Builder {
        self.config.request_timeout_ms = millis(most);
        self
    }

    /// Time for the client's identd to answer. \[15 s\]
    pub fn ident_timeout(mut self, most: Duration) -> Builder {
        self.config.ident_timeout_ms = millis(most);
        self
    }

    /// Time for a name to be resolved. \[10 s\]
    pub fn dns_timeout(mut self, most: Duration) -> Builder {
        self.config.dns_timeout_ms = millis(most);
        self
    }

    /// Time for the target to be reached. \[120 s\]
    pub fn connect_timeout(mut self, most: Duration) -> Builder {
        self.config.connect_timeout_ms = millis(most);
        self
    }

    /// Time for the peer of a BIND to connect. \[120 s\]
    pub fn bind_timeout(mut self, most: Duration) -> Builder {
        self.config.bind_timeout_ms = millis(most);
        self
    }

    /// Ends a relay that has carried no byte either way for so long; `None` is never. \[two hours\]
    pub fn idle_timeout(mut self, most: Option<Duration>) -> Builder {
        self.config.idle_timeout_ms = most.map(millis);
        self
    }

    /// Ends a relay with one direction closed and the other silent for so long. \[300 s\]
    pub fn half_close_timeout(mut self, most: Duration) -> Builder {
        self.config.half_close_timeout_ms = millis(most);
        self
    }

    /// Time for sessions to finish after the first [`Handle::stop`](super::Handle::stop); zero ends
    /// them at once. \[30 s\]
    pub fn drain_timeout(mut self, most: Duration) -> Builder {
        self.config.drain_timeout_ms = millis(most);
        self
    }

    /// Size of one relay buffer, in bytes, from 1024 to 16 MiB. \[65,536\]
    pub fn buffer_size(mut self, bytes: usize) -> Builder {
        self.config.buffer_bytes = bytes;
        self
    }

    /// Whether sustained flows go through pipes, uncopied (splice). \[true\]
    pub fn splice(mut self, auto: bool) -> Builder {
        self.config.splice = auto;
        self
    }

    /// The form of what the server says of a session: the message of each record of target
    /// `access`, and of those of target `dump` that are about a session. \[text\]
    ///
    /// As JSON, such a message is an object; its members are described in docs/logging.md.
    pub fn log_format(mut self, format: LogFormat) -> Builder {
        self.config.log_format = format;
        self
    }

    /// Serves `/metrics`, a status page and its events on this address, over HTTP. With port 0 the
    /// kernel chooses one; [`Server::status_address`] has it. Whoever reaches the address sees who
    /// uses the proxy and for what: it should be one of loopback. \[off\]
    #[cfg(feature = "status")]
    pub fn status(mut self, address: SocketAddr) -> Builder {
        self.config.status = Some(address);
        self
    }

    /// Whether the server takes over HUP, TERM, INT, USR1 and XFSZ of the process, as the program
    /// does. USR2 is not one of them: it upgrades the program only. Otherwise no signal handler is
    /// installed, and only a [`Handle`](super::Handle) stops the server. \[false\]
    ///
    /// The handlers stay installed when the server has ended, and do nothing from then on.
    pub fn signals(mut self, take_over: bool) -> Builder {
        self.config.signals = take_over;
        self
    }

    /// Whether the server works with the service manager as the program does: it listens on the
    /// sockets that are passed to this process (LISTEN_FDS), if any, and tells when it is ready,
    /// reloads and stops (NOTIFY_SOCKET). [`listen`](Builder::listen) beside passed sockets is an
    /// error. \[false\]
    ///
    /// [`start`](Builder::start) then removes LISTEN_FDS and LISTEN_PID from the environment: no
    /// other thread may use the environment meanwhile.
    #[cfg(feature = "service")]
    pub fn service(mut self, of_manager: bool) -> Builder {
        self.config.service = of_manager;
        self
    }

    /// Reads the rules and the users, and listens. Clients may connect from then on; they are served by
    /// [`Server::run`].
    ///
    /// It raises the process's limit of open files as far as it goes.
    ///
    /// # Errors
    ///
    /// Any [`Error`] but one of [`Step::Wait`](super::Step::Wait) and
    /// [`Step::User`](super::Step::User).
    pub fn start(mut self) -> Result<Server, Error> {
        if !self.listen.is_empty() {
            self.config.listen = self.listen;
            self.config.is_listen_given = true;
        }
        self.config.check()?;
        Server::start(&self.config, self.rules, self.users, None)
    }
}

/// A time too long for this is too long for [`Config::check`].
fn millis(time: Duration) -> Millis {
    // No session may wait for less than nothing: a part of a millisecond is a whole one.
    Millis::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(Millis::MAX)
}
