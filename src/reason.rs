//! The reasons why sessions end: one enum for the log word, the counter and the tests.

use crate::errno::ErrorCode;
use crate::wire::Status;
use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};
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
    /// The first byte is not 4 or 5 (no reply), or a later SOCKS5 message has a wrong version.
    BadVersion = "bad-version",
    /// A load balancer of --proxy-protocol sent no PROXY header, or a wrong one (no reply).
    BadProxyHeader = "bad-proxy-header",
    /// The command is neither CONNECT nor BIND.
    BadCommand = "bad-command",
    /// SOCKS5: the address is of no known type.
    BadAddressType = "bad-address-type",
    /// SOCKS5: the client offers no method of authentication that the proxy accepts.
    NoMethod = "no-method",
    /// SOCKS5: user or password is wrong.
    BadPassword = "bad-password",
    /// SOCKS5: too many wrong passwords from this client's address within a second.
    TooManyLogins = "too-many-logins",
    /// USERID exceeds its limit.
    UserTooLong = "user-too-long",
    /// The name exceeds its limit.
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
    /// Never the target of a TCP connection: 0/8, 224/4, 240/4, ::, ff00::/8, port 0 of a CONNECT.
    ImpossibleTarget = "impossible-target",
    /// The target is this proxy's own listening socket.
    Loop = "loop",
    /// The target refused the connection.
    TargetRefused = "refused",
    /// This host has no route to the target, or does not have its family.
    NetworkUnreachable = "network-unreachable",
    /// The target does not answer on its link, a router cannot reach it, or its route is a black hole.
    Unreachable = "unreachable",
    /// A route or firewall on this host forbids the connection, and says so.
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

    /// What a reply says of it.
    pub fn status(self) -> Status {
        use CloseReason::*;
        match self {
            NoIdent => Status::NoIdent,
            OtherUser => Status::OtherUser,
            NoRule | Denied | ImpossibleTarget | Loop | Prohibited | WrongPeer
            | TooManyFromSource => Status::NotAllowed,
            NetworkUnreachable => Status::NetworkUnreachable,
            Unreachable | EmptyName | BadName | NameTooLong | NameNotFound | NameWithoutAddress
            | DnsFailure => Status::HostUnreachable,
            TargetRefused => Status::Refused,
            ConnectTimeout | BindTimeout | DnsTimeout => Status::TimedOut,
            BadCommand => Status::CommandNotSupported,
            BadAddressType => Status::AddressTypeNotSupported,
            // No reply says more, or none is sent.
            Done | ClientReset | TargetReset | ClientLost | TargetLost | ClientLeft
            | RequestTimeout | IdleTimeout | HalfCloseTimeout | BadVersion | BadProxyHeader
            | NoMethod | BadPassword | TooManyLogins | UserTooLong | ConnectFailed | BindFailed
            | NoResources | Stopped => Status::Failed,
        }
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

    /// Whether the proxy itself refused the client: by a rule, a limit, or for who it is.
    pub fn is_refusal(self) -> bool {
        use CloseReason::*;
        matches!(
            self,
            NoMethod
                | BadPassword
                | TooManyLogins
                | NoRule
                | Denied
                | NoIdent
                | OtherUser
                | ImpossibleTarget
                | Loop
                | WrongPeer
                | TooManyFromSource
        )
    }

    /// Whether the proxy permitted what the client asked for and could not do it: because of a name,
    /// the network, the target or its own resources. No refusal is one.
    pub fn is_failure(self) -> bool {
        use CloseReason::*;
        matches!(
            self,
            ConnectTimeout
                | BindTimeout
                | TargetLost
                | NameNotFound
                | NameWithoutAddress
                | DnsFailure
                | DnsTimeout
                | TargetRefused
                | NetworkUnreachable
                | Unreachable
                | Prohibited
                | ConnectFailed
                | BindFailed
                | NoResources
        )
    }

    /// Whether the client's connection is the one that failed.
    pub fn is_client_failure(self) -> bool {
        matches!(self, CloseReason::ClientReset | CloseReason::ClientLost)
    }

    /// Whether the target's connection is the one that failed.
    pub fn is_target_failure(self) -> bool {
        matches!(self, CloseReason::TargetReset | CloseReason::TargetLost)
    }
}

