//! A session as a pure state machine: `handle_*` takes what happened and returns what to do.
//!
//! ```text
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
mod env;
mod evaluate;
mod request;
mod state;

pub use action::{Action, ListenFor};
pub use attempts::{ATTEMPTS_MAX, REPLACE_INTERVALS};
pub use env::{Env, Surroundings};
pub use request::RequestRecord;
pub use state::State;

use crate::dns::{DnsError, Resolved};
use crate::ident::{self, IdentResult, Strictness};
use crate::name::{self, Name, NameError};
use crate::reason::CloseReason;
use crate::rules::{Ident, RuleSet};
use crate::settings::Durations;
use crate::time::Millis;
use crate::wire::{self, Code, Command, Host, Parsed, Reply, Request, RequestError};
use attempts::{Attempts, Start};
use candidates::{Candidate, Candidates, Peers, Plan};
use evaluate::{Evaluator, Rejection};
use log::debug;

use std::net::SocketAddrV4;

/// One client's session.
pub struct Session {
    /// Counted from 1; appears in every log line of the session.
    pub id: u64,
    /// The client's address.
    pub client: SocketAddrV4,
    /// When it was accepted.
    pub started: Millis,
    state: State,
    /// When the state was entered.
    since: Millis,
    request: RequestRecord,
    /// How the client's identd answered, if it was queried.
    identity: Option<Box<IdentResult>>,
    /// The address connected to, or the peer of a BIND.
    address: Option<SocketAddrV4>,
    /// Line of the rule that decided.
    rule: Option<u32>,
    /// The last reply's code.
    reply: Option<Code>,
}

impl Session {
    /// A session that is waiting for its request.
    pub fn new(id: u64, client: SocketAddrV4, started: Millis) -> Session {
        Session {
            id,
            client,
            started,
            state: State::ReadingRequest,
            since: started,
            request: RequestRecord::default(),
            identity: None,
            address: None,
            rule: None,
            reply: None,
        }
    }

    /// The current state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// When it was entered.
    pub fn since(&self) -> Millis {
        self.since
    }

    /// The request; empty until it has been read.
    pub fn request(&self) -> &RequestRecord {
        &self.request
    }

    /// The address connected to, or the peer of a BIND, once known.
    pub fn address(&self) -> Option<SocketAddrV4> {
        self.address
    }

    /// How the client's identd answered, if it was queried.
    pub fn identity(&self) -> Option<&IdentResult> {
        self.identity.as_deref()
    }

    /// Line of the rule that decided.
    pub fn rule(&self) -> Option<u32> {
        self.rule
    }

    /// The last reply's code.
    pub fn reply(&self) -> Option<Code> {
        self.reply
    }

    /// When [`Session::handle_deadline`] is due. A relay's deadline depends on its bytes, which the
    /// session does not know.
    pub fn deadline(&self, durations: &Durations) -> Option<Millis> {
        let after = |ms: Millis| self.since.saturating_add(ms);
        match &self.state {
            State::ReadingRequest => Some(after(durations.request_ms)),
            State::Resolving { queries_ident: true, .. } => {
                Some(after(durations.resolve_ms.min(durations.ident_ms)))
            }
            State::Resolving { .. } => Some(after(durations.resolve_ms)),
            State::Identifying(_) => Some(after(durations.ident_ms)),
            State::Connecting(attempts) => {
                let next_ms = attempts.next_after_ms().unwrap_or(Millis::MAX);
                Some(after(durations.connect_ms.min(next_ms)))
            }
            State::AwaitingBind(_) => Some(after(durations.bind_ms)),
            State::Rejecting(_) => Some(after(durations.linger_ms)),
            State::Relaying | State::Closed(_) => None,
        }
    }

    /// The deadline has come.
    pub fn handle_deadline(&mut self, durations: &Durations, env: &Env<'_>) -> Action {
        let is_over = |ms: Millis| self.since.saturating_add(ms) <= env.now;
        match &self.state {
            State::ReadingRequest => self.reject(CloseReason::RequestTimeout, env.now),
            State::Resolving { .. } if is_over(durations.resolve_ms) => {
                self.reject(CloseReason::DnsTimeout, env.now)
            }
            State::Resolving { .. } | State::Identifying(_) => {
                self.handle_ident(IdentResult::Missing, env)
            }
            State::Connecting(_) if is_over(durations.connect_ms) => {
                self.reject(CloseReason::ConnectTimeout, env.now)
            }
            State::Connecting(_) => self.try_next(true, env),
            State::AwaitingBind(_) => self.reject(CloseReason::BindTimeout, env.now),
            State::Rejecting(_) => self.handle_rejected(env.now),
            State::Relaying | State::Closed(_) => Action::Wait,
        }
    }

    /// The bytes that the client has sent so far, while its request is being read. Returns how many
    /// of them were the request; the rest belongs to the target.
    pub fn handle_request(&mut self, bytes: &[u8], env: &Env<'_>) -> (usize, Action) {
        match wire::parse_request(bytes) {
            Ok(Parsed::More) => (0, Action::Wait),
            Ok(Parsed::Done(request, length)) => (length, self.begin(&request, env)),
            Err(RequestError::Version(_)) => (0, self.close(CloseReason::BadVersion, env.now)),
            Err(RequestError::Command(_)) => (0, self.reject(CloseReason::BadCommand, env.now)),
            Err(RequestError::UserTooLong) => (0, self.reject(CloseReason::UserTooLong, env.now)),
            Err(RequestError::NameTooLong) => (0, self.reject(CloseReason::NameTooLong, env.now)),
        }
    }

