//! The grammar by tables, and decisions against a plain reference interpreter.

use super::*;
use proptest::prelude::*;

fn rules(text: &str) -> RuleSet {
    RuleSet::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

fn request(address: &str) -> AccessRequest<'static> {
    AccessRequest {
        command: Command::Connect,
        name: None,
        address: address.parse().unwrap(),
        port: 80,
        client: Ipv4Addr::new(10, 0, 0, 2),
        user: b"bob",
    }
}

fn decided_by(rules: &RuleSet, request: &AccessRequest<'_>) -> Option<(bool, u32)> {
    match rules.decide(request) {
        Verdict::Permit { line, .. } => Some((true, line)),
        Verdict::Deny { line } => Some((false, line)),
        Verdict::NoRule | Verdict::Impossible => None,
    }
}

#[test]
fn a_parsed_rule_is_shown_in_a_form_that_parses_to_the_same() {
    for (text, shown) in [
        ("permit c 140.113.*.*", "permit c 140.113.*.*"),
        ("  deny\tb 10.0.0.0/8 # comment", "deny b 10.*.*.*"),
        ("deny b 1.2.3.4 user a#b # comment", "deny b 1.2.3.4 user a#b"),
        ("deny b 1.2.3.4 #user bob", "deny b 1.2.3.4"),
        ("permit cb *.*.*.7", "permit cb *.*.*.7"),
        ("permit cb 1.2.3.4/32", "permit cb 1.2.3.4"),
        ("permit c 0.0.0.0/0", "permit c *.*.*.*"),
        ("deny c 10.32.0.0/11", "deny c 10.32.0.0/11"),
        (
            "permit cb 192.168.7.20 user alice from 192.168.1.0/24 port 20,21,8000-8999",
            "permit cb 192.168.7.20 port 20,21,8000-8999 from 192.168.1.* user alice",
        ),
        ("permit c *.Example.COM. port 443", "permit c *.example.com port 443"),
        ("permit c com", "permit c com"),
        ("permit c 140.114.*.* ident", "permit c 140.114.*.* ident"),
        ("permit c 140.114.*.* ident-lax #x", "permit c 140.114.*.* ident-lax"),
    ] {
        let once = rules(text);
        assert_eq!(once.rules()[0].to_string(), shown);
        assert_eq!(rules(shown), once, "the shown form parses to the same rule");
    }
}

#[test]
fn lines_are_counted_through_comments_crlf_bom_and_a_missing_final_newline() {
    let set = rules("\u{feff}# first\r\n\r\npermit c 1.2.3.4\r\n\n  deny b *.*.*.*");
    let lines: Vec<u32> = set.rules().iter().map(|rule| rule.line).collect();
    assert_eq!(lines, [3, 5]);
}

#[test]
fn a_file_without_any_rule_is_an_error() {
    for text in ["", "\n", "# permit c 1.2.3.4", "\u{feff}", "\r\n  \r\n"] {
        let error = RuleSet::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error.line, None, "{text:?}");
        assert!(error.message.contains("write `deny cb *.*.*.*`"), "{text:?}: {}", error.message);
    }
}

#[test]
fn the_length_of_a_line_is_limited() {
    let rule = "permit c 1.2.3.4 #";
    let longest = format!("{rule:x<0$}\n", parse::LINE_BYTES_MAX - 1);
    assert_eq!(rules(&longest).rules().len(), 1);
    let error = RuleSet::parse(format!("{longest}x{longest}").as_bytes()).unwrap_err();
    assert_eq!((error.line, error.message.contains("more than 65536 bytes")), (Some(2), true));
}

proptest! {
    /// Wherever the pieces of a file end, the result is the same, including errors.
    #[test]
    fn a_file_read_in_pieces_parses_as_it_does_whole(
        lines in proptest::collection::vec(0usize..5, 0..12),
        lengths in proptest::collection::vec(1usize..30, 1..20),
    ) {
        let line = |&n: &usize| {
            ["\u{feff}# x\n", "permit c 1.2.3.4\r\n", "deny b *.a.b port 1,2\n", "\n", "deny c 1.2"][n]
        };
        let text: String = lines.iter().map(line).collect();
        let mut parser = Parser::default();
        let (mut rest, mut lengths) = (text.as_bytes(), lengths.iter().cycle());
        let mut fed = Ok(());
        while fed.is_ok() && !rest.is_empty() {
let (piece, tail) = rest.split_at(rest.len().min(*lengths.next().unwrap()));
            fed = parser.feed(piece);
rest = tail;
        }
        prop_assert_eq!(fed.and_then(|()| parser.finish()), RuleSet::parse(text.as_bytes()));
    }
}

