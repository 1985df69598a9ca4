//! The functions that fuzzing calls, and `cargo test` with the seeds: each takes any bytes and
//! panics if the program handles them wrongly.

#[path = "console.rs"]
pub mod console;
#[path = "dns.rs"]
pub mod dns;
#[path = "proxy.rs"]
pub mod proxy;
#[path = "wire.rs"]
pub mod wire;

use socku::internals::dns::ResolverSettings;
use socku::internals::escape::{Escaped, SHOWN_BYTES_MAX};
use socku::internals::ident::{IdentResult, Ports, Strictness, evaluate};
use socku::internals::rules::{AccessRequest, PartialRequest, RuleSet, Verdict};
use socku::internals::users::{Parser, Users};
use socku::internals::wire::Command;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A function that checks some bytes.
pub type Run = fn(&[u8]);

/// All targets by the names of their seeds' directories.
#[allow(dead_code, reason = "fuzzing calls them one by one")]
pub const ALL: [(&str, Run); 10] = [
    ("request", wire::request),
    ("reply", wire::reply),
    ("dns_answer", dns::answer),
    ("ident_answer", ident_answer),
    ("proxy_header", proxy::header),
    ("rule_file", rule_file),
    ("users_file", users_file),
    ("resolv_conf", resolv_conf),
    ("console_query", console::query),
    ("console_shell", console::shell),
];

/// A text in the log is bounded, and printable ASCII without blanks and quotes.
fn one_word(bytes: &[u8]) {
    let shown = Escaped(bytes).to_string();
    assert!(shown.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'"'));
    assert!(shown.len() <= 4 * SHOWN_BYTES_MAX + 3);
}

/// More bytes do not change a complete answer.
pub fn ident_answer(bytes: &[u8]) {
    let asked = Ports { client: 51234, ours: 1080 };
    let whole = IdentResult::parse(bytes, asked);
    for cut in 0..bytes.len().min(1100) {
        if let Some(early) = IdentResult::parse(&bytes[..cut], asked) {
            assert_eq!(Some(early), whole);
            break;
        }
    }
    assert!(whole.is_some() || bytes.len() < 1000);
    if let Some(result) = whole {
        one_word(result.user().unwrap_or_default());
        for strictness in [Strictness::Strict, Strictness::Lax] {
            evaluate(&result, b"bob", strictness);
        }
    }
}

/// A parsed rule is shown in a form that parses to the same.
pub fn rule_file(bytes: &[u8]) {
    let Ok(rules) = RuleSet::parse(bytes) else { return };
    let text: String = rules.rules().iter().map(|rule| format!("{rule}\n")).collect();
    let again = RuleSet::parse(text.as_bytes()).expect("the shown form parses");
    assert_eq!(again.rules().len(), rules.rules().len());
    for (rule, again) in rules.rules().iter().zip(again.rules()) {
        assert_eq!(rule.to_string(), again.to_string());
    }
    for client in ["10.0.0.1", "2001:db8::1"].map(ip) {
        for address in ["127.0.0.1", "10.1.2.3", "2001:db8::1", "fe80::1", "::1"].map(ip) {
            for command in [Command::Connect, Command::Bind] {
                for (name, proven) in [(None, true), (Some(&b"a.example.com"[..]), false)] {
                    let (port, user) = (80, &b"bob"[..]);
                    let partial = PartialRequest { command, port, client, user, proven };
                    let request = partial.with_address(name, address);
                    let verdict = rules.decide(&request);
                    let possible = rules.could_permit(&partial, name).is_ok();
                    let permits = matches!(verdict, Verdict::Permit { .. });
                    assert!(possible || !permits, "refused early, though permitted");
                    let request = AccessRequest {
                        client: written_as_ipv6(client),
                        address: written_as_ipv6(address),
                        ..request
                    };
                    assert_eq!(rules.decide(&request), verdict, "an address written as IPv6");
                }
            }
        }
    }
}

/// A plain reading of the same file agrees, and how the bytes were cut changes nothing.
pub fn users_file(bytes: &[u8]) {
    let whole = Users::parse(bytes);
    for length in [1, 7] {
        let mut parser = Parser::default();
        let fed = bytes.chunks(length).try_for_each(|piece| parser.feed(piece));
        assert_eq!(fed.and_then(|()| parser.finish()), whole);
    }
    let Ok(users) = whole else { return };
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let lines =
        text.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut plain = BTreeMap::new();
    for line in lines.filter(|line| !line.trim_ascii().is_empty() && line[0] != b'#') {
        let mut parts = line.splitn(2, |&byte| byte == b':');
        let (name, password) = (parts.next().unwrap(), parts.next().unwrap());
        assert_eq!(plain.insert(name, password), None, "a name that comes twice");
    }
    assert_eq!(users.count(), plain.len());
    for (name, password) in plain {
        assert!(users.check(name, password));
        assert!(
            !users.check(name, &password[1..]) && !users.check(name, &[password, b"x"].concat())
        );
        assert!([name, password].iter().all(|field| (1..=255).contains(&field.len())));
    }
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn written_as_ipv6(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().into(),
        IpAddr::V6(_) => address,
    }
}

/// The limits hold for any file.
pub fn resolv_conf(bytes: &[u8]) {
    let settings = ResolverSettings::from_resolv_conf(bytes, |_| None);
    assert!((1..=3).contains(&settings.servers.len()));
    assert!((1_000..=30_000).contains(&settings.timeout_ms));
    assert!((1..=5).contains(&settings.attempts));
    assert!(settings.search.len() <= 6);
}
