//! resolv.conf with glibc's limits, and the names to query for a name.

use super::*;
use proptest::prelude::*;

fn read(text: &str) -> ResolverSettings {
    ResolverSettings::from_resolv_conf(text.as_bytes(), |_| None)
}

fn servers(text: &str) -> Vec<String> {
    read(text).servers.iter().map(SocketAddr::to_string).collect()
}

fn name(text: &str) -> Name {
    match name::classify(text.as_bytes()) {
        Ok(Classified::Name(name)) => name,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn an_empty_file_means_the_local_server_and_glibcs_defaults() {
    let settings = read("");
    assert_eq!(settings, ResolverSettings::default());
    assert_eq!(settings.servers, ["127.0.0.1:53".parse().unwrap()]);
    assert_eq!((settings.timeout_ms, settings.attempts), (5000, 2));
    assert!(!settings.rotate && settings.aaaa && settings.search.is_empty());
    assert_eq!(settings.total_timeout_ms, 10_000);
}

#[test]
fn servers_are_read_in_order_and_at_most_three() {
    for (text, expected) in [
        ("nameserver 10.0.0.1\nnameserver 10.0.0.2\n", vec!["10.0.0.1:53", "10.0.0.2:53"]),
        (
            "nameserver 10.0.0.1\nnameserver ::1\nnameserver fe80::1%2\nnameserver 10.0.0.4",
            vec!["10.0.0.1:53", "[::1]:53", "[fe80::1%2]:53"],
        ),
        ("nameserver fe80::1%eth0\nnameserver 10.0.0.4", vec!["10.0.0.4:53"]),
        ("nameserver nonsense\nnameserver\nnameserver 10.0.0.4 # c\n", vec!["10.0.0.4:53"]),
        ("# nameserver 10.0.0.1\n; nameserver 10.0.0.1\n", vec!["127.0.0.1:53"]),
    ] {
        assert_eq!(servers(text), expected, "{text}");
    }
}

#[test]
fn a_server_on_a_link_is_found_by_the_name_of_its_interface() {
    let text = b"nameserver fe80::1%eth0\nnameserver fe80::2%eth1\nnameserver fe80::3%7";
    let interface = |name: &str| (name == "eth0").then_some(4);
    let settings = ResolverSettings::from_resolv_conf(text, interface);
    let servers: Vec<String> = settings.servers.iter().map(SocketAddr::to_string).collect();
    assert_eq!(servers, ["[fe80::1%4]:53", "[fe80::3%7]:53"]);
}

#[test]
fn options_have_the_limits_of_glibc() {
    for (text, timeout_ms, attempts, rotate) in [
        ("options timeout:3 attempts:4 ndots:2 rotate", 3000, 4, true),
        ("options timeout:30 attempts:5 ndots:15", 30_000, 5, false),
        ("options timeout:31 attempts:6 ndots:16", 30_000, 5, false),
        ("options timeout:4294967295 attempts:4294967295 ndots:4294967295", 30_000, 5, false),
        ("options timeout:0 attempts:0 ndots:0", 1000, 1, false),
        ("options timeout:x attempts:-1 ndots: unknown:3 \u{fc}", 5000, 2, false),
    ] {
        let settings = read(text);
        let read = (settings.timeout_ms, settings.attempts, settings.rotate);
        assert_eq!(read, (timeout_ms, attempts, rotate), "{text}");
    }
}

#[test]
fn ipv6_addresses_are_asked_for_unless_turned_off() {
    assert!(read("options timeout:3 rotate").aaaa);
    assert!(!read("options timeout:3 no-aaaa").aaaa);
}

#[test]
fn the_last_search_or_domain_line_applies_with_at_most_six_domains() {
    for (text, expected) in [
        ("search a.example b.example", vec!["a.example", "b.example"]),
        ("domain a.example\nsearch b.example", vec!["b.example"]),
        ("search b.example\ndomain a.example", vec!["a.example"]),
        ("search .", vec![]),
        ("search bad/name ok.example 1.2.3.4", vec!["ok.example"]),
        ("search a b c d e f g h", vec!["a", "b", "c", "d", "e", "f"]),
    ] {
        let search: Vec<String> = read(text).search.iter().map(Name::to_string).collect();
        assert_eq!(search, expected, "{text}");
    }
}

#[test]
fn a_server_may_have_a_port() {
    for (text, expected) in [
        ("127.0.0.1:5353", Some("127.0.0.1:5353")),
        ("127.0.0.1", Some("127.0.0.1:53")),
        ("::1", Some("[::1]:53")),
        ("[::1]:5353", Some("[::1]:5353")),
        ("127.0.0.1:0", None),
        ("127.0.0.1:", None),
        ("127.0.0.1:70000", None),
        ("localhost", None),
        ("", None),
    ] {
        let read = ResolverSettings::parse_server(text).map(|server| server.to_string());
        assert_eq!(read.as_deref(), expected, "{text}");
    }
}

#[test]
fn every_try_gets_at_most_its_share_of_the_total() {
    for (servers, attempts, timeout_ms, total_timeout_ms, expected) in [
        (1, 2, 5000, 10_000, 5000),
        (3, 2, 5000, 10_000, 1666),
        (3, 1, 1000, 10_000, 1000),
        (3, 5, 30_000, 10, 1),
        (0, 2, 5000, 10_000, 5000),
    ] {
        let server = "127.0.0.1:53".parse().unwrap();
        let settings = ResolverSettings {
            servers: vec![server; servers],
            attempts,
            timeout_ms,
            total_timeout_ms,
            ..ResolverSettings::default()
        };
        assert_eq!(settings.try_timeout_ms(), expected, "{settings:?}");
    }
}

#[test]
fn only_a_single_label_is_completed() {
    for (text, asked, expected) in [
        ("search x.y z", "www", vec!["www.x.y", "www.z", "www"]),
        ("search x.y z", "www.", vec!["www"]),
        ("search x.y z", "www.a", vec!["www.a"]),
        ("search x.y z", "www.a.", vec!["www.a"]),
        ("search x.y\noptions ndots:2", "www.a", vec!["www.a"]),
        ("search x.y\noptions ndots:0", "www", vec!["www.x.y", "www"]),
        ("search localhost a.localhost z", "www", vec!["www.z", "www"]),
        ("", "www", vec!["www"]),
    ] {
        let names = read(text).possible_names(&name(asked));
        assert!(names.iter().all(Name::is_absolute));
        let texts: Vec<_> = names.iter().map(Name::as_str).collect();
        assert_eq!(texts, expected, "{text} {asked}");
    }
    let long = ["b".repeat(63), "c".repeat(63), "d".repeat(63)].join(".");
    let settings = read(&format!("search {long} z"));
    let label = "a".repeat(63);
    let texts: Vec<_> =
        settings.possible_names(&name(&label)).iter().map(Name::to_string).collect();
    assert_eq!(texts, [format!("{label}.z"), label], "a name that would be too long is left out");
}

proptest! {
    #[test]
    fn settings_from_any_file_stay_within_the_limits(text in prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..400),
        "((nameserver|search|domain|options|sortlist)[ \t]+[a-z0-9:.%/ -]{0,40}\n){0,9}"
            .prop_map(String::into_bytes),
    ]) {
        let settings = ResolverSettings::from_resolv_conf(&text, |_| None);
        prop_assert!((1..=3).contains(&settings.servers.len()) && settings.search.len() <= 6);
        prop_assert!((1..=5).contains(&settings.attempts));
        prop_assert!((1000..=30_000).contains(&settings.timeout_ms));
    }
}
