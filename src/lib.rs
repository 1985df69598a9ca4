//! A SOCKS proxy to embed (SOCKS4, SOCKS4A, SOCKS5), and a client for such proxies.
//!
//! | feature | it has | dependencies |
//! | --- | --- | --- |
//! | `server` | the module `server`, and the program `socku` | mio and others |
//! | `client` | the module `client` | none |
//! | `console` | the CGI program `socku-console`; it includes `client` | rustix |
//!
//! Optional parts of the proxy are features as well. Each of them includes `server`:
//!
//! | feature | it has |
//! | --- | --- |
//! | `status` | metrics, the status page and its events |
//! | `json` | the log as JSON |
//! | `upgrade` | the program's upgrade in place, at USR2 |
//! | `service` | the service manager: passed sockets, messages to it, priorities for the journal |
//! | `proxy-protocol` | the header by which a load balancer names its client |
//! | `explain` | which rule decides about a request, and why: `-e` |
//! | `dead-rules` | warnings about rules that never match |
//! | `timestamps` | the time of each line of the log |
//!
//! All of them are on by default. For the client alone:
//!
//! ```toml
//! socku = { version = "0.1", default-features = false, features = ["client"] }
//! ```
#![cfg_attr(feature = "server", doc = include_str!("server/example.md"))]
#![cfg_attr(feature = "client", doc = include_str!("client/example.md"))]
// The default features have all parts: there, everything must be in use.
#![cfg_attr(
    all(feature = "server", not(feature = "default")),
    allow(dead_code, unused_imports, reason = "only an optional part uses it")
)]

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "server")]
pub mod server;

#[doc(hidden)]
pub mod internals;

#[cfg(feature = "server")]
mod access;
#[cfg(feature = "server")]
mod address;
#[cfg(feature = "server")]
mod cbor;
#[cfg(feature = "server")]
mod config;
#[cfg(feature = "server")]
mod connection;
#[cfg(feature = "console")]
mod console;
#[cfg(feature = "server")]
mod context;
#[cfg(feature = "server")]
mod dns;
#[cfg(feature = "server")]
mod errno;
#[cfg(feature = "server")]
mod escape;
#[cfg(feature = "explain")]
mod explain;
#[cfg(feature = "server")]
mod files;
#[cfg(feature = "upgrade")]
mod handover;
#[cfg(feature = "server")]
mod ident;
#[cfg(feature = "server")]
mod limit;
#[cfg(feature = "server")]
mod limits;
#[cfg(feature = "server")]
mod lines;
#[cfg(feature = "server")]
mod listing;
#[cfg(feature = "server")]
mod logging;
#[cfg(feature = "server")]
mod logins;
#[cfg(any(feature = "server", feature = "console"))]
#[cfg_attr(not(feature = "server"), allow(dead_code, reason = "the console only classifies"))]
mod name;
#[cfg(feature = "server")]
mod net;
#[cfg(feature = "server")]
mod pool;
#[cfg(feature = "server")]
mod privileges;
#[cfg(feature = "server")]
#[cfg_attr(not(feature = "proxy-protocol"), path = "proxy_header/absent.rs")]
mod proxy_header;
#[cfg(feature = "server")]
mod reactor;
#[cfg(feature = "server")]
mod reason;
#[cfg(feature = "server")]
mod relay;
#[cfg(feature = "server")]
mod reload;
#[cfg(feature = "server")]
mod rules;
#[cfg(feature = "server")]
#[cfg_attr(not(feature = "service"), path = "service/absent.rs")]
mod service;
#[cfg(feature = "server")]
mod session;
#[cfg(feature = "server")]
mod settings;
#[cfg(feature = "server")]
mod signals;
#[cfg(feature = "server")]
mod sizes;
#[cfg(feature = "server")]
mod spin;
#[cfg(feature = "server")]
mod stats;
#[cfg(feature = "server")]
#[cfg_attr(not(feature = "status"), path = "status/absent.rs")]
mod status;
#[cfg(feature = "server")]
mod time;
#[cfg(feature = "server")]
mod timer;
#[cfg(feature = "server")]
mod token;
#[cfg(feature = "server")]
#[cfg_attr(not(feature = "upgrade"), path = "upgrade/absent.rs")]
mod upgrade;
#[cfg(feature = "server")]
mod users;
#[cfg(feature = "server")]
mod watch;
#[cfg(any(feature = "server", feature = "client"))]
#[cfg_attr(
    not(all(feature = "server", feature = "client")),
    allow(dead_code, unused_imports, reason = "each side of the protocol uses its own half")
)]
mod wire;