/// By its word, so that the enum may change.
impl<C> Encode<C> for CloseReason {
    fn encode<W: Write>(
        &self,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        encoder.str(self.word())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for CloseReason {
    fn decode(decoder: &mut Decoder<'b>, _: &mut C) -> Result<CloseReason, decode::Error> {
        let word = decoder.str()?;
        let reason = CloseReason::ALL.iter().copied().find(|reason| reason.word() == word);
        reason.ok_or_else(|| decode::Error::message(format!("no close reason {word:?}")))
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why a session ends, with the error of the system that the reason comes from, if it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Cause {
    /// The reason.
    #[n(0)]
    pub reason: CloseReason,
    /// The error.
    #[n(1)]
    pub error: Option<ErrorCode>,
}

impl From<CloseReason> for Cause {
    fn from(reason: CloseReason) -> Cause {
        Cause { reason, error: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Protocol;

    /// As the manual has it.
    #[test]
    fn each_reason_has_the_code_that_says_most() {
        use CloseReason::*;
        let reasons: [(u8, &[CloseReason]); 7] = [
            (
                2,
                &[
                    NoRule,
                    Denied,
                    Loop,
                    ImpossibleTarget,
                    Prohibited,
                    WrongPeer,
                    TooManyFromSource,
                    NoIdent,
                    OtherUser,
                ],
            ),
            (3, &[NetworkUnreachable]),
            (
                4,
                &[
                    Unreachable,
                    EmptyName,
                    BadName,
                    NameTooLong,
                    NameNotFound,
                    NameWithoutAddress,
                    DnsFailure,
                ],
            ),
            (5, &[TargetRefused]),
            (6, &[ConnectTimeout, BindTimeout, DnsTimeout]),
            (7, &[BadCommand]),
            (8, &[BadAddressType]),
        ];
        for reason in CloseReason::ALL {
            let listed = reasons.iter().find(|(_, reasons)| reasons.contains(reason));
            let socks5 = listed.map_or(1, |(code, _)| *code);
            assert_eq!(reason.status().code(Protocol::Socks5), socks5, "{reason}");
            let socks4 = match reason {
                NoIdent => 92,
                OtherUser => 93,
                _ => 91,
            };
            assert_eq!(reason.status().code(Protocol::Socks4), socks4, "{reason}");
        }
    }

    /// A reason that comes has to be put into one of them.
    #[test]
    fn each_reason_is_a_refusal_or_a_failure_or_an_end_that_the_clients_and_targets_brought_about()
    {
        use CloseReason::*;
        let ends = [
            Done,
            ClientReset,
            TargetReset,
            ClientLost,
            ClientLeft,
            RequestTimeout,
            IdleTimeout,
            HalfCloseTimeout,
            BadVersion,
            BadProxyHeader,
            BadCommand,
            BadAddressType,
            UserTooLong,
            NameTooLong,
            EmptyName,
            BadName,
            Stopped,
        ];
        for reason in CloseReason::ALL {
            let classes = [reason.is_refusal(), reason.is_failure(), ends.contains(reason)];
            let count = classes.iter().filter(|&&is_one| is_one).count();
            assert_eq!(count, 1, "{reason}: refusal, failure, end: {classes:?}");
        }
        // One that the proxy answered with "not allowed" was rejected, or stopped by the host.
        let denied = CloseReason::ALL.iter().filter(|one| one.status() == Status::NotAllowed);
        assert!(denied.filter(|one| one.is_failure()).eq([&Prohibited]));
    }

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
