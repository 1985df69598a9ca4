//! The console: a CGI/1.1 program that works through scripts on up to five remote shells at
//! once, through a SOCKS proxy, and shows them side by side while they run.
//!
//! [`origin`], [`query`], [`text`], [`dialogue`] and [`page`] are pure. [`script`] reads files, [`dial`]
//! and [`session`] have a socket. [`run`] puts everything together with one thread per session.

pub mod dial;
pub mod dialogue;
pub mod origin;
pub mod page;
pub mod query;
pub mod run;
pub mod script;
pub mod session;
pub mod text;
