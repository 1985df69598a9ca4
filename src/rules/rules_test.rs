//! Decisions by tables.

#[path = "interpreter_test.rs"]
mod interpreter_test;

use super::*;

fn rules(text: &str) -> RuleSet {
    RuleSet::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

fn request(address: &str) -> AccessRequest<'static> {
    AccessRequest {
        command: Command::Connect,
        name: None,
        address: address.parse().unwrap(),
        port: 80,
        client: Ipv4Addr::new(10, 0, 0, 2).into(),
        user: b"bob",
        proven: false,
    }
}

fn partial<'a>(request: &AccessRequest<'a>) -> PartialRequest<'a> {
    let AccessRequest { command, port, client, user, proven, .. } = *request;
    PartialRequest { command, port, client, user, proven }
}

/// The early check of a CONNECT that is otherwise [`request`].
fn could_permit(text: &str, name: Option<&str>, port: u16) -> Result<Ident, NoPermit> {
    let request = PartialRequest { port, ..partial(&request("1.2.3.4")) };
    rules(text).could_permit(&request, name.map(str::as_bytes))
}

fn decided_by(rules: &RuleSet, request: &AccessRequest<'_>) -> Option<(bool, u32)> {
    match rules.decide(request) {
        Verdict::Permit { line, .. } => Some((true, line)),
        Verdict::Deny { line } => Some((false, line)),
        Verdict::NoRule | Verdict::Impossible => None,
    }
}

/// Each rule used to be compared with all before it, which took minutes.
#[test]
fn warnings_about_a_long_file_take_under_five_seconds() {
    let mut text = "deny c 10.1.1.1\n".repeat(50_000) + "deny c 127.*.*.*\n";
    text += &"permit c *.*.*.7 from 10.*.*.*\n".repeat(50_000);
    let (set, started) = (rules(&text), std::time::Instant::now());
    assert!(set.open_proxy_warnings(true).is_empty());
    assert!(started.elapsed().as_secs() < 5);
}

#[test]
fn the_first_matching_rule_decides_and_no_match_denies() {
    let set = rules("deny c 10.0.0.0/8\npermit c 10.1.*.*\npermit c 9.*.*.* port 80");
    assert_eq!(decided_by(&set, &request("10.1.2.3")), Some((false, 1)));
    assert_eq!(decided_by(&set, &request("9.1.2.3")), Some((true, 3)));
    assert_eq!(set.decide(&request("11.1.2.3")), Verdict::NoRule);
    assert_eq!(set.decide(&AccessRequest { port: 81, ..request("9.1.2.3") }), Verdict::NoRule);
    assert_eq!(
        set.decide(&AccessRequest { command: Command::Bind, ..request("9.1.2.3") }),
        Verdict::NoRule
    );
}

#[test]
fn only_impossible_targets_are_refused_before_any_rule() {
    let set = rules("permit cb *");
    let impossible = "0.0.0.0 0.1.2.3 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 \
                      :: ff00:: ff02::1 ffff:: ::ffff:0.0.0.0 ::ffff:224.0.0.1";
    for address in impossible.split(' ') {
        assert_eq!(set.decide(&request(address)), Verdict::Impossible, "{address}");
    }
    let possible = "1.0.0.0 127.0.0.1 169.254.169.254 223.255.255.255 10.0.0.1 \
                    ::1 ::2 fe80::1 feff:: 2001:db8:: ::ffff:1.2.3.4";
    for address in possible.split(' ') {
        assert_eq!(decided_by(&set, &request(address)), Some((true, 1)), "{address}");
    }
    assert_eq!(set.decide(&AccessRequest { port: 0, ..request("1.2.3.4") }), Verdict::Impossible);
    let bind = AccessRequest { port: 0, command: Command::Bind, ..request("1.2.3.4") };
    assert_eq!(decided_by(&set, &bind), Some((true, 1)), "port 0 of a BIND is not checked");
}

#[test]
fn a_rule_for_one_family_matches_no_address_of_the_other() {
    for (target, ipv4, ipv6) in [
        ("*", true, true),
        ("*.*.*.*", true, false),
        ("::/0", false, true),
        ("::ffff:0:0/96", true, false),
        ("::/95", false, false),
        ("2001:db8::/32", false, true),
        ("9.0.0.0/8", true, false),
    ] {
        let (by_target, by_client) =
            (rules(&format!("permit c {target}")), rules(&format!("permit c * from {target}")));
        for (address, expected) in
            [("9.1.2.3", ipv4), ("::ffff:9.1.2.3", ipv4), ("2001:db8::1", ipv6)]
        {
            let request = request(address);
            assert_eq!(decided_by(&by_target, &request).is_some(), expected, "{target} {address}");
            let request = AccessRequest { client: request.address, ..request };
            assert_eq!(decided_by(&by_client, &request).is_some(), expected, "{target} {address}");
        }
    }
}

