//! The functions that fuzzing calls, and `cargo test` with the seeds: each takes any bytes and
//! panics if the program handles them wrongly.

#[path = "console.rs"]
pub mod console;
#[path = "dns.rs"]
pub mod dns;
#[path = "wire.rs"]
pub mod wire;

use socku::internals::dns::ResolverSettings;
use socku::internals::escape::{Escaped, SHOWN_BYTES_MAX};
use socku::internals::ident::{IdentResult, Ports, Strictness, evaluate};
use socku::internals::rules::{AccessRequest, RuleSet};
use socku::internals::wire::Command;
use std::net::Ipv4Addr;

/// A function that checks some bytes.
pub type Run = fn(&[u8]);

/// All targets by the names of their seeds' directories.
#[allow(dead_code, reason = "fuzzing calls them one by one")]
pub const ALL: [(&str, Run); 8] = [
    ("request", wire::request),
    ("reply", wire::reply),
    ("dns_answer", dns::answer),
    ("ident_answer", ident_answer),
    ("rule_file", rule_file),
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
    let (address, client) = (Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 1));
    for command in [Command::Connect, Command::Bind] {
        for name in [None, Some(&b"a.example.com"[..])] {
            let request = AccessRequest { command, name, address, port: 80, client, user: b"bob" };
            let possible = rules.could_permit(command, name, 80, client, b"bob").is_ok();
            let permits =
                matches!(rules.decide(&request), socku::internals::rules::Verdict::Permit { .. });
            assert!(possible || !permits, "refused early, though permitted");
        }
    }
}

/// The limits hold for any file.
pub fn resolv_conf(bytes: &[u8]) {
    let settings = ResolverSettings::from_resolv_conf(bytes);
    assert!((1..=3).contains(&settings.servers.len()));
    assert!((1_000..=30_000).contains(&settings.timeout_ms));
    assert!((1..=5).contains(&settings.attempts));
    assert!(settings.search.len() <= 6);
}
