//! What the access line of a session must say beside its reason.

use crate::kernel::Kernel;
use crate::lines::field;
use crate::login::Stage;
use crate::tcp::NEAR;

/// The code of a rejection of SOCKS5 for a reason (RFC 1928 section 6).
fn code_5(reason: &str) -> u8 {
    match reason {
        "no-rule" | "denied" | "impossible-target" | "loop" | "prohibited" | "wrong-peer"
        | "no-ident" | "other-user" => 2,
        "network-unreachable" => 3,
        "unreachable" | "empty-name" | "bad-name" | "name-too-long" | "dns-not-found"
        | "dns-no-data" | "dns-server-failure" => 4,
        "refused" => 5,
        "connect-timeout" | "bind-timeout" | "dns-timeout" => 6,
        "bad-command" => 7,
        "bad-address-type" => 8,
        "request-timeout" | "bad-version" | "bind-failed" | "no-resources" | "connect-failed" => 1,
        other => panic!("no code of SOCKS5 for {other}"),
    }
}

fn code_4(reason: &str) -> u8 {
    match reason {
        "no-ident" => 92,
        "other-user" => 93,
        _ => 91,
    }
}

/// An error is named if the reason comes from one of the kernel, and otherwise not. A reset may
/// have been seen by its end only, and a shortage may be one of the proxy.
fn check_error(reason: &str, line: &str) {
    let expected = match reason {
        "refused" | "unreachable" | "network-unreachable" | "prohibited" | "connect-failed" => true,
        "client-lost" | "target-lost" => true,
        "client-reset" | "target-reset" | "no-resources" | "bind-failed" | "connect-timeout" => {
            return;
        }
        _ => false,
    };
    assert_eq!(line.contains(" error="), expected, "{line}");
}

impl Kernel {
    /// The line of a session that has ended for this reason.
    pub fn check_line(&mut self, place: usize, reason: &str, line: &str) {
        let login = &mut self.cast.clients[place].login;
        let is_untimely = ["request-timeout", "too-many-from-source"].contains(&reason);
        if is_untimely && login.stage != Stage::Over {
            login.give_up();
        }
        let client = self.client(place);
        let login = &client.login;
        assert_eq!(field(line, "proto"), login.proto, "client {place}: {line}");
        if login.speaks_5() {
            assert_eq!(field(line, "user"), format!("\"{}\"", login.user), "client {place}");
        }
        self.check_verdict(place, reason, is_untimely);
        let delivered = ["up", "down"].map(|way| field(line, &format!(" {way}")).to_string());
        let expected = self.delivered(place).map(|bytes| bytes.to_string());
        assert_eq!(delivered, expected, "client {place}: bytes delivered: {line}");
        let reply = field(line, "reply");
        if let Some(code) = client.refusal {
            assert_eq!(reply, code.to_string(), "client {place} was told another code: {line}");
        }
        let expected = match reason {
            "client-reset" | "client-lost" | "client-left" | "stopped" => None,
            "bad-version" if !login.speaks_5() => Some("-".to_string()),
            "done" | "idle-timeout" | "half-close-timeout" | "target-reset" | "target-lost" => {
                Some(if login.speaks_5() { "0" } else { "90" }.to_string())
            }
            _ if login.is_rejected => login.answers.last().map(u8::to_string),
            _ if login.speaks_5() => Some(code_5(reason).to_string()),
            _ => Some(code_4(reason).to_string()),
        };
        assert!(
            expected.as_ref().is_none_or(|expected| expected == reply),
            "client {place}: the reply for {reason} is {expected:?}: {line}"
        );
        check_error(reason, line);
        self.count_end(place, reason);
    }

    /// How many bytes were sent to the target of a client, and to the client besides answers.
    fn delivered(&self, place: usize) -> [u64; 2] {
        let client = self.client(place);
        let given = |conn: Option<usize>| conn.map_or(0, |conn| self.conns[conn].ends[NEAR].given);
        let down = given(client.conn) - client.replies.len() as u64;
        [given(client.attempts.winner), down]
    }

    /// A client that has to be rejected for its messages is, and no other.
    fn check_verdict(&self, place: usize, reason: &str, is_untimely: bool) {
        let client = self.client(place);
        let is_flawed = client.plan.flaw == Some(reason);
        let holds = match client.login.verdict {
            None => !["no-method", "bad-password", "too-many-logins"].contains(&reason),
            Some("given up") => is_untimely || is_flawed,
            Some(verdict) => verdict == reason,
        };
        let verdict = client.login.verdict;
        assert!(holds || reason == "stopped", "client {place}: {reason}, expected {verdict:?}");
    }

    fn count_end(&mut self, place: usize, reason: &str) {
        let client = self.client(place);
        let (login, speaks_5) = (&client.login, client.login.speaks_5());
        let is_mixed = client.attempts.are_mixed();
        let is_late = reason == "request-timeout" && login.answers.first_chunk() != Some(&[5, 255]);
        let is_late = is_late && login.answers.len() >= 2;
        let seen = &mut self.seen;
        seen.mixed += u64::from(is_mixed);
        seen.late_messages += u64::from(is_late);
        seen.turned_away[usize::from(speaks_5)] += u64::from(reason == "too-many-from-source");
    }
}
