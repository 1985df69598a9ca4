//! One request from its environment to the end of its page.

use super::origin::{KnownHosts, Origin, Permission};
use super::page;
use super::query::{self, Form, QUERY_BYTES_MAX};
use super::script::Directory;
use super::session::{self, Plan, Timeouts};
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::OsStringExt;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// The settings by the web server and its administrator.
#[derive(Clone, Debug)]
pub struct Environment {
    /// REQUEST_METHOD; unset outside of a web server.
    pub method: Option<OsString>,
    /// QUERY_STRING.
    pub query: Vec<u8>,
    /// HTTP_HOST, HTTP_SEC_FETCH_SITE and the like.
    pub origin: Origin,
    /// SOCKU_CONSOLE_HOSTS.
    pub hosts: KnownHosts,
    /// SOCKU_SCRIPTS.
    pub scripts: Directory,
    /// SOCKU_CONNECT_TIMEOUT and SOCKU_IDLE_TIMEOUT.
    pub timeouts: Timeouts,
}

/// The proxy has 30 s for the request, 15 for ident, 10 for a name and 120 for the target by default.
/// Its answer says more than our giving up, so we wait longer than all of these.
const CONNECT_SECONDS: u64 = 200;
/// Commands may take their time.
const IDLE_SECONDS: u64 = 600;
/// The reason for refusing a request that names another host.
const FOREIGN_HOST: &str = "This console does not know the host name in the address of this page. \
                            If the name is right, add it to SOCKU_CONSOLE_HOSTS; \
                            an IP address and localhost work without.";
/// The answer to a browser that prefetches.
const PREFETCH: &str = "scripts are not prefetched";
/// How soon a browser that has left is noticed while nothing else is written.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

impl Environment {
    /// Reads the environment through `variable` (as `std::env::var_os`).
    pub fn read(variable: impl Fn(&str) -> Option<OsString>) -> Environment {
        let seconds = |name, default| {
            let given = variable(name).and_then(|text| text.to_str()?.parse().ok());
            Duration::from_secs(given.filter(|&seconds: &u64| seconds > 0).unwrap_or(default))
        };
        let text = |name| variable(name).map(|value| value.to_string_lossy().into_owned());
        Environment {
            method: variable("REQUEST_METHOD"),
            query: variable("QUERY_STRING").map(OsString::into_vec).unwrap_or_default(),
            origin: Origin {
                host: text("HTTP_HOST"),
                site: text("HTTP_SEC_FETCH_SITE"),
                purpose: text("HTTP_SEC_PURPOSE"),
                origin: text("HTTP_ORIGIN"),
                referer: text("HTTP_REFERER"),
                agent: text("HTTP_USER_AGENT"),
                language: text("HTTP_ACCEPT_LANGUAGE"),
            },
            hosts: KnownHosts::parse(&text("SOCKU_CONSOLE_HOSTS").unwrap_or_default()),
            scripts: Directory(variable("SOCKU_SCRIPTS").unwrap_or("test_case".into()).into()),
            timeouts: Timeouts {
                connect: seconds("SOCKU_CONNECT_TIMEOUT", CONNECT_SECONDS),
                idle: seconds("SOCKU_IDLE_TIMEOUT", IDLE_SECONDS),
            },
        }
    }
}

/// Answers one request on `out`. An error means that the reader has gone; sessions may still
/// be running then, and the caller ends them by ending the process.
pub fn serve(environment: &Environment, out: &mut impl Write) -> io::Result<()> {
    match environment.method.as_ref().map_or(Some("GET"), |method| method.to_str()) {
        Some("GET") => {}
        Some("HEAD") => return write(out, &page::header()),
        _ => return write(out, &page::refusal("405 Method Not Allowed", "only GET and HEAD")),
    }
    if !environment.origin.is_known_host(&environment.hosts) {
        return write(out, &page::refusal("403 Forbidden", FOREIGN_HOST));
    }
    let scripts = environment.scripts.list();
    if environment.query.is_empty() {
        let form =
            Form { proxy_host: "127.0.0.1".into(), proxy_port: "1080".into(), ..Form::default() };
        return panel(&form, &scripts, "", out);
    }
    let Some(form) = query::parse(&environment.query) else {
        let why = format!("the query exceeds {QUERY_BYTES_MAX} bytes");
        return write(out, &page::refusal("414 URI Too Long", &why));
    };
    if form.sessions().next().is_none() {
        return panel(&form, &scripts, "Nothing to connect to: fill in a row.", out);
    }
    match environment.origin.permission() {
        Permission::Confirm(why) => return panel(&form, &scripts, why, out),
        Permission::Prefetch => {
            return write(out, &page::refusal("503 Service Unavailable", PREFETCH));
        }
        Permission::Run => {}
    }
    write(out, &page::header())?;
    write(out, &page::session_page(&form, &scripts))?;
    run_sessions(form, environment, out)?;
    write(out, page::end())
}

fn panel(form: &Form, scripts: &[String], notice: &str, out: &mut impl Write) -> io::Result<()> {
    write(out, &page::header())?;
    write(out, &page::panel_page(form, scripts, notice))
}

/// One thread per session, and this one writes.
///
/// A session hands its piece over and waits until it is taken (a channel without a buffer). The one
/// that has waited longest is served first. So a session that floods the page delays another by no more
/// than one piece, and when the browser is slow the remote shells are slowed down.
fn run_sessions(form: Form, environment: &Environment, out: &mut impl Write) -> io::Result<()> {
    let (sender, pieces) = mpsc::sync_channel(0);
    for (at, _) in form.sessions() {
        let (form, scripts, timeouts) =
            (form.clone(), environment.scripts.clone(), environment.timeouts);
        let sender = sender.clone();
        // Not scoped: when the browser has left, they are not waited for.
        thread::Builder::new().spawn(move || {
            let row = &form.rows[at];
            let (proxy, target) = (form.proxy(), row.target());
            let script = scripts.read(&row.script);
            session::run(Plan { at, proxy, target, script, timeouts }, &sender);
        })?;
    }
    drop(sender);
    write_pieces(&pieces, out)
}

fn write_pieces(pieces: &Receiver<String>, out: &mut impl Write) -> io::Result<()> {
    loop {
        match pieces.recv_timeout(KEEP_ALIVE) {
            Ok(piece) => write(out, &piece)?,
            Err(RecvTimeoutError::Timeout) => write(out, page::KEEP_ALIVE)?,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

fn write(out: &mut impl Write, text: &str) -> io::Result<()> {
    out.write_all(text.as_bytes())?;
    out.flush()
}
