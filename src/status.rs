//! The status listener: metrics, a page and a stream of events over HTTP, on the loop of the proxy.

pub mod refusal;
pub mod view;
