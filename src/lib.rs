//! socku: a SOCKS4 and SOCKS4A proxy server in one thread over one mio readiness loop.
//!
//! The pure rooms ([`wire`], [`name`], [`rules`], [`session`], [`timer`], [`stats`]) know no
//! socket and no clock. [`relay`] and [`reactor`] work over the [`net::Net`] trait; [`server`]
//! puts everything together. [`client`] is the other side, for programs that go through a proxy.

pub mod access;
pub mod client;
pub mod config;
pub mod connection;
pub mod console;
pub mod context;
pub mod dns;
pub mod escape;
pub mod explain;
pub mod files;
pub mod ident;
#[doc(hidden)]
pub mod internals;
pub mod limits;
pub mod logging;
pub mod name;
pub mod net;
pub mod pool;
pub mod privileges;
pub mod reactor;
pub mod reason;
pub mod relay;
pub mod reload;
pub mod rules;
pub mod server;
pub mod session;
pub mod settings;
pub mod signals;
pub mod sizes;
pub mod stats;
pub mod time;
pub mod timer;
pub mod token;
pub mod watch;
pub mod wire;
