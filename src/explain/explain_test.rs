//! Answers, by tables.

use super::*;
use crate::context::is_own;
use crate::dns::{Hosts, ResolverSettings};
use std::net::SocketAddr;

const RULES: &str = "permit c 140.113.*.*\ndeny c 10.0.0.0/8 user bob\n\
                     permit c *.example.com port 443\npermit b *.*.*.* from 10.*.*.*\n\
                     deny cb *.denied.org\ndeny b *.*.*.* from 11.0.0.2\n\
                     permit c 2001:db8::/32 port 22 from 2001:db8:1::/48 auth\n\
                     permit cb 2001:db8::/32 port 443";

const HOSTS: &str = "127.0.0.1 localhost\n10.0.0.9 here\n9.9.9.9 there\n140.113.0.1 there\n";

/// The answer of a proxy that listens on 0.0.0.0:1080 and has the addresses of 192.0.2.0/24, by these
/// rules and this search list.
fn ask(rules: &str, search: &str, question: &str) -> Result<Answer, QuestionError> {
    let settings = ResolverSettings::from_resolv_conf(search.as_bytes(), |_| None);
    let resolver = Resolver::new(settings, Hosts::parse(HOSTS.as_bytes()), Box::new(|| 1));
    let is_local = |address: IpAddr| Ok(address.to_string().starts_with("192.0.2."));
    let listening: [SocketAddr; 2] =
        ["0.0.0.0:1080", "[2001:db8::1]:1080"].map(|text| text.parse().unwrap());
    let proxy = Proxy {
        rules: &RuleSet::parse(rules.as_bytes()).unwrap(),
        has_users: false,
        resolver: &resolver,
        is_own: &|target| is_own(listening.into_iter(), target, is_local),
    };
    explain(&proxy, question)
}

fn answer(question: &str) -> Result<Answer, QuestionError> {
    ask(RULES, "", question)
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
        ("c 1.2.3.4:80 from 10.0.0.1 from 10.0.0.2", "\"from\" is given twice"),
        ("c 1.2.3.4:80 auth auth", "\"auth\" is given twice"),
    ] {
        let error = answer(question).unwrap_err().to_string();
        assert!(
            error.starts_with("--explain: ") && error.contains(expected),
            "{question}: {error}"
        );
    }
}

/// The rules, a question, and what is said of the permit rule that came nearest.
#[test]
fn a_no_without_a_rule_names_the_permit_rule_that_came_nearest_and_all_that_kept_it() {
    for (rules, question, nearest) in [
        (
            "permit c 10.0.0.0/8 port 443",
            "c 10.1.1.1:80",
            "line 1: permit c 10.*.*.* port 443: port is 80",
        ),
        (
            "permit c 10.0.0.0/8 port 443",
            "c 9.1.1.1:80",
            "line 1: permit c 10.*.*.* port 443: target is 9.1.1.1, port is 80",
        ),
        ("permit b 10.0.0.0/8", "c 10.1.1.1:80", "line 1: permit b 10.*.*.*: command is CONNECT"),
        ("permit c 10.0.0.0/8", "b 10.1.1.1:80", "line 1: permit c 10.*.*.*: command is BIND"),
        (
            "permit c * from 10.0.0.2",
            "c 9.9.9.9:80",
            "line 1: permit c * from 10.0.0.2: client is 127.0.0.1",
        ),
        (
            "permit c * user bob",
            "c 9.9.9.9:80 user eve",
            "line 1: permit c * user bob: user is \"eve\"",
        ),
        (
            "permit c * auth",
            "c 9.9.9.9:80 user bob",
            "line 1: permit c * auth: the user has proved no password",
        ),
        // Fewest first, then first in the file; deny rules do not count.
        (
            "deny c 10.0.0.0/8 port 81\npermit c 10.0.0.0/8 port 81 user bob\npermit c 10.0.0.0/8 port 82\npermit c 11.0.0.0/8",
            "c 10.1.1.1:80",
            "line 3: permit c 10.*.*.* port 82: port is 80",
        ),
        (
            "permit c a.example port 443",
            "c b.example=9.9.9.9:443",
            "line 1: permit c a.example port 443: target is b.example at 9.9.9.9",
        ),
        (
            "permit c a.example",
            "c a.example=127.0.0.1:80",
            "line 1: permit c a.example: target is 127.0.0.1, which no rule for a name covers",
        ),
        (
            "permit c a.example port 443",
            "c a.example:80",
            "line 1: permit c a.example port 443: port is 80",
        ),
        ("permit c a.example", "c b.example:80", "line 1: permit c a.example: target is b.example"),
        ("permit b a.example", "b 0.0.0.0:80", "line 1: permit b a.example: target is any peer"),
        (
            "permit c 2001:db8::/32",
            "c 9.9.9.9:80",
            "line 1: permit c 2001:db8::/32: target is 9.9.9.9",
        ),
        ("permit c 10.0.0.1", "c here:80", "line 1: permit c 10.0.0.1: target is 10.0.0.9"),
    ] {
        let Answer { text, is_denied } = ask(rules, "", question).unwrap();
        let (no, found) = text.split_once("; nearest: ").unwrap_or_else(|| panic!("{text}"));
        assert!(no.starts_with("deny: no rule ") && is_denied, "{question}: {text}");
        assert_eq!(found, nearest, "{rules}: {question}");
    }
    let without_permits = ask("deny c 10.0.0.0/8", "", "c 9.9.9.9:80").unwrap().text;
    assert_eq!(without_permits, "deny: no rule matches");
}

