//! A SOCKS4 and SOCKS4A proxy to embed, and a client for such proxies.
//!
//! | feature | what it has | dependencies |
//! | --- | --- | --- |
//! | `server` | [`server`], and the program `socku` | mio and others |
//! | `client` | [`client`] | none |
//! | `console` | the CGI program `socku-console`; includes `client` | rustix |
//!
//! All of them are on by default. For the client alone:
//!
//! ```toml
//! socku = { version = "0.1", default-features = false, features = ["client"] }
//! ```
//!
//! # Server
//!
//! A server runs in the thread that calls [`run`](server::Server::run). A
//! [`Handle`](server::Handle) stops it from any other.
//!
#![cfg_attr(feature = "server", doc = "```")]
#![cfg_attr(not(feature = "server"), doc = "```ignore")]
//! use socku::server::Builder;
//! use std::thread;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Builder::with_rules("permit c 127.*.*.*").listen("127.0.0.1:0".parse()?).start()?;
//! let port = server.addresses()[0].port();
//! let handle = server.handle();
//! let running = thread::spawn(move || server.run());
//!
//! println!("listening on port {port}");
//! handle.stop();
//! running.join().expect("the server does not panic")?;
//! # Ok(())
//! # }
//! ```
//!
//! # Client
//!
#![cfg_attr(feature = "client", doc = "```no_run")]
#![cfg_attr(not(feature = "client"), doc = "```ignore")]
//! use socku::client::Client;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new("proxy.example:1080").user("alice");
//! // CONNECT: a stream to the target.
//! let (stream, _) = client.connect("www.example.com:80")?;
//! // BIND: a stream from the peer, which has to connect to this address.
//! let bound = client.bind("ftp.example.com:21")?;
//! println!("the proxy listens on {}", bound.address());
//! let (stream, peer) = bound.accept()?;
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "server")]
pub mod server;

#[doc(hidden)]
pub mod internals;

#[cfg(feature = "server")]
mod access;
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
mod escape;
#[cfg(feature = "server")]
mod explain;
#[cfg(feature = "server")]
mod files;
#[cfg(feature = "server")]
mod ident;
#[cfg(feature = "server")]
mod limits;
#[cfg(feature = "server")]
mod logging;
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
mod session;
#[cfg(feature = "server")]
mod settings;
#[cfg(feature = "server")]
mod signals;
#[cfg(feature = "server")]
mod sizes;
#[cfg(feature = "server")]
mod stats;
#[cfg(feature = "server")]
mod time;
#[cfg(feature = "server")]
mod timer;
#[cfg(feature = "server")]
mod token;
#[cfg(feature = "server")]
mod watch;
#[cfg(any(feature = "server", feature = "client"))]
#[cfg_attr(
    not(all(feature = "server", feature = "client")),
    allow(dead_code, reason = "each side of the protocol uses its own half")
)]
mod wire;