#[test]
fn a_rule_with_auth_matches_only_a_user_who_has_proved_who_he_is() {
    let set = rules("permit c 1.2.3.4 user bob auth port 80\npermit c 1.2.3.4 user bob port 81");
    for (proven, user, port, expected) in [
        (true, "bob", 80, Some((true, 1))),
        (false, "bob", 80, None),
        (true, "eve", 80, None),
        (true, "bob", 81, Some((true, 2))),
        (false, "bob", 81, Some((true, 2))),
    ] {
        let request = AccessRequest { proven, user: user.as_bytes(), port, ..request("1.2.3.4") };
        assert_eq!(decided_by(&set, &request), expected, "{request:?}");
    }
}

#[test]
fn host_name_rules_match_only_requests_by_that_name_and_never_loopback() {
    let set = rules("permit c *.example.com\npermit c exact.org");
    for (name, line) in [
        ("example.com", Some(1)),
        ("www.EXAMPLE.com", Some(1)),
        ("a.b.example.com.", Some(1)),
        ("badexample.com", None),
        (".example.com", None),
        ("exact.org", Some(2)),
        ("www.exact.org", None),
        ("com", None),
    ] {
        let asked = AccessRequest { name: Some(name.as_bytes()), ..request("93.184.216.34") };
        assert_eq!(decided_by(&set, &asked).map(|(_, line)| line), line, "{name}");
        let never = "127.0.0.1 169.254.169.254 ::1 ::ffff:127.0.0.1 fe80::1 febf::1 \
                     64:ff9b::7f00:1 64:ff9b::a9fe:a9fe fd00:ec2::254 fd20:ce::254";
        for own in never.split(' ') {
            let asked = AccessRequest { address: own.parse().unwrap(), ..asked };
            assert_eq!(set.decide(&asked), Verdict::NoRule, "{name} -> {own}");
        }
        let other = "::2 fec0::1 64:ff9b::808:808 fd00:ec2::253 2001:db8::1";
        for other in other.split(' ') {
            let asked = AccessRequest { address: other.parse().unwrap(), ..asked };
            assert_eq!(decided_by(&set, &asked).map(|(_, line)| line), line, "{name} -> {other}");
        }
    }
    assert_eq!(
        set.decide(&request("93.184.216.34")),
        Verdict::NoRule,
        "a request by address has no name"
    );
}

#[test]
fn a_request_that_no_rule_could_permit_is_refused_before_any_address_is_known() {
    for (text, expected) in [
        ("deny b 1.2.3.4", false),
        ("permit c 1.2.3.4", true),
        ("permit b 1.2.3.4", false),
        ("permit c 1.2.3.4 port 81", false),
        ("permit c 1.2.3.4 user eve", false),
        ("permit c 1.2.3.4 from 9.*.*.*", false),
        ("permit c other.org", false),
        ("permit c www.example.com", true),
        ("permit c 224.0.0.0/4", false),
        ("deny c *.*.*.*\npermit c 1.2.3.4", false),
        ("deny c 1.0.0.0/8\npermit c 1.2.3.4", false),
        ("deny c 1.0.0.0/8\npermit c *.*.*.*", true),
        ("deny c *.example.com\npermit c 1.2.3.4", false),
        ("deny c *.example.com\npermit c 127.0.0.1", true),
        ("deny c 127.*.*.*\ndeny c 169.254.*.*\ndeny c *.example.com\npermit c *.*.*.*", false),
        ("deny c *.example.com\npermit c *.*.*.*", true),
        ("deny c *.example.com\ndeny c *.*.*.*\npermit c *.*.*.*", false),
        ("deny c *\npermit c *.example.com", false),
        ("deny c *.*.*.*\npermit c *.example.com", true),
        ("deny c *.*.*.*\npermit c *", true),
        ("deny c ::/0\npermit c *", true),
        ("deny c *.*.*.*\ndeny c ::/0\npermit c *", false),
        ("deny c *.*.*.*\ndeny c ::/0\npermit c *.example.com", false),
        ("deny c 2001:db8::/32\npermit c 2001:db8:1::/48", false),
        ("deny c 2001:db8::/33\npermit c 2001:db8::/32", true),
        ("permit c ff00::/8\npermit c ::", false),
        ("deny c *.example.com\npermit c 2001:db8::/32", false),
        ("deny c *.example.com\npermit c fe80::1", true),
        ("deny c *.example.com\npermit c fd00::/8", true),
        ("deny c fe80::/10\ndeny c *.example.com\npermit c fe80::1", false),
        ("permit c 1.2.3.4 auth", false),
    ] {
        assert_eq!(could_permit(text, Some("www.example.com"), 80).is_ok(), expected, "{text}");
    }
    assert!(could_permit("permit c www.example.com", None, 80).is_err());
    let proven = PartialRequest { proven: true, ..partial(&request("1.2.3.4")) };
    assert_eq!(rules("permit c 1.2.3.4 auth").could_permit(&proven, None), Ok(Ident::No));
    let ident = |text: &str| could_permit(text, None, 80);
    assert_eq!(ident("permit c 1.*.*.*"), Ok(Ident::No));
    assert_eq!(ident("permit c 1.*.*.* ident\npermit c 2.*.*.* ident-lax"), Ok(Ident::Strict));
    assert_eq!(ident("permit c 1.*.*.* ident\npermit c 2.*.*.*"), Ok(Ident::Lax));
    assert_eq!(
        ident("deny c 2.*.*.*\npermit c 1.*.*.* ident\npermit c 2.*.*.*"),
        Ok(Ident::Strict)
    );
}

