//! Tables of names and numeric forms, and two properties over random bytes.

use super::*;
use proptest::prelude::*;

fn name(text: &str) -> Name {
    match classify(text.as_bytes()) {
        Ok(Classified::Name(name)) => name,
        other => panic!("{text:?}: {other:?}"),
    }
}

/// `count` octets of text in labels of at most 63.
fn long(count: usize) -> Vec<u8> {
    (1..=count).map(|at| if at % 64 == 0 && at < count { b'.' } else { b'a' }).collect()
}

#[test]
fn names_are_case_folded_and_lose_their_final_dot() {
    for (text, expected, absolute) in [
        ("localhost", "localhost", false),
        ("WWW.Example.COM", "www.example.com", false),
        ("www.example.com.", "www.example.com", true),
        ("_sip._tcp.example.com", "_sip._tcp.example.com", false),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", false),
        ("-a-.b-", "-a-.b-", false),
        ("1.2.3.4.example", "1.2.3.4.example", false),
        ("0x7f.example", "0x7f.example", false),
        ("3com", "3com", false),
        ("0xyz", "0xyz", false),
        ("127.0.0.1a", "127.0.0.1a", false),
        ("ff", "ff", false),
    ] {
        let name = name(text);
        assert_eq!((name.as_str(), name.is_absolute()), (expected, absolute), "{text}");
    }
}

#[test]
fn a_strict_dotted_quad_is_an_address() {
    for text in ["127.0.0.1", "0.0.0.0", "255.255.255.255", "10.20.30.40", "1.0.0.10"] {
        assert_eq!(classify(text.as_bytes()), Ok(Classified::Address(text.parse().unwrap())));
    }
}