#[test]
fn errors_name_the_line_what_was_found_and_what_was_expected() {
    for (text, found, expected) in [
        ("allow c 1.2.3.4", "`allow`", "`permit` or `deny`"),
        ("permit", "ends", "`c`, `b` or `cb`"),
        ("permit x 1.2.3.4", "`x`", "`cb`"),
        ("permit bc 1.2.3.4", "`bc`", "`cb`"),
        ("permit c", "ends", "an address, a network or a host name"),
        ("permit c 1.2.3", "`1.2.3`", "four octets"),
        ("permit c 1.2.3.4.5", "`1.2.3.4.5`", "four octets"),
        ("permit c 1.2.3.256", "`1.2.3.256`", "four octets"),
        ("permit c 010.2.3.4", "`010.2.3.4`", "four octets"),
        ("permit c 1.2.3.+4", "`1.2.3.+4`", "four octets"),
        ("permit c *", "`*`", "four octets"),
        ("permit c a..b", "`a..b`", "host name"),
        ("permit c exa*mple.com", "`exa*mple.com`", "host name"),
        ("permit c 10.0.0.0/33", "`10.0.0.0/33`", "0 to 32 bits"),
        ("permit c 10.0.0.0/", "`10.0.0.0/`", "0 to 32 bits"),
        ("permit c 10.1.0.0/8", "`10.1.0.0/8`", "10.0.0.0/8, the network that contains it"),
        ("permit c 1.2.3.4 80", "`80`", "`port`"),
        ("permit c 1.2.3.4 port", "ends", "ports after `port`"),
        ("permit c 1.2.3.4 port 80,", "`80,`", "ports like"),
        ("permit c 1.2.3.4 port 65536", "`65536`", "ports like"),
        ("permit c 1.2.3.4 port 9-8", "`9-8`", "ports like"),
        ("permit c 1.2.3.4 port 8 port 9", "`port` is given twice", "once"),
        ("permit c 1.2.3.4 from host.example", "`host.example`", "four octets"),
        ("permit c 1.2.3.4 from 1.2.3.4 from 1.2.3.4", "`from` is given twice", "once"),
        ("permit c 1.2.3.4 user", "ends", "a name after `user`"),
        ("permit c 1.2.3.4 user a user b", "`user` is given twice", "once"),
        ("permit c 1.2.3.4 ident ident-lax", "`ident-lax` is given twice", "once"),
        ("deny c 1.2.3.4 ident", "`ident` is for permit rules", "none after `deny`"),
        ("permit c 1.2.3.4 \x1b[31m", "`\\x1b[31m`", "`port`"),
    ] {
        let text = format!("# comment\npermit c 1.1.1.1\n{text}\n");
        let error = RuleSet::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error.line, Some(3), "{text}");
        assert!(error.message.contains(found), "{text}: {}", error.message);
        let (_, tail) =
            error.message.split_once("expected").expect("the message says what was expected");
        assert!(tail.contains(expected), "{text}: {}", error.message);
    }
    let error = RuleSet::parse(b"permit c \xff\xfe\n").unwrap_err();
    assert_eq!((error.line, error.message.contains("\\xff")), (Some(1), true));
    let long = RuleSet::parse(&vec![b'x'; 1 << 20]).unwrap_err();
    assert!(long.message.len() < 200, "a long line is not repeated");
}

