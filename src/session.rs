//! A session as a pure state machine: `handle_*` takes what happened and returns what to do.
//!
//! ```text
//!     [ReadingProxyHeader] --> ReadingRequest (as follows)
//!
//!     ReadingRequest --> [Resolving] --> [Identifying] --> Connecting ----> Relaying
//!               \                                    \----> AwaitingBind --/   |
//!                \                                              |              v
//!                 \-------- (from all of these) ------> Rejecting(reason) -> Closed(reason)
//! ```
//!
//! Every state but the last may also end in `Closed` at once: when the client leaves, is reset,
//! or speaks another protocol. There is no state for replying: a reply is the first bytes
//! towards the client, and bytes after the request are the first towards the target.
//!
//! An event that does not fit the state, such as a late answer, changes nothing.

mod action;
mod attempts;
mod candidates;
mod causes;
mod deadline;
mod details;
mod env;
mod evaluate;
mod foreign;
mod messages;
#[cfg_attr(not(feature = "proxy-protocol"), path = "session/proxied/absent.rs")]
mod proxied;
#[cfg(feature = "upgrade")]
mod record;
mod request;
mod state;

pub use action::{Action, ListenFor};
pub use attempts::{ATTEMPTS_MAX, REPLACE_INTERVALS};
pub use details::{Balancer, Listening};
#[cfg(test)]
pub use env::Plain as PlainSurroundings;
pub use env::{Env, Surroundings};
pub use evaluate::{Evaluator, Rejection};
pub use foreign::Foreign;
pub use request::RequestRecord;
pub use state::{State, StateKind};

use crate::address::IpPort;
use crate::dns::{DnsError, Resolved};
use crate::ident::{self, IdentResult, Strictness};
use crate::name::Name;
use crate::reason::{Cause, CloseReason};
use crate::rules::{Ident, PartialRequest, RuleSet};
use crate::time::Millis;
use crate::wire::{Answer, Command, Protocol, Reply, Stage};
use attempts::{Attempts, Start};
use candidates::{Candidate, Candidates, Peers, Plan};
use details::Details;
use log::debug;
use minicbor::{Decode, Encode};
use smallvec::SmallVec;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;

/// One client's session.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Session {
    /// Counted from 1; appears in every log line of the session.
    #[n(0)]
    pub id: u64,
    /// The client's address; that of its load balancer until the header has told the client's.
    #[n(1)]
    pub client: IpPort,
    /// When it was accepted.
    #[n(2)]
    pub started: Millis,
    #[n(3)]
    state: State,
    /// The start of what the state waits for.
    #[n(4)]
    since: Millis,
    #[n(5)]
    request: RequestRecord,
    /// What few sessions have.
    #[n(6)]
    details: Option<Box<Details>>,
    /// The address connected to, or the peer of a BIND.
    #[n(7)]
    address: Option<IpPort>,
    /// Line of the rule that decided.
    #[n(8)]
    rule: Option<NonZeroU32>,
    /// The code of the last reply, or of the answer that rejected the client before its request.
    #[n(9)]
    reply: Option<u8>,
}

impl Session {
    /// A session that is waiting for its request.
    pub fn new(id: u64, client: IpPort, started: Millis) -> Session {
        Session {
            id,
            client,
            started,
            state: State::ReadingRequest { stage: Stage::First, is_welcome: true },
            since: started,
            request: RequestRecord::default(),
            details: None,
            address: None,
            rule: None,
            reply: None,
        }
    }

    /// A session that is rejected as soon as its first byte tells in which protocol, or after a
    /// short time.
    pub fn unwelcome(id: u64, client: IpPort, started: Millis) -> Session {
        let state = State::ReadingRequest { stage: Stage::First, is_welcome: false };
        Session { state, ..Session::new(id, client, started) }
    }

    /// The current state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The start of what it waits for: mostly when it was entered.
    pub fn since(&self) -> Millis {
        self.since
    }

    /// The request; empty until it has been read.
    pub fn request(&self) -> &RequestRecord {
        &self.request
    }

    /// The address connected to, or the peer of a BIND, once known.
    pub fn address(&self) -> Option<IpPort> {
        self.address
    }

    /// Line of the rule that decided.
    pub fn rule(&self) -> Option<u32> {
        self.rule.map(NonZeroU32::get)
    }

    /// The code of the last reply, or of the answer that rejected the client before its request,
    /// as its protocol has it.
    pub fn reply(&self) -> Option<u8> {
        self.reply
    }