#[test]
fn an_ipv6_address_is_an_address_and_one_that_holds_an_ipv4_address_is_that() {
    for (text, expected) in [
        ("::1", "::1"),
        ("::", "::"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0:0:0:0:0:A", "2001:db8::a"),
        ("2001:0db8::0001", "2001:db8::1"),
        ("ff02::1", "ff02::1"),
        ("64:ff9b::127.0.0.1", "64:ff9b::7f00:1"),
        ("::1.2.3.4", "::102:304"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("::FFFF:102:304", "1.2.3.4"),
        ("0:0:0:0:0:ffff:127.0.0.1", "127.0.0.1"),
    ] {
        let expected = Ok(Classified::Address(expected.parse().unwrap()));
        assert_eq!(classify(text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn an_ipv6_address_in_brackets_or_with_a_zone_is_refused_as_such() {
    for text in
        ["[::1]", "[2001:db8::1]:80", "fe80::1%eth0", "fe80::1%25eth0", "fe80::1%", "[::1%1]"]
    {
        assert_eq!(classify(text.as_bytes()), Err(NameError::Numeric), "{text}");
    }
}

/// None of its cuts, and nothing with a letter more, is an address that was not meant.
#[test]
fn what_is_almost_an_ipv6_address_is_refused() {
    let octet = Err(NameError::Octet(b':'));
    for text in [
        ":",
        ":::",
        "1:",
        "::1::",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "::12345",
        "::g",
        "::1.",
        "::1.2.3",
        "::01.2.3.4",
        "::ffff:1.2.3.4.",
        "2001:db8:",
        "a:b",
        "localhost:80",
        "::-1",
        "::+1",
    ] {
        assert_eq!(classify(text.as_bytes()), octet, "{text}");
    }
    let whole = "2001:db8:1:2:3:4:5:6";
    for cut in 1..whole.len() - 1 {
        assert!(!matches!(classify(&whole.as_bytes()[..cut]), Ok(Classified::Address(_))), "{cut}");
    }
    assert_eq!(classify(b"[::1"), Err(NameError::Numeric), "an address but for a bracket");
    assert_eq!(classify(&[b"::", &[b'1'; 300][..]].concat()), Err(NameError::TooLong));
}

#[test]
fn every_other_numeric_form_is_refused() {
    for text in [
        "127.1",
        "0x7f.1",
        "2130706433",
        "017700000001",
        "127.0.0.1.",
        "010.0.0.1",
        "10.0.0.01",
        "00.0.0.0",
        "256.1.1.1",
        "1.2.3.256",
        "1.2.3.4.5",
        "1.2.3",
        "0x7f000001",
        "0X7F.0.0.1",
        "127.0.0.0x1",
        "0x",
        "a.0x",
        "a.0Xff",
        "www.example.123",
        "1.",
        "0",
        "1.2.3.99999999999999999999",
        "a.2130706433.",
        "1_2.3",
        "--.0.0.1",
    ] {
        assert_eq!(classify(text.as_bytes()), Err(NameError::Numeric), "{text}");
    }
}

#[test]
fn lengths_are_counted_without_the_final_dot() {
    for (count, expected) in
        [(1, true), (252, true), (253, true), (254, false), (255, false), (256, false)]
    {
        let text = long(count);
        let read = classify(&text);
        assert_eq!(read.is_ok(), expected, "{count}");
        if !expected {
            assert_eq!(read, Err(NameError::TooLong), "{count}");
        }
        let mut absolute = text;
        absolute.push(b'.');
        assert_eq!(classify(&absolute).is_ok(), expected, "{count} and a dot");
    }
    for (count, expected) in [(1, true), (62, true), (63, true), (64, false), (200, false)] {
        for text in
            [format!("{}.example", "a".repeat(count)), format!("example.{}", "a".repeat(count))]
        {
            let read = classify(text.as_bytes());
            assert_eq!(read.is_ok(), expected, "{text}");
            if !expected {
                assert_eq!(read, Err(NameError::Label), "{text}");
            }
        }
    }
}

#[test]
fn malformed_names_are_refused() {
    let octet = NameError::Octet;
    for (bytes, expected) in [
        (b"" as &[u8], NameError::Empty),
        (b".", NameError::Label),
        (b"..", NameError::Label),
        (b"a..b", NameError::Label),
        (b"a..", NameError::Label),
        (b".a", NameError::Label),
        (b"[a]", octet(b'[')),
        (b"::1%a]:b", NameError::Numeric),
        (b"a b", octet(b' ')),
        (b" a", octet(b' ')),
        (b"a\r\n", octet(b'\r')),
        (b"a\n", octet(b'\n')),
        (b"a\xff", octet(0xff)),
        (b"\x1b[2J", octet(0x1b)),
        (b"a\0b", octet(0)),
        (b"b\xc3\xbccher.example", octet(0xc3)),
        (b"a/b", octet(b'/')),
        (b"a%b", octet(b'%')),
        (b"a@b", octet(b'@')),
        (b"127.0.0.1:80", octet(b':')),
        (b"*.example.com", octet(b'*')),
    ] {
        assert_eq!(classify(bytes), Err(expected), "{}", bytes.escape_ascii());
    }
}

#[test]
fn only_letters_digits_hyphen_underscore_and_dot_are_allowed() {
    for octet in 0..=255u8 {
        let expected = octet.is_ascii_alphanumeric() || b"-_.".contains(&octet);
        assert_eq!(classify(&[b'a', octet, b'a']).is_ok(), expected, "0x{octet:02x}");
    }
}

#[test]
fn a_completed_name_is_bounded() {
    let suffix = name("example.com");
    assert_eq!(name("www").completed(&suffix), Some(name("www.example.com.")));
    let short: String = String::from_utf8(long(241)).unwrap();
    assert_eq!(name(&short).completed(&suffix).unwrap().as_str().len(), 253);
    assert_eq!(name(&format!("{short}a")).completed(&suffix), None);
}

proptest! {
    #[test]
    fn accepted_names_obey_every_rule(bytes in prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        "[0-9xXa-fA-F.]{1,20}".prop_map(String::into_bytes),
        "[0-9a-fA-F:.%]{1,20}".prop_map(String::into_bytes),
        any::<[u16; 8]>().prop_map(|segments| Ipv6Addr::from(segments).to_string().into_bytes()),
        "[a-z0-9_.-]{1,260}".prop_map(String::into_bytes),
    ]) {
        match classify(&bytes) {
            Ok(Classified::Address(address)) => {
                let text = std::str::from_utf8(&bytes).unwrap();
                prop_assert_eq!(text.parse::<IpAddr>().unwrap().to_canonical(), address);
                prop_assert!(!address.is_ipv4() || text.contains(':') || address.to_string() == text);
            }
            Ok(Classified::Name(name)) => {
                let text = name.as_str();
                prop_assert!(text.len() <= 253 && text.parse::<std::net::IpAddr>().is_err());
                prop_assert!(text.split('.').all(|label| (1..=63).contains(&label.len())));
                let again = classify(text.as_bytes());
                prop_assert_eq!(again, Ok(Classified::Name(Name { absolute: false, ..name.clone() })));
            }
            Err(_) => {}
        }
    }
}
