//! The output of `-t` and `-e`.

use crate::name;
use crate::rules::{NoPermit, PartialRequest, Rule, RuleSet, TargetPattern, Verdict};
use crate::wire::Command;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::{error, fmt};

/// The rules as understood, a line each: the line in the file, and the rule.
pub fn listing(rules: &RuleSet) -> String {
    let mut text = String::new();
    for rule in rules.rules() {
        let _ = writeln!(text, "{:>4}: {rule}", rule.line);
    }
    text + "   -: deny everything else\n"
}

/// A question of `-e`.
struct Question<'a> {
    request: PartialRequest<'a>,
    name: Option<&'a str>,
    address: Option<IpAddr>,
}

/// The answer to a question of `-e`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The verdict and its reason, for people; without a line end.
    pub text: String,
    /// The rules say no, whatever the address turns out to be.
    pub is_denied: bool,
}

/// A question that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuestionError(String);

impl fmt::Display for QuestionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--explain: {}", self.0)
    }
}

impl error::Error for QuestionError {}

/// Answers `c|b HOST:PORT [from ADDRESS] [user NAME] [auth]`, where HOST is an IPv4 address, an IPv6
/// address in brackets, a name, or NAME=ADDRESS: a name and one address that it leads to. The client
/// is 127.0.0.1, the user empty and without proof (`auth`) unless the question has them. The error
/// says what was found and expected.
pub fn explain(rules: &RuleSet, question: &str) -> Result<Answer, QuestionError> {
    let Question { request, name, address } = parse(question).map_err(QuestionError)?;
    // BIND for 0.0.0.0 is for any peer that the rules permit.
    let is_any_peer = request.command == Command::Bind && name.is_none();
    if let Some(address) = address.filter(|address| !(is_any_peer && address.is_unspecified())) {
        let request = request.with_address(name.map(str::as_bytes), address);
        return Ok(show(rules, rules.decide(&request)));
    }
    Ok(match rules.could_permit(&request, name.map(str::as_bytes)) {
        Ok(_) => Answer { text: depends(rules, &request, name), is_denied: false },
        Err(NoPermit::Denied { line }) => show(rules, Verdict::Deny { line }),
        Err(NoPermit::Impossible) => show(rules, Verdict::Impossible),
        Err(NoPermit::NoRule) => {
            Answer { text: "deny: no rule permits this for any address".into(), is_denied: true }
        }
    })
}

fn show(rules: &RuleSet, verdict: Verdict) -> Answer {
    let is_denied = !matches!(verdict, Verdict::Permit { .. });
    Answer { text: verdict_text(rules, verdict), is_denied }
}

fn verdict_text(rules: &RuleSet, verdict: Verdict) -> String {
    let text = |line| rules.rules().iter().find(|rule| rule.line == line).map(Rule::to_string);
    match verdict {
        Verdict::Permit { line, .. } => {
            format!("permit: line {line}: {}", text(line).unwrap_or_default())
        }
        Verdict::Deny { line } => format!("deny: line {line}: {}", text(line).unwrap_or_default()),
        Verdict::NoRule => "deny: no rule matches".into(),
        Verdict::Impossible => {
            "deny: 0/8, 224/4, 240/4, ::, ff00::/8 and port 0 are never the target of a connection"
                .into()
        }
    }
}

/// For a name, each of whose addresses will be judged: the rules that may decide.
fn depends(rules: &RuleSet, request: &PartialRequest<'_>, name: Option<&str>) -> String {
    let mut text = String::from("depends on the address; in this order:");
    for rule in rules.may_decide(request, name.map(str::as_bytes)) {
        let _ = write!(text, "\n{:>4}: {rule}", rule.line);
        if let (TargetPattern::Name { .. }, Some(name)) = (&rule.target, name) {
            let _ =
                write!(text, "   ({name}, unless at a loopback, link-local or metadata address)");
        }
    }
    text
}

