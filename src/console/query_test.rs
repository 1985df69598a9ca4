//! Tables of query strings, and two properties: what a browser encodes is decoded, and nothing
//! makes the parser fail.

use super::*;
use proptest::prelude::*;
use std::net::Ipv4Addr;

#[test]
fn every_field_finds_its_place() {
    let form = parse(
        b"h0=a&p0=1&f0=t1&h1=b&p1=2&f1=t2&h2=c&p2=3&f2=t3&h3=d&p3=4&f3=t4&h4=e&p4=5&f4=t5\
          &sh=proxy&sp=1080&sv=5&su=bob&sw=+secret+",
    )
    .unwrap();
    let rows = form.rows.each_ref().map(|row| (&*row.host, &*row.port, &*row.script));
    assert_eq!(
        rows,
        [("a", "1", "t1"), ("b", "2", "t2"), ("c", "3", "t3"), ("d", "4", "t4"), ("e", "5", "t5")]
    );
    let proxy = Proxy {
        host: "proxy",
        port: 1080,
        is_socks5: true,
        user: "bob",
        // Blanks may belong to a password.
        password: " secret ",
    };
    assert_eq!(form.proxy(), Ok(proxy));
}

#[test]
fn escapes_and_plus_are_decoded_and_what_is_no_escape_stands_for_itself() {
    for (encoded, decoded) in [
        ("", ""),
        ("t1.txt", "t1.txt"),
        ("a+b%20c", "a b c"),
        ("%2Fetc%2fpasswd", "/etc/passwd"),
        ("%E2%82%AC", "€"),
        ("%", "%"),
        ("100%", "100%"),
        ("%2", "%2"),
        ("%zz%4", "%zz%4"),
        ("%+1", "% 1"),
        ("%%41", "%A"),
        ("%2541", "%41"),
        ("%00", "\0"),
        ("%ff%C3", "\u{fffd}\u{fffd}"),
        ("a=b", "a=b"),
    ] {
        assert_eq!(decode(encoded.as_bytes()), decoded, "{encoded}");
    }
}

#[test]
fn names_of_fields_are_exact_and_the_first_of_two_counts() {
    let form = parse(
        b"h5=x&h=x&h00=x&H0=x&x0=x&&=&=x&h0&%68%31=one&h1=two&sh=+a+&h2=&h2=late&h9=9&sp=1;p0=3",
    )
    .unwrap();
    let mut expected = Form { proxy_host: "a".into(), ..Form::default() };
    expected.rows[1].host = "one".into();
    expected.proxy_port = "1;p0=3".into();
    assert_eq!(form, expected);
}