#[test]
fn a_hundred_thousand_rules_are_read() {
    let text: String =
        (0..100_000).map(|n| format!("deny c 10.{}.{}.1\n", n / 256 % 256, n % 256)).collect();
    assert_eq!(rules(&text).rules().len(), 100_000);
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
    let set = rules("permit cb *.*.*.*");
    for address in
        ["0.0.0.0", "0.1.2.3", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"]
    {
        assert_eq!(set.decide(&request(address)), Verdict::Impossible, "{address}");
    }
    for address in ["1.0.0.0", "127.0.0.1", "169.254.169.254", "223.255.255.255", "10.0.0.1"] {
        assert_eq!(decided_by(&set, &request(address)), Some((true, 1)), "{address}");
    }
    assert_eq!(set.decide(&AccessRequest { port: 0, ..request("1.2.3.4") }), Verdict::Impossible);
    let bind = AccessRequest { port: 0, command: Command::Bind, ..request("1.2.3.4") };
    assert_eq!(decided_by(&set, &bind), Some((true, 1)), "port 0 of a BIND is not checked");
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
        for own in ["127.0.0.1", "169.254.169.254"] {
            let asked = AccessRequest { address: own.parse().unwrap(), ..asked };
            assert_eq!(set.decide(&asked), Verdict::NoRule, "{name} -> {own}");
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
    let could = |text: &str, name: Option<&str>| {
        let client = Ipv4Addr::new(10, 0, 0, 2);
        rules(text)
            .could_permit(Command::Connect, name.map(str::as_bytes), 80, client, b"bob")
            .is_ok()
    };
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
    ] {
        assert_eq!(could(text, Some("www.example.com")), expected, "{text}");
    }
    assert!(!could("permit c www.example.com", None));
    let ident =
        |text: &str| rules(text).could_permit(Command::Connect, None, 80, Ipv4Addr::LOCALHOST, b"");
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
    let why = |text: &str, name: Option<&str>, port| {
        let client = Ipv4Addr::new(10, 0, 0, 2);
        let name = name.map(str::as_bytes);
        rules(text).could_permit(Command::Connect, name, port, client, b"bob").unwrap_err()
    };
    for (text, expected) in [
        ("permit c 1.2.3.4 port 81", NoRule),
        ("deny c 10.0.0.0/8", NoRule),
        ("deny c 10.0.0.0/8\npermit c 10.1.2.3 port 81", NoRule),
        ("deny c other.org\npermit c www.other.org", NoRule),
        ("permit c 224.0.0.0/4", NoRule),
        ("deny c *.*.*.* port 81", NoRule),
        ("deny c *.*.*.*", Denied { line: 1 }),
        ("deny c *.example.com", Denied { line: 1 }),
        ("deny c *.*.*.*\npermit c *.example.com", Denied { line: 1 }),
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
fn the_shipped_rules_work_as_their_comments_say() {
    let set = rules(include_str!("../../socks.conf"));
    let local = Ipv4Addr::LOCALHOST;
    let permits = |command, address, client| {
        matches!(
            set.decide(&AccessRequest { command, client, ..request(address) }),
            Verdict::Permit { .. }
        )
    };
    for command in [Command::Connect, Command::Bind] {
        assert!(permits(command, "127.0.0.1", local));
        assert!(!permits(command, "127.0.0.1", Ipv4Addr::new(10, 0, 0, 2)));
        assert!(!permits(command, "169.254.169.254", local));
        assert!(permits(command, "93.184.216.34", Ipv4Addr::new(10, 0, 0, 2)));
    }
    assert_eq!(set.open_proxy_warnings(true).len(), 1, "open to all clients, loopback shielded");
}

/// Decides word by word on the text, independently of the parser.
fn reference(text: &str, request: &AccessRequest<'_>) -> Option<(bool, u32)> {
    let octets = request.address.octets();
    if octets[0] == 0
        || octets[0] >= 224
        || (request.port == 0 && request.command == Command::Connect)
    {
        return None;
    }
    let covers = |pattern: &str, address: Ipv4Addr| match pattern.split_once('/') {
        Some((network, bits)) => {
            let binary = |address: Ipv4Addr| format!("{:032b}", u32::from(address));
            let bits: usize = bits.parse().unwrap();
            binary(network.parse().unwrap())[..bits] == binary(address)[..bits]
        }
        None => {
            pattern.split('.').zip(address.octets()).all(|(p, o)| p == "*" || p == o.to_string())
        }
    };
    'rules: for (line, rule) in text.lines().enumerate() {
        let words: Vec<&str> = rule.split(' ').collect();
        let letter = if request.command == Command::Connect { 'c' } else { 'b' };
        if !words[1].contains(letter) {
            continue;
        }
        let hit = if words[2].ends_with(|c: char| c.is_ascii_lowercase()) {
            let name = String::from_utf8_lossy(request.name.unwrap_or(b"")).to_lowercase();
            let name = name.trim_end_matches('.');
            let base = words[2].trim_start_matches("*.");
            let named = name == base || (base != words[2] && name.ends_with(&format!(".{base}")));
            named && octets[0] != 127 && octets[..2] != [169, 254]
        } else {
            covers(words[2], request.address)
        };
        if !hit {
            continue;
        }
        for option in words[3..].chunks(2) {
            let fits = match option[0] {
                "from" => covers(option[1], request.client),
                "user" => option[1].as_bytes() == request.user,
                _ => option[1].split(',').any(|ports| {
                    let ends: Vec<u16> = ports.split('-').map(|end| end.parse().unwrap()).collect();
                    ends[0] <= request.port && request.port <= ends[ends.len() - 1]
                }),
            };
            if !fits {
                continue 'rules;
            }
        }
        return Some((words[0] == "permit", line as u32 + 1));
    }
    None
}

fn addresses() -> impl Strategy<Value = String> {
    let octet = || {
        prop_oneof![
            Just("*".to_string()),
            Just("10".into()),
            Just("127".into()),
            (0u8..4).prop_map(|o| o.to_string())
        ]
    };
    let network = (any::<u32>(), 0u32..=32).prop_map(|(address, bits)| {
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        format!("{}/{bits}", Ipv4Addr::from(address & 0x7f03_0303 & mask))
    });
    prop_oneof![3 => (octet(), octet(), octet(), octet()).prop_map(|(a, b, c, d)| format!("{a}.{b}.{c}.{d}")), 1 => network]
}

fn rule() -> impl Strategy<Value = String> {
    let target = prop_oneof![4 => addresses(), 1 => Just("*.example.com".into()), 1 => Just("a.example.com".to_string())];
    let options = (
        proptest::option::weighted(0.3, prop_oneof![Just("80"), Just("1-79,81"), Just("0,443")]),
        proptest::option::weighted(0.3, addresses()),
        proptest::option::weighted(0.2, prop_oneof![Just("bob"), Just("eve")]),
    );
    let head =
        (prop_oneof![Just("permit"), Just("deny")], prop_oneof![Just("c"), Just("b"), Just("cb")]);
    (head, target, options).prop_map(|((verb, commands), target, (ports, from, user))| {
        let mut text = format!("{verb} {commands} {target}");
        ports.iter().for_each(|ports| text += &format!(" port {ports}"));
        from.iter().for_each(|from| text += &format!(" from {from}"));
        user.iter().for_each(|user| text += &format!(" user {user}"));
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2500))]

    /// 100,000 decisions: 2,500 rule files with 40 requests each.
    #[test]
    fn decisions_equal_those_of_a_plain_interpreter(
        lines in proptest::collection::vec(rule(), 1..12),
        queries in proptest::collection::vec((any::<u32>(), 0u8..4, any::<bool>(), 0usize..4, 0u8..8), 40),
    ) {
        let text = lines.join("\n");
        let set = rules(&text);
        for (bits, client, connect, port, what) in queries {
            let mut octets = (bits & 0x7f03_0303).to_be_bytes();
            octets[0] = [10, 127, 1, 0, 225, 2, 3, 169][usize::from(octets[0] >> 4)];
            let names: [Option<&[u8]>; 4] = [None, Some(b"A.example.com"), Some(b"b.a.example.com."), Some(b"example.org")];
            let request = AccessRequest {
                command: if connect { Command::Connect } else { Command::Bind },
                name: names[usize::from(what & 3)],
                address: octets.into(),
                port: [0, 80, 81, 443][port],
                client: Ipv4Addr::new(10, client, 0, 2),
                user: if what & 4 == 0 { b"bob" } else { b"" },
            };
            let decision = decided_by(&set, &request);
            prop_assert_eq!(decision, reference(&text, &request), "{}\n{:?}", text, request);
            if decision.is_some_and(|(permit, _)| permit) {
                prop_assert!(set.could_permit(request.command, request.name, request.port, request.client, request.user).is_ok());
            }
        }
    }

    #[test]
    fn no_bytes_make_the_parser_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = RuleSet::parse(&text);
    }
}