#[test]
fn an_early_refusal_names_the_deny_rule_that_decides() {
    use NoPermit::*;
    let why = |text: &str, name: Option<&str>, port| could_permit(text, name, port).unwrap_err();
    for (text, expected) in [
        ("permit c 1.2.3.4 port 81", NoRule),
        ("deny c 10.0.0.0/8", NoRule),
        ("deny c 10.0.0.0/8\npermit c 10.1.2.3 port 81", NoRule),
        ("deny c other.org\npermit c www.other.org", NoRule),
        ("permit c 224.0.0.0/4", NoRule),
        ("deny c *.*.*.* port 81", NoRule),
        ("deny c *.*.*.*", Denied { line: 1 }),
        ("deny c *.example.com", Denied { line: 1 }),
        ("deny c *\npermit c *.example.com", Denied { line: 1 }),
        ("deny c ::/0\ndeny c *.*.*.*\npermit c *.example.com", Denied { line: 2 }),
        ("deny c ::/0\ndeny c *.example.com\npermit c 9.*.*.*", Denied { line: 2 }),
        ("deny c ::/0", Denied { line: 1 }),
        ("deny c 2001:db8::/32\npermit c 2001:db8::1", Denied { line: 1 }),
        ("deny c 10.0.0.0/8\ndeny c 11.0.0.0/8\npermit c 11.1.2.3", Denied { line: 2 }),
        ("deny c 10.0.0.0/8\ndeny c *.example.com\npermit c www.example.com", Denied { line: 2 }),
        ("deny c *.*.*.*\ndeny c *.example.com\npermit c *.*.*.*", Denied { line: 1 }),
        // A host-name rule is not why 127/8 is out of reach.
        ("deny c *.example.com\ndeny c 127.0.0.0/8\npermit c 127.0.0.1", Denied { line: 2 }),
        ("permit c 224.0.0.0/4\ndeny c *.example.com", Denied { line: 2 }),
    ] {
        assert_eq!(why(text, Some("www.example.com"), 80), expected, "{text}");
        assert_eq!(why(text, Some("www.example.com"), 0), Impossible, "{text}");
    }
    assert_eq!(why("deny c *.*.*.*", None, 80), Denied { line: 1 });
    assert_eq!(why("deny c *.example.com", None, 80), NoRule);
}

#[test]
fn open_proxies_and_exposed_loopback_are_warned_about() {
    let count = |text: &str| rules(text).open_proxy_warnings(true).len();
    assert_eq!(count("permit c *.*.*.*"), 2);
    assert_eq!(count("permit c *.*.*.* from 10.0.0.0/8"), 1);
    assert_eq!(count("deny cb 127.*.*.*\npermit c *.*.*.* from 10.0.0.0/8"), 0);
    assert_eq!(count("deny b 127.*.*.*\npermit c *.*.*.* from 10.0.0.0/8"), 1);
    assert_eq!(count("deny c 127.*.*.* port 80\npermit c *.*.*.* from 10.0.0.0/8"), 1);
    assert_eq!(count("deny c 127.*.*.*\ndeny b 127.*.*.*\npermit cb *.*.*.* from 10.0.0.0/8"), 0);
    assert_eq!(count("deny c 127.*.*.*\npermit cb *.*.*.* from 10.0.0.0/8"), 1);
    assert_eq!(count("deny cb 127.*.*.* from 10.*.*.*\npermit c *.*.*.* from 10.0.0.0/8"), 0);
    assert_eq!(count("deny cb 127.*.*.* from 10.1.*.*\npermit c *.*.*.* from 10.0.0.0/8"), 1);
    assert_eq!(count("permit c *.*.*.* from 10.0.0.0/8\ndeny cb 127.*.*.*"), 1);
    assert_eq!(count("permit c 9.*.*.* from *.*.*.*"), 1, "`from` every address limits nothing");
    assert_eq!(count("permit c 127.*.*.* from 127.*.*.*"), 0);
    assert_eq!(count("permit c 9.*.*.*"), 1);
    assert!(rules("permit c *.*.*.*").open_proxy_warnings(false).is_empty());
}

