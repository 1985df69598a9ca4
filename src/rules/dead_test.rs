//! Rules that never decide, by a table; the property is in interpreter_test.rs.

use super::*;

fn dead(text: &str) -> Vec<String> {
    let rules = RuleSet::parse(text.as_bytes()).unwrap();
    let dead = rules.dead_rules(usize::MAX).into_iter();
    dead.map(|dead| format!("{} {}", rules.rules()[dead.place].line, dead.why)).collect()
}

#[test]
fn a_rule_is_dead_when_those_before_it_match_whatever_it_matches() {
    for (text, expected) in [
        ("deny c 10.0.0.0/8\npermit c 10.1.0.0/16", "2 line 1 matches first"),
        ("permit c 10.1.0.0/16\ndeny c 10.0.0.0/8", ""),
        ("permit c 10.0.0.0/8\npermit cb 10.0.0.0/8", ""),
        ("deny c *\ndeny b *\npermit cb 10.1.1.1", "3 lines 1, 2 match first"),
        ("deny c *.*.*.*\npermit c *", ""),
        ("deny c *.*.*.*\ndeny c ::/0\npermit c *", "3 lines 1, 2 match first"),
        ("permit c * port 80\npermit c * port 80,443", ""),
        (
            "permit c * port 1-100\npermit c * port 50-200\ndeny c * port 60,90-110",
            "3 lines 1, 2 match first",
        ),
        ("permit c * port 1-65535\ndeny c *", "2 line 1 matches first"),
        ("permit b * port 1-65535\ndeny b *", ""),
        ("permit c * from 10.0.0.0/8\ndeny c * from 10.0.0.1", "2 line 1 matches first"),
        ("permit c * from 10.0.0.1\ndeny c *", ""),
        ("permit c * from 10.0.0.1\ndeny c * from 10.0.0.0/8", ""),
        ("permit c * from *.*.*.*\npermit c * from ::/0\ndeny c *", "3 lines 1, 2 match first"),
        ("permit c * user bob\ndeny c * user bob", "2 line 1 matches first"),
        ("permit c * user bob\ndeny c *", ""),
        ("permit c *\ndeny c * user bob", "2 line 1 matches first"),
        ("permit c * auth\npermit c *", ""),
        ("permit c *\npermit c * auth", "2 line 1 matches first"),
        ("permit c * user bob auth\npermit c * user bob auth ident", "2 line 1 matches first"),
        ("permit c * ident\npermit c *", "2 line 1 matches first"),
        ("deny c *.example.com\npermit c www.example.com", "2 line 1 matches first"),
        ("deny c example.com\npermit c *.example.com", ""),
        ("deny c *.example.com\npermit c *.a.example.com", "2 line 1 matches first"),
        ("deny c *.example.com\npermit c badexample.com", ""),
        ("permit c *.example.com\npermit c 9.9.9.9", ""),
        ("permit c *.*.*.*\ndeny c www.example.com", ""),
        ("permit c *\ndeny c www.example.com", "2 line 1 matches first"),
        ("permit c 224.0.0.0/4", "1 it cannot be the target of a connection"),
        (
            "permit cb 0.1.*.*\npermit c ff02::/16\npermit b ::",
            "1 it cannot be the target of a connection\n2 it cannot be the target of a connection\n3 it cannot be the target of a connection",
        ),
        ("permit c 9.9.9.9 port 0", "1 it cannot be the target of a connection"),
        ("permit cb 9.9.9.9 port 0", ""),
        ("permit c 128.0.0.0/1", ""),
    ] {
        assert_eq!(dead(text).join("\n"), expected, "{text}");
    }
}

#[test]
fn the_comparisons_in_a_long_file_are_bounded() {
    let ports: Vec<String> = (0..4000).map(|port| (2 * port + 1).to_string()).collect();
    let line = format!("permit c *.*.*.* port {}\n", ports.join(","));
    let rules = RuleSet::parse(line.repeat(200).as_bytes()).unwrap();
    let started = std::time::Instant::now();
    assert!(rules.dead_rules(100_000).is_empty());
    assert!(started.elapsed().as_secs() < 5);
}
