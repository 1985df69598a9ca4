//! What must hold once a session has ended: reason, time, and what the client has been told.

use crate::addresses::host_of;
use crate::checks::SLACK_MS;
use crate::kernel::Kernel;
use crate::login::Stage;
use crate::plan::{Identd, Peer};
use crate::rules::{BIND, CONNECT};
use crate::tcp::{End, NEAR};
use std::net::IpAddr;

/// Whether a session that ends so was refused, and told that.
fn is_refusal(reason: &str, speaks_5: bool) -> bool {
    let others = [
        "done",
        "client-reset",
        "client-lost",
        "target-reset",
        "target-lost",
        "client-left",
        "idle-timeout",
        "half-close-timeout",
        "stopped",
    ];
    !others.contains(&reason) && (speaks_5 || reason != "bad-version")
}

impl Kernel {
    /// The session of a client has ended for this reason.
    pub fn check_reason(&self, place: usize, reason: &str) {
        let client = self.client(place);
        let plan = &client.plan;
        let (truths, orders) = (self.truths(place), self.orders(place));
        let mut addresses = truths.iter().flatten().flatten();
        let mut leads_to = |last: &[u8]| addresses.any(|a| last.contains(&host_of(*a)));
        let end = &self.conns[client.conn.expect("a session has a client")].ends[NEAR];
        let target = client.target.map(|conn| &self.conns[conn].ends[NEAR]);
        let late = self.jumped.is_some();
        // Over a slow network, the many pieces of an answer over TCP take their time.
        let is_truncated = self.mood.latency_ms > 0
            && plan.name.is_some_and(|name| self.truncated.contains(&name.to_ascii_lowercase()));
        let is_own = |address: &IpAddr| {
            plan.command == CONNECT && self.is_entrance((*address, plan.port).into())
        };
        let denied_by = |rules| {
            let denied =
                |address: &IpAddr| is_own(address) || self.asks(rules, place, *address).is_none();
            truths.contains(&None) || orders.iter().any(|order| order.iter().all(denied))
        };
        let holds = match reason {
            "done" => client.granted && end.fin_read && target.is_some_and(|end| end.fin_read),
            "client-reset" => end.dead && !end.given_up && !client.lost,
            "client-lost" => end.given_up && !client.lost,
            "target-reset" => target.is_some_and(|end| end.dead && !end.given_up) && !client.lost,
            "target-lost" => target.is_some_and(|end| end.given_up) && !client.lost,
            "client-left" => end.fin_arrived && self.may_leave(place, end),
            "request-timeout" => {
                client.login.verdict == Some("given up") || client.login.stage != Stage::Over
            }
            "bad-version" | "no-method" | "bad-password" | "too-many-logins" => {
                client.login.verdict == Some(reason)
            }
            "connect-timeout" => leads_to(&[6, 4]) || late,
            "bind-timeout" => plan.command == BIND,
            "idle-timeout" | "half-close-timeout" => client.granted || client.has_half_a_reply(),
            "dns-not-found" => truths.contains(&None),
            "dns-no-data" => truths.contains(&Some(Vec::new())),
            "dns-server-failure" => self.cast.honesty < 100 || self.wanted,
            "dns-timeout" => {
                let is_slow = is_truncated || client.is_asked_again;
                self.cast.honesty < 100 || late || is_slow || self.wanted
            }
            "loop" => truths.iter().flatten().flatten().any(is_own),
            "no-rule" | "denied" | "impossible-target" => {
                let wrong = plan.is_open_bind() && plan.peer != Peer::Nobody;
                self.deciding_rules(place).any(denied_by) || plan.flaw.is_some() || wrong
            }
            "no-ident" => {
                matches!(
                    client.identd(),
                    Identd::Error
                        | Identd::Junk
                        | Identd::Silent
                        | Identd::Closes
                        | Identd::Refuses
                        | Identd::Stalls
                ) || self.wanted
                    || late
                    || client.is_asked_again
                    || (plan.is_open_bind() && !client.asked_ident)
            }
            "other-user" => plan.identd == Identd::Other,
            "refused" => leads_to(&[5]) && !client.has_burst,
            "unreachable" => leads_to(&[7]),
            "network-unreachable" => {
                let lacks = |a: &IpAddr| self.mood.lack.route_to(*a).is_err();
                let lacks_one = truths.iter().flatten().flatten().any(lacks);
                (lacks_one || leads_to(&[8])) && client.attempts.know_no_network_only()
            }
            "prohibited" => leads_to(&[9]),
            "bind-failed" => self.cast.few_ports,
            "wrong-peer" => {
                let peer = client.target.map(|conn| self.conns[conn].peer.ip());
                let mut rules = self.deciding_rules(place);
                // Whether its identd has answered is not known for sure.
                let is_disturbed = self.wanted || late || client.is_asked_again;
                let is_unsure = client.asked_ident && is_disturbed;
                let is_open = self.truths(place).len() > 1 || is_unsure;
                peer.is_some_and(|peer| {
                    is_open || rules.any(|rules| !self.allows_by(rules, place, peer))
                })
            }
            "no-resources" => self.wanted,
            "too-many-from-source" => self
                .cast
                .max_per_source
                .is_some_and(|most| (most..2 * most).contains(&client.rivals)),
            "stopped" => self.checks.stopped || client.is_unadopted,
            flaw => {
                let verdict = client.login.verdict;
                plan.flaw == Some(flaw) && (verdict.is_none() || verdict == Some("given up"))
            }
        };
        let speaks_5 = client.login.speaks_5();
        let goes_on = !(client.granted && is_refusal(reason, speaks_5));
        assert!(goes_on, "client {place} was relayed, and ended with {reason}");
        assert!(holds, "client {place} ended with {reason}: {plan:?}");
    }

