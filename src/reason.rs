//! The reasons why sessions end: one enum for the log word, the counter and the tests.

use std::fmt;

/// Declares the reasons once: the variant, the word that users see, and its meaning.
macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $name:ident = $word:literal,)*) => {
        /// Why a session was closed or refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum CloseReason {
            $($(#[doc = $doc])* $name,)*
        }

        impl CloseReason {
            /// Every reason, in the order of their counters.
            pub const ALL: &'static [CloseReason] = &[$(CloseReason::$name,)*];

            /// The word in log, counters and documents.
            pub fn word(self) -> &'static str {
                match self { $(CloseReason::$name => $word,)* }
            }
        }
    };
}

reasons! {
    /// Both directions ended with a FIN, and everything was delivered.
    Done = "done",
    /// The client reset its connection.
    ClientReset = "client-reset",
    /// The target reset its connection.
    TargetReset = "target-reset",
    /// The client vanished: keepalive probes or data in flight timed out.
    ClientLost = "client-lost",
    /// The target vanished, as in `client-lost`.
    TargetLost = "target-lost",
    /// The client closed its side before its request was answered.
    ClientLeft = "client-left",
    /// The request was incomplete at the request time-out.
    RequestTimeout = "request-timeout",
    /// The target did not answer within the connect time-out.
    ConnectTimeout = "connect-timeout",
    /// No peer connected within the bind time-out.
    BindTimeout = "bind-timeout",
    /// No byte in either direction for the idle time-out.
    IdleTimeout = "idle-timeout",
    /// One direction closed, and the other silent for the half-close time-out.
    HalfCloseTimeout = "half-close-timeout",
    /// VN is not 4 (closed without a reply).
    BadVersion = "bad-version",
    /// CD is neither CONNECT nor BIND.
    BadCommand = "bad-command",
    /// USERID exceeds its limit.
    UserTooLong = "user-too-long",
    /// The name of a SOCKS4A request exceeds its limit.
    NameTooLong = "name-too-long",
    /// The name is empty: some clients send two NULs after an empty USERID.
    EmptyName = "empty-name",
    /// The name is not a valid host name, or is an unusual numeric address.
    BadName = "bad-name",
    /// The name does not exist.
    NameNotFound = "dns-not-found",
    /// The name exists but has no address.
    NameWithoutAddress = "dns-no-data",
    /// No DNS server gave a usable answer.
    DnsFailure = "dns-server-failure",
    /// The name was not resolved within the DNS time-out.
    DnsTimeout = "dns-timeout",
    /// No rule permits the request, and no deny rule decides.
    NoRule = "no-rule",
    /// A deny rule decides: it matches, or no address of the name could pass it.
    Denied = "denied",
    /// The rule requires the client's identd, which named no user (reply 92).
    NoIdent = "no-ident",
    /// The client's identd names a user other than the request's (reply 93).
    OtherUser = "other-user",
    /// Never the target of a TCP connection: 0/8, 224/4, 240/4, port 0 of a CONNECT.
    ImpossibleTarget = "impossible-target",
    /// The target is this proxy's own listening socket.
    Loop = "loop",
    /// The target refused the connection.
    TargetRefused = "refused",
    /// No route to the target, or a router reported it unreachable.
    Unreachable = "unreachable",
    /// A route or firewall on this host forbids the connection.
    Prohibited = "prohibited",
    /// The connection failed for another reason.
    ConnectFailed = "connect-failed",
    /// No address or port was available for a BIND to listen on.
    BindFailed = "bind-failed",
    /// A peer other than an expected and permitted one connected to a BIND.
    WrongPeer = "wrong-peer",
    /// Out of descriptors or memory for sockets.
    NoResources = "no-resources",
    /// The client's address already has the most sessions that one address may have.
    TooManyFromSource = "too-many-from-source",
    /// The proxy stopped.
    Stopped = "stopped",
}

impl CloseReason {
    /// The reason when the client's connection has failed; `lost` when the client vanished.
    pub fn of_client_failure(lost: bool) -> CloseReason {
        if lost { CloseReason::ClientLost } else { CloseReason::ClientReset }
    }

    /// The reason when the target's connection has failed; `lost` when the target vanished.
    pub fn of_target_failure(lost: bool) -> CloseReason {
        if lost { CloseReason::TargetLost } else { CloseReason::TargetReset }
    }

    /// Whether the session was cut off while bytes may have been in flight.
    pub fn is_cut(self) -> bool {
        use CloseReason::*;
        matches!(
            self,
            ClientReset
                | TargetReset
                | ClientLost
                | TargetLost
                | IdleTimeout
                | HalfCloseTimeout
                | Stopped
        )
    }

    /// Whether the client's connection is the one that failed.
    pub fn is_client_failure(self) -> bool {
        matches!(self, CloseReason::ClientReset | CloseReason::ClientLost)
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_distinct_and_counters_follow_the_order() {
        let mut words: Vec<_> = CloseReason::ALL.iter().map(|reason| reason.word()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), CloseReason::ALL.len());
        for (index, &reason) in CloseReason::ALL.iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }
}
