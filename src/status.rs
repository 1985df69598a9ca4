//! The status listener: metrics, a page and a stream of events over HTTP, on the loop of the proxy.

pub mod page;
pub mod refusal;
pub mod snapshot;
pub mod survey;
pub mod top;
pub mod view;