#[test]
fn the_proxys_own_sockets_are_never_a_target() {
    for (question, is_own) in [
        ("c 127.0.0.1:1080", true),
        ("c 127.7.7.7:1080", true),
        ("c 192.0.2.7:1080", true),
        ("c [::ffff:192.0.2.7]:1080", true),
        ("c [2001:db8::1]:1080", true),
        ("c [2001:db8::2]:1080", false),
        ("c [::1]:1080", false),
        ("c 192.0.2.7:1081", false),
        ("c 9.9.9.9:1080", false),
        ("c www.example.com=192.0.2.7:1080", true),
        ("b 192.0.2.7:1080", false),
    ] {
        let text = ask("permit cb *", "", question).unwrap().text;
        let expected =
            if is_own { "deny: the proxy's own socket (a loop)" } else { "permit: line 1:" };
        assert!(text.starts_with(expected), "{question}: {text}");
    }
    let text = ask("permit c *", "", "c localhost:1080").unwrap().text;
    assert!(text.contains("127.0.0.1: deny: the proxy's own socket"), "{text}");
    assert!(text.contains("::1: permit: line 1: permit c *"), "{text}");
}

#[test]
fn names_are_those_that_the_proxy_would_judge() {
    let rules = "permit c *.corp.example port 80\npermit c 10.0.0.9\npermit c 9.9.9.9";
    let search = "search corp.example lab.example";
    let say = |question: &str| ask(rules, search, question).unwrap();
    let completed = say("c www:80").text;
    assert!(
        completed.contains("\n   as www.corp.example:\n   1: permit c *.corp.example"),
        "{completed}"
    );
    assert!(completed.contains("\n   as www.lab.example:\n   2:"), "{completed}");
    let at = say("c www=8.8.8.8:80").text;
    assert!(
        at.starts_with("permit, of these:\n   www.corp.example at 8.8.8.8: permit: line 1"),
        "{at}"
    );
    assert!(
        at.contains("\n   www.lab.example at 8.8.8.8: deny: no rule matches; nearest: line 1"),
        "{at}"
    );
    // Known by the hosts file: its addresses are known, and it is not completed.
    assert_eq!(say("c here:80").text, "permit: line 2: permit c 10.0.0.9");
    let there = say("c there:80").text;
    assert!(there.starts_with("permit, of these:\n   there at 9.9.9.9: permit: line 3"), "{there}");
    assert!(there.contains("\n   there at 140.113.0.1: deny: no rule matches"), "{there}");
    assert!(say("c localhost:80").is_denied, "a name rule does not cover it, and no other does");
    // A final dot, or any other dot: as it is.
    assert!(say("c www.:80").text.contains("in this order:\n   2:"));
    assert!(!say("c www.:80").text.contains("corp"));
}

#[test]
fn a_permit_says_what_is_still_asked_of_the_client() {
    for (rule, question, conditions) in [
        ("permit c *", "c 9.9.9.9:80 user bob", ""),
        (
            "permit c * ident",
            "c 9.9.9.9:80 user bob",
            "; if the client's identd names user \"bob\"",
        ),
        (
            "permit c * ident-lax",
            "c 9.9.9.9:80 user bob",
            "; if the client's identd names user \"bob\" or does not answer",
        ),
        (
            "permit c * auth",
            "c 9.9.9.9:80 user bob auth",
            "; if user \"bob\" proves the password, which takes --users",
        ),
    ] {
        let text = ask(rule, "", question).unwrap().text;
        assert_eq!(text, format!("permit: line 1: {rule}{conditions}"), "{question}");
    }
    let text = ask("permit c *.*.*.* ident", "", "c www.example.com:80 user bob").unwrap().text;
    assert!(
        text.ends_with("1: permit c *.*.*.* ident; if the client's identd names user \"bob\""),
        "{text}"
    );
}
