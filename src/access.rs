//! The line of a session in the log: its fields in their order, and each as text. Everything from the
//! network is escaped and bounded.

#[cfg_attr(not(feature = "json"), path = "access/form/absent.rs")]
mod form;

use crate::address::IpPort;
use crate::escape::Escaped;
use crate::ident::IdentResult;
use crate::session::{Session, State};
use crate::settings::LogFormat;
use crate::time::Millis;
use crate::wire::Host;
use std::fmt::{self, Display, Formatter};
use std::net::Ipv6Addr;

/// A session as a line of the log: the access line at its end, and its line in a dump. It is shown
/// in its format: as `key=value` pairs, or as a JSON object. docs/logging.md has the fields.
pub struct Line<'a> {
    /// The session.
    pub session: &'a Session,
    /// Bytes delivered to the target.
    pub up: u64,
    /// Bytes delivered to the client.
    pub down: u64,
    /// The time now.
    pub now: Millis,
    /// How the line is written.
    pub format: LogFormat,
}

/// The value of a field.
pub enum Value<'a> {
    /// There is none: `-` as text, and left out of JSON.
    None,
    /// A number.
    Number(u64),
    /// A text that this program has made: no blank is in it, and no quote.
    Word(&'a dyn Display),
    /// Bytes from the network: in quotes as text.
    Bytes(&'a [u8]),
    /// The answer of identd: a user in quotes; otherwise a word without quotes, so that no user
    /// can be mistaken for it, and after it the reason of an ERROR. In JSON, where each text has
    /// quotes, `no user: ` precedes the word: a user has no blank, since it is escaped.
    Ident(&'a IdentResult),
}

impl<'a> Value<'a> {
    fn number(number: Option<impl Into<u64>>) -> Value<'a> {
        number.map_or(Value::None, |number| Value::Number(number.into()))
    }

    fn word<T: Display>(word: &'a Option<T>) -> Value<'a> {
        word.as_ref().map_or(Value::None, |word| Value::Word(word))
    }
}

impl Line<'_> {
    /// Gives each field to `visit`, in order. This is the only list of them.
    pub fn fields<E>(
        &self,
        mut visit: impl FnMut(&'static str, Value<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (session, request) = (self.session, self.session.request());
        visit("id", Value::Number(session.id))?;
        visit("client", Value::Word(&session.client))?;
        if let Some(balancer) = session.balancer() {
            visit("via", Value::Word(&balancer.address))?;
        }
        visit("proto", Value::word(&request.protocol))?;
        visit("user", Value::Bytes(request.user()))?;
        if let Some(result) = session.identity() {
            visit("ident", Value::Ident(result))?;
        }
        visit("command", Value::word(&request.command))?;
        match request.host() {
            Some(Host::Name(name)) => {
                visit("target", Value::Word(&format_args!("{}:{}", ShownName(name), request.port)))?
            }
            Some(Host::Address(ip)) => {
                visit("target", Value::Word(&IpPort { ip, port: request.port }))?
            }
            None => visit("target", Value::None)?,
        }
        visit("address", Value::word(&session.address()))?;
        if let Some(listening) = session.listening() {
            visit("listening", Value::Word(&listening.at))?;
            if listening.advertised != listening.at {
                visit("advertised", Value::Word(&listening.advertised))?;
            }
        }
        visit("rule", Value::number(session.rule()))?;
        visit("reply", Value::number(session.reply()))?;
        match session.state() {
            State::Closed(reason) => visit("reason", Value::Word(reason))?,
            state => visit("state", Value::Word(state))?,
        }
        if let Some(error) = session.error() {
            visit("error", Value::Word(&error))?;
        }
        if let Some(foreign) = session.foreign() {
            visit("bytes", Value::Bytes(foreign.bytes()))?;
            if let Some(word) = foreign.looks_like() {
                visit("looks-like", Value::Word(&word))?;
            }
        }
        visit("up", Value::Number(self.up))?;
        visit("down", Value::Number(self.down))?;
        visit("ms", Value::Number(self.now.saturating_sub(session.started)))
    }

    fn write_text(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut blank = "";
        self.fields(|name, value| write!(f, "{}{name}={value}", std::mem::replace(&mut blank, " ")))
    }
}

/// As text.
impl Display for Value<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Value::None => f.write_str("-"),
            Value::Number(number) => number.fmt(f),
            Value::Word(word) => word.fmt(f),
            Value::Bytes(bytes) => write!(f, "\"{}\"", Escaped(bytes)),
            Value::Ident(result) => match result.user() {
                Some(user) => write!(f, "\"{}\"", Escaped(user)),
                None => IdentWord(result).fmt(f),
            },
        }
    }
}

/// The answer of an identd that named no user.
pub struct IdentWord<'a>(pub &'a IdentResult);

impl Display for IdentWord<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.word())?;
        match self.0 {
            IdentResult::Error(reason) => write!(f, ":{}", Escaped(reason)),
            _ => Ok(()),
        }
    }
}

/// A name as it was sent. One that is an IPv6 address, as browsers send them, has brackets, so that
/// the port after it cannot be mistaken for a part of it.
pub struct ShownName<'a>(pub &'a [u8]);

impl Display for ShownName<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = Escaped(self.0);
        match str::from_utf8(self.0).map(str::parse::<Ipv6Addr>) {
            Ok(Ok(_)) => write!(f, "[{name}]"),
            _ => write!(f, "{name}"),
        }
    }
}

#[cfg(test)]
#[path = "access_test.rs"]
mod tests;