fn parse(text: &str) -> Result<Question<'_>, String> {
    const FORM: &str = "expected c|b HOST:PORT [from ADDRESS] [user NAME] [auth]";
    let mut words = text.split_ascii_whitespace();
    let command = match words.next() {
        Some("c") => Command::Connect,
        Some("b") => Command::Bind,
        other => return Err(format!("{:?}: {FORM}", other.unwrap_or_default())),
    };
    let target = words.next().ok_or(FORM)?;
    let parts = target.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
    let (host, port) = parts.ok_or(format!("{target:?}: {FORM}"))?;
    let port = port.parse().map_err(|_| format!("{port:?}: expected a port from 0 to 65535"))?;
    let (name, address) = parse_host(host)?;
    let (client, user) = (Ipv4Addr::LOCALHOST.into(), "".as_bytes());
    let mut request = PartialRequest { command, port, client, user, proven: false };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word:?} has no value: {FORM}"));
        match word {
            "from" => request.client = parse_address(value()?)?,
            "user" => request.user = value()?.as_bytes(),
            "auth" => request.proven = true,
            _ => return Err(format!("{word:?}: {FORM}")),
        }
    }
    Ok(Question { request, name, address })
}

/// An IPv6 address needs brackets where a port follows it; after `NAME=` they may be missing.
fn parse_host(host: &str) -> Result<(Option<&str>, Option<IpAddr>), String> {
    if host.starts_with('[') {
        return Ok((None, Some(parse_address(host)?)));
    }
    let (name, address) = match host.split_once('=') {
        Some((name, address)) => (name, Some(parse_address(address)?)),
        None => (host, None),
    };
    match name::classify(name.as_bytes()) {
        Ok(name::Classified::Name(_)) => Ok((Some(name), address)),
        Ok(name::Classified::Address(IpAddr::V4(given))) if address.is_none() => {
            Ok((None, Some(given.into())))
        }
        _ => Err(format!(
            "{host:?}: expected an address (IPv6 in brackets), a host name, or NAME=ADDRESS"
        )),
    }
}

