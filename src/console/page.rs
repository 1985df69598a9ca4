//! What the console writes: CGI header, panel, columns, and the pieces that fill them.

use super::query::{Form, ROWS, Row};
use super::text::{escape_html, escape_streamed};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const POLICY: &str = include_str!("page.policy");

/// Written when nothing else is, so that a browser that has left is noticed.
pub const KEEP_ALIVE: &str = "\n";

/// The answer to a request that is no page, with its status (`400 Bad Request`).
pub fn refusal(status: &str, why: &str) -> String {
    format!(
        "Status: {status}\r\nContent-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n\
         Allow: GET, HEAD\r\n\r\n{why}\n"
    )
}

/// The header of every page.
///
/// The policy lets nothing be loaded from anywhere. `X-Accel-Buffering` asks proxies in front
/// of the web server not to hold back what is streamed.
pub fn header() -> String {
    format!(
        "Content-Type: text/html; charset=utf-8\r\n\
         Cache-Control: no-store\r\n\
         Content-Security-Policy: {}\r\n\
         X-Content-Type-Options: nosniff\r\n\
         Referrer-Policy: no-referrer\r\n\
         X-Accel-Buffering: no\r\n\r\n",
        POLICY.trim_end()
    )
}

/// The whole page of the panel; `notice` says why there are no sessions, or is empty.
pub fn panel_page(form: &Form, scripts: &[String], notice: &str) -> String {
    let mut page = start("socku console");
    page += "<main class=\"bare\"><h1>socku console</h1>\n";
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
    let names: Vec<_> = form.sessions().map(|(_, row)| heading(row)).collect();
    let mut page = start(&format!("{} \u{2013} socku console", names.join(", ")));
    page += "<details><summary>Panel</summary>\n";
    push_panel(form, scripts, &mut page);
    page += "</details>\n<noscript><p class=\"notice\">The output is put in its columns by \
             JavaScript, which is switched off here.</p></noscript>\n";
    page += "<table class=\"sessions\">\n<thead><tr>";
    for (at, row) in form.sessions() {
        let script = html(&row.script);
        page += &format!(
            "\n<th scope=\"col\"><bdi class=\"name\">{}</bdi> <bdi class=\"file\">{script}</bdi> \
             <span class=\"state\" id=\"e{at}\"></span></th>",
            html(&heading(row))
        );
    }
    page += "\n</tr></thead>\n<tbody><tr>";
    for (at, _) in form.sessions() {
        page += &format!("\n<td><pre id=\"s{at}\" tabindex=\"0\"></pre></td>");
    }
    page += "\n</tr></tbody>\n</table>\n";
    page + &script_element()
}

/// The end of every page.
pub fn end() -> &'static str {
    "</body>\n</html>\n"
}

/// Appends what the remote shell of session `at` sent to its column.
pub fn output(at: usize, text: &str) -> String {
    append('s', at, "", text, "")
}

/// Appends a line of the script to its column.
pub fn command(at: usize, line: &str) -> String {
    append('s', at, "<b>", line, "</b>")
}

/// Appends the reason why a session ended before its remote shell closed.
pub fn reason(at: usize, why: &str) -> String {
    append('s', at, "<em>", why, "</em>")
}

/// Sets the word at the head of a column; to be written once.
pub fn state(at: usize, word: &str) -> String {
    append('e', at, "", word, "")
}

/// `innerHTML +=` is what the form of the console asks for. Taken at its word it serializes and parses
/// the whole column again for each piece; page.js teaches the columns to do it in constant time,
/// and without page.js the pieces still mean the same.
fn append(kind: char, at: usize, before: &str, text: &str, after: &str) -> String {
    let mut piece = format!("<script>document.getElementById('{kind}{at}').innerHTML += '{before}");
    piece.reserve(text.len() + text.len() / 4 + 32);
    escape_streamed(text, &mut piece);
    piece + after + "';</script>\n"
}

fn start(title: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>\n{STYLE}</style>\n\
         </head>\n<body>\n",
        html(title)
    )
}

fn script_element() -> String {
    format!("<script>\n{SCRIPT}</script>\n")
}

fn heading(row: &Row) -> String {
    format!("{}:{}", row.host, row.port)
}

fn push_panel(form: &Form, scripts: &[String], page: &mut String) {
    *page += "<form method=\"get\" id=\"panel\">\n<table class=\"panel\">\n<thead><tr><th></th>\
              <th scope=\"col\">Host</th><th scope=\"col\">Port</th><th scope=\"col\">Script</th>\
              </tr></thead>\n<tbody>\n";
    for at in 0..ROWS {
        push_row(at, &form.rows[at], scripts, page);
    }
    *page += "</tbody>\n<tfoot><tr><th scope=\"row\">SOCKS server</th><td>";
    push_host("sh", "SOCKS host", &form.proxy_host, page);
    *page += "</td><td>";
    push_port("sp", "SOCKS port", &form.proxy_port, page);
    *page += "</td><td><button>Run</button></td></tr></tfoot>\n</table>\n";
    if scripts.is_empty() {
        *page += "<p class=\"notice\">There are no scripts: put some into the directory \
                  test_case beside this program, or name another one in SOCKU_SCRIPTS.</p>\n";
    }
    *page += "</form>\n";
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
