//! The console's output: CGI header, panel, columns, and the pieces that fill them.

use super::query::{Form, ROWS, Row, ipv6};
use super::text::{escape_html, escape_streamed};
use std::borrow::Cow;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const POLICY: &str = include_str!("page.policy");

/// Written when nothing else is, so that a browser that has left is noticed.
pub const KEEP_ALIVE: &str = "\n";

/// The answer to a request that is no page, with its status (`400 Bad Request`).
pub fn refusal(status: &str, why: &str) -> String {
    format!(
        "Status: {status}\r\nContent-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nAllow: GET, HEAD\r\n\r\n{why}\n"
    )
}

/// The header of every page.
///
/// The policy lets nothing be loaded from anywhere. It keeps the page out of frames, where a click
/// meant for something else would press Run. Scripts are permitted as elements only: markup
/// that somehow came into a column could not run anything. The pieces have a fixed form without a nonce.
/// Referer goes to this site and no other: over plain HTTP browsers send no Sec-Fetch-Site, and
/// only Referer tells that the panel was used. `X-Accel-Buffering` asks proxies in front of the web
/// server not to hold back what is streamed.
pub fn header() -> String {
    format!(
        "Content-Type: text/html; charset=utf-8\r\n\
         Cache-Control: no-store\r\n\
         Content-Security-Policy: {}\r\n\
         X-Frame-Options: DENY\r\n\
         Cross-Origin-Opener-Policy: same-origin\r\n\
         Cross-Origin-Resource-Policy: same-origin\r\n\
         X-Content-Type-Options: nosniff\r\n\
         Referrer-Policy: same-origin\r\n\
         X-Accel-Buffering: no\r\n\r\n",
        POLICY.trim_end()
    )
}

/// The whole page of the panel; `notice` says why there are no sessions, or is empty.
pub fn panel_page(form: &Form, scripts: &[String], notice: &str) -> String {
    let mut page = start("socku console", "panel-page");
    page += "<main><h1>socku console</h1>\n";
    if !notice.is_empty() {
        page += &format!("<p class=\"notice\" role=\"status\">{}</p>\n", html(notice));
    }
    push_panel(form, scripts, &mut page);
    page += "</main>\n";
    page += &script_element();
    page + end()
}

/// The page of sessions up to the point where output is appended.
pub fn session_page(form: &Form, scripts: &[String]) -> String {
    let names: Vec<_> = form.sessions().map(|(_, row)| address(&row.host, &row.port)).collect();
    let title = format!("{} \u{2013} socku console", names.join(", "));
    let mut page = start(&title, "session-page");
    push_bar(form, &mut page);
    page += "<details><summary>Panel</summary>\n";
    push_panel(form, scripts, &mut page);
    page += "</details>\n<noscript><p class=\"notice\">The output is put in its columns by \
             JavaScript, which is switched off here.</p></noscript>\n";
    page += "<table class=\"sessions\">\n<thead><tr>";
    for (at, row) in form.sessions() {
        let script = html(&row.script);
        page += "\n<th scope=\"col\">";
        push_address(&row.host, &row.port, &mut page);
        page += &format!(
            " <bdi class=\"file\" title=\"{script}\">{script}</bdi> \
             <span class=\"state\" id=\"e{at}\"></span></th>"
        );
    }
    page += "\n</tr></thead>\n<tbody><tr>";
    for (at, _) in form.sessions() {
        page += &format!("\n<td><pre id=\"s{at}\" tabindex=\"0\"></pre></td>");
    }
    page += "\n</tr></tbody>\n</table>\n";
    page + &script_element()
}

/// The title, the proxy, and what can be done. The panel is in the page and filled in, so running
/// again is to submit it.
fn push_bar(form: &Form, page: &mut String) {
    *page += "<header><h1>socku console</h1><p>through ";
    push_address(&form.proxy_host, &form.proxy_port, page);
    if form.is_socks5() == Some(true) {
        *page += " by SOCKS5";
    }
    *page += "</p><button type=\"button\" id=\"stop\">Stop</button>\
              <button form=\"panel\" formnovalidate id=\"again\">Run again</button></header>\n";
}

/// A host that is too long for its place is cut off, its port never.
fn push_address(host: &str, port: &str, page: &mut String) {
    *page += &format!(
        "<span class=\"address\" title=\"{}\"><bdi class=\"host\">{}</bdi><bdi>:{}</bdi></span>",
        html(&address(host, port)),
        html(&shown_host(host)),
        html(port)
    );
}

/// The end of every page.
pub fn end() -> &'static str {
    "</body>\n</html>\n"
}

/// Appends what the remote shell of session `at` sent to its column.
pub fn output(at: usize, text: &str) -> String {
    call("show", at, "", text, "")
}

/// Appends a line of the script to its column.
pub fn command(at: usize, line: &str) -> String {
    call("show", at, "<b>", line, "</b>")
}

/// Appends the reason why a session ended before its remote shell closed.
pub fn reason(at: usize, why: &str) -> String {
    call("show", at, "<em>", why, "</em>")
}