    /// The protocol of the answers; SOCKS4 until the first byte has told.
    pub fn protocol(&self) -> Protocol {
        self.request.protocol.unwrap_or(Protocol::Socks4)
    }

    fn evaluator(&self, command: Command) -> Evaluator<'_> {
        let RequestRecord { port, is_proven: proven, .. } = self.request;
        let (client, user) = (self.client.ip, self.request.user());
        Evaluator(PartialRequest { command, port, client, user, proven })
    }

    fn resolve(&mut self, command: Command, name: Name, env: &Env<'_>) -> Action {
        let ident = match self.evaluator(command).could_permit_name(&name, env) {
            Ok(ident) => ident,
            Err(rejection) => return self.reject_as(rejection, env.now),
        };
        // Identd will be queried for any address, so both queries run at the same time.
        let query_ident = ident == Ident::Strict;
        self.enter(State::Resolving { command, queries_ident: query_ident }, env.now);
        Action::Resolve { name, query_ident }
    }

    /// BIND for any peer: each is evaluated when it connects, so identd has to be queried before if
    /// any rule might require it.
    fn listen_for_any_peer(&mut self, rules: &RuleSet, now: Millis) -> Action {
        match self.evaluator(Command::Bind).could_permit_any_peer(rules) {
            Err(rejection) => self.reject_as(rejection, now),
            Ok(Ident::No) => self.listen(Peers::Any, now),
            Ok(_) => self.query_ident(Plan::Bind(Peers::Any), now),
        }
    }

    /// The name has been resolved, or not.
    pub fn handle_resolved(
        &mut self,
        answer: &Result<Resolved, DnsError>,
        env: &Env<'_>,
    ) -> Action {
        let State::Resolving { command, queries_ident } = self.state else { return Action::Wait };
        let reason = match answer {
            Ok(Resolved { name, addresses }) => {
                let addresses = self.in_order(command, addresses);
                return match self.evaluator(command).evaluate_all(Some(name), addresses, env) {
                    Ok(candidates) => {
                        self.handle_candidates(command, candidates, queries_ident, env)
                    }
                    Err(rejection) => self.reject_as(rejection, env.now),
                };
            }
            Err(DnsError::NotFound) => CloseReason::NameNotFound,
            Err(DnsError::NoData) => CloseReason::NameWithoutAddress,
            Err(DnsError::ServerFailure) => CloseReason::DnsFailure,
            Err(DnsError::Timeout) => CloseReason::DnsTimeout,
        };
        self.reject(reason, env.now)
    }

    /// The addresses in the order in which they count. A BIND listens in one family only, that of
    /// the first, and SOCKS4 has no reply for an IPv6 address.
    fn in_order(&self, command: Command, addresses: &[IpAddr]) -> SmallVec<[IpAddr; 16]> {
        if command == Command::Bind && self.protocol() != Protocol::Socks5 {
            let of = |ipv6| addresses.iter().copied().filter(move |ip| ip.is_ipv6() == ipv6);
            return of(false).chain(of(true)).collect();
        }
        SmallVec::from_slice(addresses)
    }

    /// The candidates are known: proceeds, unless identd has to answer first.
    fn handle_candidates(
        &mut self,
        command: Command,
        candidates: Candidates,
        queries_ident: bool,
        env: &Env<'_>,
    ) -> Action {
        let needs_ident = candidates.iter().any(|candidate| candidate.ident != Ident::No);
        let plan = match command {
            Command::Connect => Plan::Connect(candidates),
            Command::Bind => Plan::Bind(Peers::Expected(candidates)),
        };
        if queries_ident {
            // Both questions were asked at once, and identd's time runs on.
            self.enter(State::Identifying(plan), self.since);
            return Action::Wait;
        }
        match self.identity() {
            None if needs_ident => self.query_ident(plan, env.now),
            _ => self.proceed(plan, env),
        }
    }

    fn query_ident(&mut self, plan: Plan, now: Millis) -> Action {
        self.enter(State::Identifying(plan), now);
        Action::QueryIdent
    }

    /// The client's identd has answered, or will not.
    pub fn handle_ident(&mut self, result: IdentResult, env: &Env<'_>) -> Action {
        let plan = match &mut self.state {
            State::Resolving { queries_ident, .. } if *queries_ident => {
                *queries_ident = false;
                None
            }
            State::Identifying(plan) => Some(plan.clone()),
            // Its time is over.
            _ => return Action::Wait,
        };
        debug!("id={} {}", self.id, result.word());
        self.details.get_or_insert_default().identity = Some(result);
        plan.map_or(Action::Wait, |plan| self.proceed(plan, env))
    }

    /// Whether an answer of the client's identd is waited for.
    pub fn queries_ident(&self) -> bool {
        matches!(self.state, State::Resolving { queries_ident: true, .. } | State::Identifying(_))
    }

    /// Whether identd's answer satisfies a candidate's rule.
    fn check_ident(&self, candidate: Candidate) -> Result<Candidate, Rejection> {
        let strictness = match candidate.ident {
            Ident::No => return Ok(candidate),
            Ident::Strict => Strictness::Strict,
            Ident::Lax => Strictness::Lax,
        };
        // Rules reloaded while a BIND waits may require identd when the old ones did not.
        let result = self.identity().unwrap_or(&IdentResult::Missing);
        let rejection = |reason: CloseReason| {
            Err(Rejection { cause: reason.into(), line: Some(candidate.line) })
        };
        match ident::evaluate(result, self.request.user(), strictness) {
            ident::Evaluation::Ok => Ok(candidate),
            ident::Evaluation::NoIdent => rejection(CloseReason::NoIdent),
            ident::Evaluation::OtherUser => rejection(CloseReason::OtherUser),
        }
    }

    /// Connects or listens, now that everything is known.
    fn proceed(&mut self, plan: Plan, env: &Env<'_>) -> Action {
        let identified = |candidates: Candidates| {
            let checked = candidates.iter().map(|candidate| self.check_ident(candidate));
            evaluate::permitted(checked, Rejection::without_rule(CloseReason::NoIdent))
        };
        let plan = match plan {
            Plan::Connect(candidates) => identified(candidates).map(Plan::Connect),
            Plan::Bind(Peers::Expected(candidates)) => {
                identified(candidates).map(|candidates| Plan::Bind(Peers::Expected(candidates)))
            }
            Plan::Bind(Peers::Any) => Ok(Plan::Bind(Peers::Any)),
        };
        match plan {
            Ok(Plan::Connect(candidates)) => {
                self.enter(State::Connecting(Attempts::new(candidates)), env.now);
                self.try_next(true, env)
            }
            Ok(Plan::Bind(peers)) => self.listen(peers, env.now),
            Err(rejection) => self.reject_as(rejection, env.now),
        }
    }

    fn listen(&mut self, peers: Peers, now: Millis) -> Action {
        let listen_for = match &peers {
            Peers::Any => ListenFor::AnyPeer,
            Peers::Expected(candidates) => {
                self.rule = NonZeroU32::new(candidates.first().line);
                ListenFor::Peer(candidates.first().address)
            }
        };
        self.enter(State::AwaitingBind(peers), now);
        Action::Listen(listen_for)
    }

    /// Tries the next address, if any is left, since its time has come (`is_due`) or an attempt has
    /// failed.
    fn try_next(&mut self, is_due: bool, env: &Env<'_>) -> Action {
        let elapsed_ms = env.now - self.since;
        let State::Connecting(attempts) = &mut self.state else { return Action::Wait };
        match attempts.start_next(is_due, elapsed_ms, env.attempt_delay_ms) {
            Some(Start { number, candidate, replaces_oldest }) => {
                let target = self.note_target(candidate);
                Action::Connect { attempt: number, target, replaces_oldest }
            }
            None => Action::Wait,
        }
    }

    fn note_target(&mut self, Candidate { address, line, .. }: Candidate) -> SocketAddr {
        let target = IpPort::new(address, self.request.port);
        (self.address, self.rule) = (Some(target), NonZeroU32::new(line));
        target.into()
    }

    /// An attempt has connected; `local` is its local address.
    pub fn handle_connected(&mut self, attempt: usize, local: SocketAddr, now: Millis) -> Action {
        let State::Connecting(attempts) = &self.state else { return Action::Wait };
        let Some(candidate) = attempts.get(attempt) else { return Action::Wait };
        self.note_target(candidate);
        self.enter(State::Relaying, now);
        self.grant(local)
    }

    /// An attempt to connect has failed.
    pub fn handle_attempt_failed(
        &mut self,
        attempt: usize,
        cause: impl Into<Cause>,
        env: &Env<'_>,
    ) -> Action {
        let cause = cause.into();
        let elapsed_ms = env.now - self.since;
        let State::Connecting(attempts) = &mut self.state else { return Action::Wait };
        if cause.reason == CloseReason::NoResources
            && attempts.postpone(attempt, elapsed_ms, env.attempt_delay_ms)
        {
            // The one before it is the latest again.
            let latest = attempts.get(attempt.saturating_sub(1));
            latest.map(|latest| self.note_target(latest));
            return Action::Wait;
        }
        let Some((attempt, cause)) = attempts.fail(attempt, cause) else {
            debug!("id={} attempt {attempt} failed: {}", self.id, cause.reason);
            return self.try_next(false, env);
        };
        let candidate = attempts.get(attempt);
        candidate.map(|candidate| self.note_target(candidate));
        self.reject(cause, env.now)
    }

    /// The listener of a BIND is open at an address; `advertised` is the one for the client.
    pub fn handle_listening(&mut self, at: SocketAddr, advertised: SocketAddr) -> Action {
        let listening = Listening { at: at.into(), advertised: advertised.into() };
        self.details.get_or_insert_default().listening = Some(listening);
        self.grant(advertised)
    }

    /// A peer connected to the listener of a BIND. Its address has to be an expected one; its port
    /// is not checked.
    pub fn handle_peer(&mut self, peer: SocketAddr, env: &Env<'_>) -> Action {
        let State::AwaitingBind(peers) = &self.state else { return Action::Wait };
        let peer = IpPort::from(peer);
        let evaluated = match peers {
            Peers::Any => self.evaluator(Command::Bind).evaluate(None, peer.ip, env),
            Peers::Expected(candidates) => {
                let expected = candidates.iter().find(|one| one.address == peer.ip);
                let cause = CloseReason::WrongPeer.into();
                expected.ok_or(Rejection { cause, line: self.rule() })
            }
        };
        let checked = evaluated.and_then(|candidate| self.check_ident(candidate));
        self.address = Some(peer);
        match checked {
            Ok(candidate) => {
                self.rule = NonZeroU32::new(candidate.line);
                self.enter(State::Relaying, env.now);
                self.grant(peer.into())
            }
            Err(rejection) => self.reject_as(rejection, env.now),
        }
    }

    /// The rejection has been delivered, or the client is gone.
    pub fn handle_rejected(&mut self, now: Millis) -> Action {
        match self.state {
            State::Rejecting(reason) => {
                self.enter(State::Closed(reason), now);
                Action::Wait
            }
            _ => Action::Wait,
        }
    }

    /// Ends the session at once, without a reply.
    pub fn close(&mut self, cause: impl Into<Cause>, now: Millis) -> Action {
        let reason = self.note_cause(cause.into());
        self.enter(State::Closed(reason), now);
        Action::Wait
    }

    /// Rejects the client, which gets its reply before the close: of SOCKS5 the answer to the
    /// message that is being read.
    pub fn reject(&mut self, cause: impl Into<Cause>, now: Millis) -> Action {
        let reason = self.note_cause(cause.into());
        let answer = match (&self.state, self.protocol()) {
            (State::ReadingRequest { stage: Stage::First, .. }, Protocol::Socks5) => {
                Answer::Method(None)
            }
            (State::ReadingRequest { stage: Stage::Password, .. }, _) => {
                Answer::Password { accepted: false }
            }
            _ => Answer::Reply(Reply::rejected(reason.status())),
        };
        self.enter(State::Rejecting(reason), now);
        self.answer(answer)
    }

    fn reject_as(&mut self, rejection: Rejection, now: Millis) -> Action {
        self.rule = rejection.line.and_then(NonZeroU32::new);
        self.reject(rejection.cause, now)
    }

    fn grant(&mut self, address: SocketAddr) -> Action {
        self.answer(Answer::Reply(Reply::granted(address)))
    }

    fn answer(&mut self, answer: Answer) -> Action {
        self.reply = Some(answer.code(self.protocol()));
        Action::Send(answer)
    }

    /// The only place where the state changes. `since` is the start of what the state waits for.
    fn enter(&mut self, next: State, since: Millis) {
        debug!("id={} {} -> {next}", self.id, self.state);
        assert!(self.state.may_become(&next), "no session goes from {} to {next}", self.state);
        (self.state, self.since) = (next, since);
    }
}

#[cfg(test)]
#[path = "session_test.rs"]
mod tests;

#[cfg(all(test, feature = "upgrade"))]
pub use record::tests::samples;