    fn begin(&mut self, request: &Request<'_>, env: &Env<'_>) -> Action {
        let command = request.command;
        (self.request.command, self.request.port) = (Some(command), request.port);
        let address = match request.host {
            Host::Address(address) => {
                self.request.set_text(request.user, b"");
                address
            }
            Host::Name(name) => {
                self.request.set_text(request.user, name);
                match name::classify(name) {
                    Ok(name::Classified::Address(address)) => address,
                    Ok(name::Classified::Name(name)) => return self.resolve(command, name, env),
                    Err(NameError::TooLong) => {
                        return self.reject(CloseReason::NameTooLong, env.now);
                    }
                    Err(NameError::Empty) => return self.reject(CloseReason::EmptyName, env.now),
                    Err(_) => return self.reject(CloseReason::BadName, env.now),
                }
            }
        };
        self.request.host = Some(address);
        if command == Command::Bind && address.is_unspecified() {
            return self.listen_for_any_peer(env.rules, env.now);
        }
        match self.evaluator(command).evaluate_all(None, &[address.into()], env) {
            Ok(candidates) => self.handle_candidates(command, candidates, false, env),
            Err(rejection) => self.reject_as(rejection, env.now),
        }
    }

    fn evaluator(&self, command: Command) -> Evaluator<'_> {
        let (client, user) = (*self.client.ip(), self.request.user());
        Evaluator { command, port: self.request.port, client, user }
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
        match &self.identity {
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
        self.identity = Some(Box::new(result));
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
        let rejection = |reason| Err(Rejection { reason, line: Some(candidate.line) });
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
                self.rule = Some(candidates.first().line);
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
                let target = self.set_target(candidate);
                Action::Connect { attempt: number, target, replaces_oldest }
            }
            None => Action::Wait,
        }
    }

    fn set_target(&mut self, Candidate { address, line, .. }: Candidate) -> SocketAddrV4 {
        let target = SocketAddrV4::new(address, self.request.port);
        (self.address, self.rule) = (Some(target), Some(line));
        target
    }

    /// An attempt has connected; `local` is its local address.
    pub fn handle_connected(&mut self, attempt: usize, local: SocketAddrV4, now: Millis) -> Action {
        let State::Connecting(attempts) = &self.state else { return Action::Wait };
        let Some(candidate) = attempts.get(attempt) else { return Action::Wait };
        self.set_target(candidate);
        self.enter(State::Relaying, now);
        self.answer(Reply::granted(local))
    }

    /// An attempt to connect has failed.
    pub fn handle_attempt_failed(
        &mut self,
        attempt: usize,
        reason: CloseReason,
        env: &Env<'_>,
    ) -> Action {
        let elapsed_ms = env.now - self.since;
        let State::Connecting(attempts) = &mut self.state else { return Action::Wait };
        if reason == CloseReason::NoResources
            && attempts.postpone(attempt, elapsed_ms, env.attempt_delay_ms)
        {
            // The one before it is the latest again.
            let latest = attempts.get(attempt.saturating_sub(1));
            latest.map(|latest| self.set_target(latest));
            return Action::Wait;
        }
        let (candidate, was_last) = (attempts.get(attempt), attempts.fail_one());
        if !was_last {
            debug!("id={} attempt {attempt} failed: {reason}", self.id);
            return self.try_next(false, env);
        }
        candidate.map(|candidate| self.set_target(candidate));
        self.reject(reason, env.now)
    }

    /// The listener of a BIND is open; `advertised` is the address for the client.
    pub fn handle_listening(&mut self, advertised: SocketAddrV4) -> Action {
        self.answer(Reply::granted(advertised))
    }

    /// A peer connected to the listener of a BIND. Its address has to be an expected one; its port
    /// is not checked.
    pub fn handle_peer(&mut self, peer: SocketAddrV4, env: &Env<'_>) -> Action {
        let State::AwaitingBind(peers) = &self.state else { return Action::Wait };
        let evaluated = match peers {
            Peers::Any => self.evaluator(Command::Bind).evaluate(None, *peer.ip(), env),
            Peers::Expected(candidates) => {
                let expected = candidates.iter().find(|one| one.address == *peer.ip());
                expected.ok_or(Rejection { reason: CloseReason::WrongPeer, line: self.rule })
            }
        };
        let checked = evaluated.and_then(|candidate| self.check_ident(candidate));
        self.address = Some(peer);
        match checked {
            Ok(candidate) => {
                self.rule = Some(candidate.line);
                self.enter(State::Relaying, env.now);
                self.answer(Reply::granted(peer))
            }
            Err(rejection) => self.reject_as(rejection, env.now),
        }
    }

    /// The rejection has been delivered, or the client is gone.
    pub fn handle_rejected(&mut self, now: Millis) -> Action {
        match self.state {
            State::Rejecting(reason) => self.close(reason, now),
            _ => Action::Wait,
        }
    }

    /// Ends the session at once, without a reply.
    pub fn close(&mut self, reason: CloseReason, now: Millis) -> Action {
        self.enter(State::Closed(reason), now);
        Action::Wait
    }

    /// Rejects the request: the client gets its reply before the close.
    pub fn reject(&mut self, reason: CloseReason, now: Millis) -> Action {
        self.enter(State::Rejecting(reason), now);
        self.answer(Reply::rejected(match reason {
            CloseReason::NoIdent => Code::NoIdent,
            CloseReason::OtherUser => Code::OtherUser,
            _ => Code::Rejected,
        }))
    }

    fn reject_as(&mut self, rejection: Rejection, now: Millis) -> Action {
        self.rule = rejection.line;
        self.reject(rejection.reason, now)
    }

    fn answer(&mut self, reply: Reply) -> Action {
        self.reply = Some(reply.code);
        Action::Send(reply)
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