#[test]
fn the_warnings_are_about_both_families() {
    for (text, expected) in [
        ("permit c *", 2),
        ("permit c ::/0", 2),
        ("permit c 2001:db8::1", 1),
        ("permit c 9.*.*.* from *", 1),
        ("permit c 9.*.*.* from ::/0", 1),
        ("permit c * from 2001:db8::/32", 1),
        ("deny c 127.*.*.*\npermit c * from 2001:db8::/32", 1),
        ("deny c ::1\npermit c * from 2001:db8::/32", 1),
        ("deny c ::1\ndeny c 127.*.*.*\npermit c * from 2001:db8::/32", 0),
        ("deny c ::/64\npermit c ::/0 from 10.*.*.*", 0),
        ("deny c ::1 from *.*.*.*\npermit c ::1", 2),
        ("deny c ::1 from *.*.*.*\ndeny c ::1 from ::/0\npermit c ::1", 1),
        ("permit c ::1 from 127.*.*.*\npermit c 127.0.0.1 from ::1", 0),
        ("permit c 127.0.0.1 from ::/127", 1),
        // The NAT64 form of a loopback address is no address of this host.
        ("permit c 64:ff9b::/96 from 10.*.*.*", 0),
        ("permit c 9.*.*.* auth", 0),
        ("permit c ::1 auth", 1),
    ] {
        let warnings = rules(text).open_proxy_warnings(true);
        assert_eq!(warnings.len(), expected, "{text}: {warnings:?}");
    }
    let warnings =
        rules("permit c ::1 from 10.0.0.0/8\npermit c 127.0.0.1").open_proxy_warnings(true);
    assert!(warnings[1].starts_with("line 1: lets other hosts reach"), "{warnings:?}");
}

#[test]
fn the_shipped_rules_work_as_their_comments_say() {
    let set = rules(include_str!("../../socks.conf"));
    let permits = |command, address, client: &str| {
        let client = client.parse().unwrap();
        matches!(
            set.decide(&AccessRequest { command, client, ..request(address) }),
            Verdict::Permit { .. }
        )
    };
    let (local, remote) = (["127.0.0.1", "::1"], ["10.0.0.2", "2001:db8:1::2"]);
    for command in [Command::Connect, Command::Bind] {
        for address in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
            assert!(local.iter().all(|client| permits(command, address, client)), "{address}");
            assert!(!remote.iter().any(|client| permits(command, address, client)), "{address}");
        }
        let denied = "169.254.169.254 fe80::1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe \
                      fd00:ec2::254 fd20:ce::254";
        let permitted = "93.184.216.34 10.0.0.1 2001:db8::1 fd00::1 64:ff9b::808:808";
        for client in local.into_iter().chain(remote) {
            assert!(!denied.split(' ').any(|address| permits(command, address, client)));
            assert!(permitted.split(' ').all(|address| permits(command, address, client)));
        }
    }
    assert_eq!(set.open_proxy_warnings(true).len(), 1, "open to all clients, loopback shielded");
}

#[test]
fn passwords_that_no_rule_requires_and_rules_without_passwords_are_warned_about() {
    for (text, has_users, expected) in [
        ("permit c *", true, Some("no rule has `auth`")),
        ("permit c *", false, None),
        ("permit c *\npermit b * user bob auth", true, None),
        ("permit c *\npermit b * user bob auth", false, Some("line 2: `auth` matches nobody")),
    ] {
        let warning = rules(text).auth_warning(has_users);
        let starts = |expected: &str| warning.as_ref().is_some_and(|w| w.starts_with(expected));
        assert!(expected.map_or(warning.is_none(), starts), "{text:?}: {warning:?}");
    }
}
