//! The log line of a session, with everything from the network escaped and bounded.

use crate::escape::Escaped;
use crate::ident::IdentResult;
use crate::session::{Session, State};
use crate::time::Millis;
use crate::wire::Protocol;
use std::fmt::{self, Display, Formatter};

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
        write!(f, "id={} client={} user=\"{user}\"", session.id, session.client)?;
        if let Some(result) = session.identity() {
            write!(f, " ident={}", ShownIdent(result))?;
        }
        write!(f, " command={}", OrDash(request.command))?;
        match (request.name(), request.host) {
            (Some(name), _) => write!(f, " target={}:{}", Escaped(name), request.port)?,
            (None, Some(host)) => write!(f, " target={host}:{}", request.port)?,
            (None, None) => f.write_str(" target=-")?,
        }
        write!(f, " address={} rule={}", OrDash(session.address()), OrDash(session.rule()))?;
        write!(
            f,
            " reply={}",
            OrDash(session.reply().map(|status| status.code(Protocol::Socks4)))
        )?;
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
    use std::net::{Ipv4Addr, SocketAddrV4};

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
    fn a_session_without_a_request_has_a_line() {
        let client = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 4), 51234);
        let mut session = Session::new(17, client, 100);
        let line = |session: &Session| Line { session, up: 1, down: 2, now: 112 }.to_string();
        assert_eq!(
            line(&session),
            "id=17 client=192.168.1.4:51234 user=\"\" command=- target=- address=- rule=- \
             reply=- state=reading-request up=1 down=2 ms=12"
        );
        session.close(CloseReason::ClientLeft, 112);
        assert!(line(&session).contains(" reason=client-left "));
    }
}
