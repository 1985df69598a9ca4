//! The messages of a client up to its request: a SOCKS4 request alone, or a greeting, perhaps a
//! password, and a request of SOCKS5.

use super::{Action, Env, Foreign, Session, State};
use crate::name::{self, NameError};
use crate::reason::CloseReason;
use crate::time::Millis;
use crate::wire::{
    self, Answer, Command, Host, Message, Method, Methods, Parsed, Request, RequestError, Stage,
};

impl Session {
    /// The bytes that the client has sent so far, while its request is being read. Returns how many
    /// of them were a message; the rest is the next one, or belongs to the target.
    pub fn handle_bytes(&mut self, bytes: &[u8], env: &Env<'_>) -> (usize, Action) {
        if self.state == State::ReadingProxyHeader {
            return self.handle_header(bytes, env.now);
        }
        let State::ReadingRequest { stage, is_welcome } = self.state else {
            return (0, Action::Wait);
        };
        if self.request.protocol.is_none() {
            self.request.protocol = wire::first_protocol(bytes);
        }
        if !is_welcome && !bytes.is_empty() {
            return (0, self.reject(CloseReason::TooManyFromSource, env.now));
        }
        match wire::parse_message(stage, bytes) {
            Ok(Parsed::More) => (0, Action::Wait),
            Ok(Parsed::Done(message, length)) => {
                let action = match message {
                    Message::Greeting(methods) => self.choose_method(methods, env),
                    Message::Password { user, password } => {
                        self.check_password(user, password, env)
                    }
                    Message::Request(request) => self.begin(&request, env),
                };
                (length, action)
            }
            Err(error) => {
                if let RequestError::Version(_) = error {
                    let foreign = Foreign::new(stage, bytes);
                    self.details.get_or_insert_default().foreign = Some(foreign);
                }
                (0, self.reject_message(error, env.now))
            }
        }
    }

    fn reject_message(&mut self, error: RequestError, now: Millis) -> Action {
        let reason = match error {
            // It speaks neither protocol: no answer that it would understand.
            RequestError::Version(_) if self.request.protocol.is_none() => {
                return self.close(CloseReason::BadVersion, now);
            }
            RequestError::Version(_) => CloseReason::BadVersion,
            RequestError::Command(_) => CloseReason::BadCommand,
            RequestError::AddressType(_) => CloseReason::BadAddressType,
            RequestError::UserTooLong => CloseReason::UserTooLong,
            RequestError::NameTooLong => CloseReason::NameTooLong,
        };
        self.reject(reason, now)
    }

    /// SOCKS5: with --users, a client that offers its password has to send it. What a client
    /// without one may do is up to the rules.
    fn choose_method(&mut self, offered: Methods, env: &Env<'_>) -> Action {
        let (method, stage) = match (env.users.is_some() && offered.password, offered.none) {
            (true, _) => (Method::Password, Stage::Password),
            (false, true) => (Method::None, Stage::Request),
            (false, false) => return self.reject(CloseReason::NoMethod, env.now),
        };
        self.expect(stage);
        Action::Send(Answer::Method(Some(method)))
    }

    fn check_password(&mut self, user: &[u8], password: &[u8], env: &Env<'_>) -> Action {
        self.request.set_user(user);
        if !env.surroundings.may_log_in(self.client.ip) {
            return self.reject(CloseReason::TooManyLogins, env.now);
        }
        if !env.users.is_some_and(|users| users.check(user, password)) {
            return self.reject(CloseReason::BadPassword, env.now);
        }
        self.request.is_proven = true;
        self.expect(Stage::Request);
        Action::Send(Answer::Password { accepted: true })
    }

    /// The next message is awaited; the time for all of them runs on.
    pub(super) fn expect(&mut self, stage: Stage) {
        self.enter(State::ReadingRequest { stage, is_welcome: true }, self.since);
    }

    fn begin(&mut self, request: &Request<'_>, env: &Env<'_>) -> Action {
        let Request { protocol, command, port, host, user } = *request;
        self.request.protocol = Some(protocol);
        (self.request.command, self.request.port) = (Some(command), port);
        if !self.request.is_proven {
            self.request.set_user(user);
        }
        self.request.set_host(host);
        let address = match host {
            Host::Address(address) => address,
            Host::Name(name) => match name::classify(name) {
                Ok(name::Classified::Address(address)) => address,
                Ok(name::Classified::Name(name)) => return self.resolve(command, name, env),
                Err(NameError::TooLong) => return self.reject(CloseReason::NameTooLong, env.now),
                Err(NameError::Empty) => return self.reject(CloseReason::EmptyName, env.now),
                Err(_) => return self.reject(CloseReason::BadName, env.now),
            },
        };
        if command == Command::Bind && address.is_unspecified() {
            return self.listen_for_any_peer(env.rules, env.now);
        }
        match self.evaluator(command).evaluate_all(None, [address], env) {
            Ok(candidates) => self.handle_candidates(command, candidates, false, env),
            Err(rejection) => self.reject_as(rejection, env.now),
        }
    }
}
