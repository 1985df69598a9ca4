//! A session as a pure state machine: `handle_*` says what happened, the answer says what to do.
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
//! towards the client, and bytes behind the request are the first towards the target.

mod action;
mod judge;
mod state;

pub use action::Action;
pub use state::State;

use crate::dns::{DnsError, Resolved};
use crate::ident::{self, Outcome, Strictness};
use crate::name::{self, Name, NameError};
use crate::reason::CloseReason;
use crate::rules::{Ident, RuleSet};
use crate::timer::{Deadline, Millis};
use crate::wire::{self, Code, Command, Host, Parsed, Reply, Request, RequestError};
use log::debug;
use smallvec::SmallVec;
use std::net::{Ipv4Addr, SocketAddrV4};

/// A USERID and a name of so many bytes together cost no allocation.
const TEXT_BYTES: usize = 32;

/// What a session needs to know of the proxy.
pub struct Env<'a> {
    /// The rules in force.
    pub rules: &'a RuleSet,
    /// Whether an address is one of the proxy's own listening sockets.
    pub is_own: &'a dyn Fn(SocketAddrV4) -> bool,
    /// The names that one asked for may stand for: itself, or completed from the search list.
    pub candidates: &'a dyn Fn(&Name) -> Vec<Name>,
}

/// An address that the rules permit, and the rule that does.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    address: Ipv4Addr,
    line: u32,
    ident: Ident,
}

/// What the client's identd says.
#[derive(Debug)]
enum Identity {
    NotAsked,
    Asked,
    Told(Box<Outcome>),
}

/// One client's session.
pub struct Session {
    /// Counted from 1; the same in every log line of the session.
    pub id: u64,
    /// The client's address.
    pub client: SocketAddrV4,
    /// When it was accepted.
    pub started: Millis,
    state: State,
    command: Option<Command>,
    /// DSTPORT.
    port: u16,
    /// DSTIP; unset for a name.
    host: Option<Ipv4Addr>,
    /// The address connected to, or the peer of a BIND.
    address: Option<SocketAddrV4>,
    /// USERID, and behind it the name of a SOCKS4A request.
    text: SmallVec<[u8; TEXT_BYTES]>,
    user_bytes: u16,
    identity: Identity,
    /// What is left to be tried, the next one last; the peers of a BIND. Empty while one address
    /// is all there is.
    candidates: SmallVec<[Candidate; 1]>,
    /// How many addresses share the time to connect.
    tries: u8,
    /// Line of the rule that decided; 0 when none did.
    rule: u32,
    /// The last reply's code.
    reply: Option<Code>,
}