/// Sets the word at the head of a column; to be written once.
pub fn state(at: usize, word: &str) -> String {
    call("ended", at, "", word, "")
}

/// A call of a function of page.js, as an element of its own. Every piece is whole by itself: none leaves an
/// element, a character reference or a string open for the next.
fn call(function: &str, at: usize, before: &str, text: &str, after: &str) -> String {
    let mut piece = format!("<script>{function}({at},'{before}");
    piece.reserve(text.len() + text.len() / 4 + 32);
    escape_streamed(text, &mut piece);
    piece + after + "')</script>\n"
}

fn start(title: &str, kind: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>\n{STYLE}</style>\n\
         </head>\n<body class=\"{kind}\">\n",
        html(title)
    )
}

fn script_element() -> String {
    format!("<script>\n{SCRIPT}</script>\n")
}

fn address(host: &str, port: &str) -> String {
    format!("{}:{port}", shown_host(host))
}

/// The host as it stands before its port: an IPv6 address in brackets.
fn shown_host(host: &str) -> Cow<'_, str> {
    match ipv6(host) {
        Some((text, _)) => format!("[{text}]").into(),
        None => host.into(),
    }
}

fn push_panel(form: &Form, scripts: &[String], page: &mut String) {
    *page += "<form method=\"get\" id=\"panel\">\n<table class=\"panel\">\n<thead><tr><th></th>\
              <th scope=\"col\">Host</th><th scope=\"col\">Port</th><th scope=\"col\">Script</th>\
              </tr></thead>\n<tbody>\n";
    for at in 0..ROWS {
        push_row(at, &form.rows[at], scripts, page);
    }
    *page += "</tbody>\n<tfoot>";
    push_proxy(form, page);
    *page += "</tfoot>\n</table>\n";
    if scripts.is_empty() {
        *page += "<p class=\"notice\">There are no scripts: put some into the directory \
                  test_case beside this program, or name another one in SOCKU_SCRIPTS.</p>\n";
    }
    *page += "</form>\n";
}

/// The rows of the SOCKS server. The query has the password, so the page may have it as well, but
/// in a field that does not show it.
fn push_proxy(form: &Form, page: &mut String) {
    *page += "<tr><th scope=\"row\">SOCKS server</th><td>";
    push_host("sh", "SOCKS host", &form.proxy_host, page);
    *page += "</td><td>";
    push_port("sp", "SOCKS port", &form.proxy_port, page);
    *page += "</td><td><select name=\"sv\" aria-label=\"SOCKS version\">";
    for (value, word) in [("", "SOCKS4"), ("5", "SOCKS5")] {
        let selected = if *value == form.version { " selected" } else { "" };
        *page += &format!("<option value=\"{value}\"{selected}>{word}</option>");
    }
    *page += "</select></td></tr>\n<tr><th scope=\"row\">User</th><td>";
    push_host("su", "SOCKS user", &form.user, page);
    *page += "</td><td></td><td></td></tr>\n<tr><th scope=\"row\">Password</th><td>";
    *page += &format!(
        "<input name=\"sw\" type=\"password\" aria-label=\"SOCKS5 password\" value=\"{}\" \
         maxlength=\"255\" autocomplete=\"off\" \
         title=\"for SOCKS5; it will be in the address of the page\">",
        html(&form.password)
    );
    *page += "</td><td></td><td><button>Run</button></td></tr>\n";
}

fn push_row(at: usize, row: &Row, scripts: &[String], page: &mut String) {
    let number = at + 1;
    *page += &format!("<tr><th scope=\"row\">{number}</th><td>");
    push_host(&format!("h{at}"), &format!("Host {number}"), &row.host, page);
    *page += "</td><td>";
    push_port(&format!("p{at}"), &format!("Port {number}"), &row.port, page);
    *page += &format!(
        "</td><td><select name=\"f{at}\" aria-label=\"Script {number}\"><option value=\"\"></option>"
    );
    for script in scripts {
        let selected = if *script == row.script { " selected" } else { "" };
        let name = html(script);
        *page += &format!("<option value=\"{name}\"{selected}>{name}</option>");
    }
    *page += "</select></td></tr>\n";
}

fn push_host(name: &str, label: &str, value: &str, page: &mut String) {
    *page += &format!(
        "<input name=\"{name}\" aria-label=\"{label}\" value=\"{}\" maxlength=\"255\" \
         autocomplete=\"off\" autocapitalize=\"off\" spellcheck=\"false\">",
        html(value)
    );
}

fn push_port(name: &str, label: &str, value: &str, page: &mut String) {
    *page += &format!(
        "<input name=\"{name}\" aria-label=\"{label}\" value=\"{}\" maxlength=\"5\" \
         inputmode=\"numeric\" pattern=\"[0-9]*\" autocomplete=\"off\">",
        html(value)
    );
}

fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    escape_html(text, &mut out);
    out
}

#[cfg(test)]
#[path = "page_test.rs"]
mod tests;