/// An address of either family; an IPv6 address may be in brackets.
fn parse_address(text: &str) -> Result<IpAddr, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = match bare {
        Some(bare) => bare.parse::<Ipv6Addr>().map(IpAddr::V6),
        None => text.parse(),
    };
    let address = address.map_err(|_| format!("{text:?}: expected an IPv4 or IPv6 address"))?;
    Ok(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = "permit c 140.113.*.*\ndeny c 10.0.0.0/8 user bob\n\
                         permit c *.example.com port 443\npermit b *.*.*.* from 10.*.*.*\n\
                         deny cb *.denied.org\ndeny b *.*.*.* from 11.0.0.2\n\
                         permit c 2001:db8::/32 port 22 from 2001:db8:1::/48 auth\n\
                         permit cb 2001:db8::/32 port 443";

    fn answer(question: &str) -> Result<Answer, QuestionError> {
        explain(&RuleSet::parse(RULES.as_bytes()).unwrap(), question)
    }

    #[test]
    fn a_verdict_comes_with_the_rule_that_gives_it() {
        for (question, expected) in [
            ("c 140.113.1.1:80 from 10.0.0.2", "permit: line 1: permit c 140.113.*.*"),
            ("c 10.1.1.1:80 user bob", "deny: line 2: deny c 10.*.*.* user bob"),
            ("c 10.1.1.1:80 user eve", "deny: no rule matches"),
            ("c 224.1.1.1:80", "deny: 0/8, 224/4, 240/4, ::, ff00::/8 and port 0"),
            ("b 1.2.3.4:0 from 10.0.0.2", "permit: line 4: permit b"),
            ("b 1.2.3.4:0", "deny: no rule matches"),
            ("c www.example.com=9.9.9.9:443", "permit: line 3: permit c *.example.com port 443"),
            ("c www.example.com=127.0.0.1:443", "deny: no rule matches"),
            ("c www.example.com:443", "depends on the address; in this order:\n   1: permit"),
            ("b www.example.com:444", "deny: no rule permits this for any address"),
            ("c www.example.com:0", "deny: 0/8, 224/4, 240/4, ::, ff00::/8 and port 0"),
            ("b www.denied.org:80", "deny: line 5: deny cb *.denied.org"),
            ("b 0.0.0.0:0 from 11.0.0.2", "deny: line 6: deny b *.*.*.* from 11.0.0.2"),
            ("b 0.0.0.0:0", "deny: no rule permits this for any address"),
            ("b [::]:443", "depends on the address; in this order:\n   8: permit cb"),
            ("b [::ffff:0.0.0.0]:0 from 10.0.0.2", "depends on the address; in this order:\n   4:"),
            ("c [2001:db8::1]:443 from 2001:db8:1::2 user alice", "permit: line 8: permit cb"),
            ("c [2001:db8::1]:22 from 2001:db8:1::2 user alice", "deny: no rule matches"),
            ("c [2001:db8::1]:22 from 2001:db8:1::2 user alice auth", "permit: line 7: permit c"),
            ("c [2001:db8::1]:22 auth from [2001:db8:1::2]", "permit: line 7: permit c"),
            ("c [::ffff:140.113.1.1]:80", "permit: line 1: permit c 140.113.*.*"),
            ("c [ff02::1]:443", "deny: 0/8, 224/4, 240/4, ::, ff00::/8 and port 0"),
            ("c www.example.com=[2001:db9::1]:443", "permit: line 3: permit c *.example.com"),
            ("c www.example.com=2001:db9::1:443", "permit: line 3: permit c *.example.com"),
            ("c www.example.com=[fe80::1]:443", "deny: no rule matches"),
            (
                "c www.example.org:22 from 2001:db8:1::2 auth",
                "depends on the address; in this order:\n   1:",
            ),
            ("b 0.0.0.0:0 from 10.0.0.2", "depends on the address; in this order:\n   4: permit b"),
            ("c 0.0.0.0:80", "deny: 0/8, 224/4, 240/4, ::, ff00::/8 and port 0"),
            ("b www.example.com=0.0.0.0:0 from 10.0.0.2", "deny: 0/8"),
        ] {
            let Answer { text, is_denied } = answer(question).unwrap();
            assert!(text.starts_with(expected), "{question}: {text}");
            assert_eq!(is_denied, expected.starts_with("deny"), "{question}");
        }
        let by_name = answer("c www.example.com:443").unwrap().text;
        assert!(
            by_name.contains("\n   3: permit c *.example.com port 443") && !by_name.contains("bob")
        );
        assert!(by_name.ends_with("\n   8: permit cb 2001:db8::/32 port 443"), "{by_name}");
        assert!(by_name.contains("(www.example.com, unless at a loopback, link-local or metadata"));
        for (auth, is_listed) in [("", false), (" auth", true)] {
            let question = format!("c www.example.org:22 from 2001:db8:1::2{auth}");
            assert_eq!(answer(&question).unwrap().text.contains("\n   7: "), is_listed);
        }
    }

    #[test]
    fn the_error_of_a_bad_question_says_what_was_expected() {
        for (question, expected) in [
            ("", "expected c|b"),
            ("x 1.2.3.4:80", "\"x\""),
            ("c", "HOST:PORT"),
            ("c 1.2.3.4", "HOST:PORT"),
            ("c 1.2.3.4:99999", "expected a port"),
            ("c 1.2.3:80", "expected an address"),
            ("c 1.2.3.4:80 from", "no value"),
            ("c 1.2.3.4:80 from home", "expected an IPv4 or IPv6 address"),
            ("c [2001:db8::1]", "HOST:PORT"),
            ("c 2001:db8::1:443", "IPv6 in brackets"),
            ("c 2001:db8::1", "IPv6 in brackets"),
            ("c [fe80::1%eth0]:443", "expected an IPv4 or IPv6 address"),
            ("c [1.2.3.4]:443", "expected an IPv4 or IPv6 address"),
            ("c www.example.com=[::1:443", "expected an IPv4 or IPv6 address"),
            ("c 1.2.3.4:80 by bob", "\"by\""),
        ] {
            let error = answer(question).unwrap_err().to_string();
            assert!(
                error.starts_with("--explain: ") && error.contains(expected),
                "{question}: {error}"
            );
        }
    }

    #[test]
    fn the_listing_shows_lines_and_the_default() {
        let listing = listing(&RuleSet::parse(b"# x\npermit c 1.2.3.4").unwrap());
        assert_eq!(listing, "   2: permit c 1.2.3.4\n   -: deny everything else\n");
    }
}
