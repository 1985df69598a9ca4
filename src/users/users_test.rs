use super::*;
use std::cell::RefCell;

/// The users of a text that arrives in pieces of this length.
fn in_pieces(text: &[u8], bytes: usize) -> Result<Users, ParseError> {
    let mut parser = Parser::default();
    for piece in text.chunks(bytes) {
        parser.feed(piece)?;
    }
    parser.finish()
}

/// The result of parsing, checked to be the same however the text is cut.
fn parsed(text: &[u8]) -> Result<Users, ParseError> {
    let whole = Users::parse(text);
    for cut in 0..=text.len().min(2000) {
        let mut parser = Parser::default();
        let fed = parser.feed(&text[..cut]).and_then(|()| parser.feed(&text[cut..]));
        assert_eq!(fed.and_then(|()| parser.finish()), whole, "cut at {cut}");
    }
    assert_eq!(in_pieces(text, 1), whole, "byte by byte");
    whole
}

#[test]
fn every_cut_of_a_file_gives_the_same_users() {
    let longest = [b'x'; FIELD_BYTES_MAX];
    let long = [&longest[..], b":", &longest].concat();
    type Expected<'a> = &'a [(&'a [u8], &'a [u8])];
    let cases: [(&[u8], Expected<'_>); 14] = [
        (b"alice:secret\n", &[(b"alice", b"secret")]),
        (b"alice:secret", &[(b"alice", b"secret")]),
        (b"alice:secret\r\nbob:other\r\n", &[(b"alice", b"secret"), (b"bob", b"other")]),
        (b"alice:secret\r", &[(b"alice", b"secret")]),
        // Only one CR belongs to the end of a line.
        (b"alice:secret\r\r\n", &[(b"alice", b"secret\r")]),
        (b"\n# comment\n#bob:other\n \t\n\r\nalice:secret\n\n", &[(b"alice", b"secret")]),
        (b"alice:a:b::\n", &[(b"alice", b"a:b::")]),
        (b"alice: two words # no comment \n", &[(b"alice", b" two words # no comment ")]),
        (b"alice:#\n", &[(b"alice", b"#")]),
        // A name may hold a blank, and `#` in it is no comment.
        (b" al#ice :\t\n", &[(b" al#ice ", b"\t")]),
        (b"\xff\xfe:\x80\x01\n", &[(b"\xff\xfe", b"\x80\x01")]),
        (b"\xef\xbb\xbfalice:secret\n", &[(b"alice", b"secret")]),
        (b"Alice:1\nalice:2\n", &[(b"Alice", b"1"), (b"alice", b"2")]),
        (&long, &[(&longest, &longest)]),
    ];
    for (text, expected) in cases {
        let users = parsed(text).unwrap();
        assert_eq!(users.count(), expected.len(), "{}", Escaped(text));
        for (name, password) in expected {
            assert!(users.check(name, password), "{} of {}", Escaped(name), Escaped(text));
        }
    }
}

#[test]
fn an_error_has_its_line_and_shows_no_password() {
    let name_too_long = [&[b'n'; 256][..], b":topsecret\n"].concat();
    let password_too_long = [b"alice:topsecret", &[b'p'; 247][..], b"\n"].concat();
    let line_too_long = [b"# topsecret", &[b'p'; 1014][..]].concat();
    let cases: [(&[u8], Option<u32>, &str); 14] = [
        (b"", None, "found no user, expected at least one line NAME:PASSWORD"),
        (b"# alice:topsecret\n\n", None, "found no user, expected"),
        (b"topsecret\n", Some(1), "found a line without a colon, expected NAME:PASSWORD"),
        (b"a:1\n\n#\nal", Some(4), "found a line without a colon, expected NAME:PASSWORD"),
        (b" # alice topsecret\n", Some(1), "found a line without a colon"),
        (b":topsecret\n", Some(1), "found a name of 0 bytes, expected 1 to 255 bytes"),
        (b"alice:\n", Some(1), "found a password of 0 bytes, expected 1 to 255 bytes"),
        (b"alice:\r\n", Some(1), "found a password of 0 bytes"),
        (&name_too_long, Some(1), "found a name of 256 bytes, expected 1 to 255 bytes"),
        (&password_too_long, Some(1), "found a password of 256 bytes, expected 1 to 255 bytes"),
        (b"al\0ice:topsecret\n", Some(1), "found a NUL in a name, expected none"),
        (b"alice:topsecret\0\n", Some(1), "found a NUL in a password, expected none"),
        (
            b"a b:topsecret\r\nbob:2\r\na b:topsecret\r\nc:3\r\n",
            Some(3),
            "found a second user `a\\x20b`, expected each name once",
        ),
        (&line_too_long, Some(1), "found a line of more than 1024 bytes, expected NAME:PASSWORD"),
    ];
    for (text, line, expected) in cases {
        let error = parsed(text).unwrap_err();
        assert_eq!(error.line, line, "{error:?}");
        assert!(error.message.starts_with(expected), "{error:?}");
        for part in ["tops", "secret", "ppp"] {
            assert!(!format!("{error:?}").contains(part), "{error:?}");
        }
    }
}

#[test]
fn the_longest_line_may_be_a_comment() {
    let comment = [b"#", &[b'x'; LINE_BYTES_MAX - 2][..], b"\n"].concat();
    assert!(Users::parse(&[&comment[..], b"alice:secret\n"].concat()).is_ok());
}

#[test]
fn a_file_has_at_most_65536_users() {
    let mut text: String = (0..USERS_MAX).map(|number| format!("user{number}:x\n")).collect();
    assert_eq!(Users::parse(text.as_bytes()).unwrap().count(), 65536);
    text += "# the last one\none-more:x\n";
    let error = Users::parse(text.as_bytes()).unwrap_err();
    assert_eq!(error.line, Some(65538));
    assert_eq!(error.message, "found more than 65536 users, expected at most that many");
}

#[test]
fn only_the_whole_password_of_the_user_is_right() {
    let users = Users::parse(b"alice:secret\nbob:secret2\n").unwrap();
    let long = [b"secret".to_vec(), vec![0; 249 + 256]].concat();
    for (name, password, expected) in [
        (&b"alice"[..], &b"secret"[..], true),
        (b"bob", b"secret2", true),
        (b"alice", b"secret2", false),
        (b"bob", b"secret", false),
        (b"alice", b"secre", false),
        (b"alice", b"secret\0", false),
        (b"alice", b"Secret", false),
        (b"alice", b"", false),
        (b"alice", &long[..255], false),
        // Their padded forms are the same up to the length, which is not one byte that wraps.
        (b"alice", &long[..6 + 256], false),
        (b"alice", &long, false),
        (b"Alice", b"secret", false),
        (b"alice ", b"secret", false),
        (b"", b"", false),
        (b"carol", b"", false),
        (b"carol", b"secret", false),
        (b"carol", &DUMMY.bytes, false),
    ] {
        assert_eq!(users.check(name, password), expected, "{name:?} {password:?}");
    }
    // What other tests compare by: names and passwords.
    assert!(users != Users::parse(b"alice:secret\nbob:secret\n").unwrap());
    let full = [b"alice:", &[b'x'; 255][..]].concat();
    let full = Users::parse(&full).unwrap();
    for (length, expected) in [(254, false), (255, true), (256, false), (511, false)] {
        assert_eq!(full.check(b"alice", &vec![b'x'; length]), expected, "{length}");
    }
    assert!(!Users::default().check(b"", b""), "without users nobody can log in");
}

/// The password and the dummy are compared by the same function, as often, and nothing else is.
#[test]
fn a_name_that_does_not_exist_costs_one_comparison_as_any_other_does() {
    let users = Users::parse(b"alice:secret\n").unwrap();
    for (name, password, is_right) in [
        (&b"alice"[..], &b"secret"[..], true),
        (b"alice", b"x", false),
        (b"alice", b"", false),
        (b"carol", b"secret", false),
        (b"", b"", false),
    ] {
        let compared = RefCell::new(Vec::new());
        let found = users.check_by(name, password, |expected, given| {
            compared.borrow_mut().push((expected.length, given.length));
            expected.is_same(given)
        });
        assert_eq!(found, is_right);
        let expected = if name == b"alice" { 6 } else { DUMMY.length };
        assert_eq!(compared.into_inner(), [(expected, password.len() as u16)], "{name:?}");
    }
    let says_yes = users.check_by(b"alice", b"x", |_, _| Choice::from(1));
    assert!(says_yes, "nothing but the comparison decides");
}

#[test]
fn debug_shows_neither_names_nor_passwords() {
    let users = Users::parse(b"alice:secret\nbob:other\n").unwrap();
    assert_eq!(format!("{users:?}"), "Users(2)");
    let mut parser = Parser::default();
    parser.feed(b"alice:secret\nbob:ot").unwrap();
    assert_eq!(format!("{parser:?}"), "Parser(Users(1), 1 lines)");
}
