//! What the messages of a client before its request come to: a reference of our own, which reads
//! them when the proxy does.

use crate::addresses::are_one_source;
use crate::kernel::Kernel;
use crate::plan::Plan;
use crate::users::password_of;
use std::net::IpAddr;

/// Most wrong passwords of one source that are compared within a second.
const FAILURES_PER_SECOND: usize = 5;

/// The message that the proxy reads next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    First,
    Password,
    Request,
    /// None.
    Over,
}

/// How far the dialogue of a client has come.
pub struct Login {
    pub stage: Stage,
    /// Where the message that is read begins.
    at: usize,
    /// The answers to messages before the request, byte by byte.
    pub answers: Vec<u8>,
    /// The last of them is a rejection.
    pub is_rejected: bool,
    /// Why the client has to be rejected.
    pub verdict: Option<&'static str>,
    /// The protocol as the access line names it.
    pub proto: &'static str,
    /// The user of a password, right or wrong.
    pub user: &'static str,
    pub is_proven: bool,
}

impl Login {
    pub fn new() -> Login {
        Login {
            stage: Stage::First,
            at: 0,
            answers: Vec::new(),
            is_rejected: false,
            verdict: None,
            proto: "-",
            user: "",
            is_proven: false,
        }
    }

    pub fn speaks_5(&self) -> bool {
        self.proto == "5"
    }

    fn reject(&mut self, answer: [u8; 2], verdict: &'static str) {
        self.answers.extend(answer);
        (self.is_rejected, self.verdict, self.stage) = (true, Some(verdict), Stage::Over);
    }

    fn accept(&mut self, answer: [u8; 2], next: Stage) {
        self.answers.extend(answer);
        self.stage = next;
    }

    /// The time for all messages is over, or the client is not served: the message that is awaited
    /// has this answer, unless it is a request.
    pub fn give_up(&mut self) {
        match (self.stage, self.speaks_5()) {
            (Stage::First, true) => self.reject([5, 255], "given up"),
            (Stage::Password, _) => self.reject([1, 1], "given up"),
            _ => self.stage = Stage::Over,
        }
    }

    /// Takes in a greeting.
    fn greet(&mut self, read: &[u8], has_users: bool) {
        let Some(offered) = read.get(1).and_then(|n| read.get(2..2 + usize::from(*n))) else {
            return;
        };
        self.at = 2 + offered.len();
        if has_users && offered.contains(&2) {
            self.accept([5, 2], Stage::Password);
        } else if offered.contains(&0) {
            self.accept([5, 0], Stage::Request);
        } else {
            self.reject([5, 255], "no-method");
        }
    }

    /// Where the user and the password end that begin at `at`.
    fn end_of_password(&self, read: &[u8]) -> Option<usize> {
        let mut end = self.at + 1;
        for _ in 0..2 {
            end += 1 + usize::from(*read.get(end)?);
        }
        (end <= read.len()).then_some(end)
    }
}

impl Kernel {
    /// The proxy has read more of a client, and decides about each message that it has in whole.
    pub fn note_messages(&mut self, place: usize, taken: u64) {
        let client = &self.cast.clients[place];
        if client.login.stage == Stage::Over {
            return;
        }
        let plan = client.plan.clone();
        let read = &plan.request[..plan.request.len().min(taken as usize)];
        let most = self.cast.max_per_source;
        if most.is_some_and(|most| client.rivals >= most) {
            let login = &mut self.cast.clients[place].login;
            login.proto = protocol(read);
            login.give_up();
            login.verdict = Some("too-many-from-source");
            return;
        }
        loop {
            let before = self.cast.clients[place].login.stage;
            self.note_message(place, &plan, read);
            let now = self.cast.clients[place].login.stage;
            if now == before || now == Stage::Over {
                return;
            }
        }
    }

    /// The proxy has read of a client that it cannot serve, to tell its protocol.
    pub fn note_unregistered(&mut self, place: usize) {
        let client = &mut self.cast.clients[place];
        client.login.proto = protocol(&client.plan.request);
    }

    fn note_message(&mut self, place: usize, plan: &Plan, read: &[u8]) {
        let has_users = self.history.users.is_some();
        let login = &mut self.cast.clients[place].login;
        let is_whole = read.len() == plan.request.len();
        match (login.stage, read.get(login.at)) {
            (Stage::Over, _) | (_, None) => {}
            (Stage::First, Some(5)) => {
                login.proto = "5";
                login.greet(read, has_users);
            }
            (Stage::First, Some(4)) => {
                login.proto = "4";
                if is_whole && plan.has_an_end() {
                    login.proto = if plan.is_socks4a() { "4a" } else { "4" };
                    login.stage = Stage::Over;
                }
            }
            (Stage::First, Some(_)) => {
                (login.verdict, login.stage) = (Some("bad-version"), Stage::Over);
            }
            (Stage::Password, Some(1)) => {
                if let Some(end) = login.end_of_password(read) {
                    login.at = end;
                    self.note_password(place, plan);
                }
            }
            (Stage::Password, Some(_)) => login.reject([1, 1], "bad-version"),
            (Stage::Request, Some(5)) => {
                if is_whole {
                    login.stage = Stage::Over;
                }
            }
            (Stage::Request, Some(_)) => {
                (login.verdict, login.stage) = (Some("bad-version"), Stage::Over);
            }
        }
    }

    fn note_password(&mut self, place: usize, plan: &Plan) {
        let (user, password) = plan.login.expect("only credentials are a password");
        let (from, now) = (plan.from, self.turn_at);
        let is_late = self.failed_logins(from, now) >= FAILURES_PER_SECOND;
        let file = self.history.users.expect("with users only");
        let is_right = password_of(file, user) == Some(password);
        let login = &mut self.cast.clients[place].login;
        login.user = user;
        match (is_late, is_right) {
            (true, _) => login.reject([1, 1], "too-many-logins"),
            (_, false) => login.reject([1, 1], "bad-password"),
            (_, true) => {
                login.is_proven = true;
                login.accept([1, 0], Stage::Request);
            }
        }
        if !is_late && !is_right {
            self.checks.failed_logins.push((now, from));
        }
    }

    /// Wrong passwords of the same source within the last second.
    fn failed_logins(&self, from: IpAddr, now: u64) -> usize {
        let all = self.checks.failed_logins.iter();
        all.filter(|(at, other)| now < at + 1000 && are_one_source(*other, from)).count()
    }
}

/// The protocol that the first byte tells.
fn protocol(read: &[u8]) -> &'static str {
    match read.first() {
        Some(4) => "4",
        Some(5) => "5",
        _ => "-",
    }
}
