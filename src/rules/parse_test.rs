//! The grammar by tables, and properties over random text.

use super::*;
use proptest::prelude::*;

fn rules(text: &str) -> RuleSet {
    RuleSet::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error:?}"))
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
        ("permit c * from *", "permit c * from *"),
        ("permit c 2001:DB8:0:0::01", "permit c 2001:db8::1"),
        ("permit c 2001:db8::1/128", "permit c 2001:db8::1"),
        ("deny cb 2001:db8::/32 from ::1", "deny cb 2001:db8::/32 from ::1"),
        ("permit c ::/0", "permit c ::/0"),
        ("permit c 64:ff9b::127.0.0.0/104", "permit c 64:ff9b::7f00:0/104"),
        ("permit c ::ffff:10.0.0.0/104", "permit c 10.*.*.*"),
        ("permit c ::ffff:10.32.0.0/107", "permit c 10.32.0.0/11"),
        ("permit c ::ffff:1.2.3.4 from ::ffff:0:0/96", "permit c 1.2.3.4 from *.*.*.*"),
        ("permit c * ident auth user bob", "permit c * user bob auth ident"),
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
        assert!(error.message.contains("write `deny cb *`"), "{text:?}: {}", error.message);
    }
}

#[test]
fn all_errors_of_a_file_are_found_each_in_its_line() {
    let long = "permit c 1.2.3.4 #".to_string() + &"x".repeat(LINE_BYTES_MAX);
    let text = format!("\u{feff}wrong\r\npermit c 1.2.3.4\n{long}\n\npermit q *\n{long}");
    let errors = |most| Parser::parse_all(text.as_bytes(), most).unwrap_err();
    let lines = |errors: &ParseErrors| -> Vec<u32> {
        errors.first.iter().map(|error| error.line.unwrap()).collect()
    };
    let all = errors(9);
    assert_eq!((lines(&all), all.more), (vec![1, 3, 5, 6], 0));
    assert!(all.first[3].message.contains("more than 65536 bytes"));
    let some = errors(2);
    assert_eq!((lines(&some), some.more), (vec![1, 3], 2));
    // A last line without a newline is one, and a file with errors only lacks no rule besides.
    let last = Parser::parse_all(b"wrong", 9).unwrap_err();
    assert_eq!(lines(&last), [1]);
    let none = Parser::parse_all(b"# none\n", 9).unwrap_err();
    assert_eq!((none.first.len(), none.first[0].line), (1, None));
    assert_eq!(Parser::parse_all(b"permit c *\ndeny c *", 9), Ok(rules("permit c *\ndeny c *")));
}

#[test]
fn the_length_of_a_line_is_limited() {
    let rule = "permit c 1.2.3.4 #";
    let longest = format!("{rule:x<0$}\n", LINE_BYTES_MAX - 1);
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
        ("permit c **", "`**`", "four octets (0 to 255 or `*`), an IPv6 address"),
        ("permit c *.*", "`*.*`", "or `*`"),
        ("permit c [::1]", "`[::1]`", "an IPv6 address without brackets"),
        ("permit c [2001:db8::]/32", "`[2001:db8::]/32`", "an IPv6 address without brackets"),
        ("permit c 1.2.3.4 from [::1]", "`[::1]`", "an IPv6 address without brackets"),
        ("permit c fe80::1%eth0", "`fe80::1%eth0`", "an IPv6 address without a zone"),
        ("permit c fe80::%eth0/64", "`fe80::%eth0/64`", "an IPv6 address without a zone"),
        ("permit c 2001:db8::1::", "`2001:db8::1::`", "an IPv6 address like 2001:db8::1"),
        ("permit c 2001:db8:*:*", "`2001:db8:*:*`", "a network like 2001:db8::/32"),
        ("permit c *.::1", "`*.::1`", "an IPv6 address like"),
        ("permit c 2001:db8::/129", "`2001:db8::/129`", "0 to 128 bits"),
        ("permit c 2001:db8::/", "`2001:db8::/`", "0 to 128 bits"),
        ("permit c 2001:db8::/064", "`2001:db8::/064`", "0 to 128 bits"),
        ("permit c */0", "`*/0`", "0 to 32 bits"),
        ("permit c 2001:db8::1/32", "`2001:db8::1/32`", "2001:db8::/32, the network that contains"),
        ("permit c ::ffff:10.1.0.0/104", "`::ffff:10.1.0.0/104`", "10.0.0.0/8, the network"),
        ("permit c ::ffff:10.1.0.0/80", "`::ffff:10.1.0.0/80`", "::/80, the network"),
        ("permit c 1.2.3.4:80", "`1.2.3.4:80`", "without a port, which goes after `port`"),
        ("permit c example.com:80", "`example.com:80`", "without a port"),
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
        ("deny c 1.2.3.4 auth", "`auth` is for permit rules", "none after `deny`"),
        ("permit c 1.2.3.4 auth auth", "`auth` is given twice", "once"),
        ("permit c 1.2.3.4 auth bob", "`bob`", "`auth`"),
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