    /// A client that has sent its FIN may have half-closed. With a request for a CONNECT that is
    /// whole it is given some time, and with bytes behind that as long as anybody.
    fn may_leave(&self, place: usize, end: &End) -> bool {
        let client = self.client(place);
        let request = client.plan.request.len() as u64;
        if client.plan.command != CONNECT || end.taken < request {
            return true;
        }
        let leave_ms = self.cast.durations.leave_ms;
        client.taken_at_reply == request && self.now + SLACK_MS >= end.fin_at + leave_ms
    }

    /// No timer is early, and none is late.
    pub fn check_age(&self, place: usize, reason: &str, age_ms: u64) {
        let durations = &self.cast.durations;
        let client = self.client(place);
        let silent_ms = self.now - client.delivered_at;
        let (least, past) = match reason {
            "request-timeout" => (durations.request_ms, age_ms),
            "connect-timeout" => (durations.connect_ms, age_ms),
            "bind-timeout" => (durations.bind_ms, age_ms),
            "idle-timeout" => (durations.idle_ms.unwrap_or(u64::MAX), silent_ms),
            "half-close-timeout" => (durations.half_close_ms, silent_ms),
            _ => return,
        };
        assert!(past + SLACK_MS >= least, "{reason} of client {place} after {past} ms");
        let most = least + durations.linger_ms + 100;
        let is_exact = reason == "request-timeout" && self.jumped.is_none();
        assert!(!is_exact || past <= most, "{reason} of client {place} only after {past} ms");
    }

    /// At the end: whoever was refused has been told, in whole, before the close.
    pub fn check_client_was_told(&self, place: usize) {
        let client = self.client(place);
        let (Some(conn), Some(reason)) = (client.conn, &client.reason) else { return };
        let [near, far] = &self.conns[conn].ends;
        let is_gone = near.dead || client.flow.left;
        // Whoever is stopped, or sleeps for hours in between, may miss it.
        if is_refusal(reason, client.login.speaks_5())
            && !is_gone
            && self.jumped.is_none()
            && !self.checks.stopped
        {
            assert!(client.refused, "client {place} ({reason}) got no refusal");
            assert_eq!(
                far.arrived,
                client.replies.len() as u64,
                "client {place}'s refusal was lost"
            );
        }
        let whole = client.granted && reason == "done";
        if whole && !is_gone {
            assert_eq!(
                far.arrived + near.send.len() as u64,
                near.given,
                "client {place} lacks bytes"
            );
        }
    }
}
