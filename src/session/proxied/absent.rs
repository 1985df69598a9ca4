//! Without the feature `proxy-protocol`: no client is behind a load balancer.

use super::details::Balancer;
use super::{Action, Session};
use crate::address::IpPort;
use crate::reason::CloseReason;
use crate::time::Millis;

impl Session {
    /// No client is a load balancer: this is any other session.
    pub fn behind_balancer(id: u64, client: IpPort, started: Millis) -> Session {
        Session::new(id, client, started)
    }

    /// No load balancer has passed the connection on.
    pub fn balancer(&self) -> Option<Balancer> {
        None
    }

    /// No session waits for a header, unless a record says so.
    pub(super) fn handle_header(&mut self, _: &[u8], now: Millis) -> (usize, Action) {
        (0, self.close(CloseReason::BadProxyHeader, now))
    }

    /// No header names a client.
    pub fn handle_unwelcome(&mut self, _: Millis) {}
}