impl Session {
    /// A session that waits for its request.
    pub fn new(id: u64, client: SocketAddrV4, started: Millis) -> Session {
        Session {
            id,
            client,
            started,
            state: State::ReadingRequest,
            command: None,
            port: 0,
            host: None,
            address: None,
            text: SmallVec::new(),
            user_bytes: 0,
            identity: Identity::NotAsked,
            candidates: SmallVec::new(),
            tries: 1,
            rule: 0,
            reply: None,
        }
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// What was asked for, once the request has been read.
    pub fn command(&self) -> Option<Command> {
        self.command
    }

    /// DSTPORT.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// DSTIP, when the request gave an address.
    pub fn host(&self) -> Option<Ipv4Addr> {
        self.host
    }

    /// The address connected to, or the peer of a BIND, once known.
    pub fn address(&self) -> Option<SocketAddrV4> {
        self.address
    }

    /// USERID.
    pub fn user(&self) -> &[u8] {
        &self.text[..usize::from(self.user_bytes)]
    }

    /// The name of a SOCKS4A request, as the client sent it.
    pub fn name(&self) -> Option<&[u8]> {
        Some(&self.text[usize::from(self.user_bytes)..]).filter(|name| !name.is_empty())
    }

    /// How the client's identd answered, if it was asked.
    pub fn identity(&self) -> Option<&Outcome> {
        match &self.identity {
            Identity::Told(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// Line of the rule that decided.
    pub fn rule(&self) -> Option<u32> {
        Some(self.rule).filter(|&line| line > 0)
    }

    /// The last reply's code.
    pub fn reply(&self) -> Option<Code> {
        self.reply
    }

    /// Which deadline the state has. A relay's depends on more than the state: the loop knows.
    pub fn deadline(&self) -> Option<Deadline> {
        match self.state {
            State::ReadingRequest => Some(Deadline::Request),
            State::Resolving | State::Identifying if matches!(self.identity, Identity::Asked) => {
                Some(Deadline::Ident)
            }
            State::Resolving | State::Identifying => Some(Deadline::Resolve),
            State::Connecting => Some(Deadline::of_connect(usize::from(self.tries))),
            State::AwaitingBind => Some(Deadline::Bind),
            State::Relaying => Some(Deadline::Idle),
            State::Rejecting(_) => Some(Deadline::Linger),
            State::Closed(_) => None,
        }
    }

    /// Bytes from the client, while its request is being read: all that have come so far. Says
    /// how many of them were the request; the rest belongs to the target.
    pub fn handle_request(&mut self, bytes: &[u8], env: &Env<'_>) -> (usize, Action) {
        match wire::parse_request(bytes) {
            Ok(Parsed::More) => (0, Action::Wait),
            Ok(Parsed::Done(request, length)) => (length, self.begin(&request, env)),
            Err(RequestError::Version(_)) => (0, self.close(CloseReason::BadVersion)),
            Err(RequestError::Command(_)) => (0, self.reject(CloseReason::BadCommand)),
            Err(RequestError::UserTooLong) => (0, self.reject(CloseReason::UserTooLong)),
            Err(RequestError::NameTooLong) => (0, self.reject(CloseReason::NameTooLong)),
        }
    }

    fn begin(&mut self, request: &Request<'_>, env: &Env<'_>) -> Action {
        self.command = Some(request.command);
        self.port = request.port;
        self.user_bytes = request.user.len() as u16;
        self.text.extend_from_slice(request.user);
        let address = match request.host {
            Host::Address(address) => address,
            Host::Name(name) => {
                self.text.extend_from_slice(name);
                match name::classify(name) {
                    Ok(name::Target::Address(address)) => address,
                    Ok(name::Target::Name(name)) => return self.begin_resolving(name, env),
                    Err(NameError::TooLong) => return self.reject(CloseReason::NameTooLong),
                    Err(NameError::Empty) => return self.reject(CloseReason::EmptyName),
                    Err(_) => return self.reject(CloseReason::BadName),
                }
            }
        };
        self.host = Some(address);
        match request.command {
            Command::Bind if address.is_unspecified() => self.begin_open_bind(env.rules),
            _ => self.consider(None, &[address], env),
        }
    }

    /// The name has been resolved, or not.
    pub fn handle_resolved(
        &mut self,
        answer: Result<&Resolved, DnsError>,
        env: &Env<'_>,
    ) -> Action {
        match answer {
            _ if self.state != State::Resolving => Action::Wait,
            // A BIND that expects nobody must not come to expect anybody.
            Ok(found) if found.addresses.is_empty() => self.reject(CloseReason::NameWithoutAddress),
            Ok(found) => self.consider(Some(&found.name), &found.addresses, env),
            Err(DnsError::NotFound) => self.reject(CloseReason::NameNotFound),
            Err(DnsError::NoData) => self.reject(CloseReason::NameWithoutAddress),
            Err(DnsError::ServerFailure) => self.reject(CloseReason::DnsFailure),
            Err(DnsError::Timeout) => self.reject(CloseReason::DnsTimeout),
        }
    }

    fn ask(&mut self) -> Action {
        self.identity = Identity::Asked;
        self.enter(State::Identifying);
        Action::Ask
    }

    /// The client's identd has answered, or will not.
    pub fn handle_ident(&mut self, outcome: Outcome) -> Action {
        debug!("id={} {}", self.id, outcome.word());
        self.identity = Identity::Told(Box::new(outcome));
        match self.state {
            State::Identifying => self.proceed(),
            _ => Action::Wait,
        }
    }

    /// What the answer means for a rule.
    fn identify(&self, ident: Ident) -> Result<(), CloseReason> {
        let strictness = match ident {
            Ident::No => return Ok(()),
            Ident::Strict => Strictness::Strict,
            Ident::Lax => Strictness::Lax,
        };
        match ident::judge(self.identity().unwrap_or(&Outcome::Missing), self.user(), strictness) {
            ident::Verdict::Ok => Ok(()),
            ident::Verdict::NoIdent => Err(CloseReason::NoIdent),
            ident::Verdict::OtherUser => Err(CloseReason::OtherUser),
        }
    }

    /// Everything is known: connects, or listens.
    fn proceed(&mut self) -> Action {
        let mut refusal = None;
        for place in (0..self.candidates.len()).rev() {
            let Candidate { ident, line, .. } = self.candidates[place];
            if let Err(reason) = self.identify(ident) {
                refusal.get_or_insert((reason, line));
                self.candidates.remove(place);
            }
        }
        if let Some((reason, line)) = refusal
            && self.candidates.is_empty()
        {
            self.rule = line;
            return self.reject(reason);
        }
        if self.command == Some(Command::Connect) {
            self.tries = self.candidates.len() as u8;
            return self.try_next();
        }
        self.enter(State::AwaitingBind);
        self.rule = self.candidates.last().map_or(0, |candidate| candidate.line);
        Action::Listen(self.candidates.last().map(|candidate| candidate.address))
    }

    /// Connects to the next address; there is one.
    fn try_next(&mut self) -> Action {
        let Some(Candidate { address, line, .. }) = self.candidates.pop() else {
            return Action::Wait;
        };
        let target = SocketAddrV4::new(address, self.port);
        (self.address, self.rule) = (Some(target), line);
        self.enter(State::Connecting);
        Action::Connect(target)
    }

    /// The connection to the target is made; `local` is its address at this end.
    pub fn handle_connected(&mut self, local: SocketAddrV4) -> Action {
        self.enter(State::Relaying);
        self.candidates = SmallVec::new();
        self.answer(Reply::granted(local))
    }

    /// The listener of a BIND listens at `told`, as the client is to be told.
    pub fn handle_listening(&mut self, told: SocketAddrV4) -> Action {
        self.answer(Reply::granted(told))
    }

    /// The connection failed, or what a BIND needs could not be had.
    pub fn handle_failed(&mut self, reason: CloseReason) -> Action {
        if self.state == State::Connecting && !self.candidates.is_empty() {
            if let Some(address) = self.address {
                debug!("id={} {address}: {reason}, trying the next address", self.id);
            }
            return self.try_next();
        }
        self.reject(reason)
    }

    /// Somebody connected to the listener of a BIND. The peer's address has to be one of those
    /// expected; its port is its own affair.
    pub fn handle_peer(&mut self, peer: SocketAddrV4, env: &Env<'_>) -> Action {
        self.address = Some(peer);
        let is_open = self.candidates.is_empty();
        let expected = self.candidates.iter().find(|c| c.address == *peer.ip()).copied();
        let welcome = match expected {
            Some(candidate) => Ok(candidate),
            None if is_open => self.judge(None, *peer.ip(), env),
            None => Err((CloseReason::WrongPeer, self.rule)),
        };
        let welcome = welcome.and_then(|Candidate { ident, line, .. }| {
            self.identify(ident).map(|()| line).map_err(|reason| (reason, line))
        });
        match welcome {
            Ok(line) => {
                self.rule = line;
                self.enter(State::Relaying);
                self.candidates = SmallVec::new();
                self.answer(Reply::granted(peer))
            }
            Err((reason, line)) => {
                self.rule = line;
                self.reject(reason)
            }
        }
    }

    /// The deadline of this kind has come.
    pub fn handle_deadline(&mut self, kind: Deadline) -> Action {
        use Deadline::*;
        match kind {
            Request => self.reject(CloseReason::RequestTimeout),
            Ident => self.handle_ident(Outcome::Missing),
            Resolve => self.reject(CloseReason::DnsTimeout),
            Connect | ConnectHalf | ConnectThird | ConnectQuarter | ConnectEighth
            | ConnectSixteenth => self.handle_failed(CloseReason::ConnectTimeout),
            Bind => self.reject(CloseReason::BindTimeout),
            Leave => self.reject(CloseReason::ClientLeft),
            Idle | Quiet | Rest => self.close(CloseReason::IdleTimeout),
            HalfClose => self.close(CloseReason::HalfCloseTimeout),
            Linger => self.handle_rejected(),
            // The loop looks at these itself.
            Drain | SlowDrain => Action::Wait,
        }
    }

    /// The refusal is delivered, or nobody is there to take it.
    pub fn handle_rejected(&mut self) -> Action {
        match self.state {
            State::Rejecting(reason) => self.close(reason),
            _ => Action::Wait,
        }
    }

    /// Ends the session at once.
    pub fn close(&mut self, reason: CloseReason) -> Action {
        self.enter(State::Closed(reason));
        Action::Close
    }

    /// Refuses: the client gets its reply before the close.
    pub fn reject(&mut self, reason: CloseReason) -> Action {
        self.enter(State::Rejecting(reason));
        self.answer(Reply::refused(match reason {
            CloseReason::NoIdent => Code::NoIdent,
            CloseReason::OtherUser => Code::OtherUser,
            _ => Code::Rejected,
        }))
    }

    fn answer(&mut self, reply: Reply) -> Action {
        self.reply = Some(reply.code);
        Action::Send(reply)
    }

    /// The only place where the state changes.
    fn enter(&mut self, next: State) {
        debug!("id={} {} -> {next}", self.id, self.state);
        assert!(self.state.may_become(next), "no session goes from {} to {next}", self.state);
        self.state = next;
    }
}

#[cfg(test)]
#[path = "session_test.rs"]
mod tests;