#[test]
fn a_row_is_used_once_it_has_a_host_or_a_port() {
    let form = parse(b"f0=t1.txt&h1=a&p2=7&h4=+&p4=&f4=x").unwrap();
    assert_eq!(form.sessions().map(|(at, _)| at).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_row_says_what_is_wrong_with_it() {
    let long = "a".repeat(FIELD_BYTES_MAX + 1);
    let loopback = || Host::Address(Ipv4Addr::LOCALHOST.into());
    let ipv6 = |text: &str| Ok((Host::Address(text.parse().unwrap()), 80));
    for (host, port, expected) in [
        ("127.0.0.1", "80", Ok((loopback(), 80))),
        ("127.0.0.1", "65535", Ok((loopback(), 65535))),
        ("127.0.0.1", "0080", Ok((loopback(), 80))),
        ("127.0.0.1", "", Err(FieldError::Port)),
        ("127.0.0.1", "0", Err(FieldError::Port)),
        ("127.0.0.1", "65536", Err(FieldError::Port)),
        ("127.0.0.1", "+80", Err(FieldError::Port)),
        ("127.0.0.1", "-1", Err(FieldError::Port)),
        ("127.0.0.1", "8o", Err(FieldError::Port)),
        ("127.0.0.1", "\u{663}", Err(FieldError::Port)),
        ("", "80", Err(FieldError::Host)),
        (&long, "80", Err(FieldError::Host)),
        ("a b", "80", Err(FieldError::Name(NameError::Octet(b' ')))),
        ("127.1", "80", Err(FieldError::Name(NameError::Numeric))),
        ("::1", "80", ipv6("::1")),
        ("[2001:DB8::1]", "80", ipv6("2001:db8::1")),
        ("::1", "x", Err(FieldError::Port)),
        ("::1]", "80", Err(FieldError::Name(NameError::Numeric))),
        ("::g", "80", Err(FieldError::Name(NameError::Octet(b':')))),
        ("fe80::1%lo", "80", Err(FieldError::Name(NameError::Numeric))),
        ("\0", "80", Err(FieldError::Name(NameError::Octet(0)))),
    ] {
        let row = Row { host: host.into(), port: port.into(), ..Row::default() };
        assert_eq!(row.target(), expected, "{host}:{port}");
    }
}

#[test]
fn the_proxy_needs_host_and_port() {
    let proxy = |query: &str| parse(query.as_bytes()).unwrap().proxy().map(|proxy| proxy.port);
    assert_eq!(proxy("sh=localhost&sp=1080"), Ok(1080));
    assert_eq!(proxy("sp=1080"), Err(FieldError::ProxyHost));
    assert_eq!(proxy("sh=localhost"), Err(FieldError::ProxyPort));
    assert_eq!(proxy("sh=localhost&sp=99999"), Err(FieldError::ProxyPort));
}

#[test]
fn the_proxy_may_be_an_ipv6_address_with_and_without_brackets() {
    for query in ["sh=::1&sp=1080", "sh=[::1]&sp=1080"] {
        assert_eq!(parse(query.as_bytes()).unwrap().proxy().unwrap().host, "::1");
    }
}

#[test]
fn the_version_is_4_unless_5_is_asked_for_and_only_5_has_a_password() {
    let is_socks5 = |query: &str| {
        let form = parse(format!("sh=a&sp=1&{query}").as_bytes()).unwrap();
        form.proxy().map(|proxy| proxy.is_socks5)
    };
    for (query, expected) in [
        ("su=bob", Ok(false)),
        ("sv=", Ok(false)),
        ("sv=4", Ok(false)),
        ("sv=5", Ok(true)),
        ("sv=5&su=bob&sw=x", Ok(true)),
        ("sv=6", Err(FieldError::Version)),
        ("sv=05", Err(FieldError::Version)),
        ("su=bob&sw=x", Err(FieldError::Password)),
        ("sv=4&sw=+", Err(FieldError::Password)),
    ] {
        assert_eq!(is_socks5(query), expected, "{query}");
    }
}

#[test]
fn a_query_is_bounded_and_all_fields_in_full_are_within_it() {
    let full = |name: &str| format!("{name}={}&", "%61".repeat(FIELD_BYTES_MAX));
    let names = (0..5).flat_map(|row| ["h", "p", "f"].map(|kind| format!("{kind}{row}")));
    let mut query: String = names.map(|name| full(&name)).collect();
    for name in ["sh", "sp", "sv", "su", "sw"] {
        query += &full(name);
    }
    assert_eq!(parse(query.as_bytes()).unwrap().rows[4].script, "a".repeat(FIELD_BYTES_MAX));
    query += &"x".repeat(QUERY_BYTES_MAX - query.len());
    assert!(parse(query.as_bytes()).is_some());
    query += "x";
    assert_eq!(parse(query.as_bytes()), None);
}

/// Encodes as a browser may: any byte as an escape, a blank as `+`, harmless ones as they are.
fn encode(text: &str, choices: &[u8]) -> String {
    let mut choices = choices.iter().cycle();
    let mut encoded = String::new();
    for byte in text.bytes() {
        match (byte, choices.next().copied().unwrap_or(0) % 3) {
            (b' ', 0) => encoded.push('+'),
            (byte, 0 | 1) if byte.is_ascii_alphanumeric() => encoded.push(byte.into()),
            (byte, 2) => encoded += &format!("%{byte:02x}"),
            (byte, _) => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

proptest! {
    #[test]
    fn what_was_encoded_is_decoded(
        texts in proptest::collection::vec(any::<String>(), 20),
        choices in proptest::collection::vec(any::<u8>(), 1..9),
    ) {
        let names: Vec<_> = (0..5).flat_map(|row| ["h", "p", "f"].map(|kind| format!("{kind}{row}")))
            .chain(["sh", "sp", "sv", "su", "sw"].map(String::from)).collect();
        let pairs: Vec<_> = names.iter().zip(&texts)
            .map(|(name, text)| format!("{name}={}", encode(text, &choices))).collect();
        let mut form = parse(pairs.join("&").as_bytes()).unwrap();
        for (name, text) in names.iter().zip(&texts) {
            let trimmed = text.trim_matches([' ', '\t', '\r', '\n']);
            let expected = if name == "sw" { text } else { trimmed };
            prop_assert_eq!(form.field(name).unwrap(), expected);
        }
    }

    #[test]
    fn no_query_makes_it_fail_and_no_value_outgrows_it(
        query in proptest::collection::vec(
            prop_oneof![Just(b'%'), Just(b'&'), Just(b'='), Just(b'h'), Just(b'0'), any::<u8>()],
            0..400,
        ),
    ) {
        let form = parse(&query).unwrap();
        // A byte that is no UTF-8 becomes the three bytes of U+FFFD.
        let most = 3 * query.len();
        prop_assert!(form.rows.iter().map(|row| row.host.len()).sum::<usize>() <= most);
        let _ = (form.proxy(), form.rows.each_ref().map(Row::target));
    }
}
