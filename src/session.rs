//! A session as a pure state machine: `handle_*` says what happened, the answer says what to do.
//!
//! ```text
//!     ReadingRequest --> Connecting ----> Relaying --> Closed(reason)
//!               \ \----> AwaitingBind --/
//!                \           |
//!                 \-----> Rejecting(reason) --> Closed(reason)      (also from Connecting)
//! ```
//!
//! Every state but the last may also end in `Closed` at once: when the client leaves, is reset,
//! or speaks another protocol. There is no state for replying: a reply is the first bytes
//! towards the client, and bytes behind the request are the first towards the target.

use crate::name::{self, NameError};
use crate::reason::CloseReason;
use crate::rules::{Ident, Query, RuleSet, Verdict};
use crate::timer::{Deadline, Millis};
use crate::wire::{self, Code, Command, Host, Parsed, Reply, Request, RequestError};
use log::debug;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Bytes of the request are coming in.
    ReadingRequest,
    /// A connection to the target is being made.
    Connecting,
    /// A listener waits for the peer of a BIND; 0.0.0.0 is any peer that the rules permit.
    AwaitingBind {
        /// The peer's address as the client expects it.
        expected: Ipv4Addr,
    },
    /// Both sides are connected.
    Relaying,
    /// The refusal is on its way to the client.
    Rejecting(CloseReason),
    /// Over.
    Closed(CloseReason),
}

impl State {
    /// Whether a session may go from here to `next`.
    pub fn may_become(self, next: State) -> bool {
        use State::*;
        match (self, next) {
            (Closed(_), _) | (_, ReadingRequest) => false,
            (Rejecting(from), Closed(to)) => from == to || to == CloseReason::Stopped,
            (_, Closed(_)) => true,
            (ReadingRequest, Connecting | AwaitingBind { .. } | Rejecting(_)) => true,
            (Connecting | AwaitingBind { .. }, Relaying | Rejecting(_)) => true,
            _ => false,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::ReadingRequest => f.write_str("reading-request"),
            State::Connecting => f.write_str("connecting"),
            State::AwaitingBind { expected } => write!(f, "awaiting-bind({expected})"),
            State::Relaying => f.write_str("relaying"),
            State::Rejecting(reason) => write!(f, "rejecting({reason})"),
            State::Closed(reason) => write!(f, "closed({reason})"),
        }
    }
}

/// What the loop has to do for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing until something happens.
    Wait,
    /// Connect to this address and report.
    Connect(SocketAddrV4),
    /// Listen at the address that faces this one (`None`: the client) and report.
    Listen(Option<Ipv4Addr>),
    /// Send this to the client.
    Send(Reply),
    /// Close both connections.
    Close,
}

/// What a session needs to know of the proxy.
pub struct Env<'a> {
    /// The rules in force.
    pub rules: &'a RuleSet,
    /// Whether an address is one of the proxy's own listening sockets.
    pub is_own: &'a dyn Fn(SocketAddrV4) -> bool,
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
    text: Vec<u8>,
    user_bytes: u16,
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
            text: Vec::new(),
            user_bytes: 0,
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
            State::Connecting => Some(Deadline::Connect),
            State::AwaitingBind { .. } => Some(Deadline::Bind),
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
                    Ok(name::Target::Name(_)) => return self.reject(CloseReason::NameUnresolved),
                    Err(NameError::Empty) => return self.reject(CloseReason::EmptyName),
                    Err(_) => return self.reject(CloseReason::BadName),
                }
            }
        };
        self.host = Some(address);
        match request.command {
            Command::Connect => self.begin_connect(address, env),
            Command::Bind => self.begin_bind(address, env),
        }
    }

    fn begin_connect(&mut self, address: Ipv4Addr, env: &Env<'_>) -> Action {
        let target = SocketAddrV4::new(address, self.port);
        if (env.is_own)(target) {
            return self.reject(CloseReason::Loop);
        }
        if let Err(reason) = self.judge(address, env.rules) {
            return self.reject(reason);
        }
        self.address = Some(target);
        self.enter(State::Connecting);
        Action::Connect(target)
    }

    fn begin_bind(&mut self, expected: Ipv4Addr, env: &Env<'_>) -> Action {
        if expected.is_unspecified() {
            // Any peer: each is judged when it comes.
            let user = &self.text[..usize::from(self.user_bytes)];
            if !env.rules.could_permit(Command::Bind, None, self.port, *self.client.ip(), user) {
                return self.reject(CloseReason::NoRule);
            }
        } else if let Err(reason) = self.judge(expected, env.rules) {
            return self.reject(reason);
        }
        self.enter(State::AwaitingBind { expected });
        Action::Listen(Some(expected).filter(|address| !address.is_unspecified()))
    }

    /// What the rules say of this address; notes the rule that decided.
    fn judge(&mut self, address: Ipv4Addr, rules: &RuleSet) -> Result<(), CloseReason> {
        let verdict = rules.decide(&Query {
            command: self.command.expect("a request is judged once it has been read"),
            name: self.name(),
            address,
            port: self.port,
            client: *self.client.ip(),
            user: self.user(),
        });
        match verdict {
            Verdict::Impossible => Err(CloseReason::ImpossibleTarget),
            Verdict::NoRule => Err(CloseReason::NoRule),
            Verdict::Deny { line } => {
                self.rule = line;
                Err(CloseReason::Denied)
            }
            Verdict::Permit { line, ident } => {
                self.rule = line;
                // Without a question to the client's identd there is no answer to go by.
                if ident == Ident::No { Ok(()) } else { Err(CloseReason::NoIdent) }
            }
        }
    }

    /// The connection to the target is made; `local` is its address at this end.
    pub fn handle_connected(&mut self, local: SocketAddrV4) -> Action {
        self.enter(State::Relaying);
        self.answer(Reply::granted(local))
    }

    /// The listener of a BIND listens at `told`, as the client is to be told.
    pub fn handle_listening(&mut self, told: SocketAddrV4) -> Action {
        self.answer(Reply::granted(told))
    }

    /// What the connection or the listener needed could not be had.
    pub fn handle_failed(&mut self, reason: CloseReason) -> Action {
        self.reject(reason)
    }

    /// Somebody connected to the listener of a BIND.
    pub fn handle_peer(&mut self, peer: SocketAddrV4, rules: &RuleSet) -> Action {
        let State::AwaitingBind { expected } = self.state else { return Action::Wait };
        self.address = Some(peer);
        let welcome = if expected.is_unspecified() {
            self.judge(*peer.ip(), rules)
        } else if expected == *peer.ip() {
            Ok(())
        } else {
            Err(CloseReason::WrongPeer)
        };
        match welcome {
            Ok(()) => {
                self.enter(State::Relaying);
                self.answer(Reply::granted(peer))
            }
            Err(reason) => self.reject(reason),
        }
    }

    /// The deadline of this kind has come.
    pub fn handle_deadline(&mut self, kind: Deadline) -> Action {
        match kind {
            Deadline::Request => self.reject(CloseReason::RequestTimeout),
            Deadline::Connect => self.reject(CloseReason::ConnectTimeout),
            Deadline::Bind => self.reject(CloseReason::BindTimeout),
            Deadline::Leave => self.close(CloseReason::ClientLeft),
            Deadline::Idle => self.close(CloseReason::IdleTimeout),
            Deadline::HalfClose => self.close(CloseReason::HalfCloseTimeout),
            Deadline::Linger => self.handle_rejected(),
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
