//! The log line of a session, with everything from the network escaped and bounded.

use crate::address::IpPort;
use crate::escape::Escaped;
use crate::ident::IdentResult;
use crate::session::{Session, State};
use crate::time::Millis;
use crate::wire::Host;
use std::fmt::{self, Display, Formatter};
use std::net::Ipv6Addr;

/// A session as `key=value` pairs: the access line at its end, and its line in a dump.
pub struct Line<'a> {
    /// The session.
    pub session: &'a Session,
    /// Bytes delivered to the target.
    pub up: u64,
    /// Bytes delivered to the client.
    pub down: u64,
    /// The time now.
    pub now: Millis,
}

impl Display for Line<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (session, request) = (self.session, self.session.request());
        let user = Escaped(request.user());
        write!(f, "id={} client={} ", session.id, session.client)?;
        write!(f, "proto={} user=\"{user}\"", OrDash(request.protocol))?;
        if let Some(result) = session.identity() {
            write!(f, " ident={}", ShownIdent(result))?;
        }
        write!(f, " command={}", OrDash(request.command))?;
        match request.host() {
            Some(Host::Name(name)) => write!(f, " target={}:{}", ShownName(name), request.port)?,
            Some(Host::Address(ip)) => write!(f, " target={}", IpPort { ip, port: request.port })?,
            None => f.write_str(" target=-")?,
        }
        write!(f, " address={} rule={}", OrDash(session.address()), OrDash(session.rule()))?;
        write!(f, " reply={}", OrDash(session.reply()))?;
        match session.state() {
            State::Closed(reason) => write!(f, " reason={reason}")?,
            state => write!(f, " state={state}")?,
        }
        let ms = self.now.saturating_sub(session.started);
        write!(f, " up={} down={} ms={ms}", self.up, self.down)
    }
}

/// The answer of identd: a user in quotes; otherwise a word without quotes, so that no user can be
/// mistaken for it, and after it the reason of an ERROR.
struct ShownIdent<'a>(&'a IdentResult);

impl Display for ShownIdent<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (self.0, self.0.user()) {
            (_, Some(user)) => write!(f, "\"{}\"", Escaped(user)),
            (IdentResult::Error(reason), _) => write!(f, "{}:{}", self.0.word(), Escaped(reason)),
            _ => f.write_str(self.0.word()),
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

/// A value, or `-` if there is none.
struct OrDash<T>(Option<T>);

impl<T: Display> Display for OrDash<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("-"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::CloseReason;

    #[test]
    fn an_ident_user_cannot_be_mistaken_for_another_field_or_result() {
        let user = |text: &[u8]| IdentResult::User(text.into());
        for (result, shown) in [
            (user(b" bob"), "\"bob\""),
            (user(b"ident-missing"), "\"ident-missing\""),
            (user(b"a\" reply=90\x1b"), "\"a\\x22\\x20reply=90\\x1b\""),
            (
                IdentResult::Error(b"NO-USER x\xff".as_slice().into()),
                "ident-error:NO-USER\\x20x\\xff",
            ),
            (IdentResult::Missing, "ident-missing"),
        ] {
            assert_eq!(ShownIdent(&result).to_string(), shown);
        }
    }

    #[test]
    fn a_name_that_is_an_ipv6_address_is_shown_in_brackets() {
        for (name, shown) in [
            (b"::1".as_slice(), "[::1]"),
            (b"2001:DB8::1", "[2001:DB8::1]"),
            (b"::ffff:127.0.0.1", "[::ffff:127.0.0.1]"),
            (b"127.0.0.1", "127.0.0.1"),
            (b"www.example.com", "www.example.com"),
            (b"[::1]", "[::1]"),
            (b"fe80::1%lo", "fe80::1%lo"),
            (b"::1\n", "::1\\x0a"),
            (b"::\xff", "::\\xff"),
            (b"", ""),
        ] {
            assert_eq!(ShownName(name).to_string(), shown);
        }
    }

    #[test]
    fn a_session_without_a_request_has_a_line() {
        let client = IpPort::new([192, 168, 1, 4], 51234);
        let mut session = Session::new(17, client, 100);
        let line = |session: &Session| Line { session, up: 1, down: 2, now: 112 }.to_string();
        assert_eq!(
            line(&session),
            "id=17 client=192.168.1.4:51234 proto=- user=\"\" command=- target=- address=- rule=- \
             reply=- state=reading-request up=1 down=2 ms=12"
        );
        session.close(CloseReason::ClientLeft, 112);
        assert!(line(&session).contains(" reason=client-left "));
    }
}
