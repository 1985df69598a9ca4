//! Why a session ended: one enum for the log word, the counter and what tests assert.

use std::fmt;

/// Declares the reasons once: variant, the word that users see, and what it means.
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
    /// Both directions ended with a FIN and everything was delivered.
    Done = "done",
    /// The client reset its connection.
    ClientReset = "client-reset",
    /// The target reset its connection.
    TargetReset = "target-reset",
    /// The client vanished: the kernel has given up on keepalive probes or on data on the way.
    ClientLost = "client-lost",
    /// The target vanished in the same way as `client-lost`.
    TargetLost = "target-lost",
    /// The client closed its side before its request was answered.
    ClientLeft = "client-left",
    /// The request did not arrive whole within the request time-out.
    RequestTimeout = "request-timeout",
    /// The target did not answer within the connect time-out.
    ConnectTimeout = "connect-timeout",
    /// Nobody connected within the bind time-out.
    BindTimeout = "bind-timeout",
    /// No byte either way for the idle time-out.
    IdleTimeout = "idle-timeout",
    /// One direction closed and the other silent for the half-close time-out.
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
    /// The name holds what no host name holds, or is an odd numeric form.
    BadName = "bad-name",
    /// The name does not exist.
    NameNotFound = "dns-not-found",
    /// The name exists and has no IPv4 address.
    NameWithoutAddress = "dns-no-data",
    /// No DNS server gave an answer that could be used.
    DnsFailure = "dns-server-failure",
    /// The name was not resolved within the DNS time-out.
    DnsTimeout = "dns-timeout",
    /// No rule permits it, and no deny rule decides.
    NoRule = "no-rule",
    /// A deny rule decides: it matches, or no address of the name would get past it.
    Denied = "denied",
    /// The rule asks for the client's identd and there was no answer (reply 92).
    NoIdent = "no-ident",
    /// The client's identd names another user than the request (reply 93).
    OtherUser = "other-user",
    /// Never the target of a TCP connection: 0/8, 224/4, 240/4, port 0 of a CONNECT.
    ImpossibleTarget = "impossible-target",
    /// The target is this proxy's own listening socket.
    Loop = "loop",
    /// The target refused the connection.
    Refused = "refused",
    /// No route to the target, or its network says so.
    Unreachable = "unreachable",
    /// A route or firewall of this host forbids the connection.
    Prohibited = "prohibited",
    /// The connection could not be made for another reason.
    ConnectFailed = "connect-failed",
    /// No address or port to listen on for a BIND.
    BindFailed = "bind-failed",
    /// Another peer than an expected and permitted one connected to a BIND.
    WrongPeer = "wrong-peer",
    /// Out of descriptors or memory for sockets.
    NoResources = "no-resources",
    /// The client's address has as many sessions as one source may have.
    TooManyFromSource = "too-many-from-source",
    /// The proxy stopped.
    Stopped = "stopped",
}

impl CloseReason {
    /// Why a session ends whose client's connection has failed; `lost` when the client vanished.
    pub fn of_client_failure(lost: bool) -> CloseReason {
        if lost { CloseReason::ClientLost } else { CloseReason::ClientReset }
    }

    /// Why a session ends whose target's connection has failed; `lost` when the target vanished.
    pub fn of_target_failure(lost: bool) -> CloseReason {
        if lost { CloseReason::TargetLost } else { CloseReason::TargetReset }
    }

    /// Whether the session was cut off while bytes may have been on their way.
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

    /// Whether it is the client's connection that has failed.
    pub fn is_of_client(self) -> bool {
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
