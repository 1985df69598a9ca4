//! Tables, every cut of every answer, hostile bytes, and a comparison with a second decoder.

use super::*;
use proptest::prelude::*;

const ASKED: Ports = Ports { client: 6193, ours: 1080 };

fn answer(bytes: &[u8]) -> Result<Parsed<Answer<'_>>, AnswerError> {
    parse_answer(bytes, ASKED)
}

/// Lines and their meaning.
const VALID: &[(&[u8], Answer)] = &[
    (b"6193, 1080 : USERID : UNIX : stjohns\r\n", Answer::User(b" stjohns")),
    (b"6193,1080:USERID:UNIX:stjohns\r\n", Answer::User(b"stjohns")),
    (b"6193,1080:USERID:UNIX:stjohns\n", Answer::User(b"stjohns")),
    (b" \t6193 ,\t1080\t:  USERID\t :UNIX , US-ASCII: a : b \t\n", Answer::User(b" a : b \t")),
    (b"06193,01080:userid:OTHER:::\n", Answer::User(b"::")),
    (b"6193,1080:USERID:OTHER,UTF-8:\xff\x80\x1b[2J\n", Answer::User(b"\xff\x80\x1b[2J")),
    (b"6193,1080:USERID::  x\r\n", Answer::User(b"  x")),
    (b"6193, 1080 : ERROR : NO-USER\r\n", Answer::Error(b"NO-USER")),
    (b"6193,1080:ERROR:X-a:b\n", Answer::Error(b"X-a:b")),
    (b"6193,1080:error:\n", Answer::Error(b"")),
];

#[test]
fn the_query_is_one_line() {
    assert_eq!(ASKED.query(), "6193 , 1080\r\n");
}

#[test]
fn every_cut_of_a_valid_answer_asks_for_more_and_the_whole_is_done() {
    for (whole, expected) in VALID {
        for cut in 0..whole.len() {
            assert_eq!(answer(&whole[..cut]), Ok(Parsed::More), "{}", whole.escape_ascii());
        }
        let followed = [*whole, b"6193,1080:USERID:UNIX:other\n"].concat();
        for bytes in [*whole, &followed] {
            let expected = Ok(Parsed::Done(*expected, whole.len()));
            assert_eq!(answer(bytes), expected, "{}", whole.escape_ascii());
        }
    }
}

#[test]
fn answers_that_violate_the_grammar_are_refused() {
    use AnswerError::*;
    for (line, expected) in [
        ("", Malformed),
        ("6193,1080", Malformed),
        ("6193,1080:", Malformed),
        ("6193,1080:USERID", Malformed),
        ("6193,1080:USERID:UNIX", Malformed),
        ("6193,1080:ERROR", Malformed),
        ("6193,1080:OTHER:UNIX:bob", Malformed),
        ("6193,1080:USER ID:UNIX:bob", Malformed),
        ("6193:USERID:UNIX:bob", Malformed),
        ("6193 1080:USERID:UNIX:bob", Malformed),
        ("61 93,1080:USERID:UNIX:bob", Malformed),
        ("+6193,1080:USERID:UNIX:bob", Malformed),
        ("-6193,1080:USERID:UNIX:bob", Malformed),
        ("6193,1080,1:USERID:UNIX:bob", Malformed),
        (",1080:USERID:UNIX:bob", Malformed),
        ("6193,66616:USERID:UNIX:bob", Malformed),
        ("006193,1080:USERID:UNIX:bob", Malformed),
        ("71729,1080:USERID:UNIX:bob", Malformed),
        ("6193,1080:USERID:UNIX:b\0b", Malformed),
        ("6193,1080:USERID:UNIX:b\rb", Malformed),
        ("6193,1080:USERID:UNIX:bob\r", Malformed),
        ("1080,6193:USERID:UNIX:bob", OtherPorts),
        ("6193,1081:USERID:UNIX:bob", OtherPorts),
        ("6192,1080:USERID:UNIX:bob", OtherPorts),
        ("0,0:ERROR:INVALID-PORT", OtherPorts),
        ("6193,1080:USERID:UNIX:", User),
        ("6193,1080:USERID:UNIX: ", User),
    ] {
        assert_eq!(answer(format!("{line}\r\n").as_bytes()), Err(expected), "{line:?}");
    }
}

#[test]
fn limits_hold_to_the_octet() {
    let user = |count: usize| [b"6193,1080:USERID:UNIX:".to_vec(), vec![b'u'; count]].concat();
    for (count, expected) in [(511, true), (512, true), (513, false), (600, false)] {
        let line = [user(count), b"\n".to_vec()].concat();
        assert_eq!(answer(&line).is_ok(), expected, "{count}");
    }
    let blank = [b"6193,1080:USERID:UNIX: ".to_vec(), vec![b'u'; 512], b"\n".to_vec()].concat();
    assert!(answer(&blank).is_ok(), "the customary blank does not count");
    for (count, expected) in [
        (999, Ok(Parsed::More)),
        (1000, Err(AnswerError::TooLong)),
        (1 << 20, Err(AnswerError::TooLong)),
    ] {
        assert_eq!(answer(&vec![b'x'; count]), expected, "{count}");
        let late = [vec![b'x'; count], b"\n".to_vec()].concat();
        assert!(answer(&late).is_err(), "{count} and a line end");
    }
    // The whole line, its end included, may have 1000 octets.
    let error = |count: usize| {
        let head = b"6193,1080:ERROR:".to_vec();
        [head.clone(), vec![b'x'; count - head.len() - 1], b"\n".to_vec()].concat()
    };
    assert!(answer(&error(1000)).is_ok());
    assert_eq!(answer(&error(1001)), Err(AnswerError::TooLong));
}

#[test]
fn users_match_with_or_without_the_leading_blank_and_codes_follow_the_rule() {
    use {Evaluation::*, Strictness::*};
    let user = |text: &str| IdentResult::User(text.as_bytes().into());
    for (result, wanted, strict, lax) in [
        (user("bob"), "bob", Ok, Ok),
        (user(" bob"), "bob", Ok, Ok),
        (user(" bob"), " bob", Ok, Ok),
        (user("  bob"), "bob", OtherUser, OtherUser),
        (user("bob "), "bob", OtherUser, OtherUser),
        (user("Bob"), "bob", OtherUser, OtherUser),
        (user(" bob"), "", OtherUser, OtherUser),
        (user("bob"), "bobby", OtherUser, OtherUser),
        (user("bobby"), "bob", OtherUser, OtherUser),
        (user("bob"), " bob", OtherUser, OtherUser),
        (IdentResult::Error(b"HIDDEN-USER".as_slice().into()), "bob", NoIdent, Ok),
        (IdentResult::Invalid(AnswerError::TooLong), "bob", NoIdent, Ok),
        (IdentResult::Invalid(AnswerError::OtherPorts), "bob", NoIdent, Ok),
        (IdentResult::Missing, "bob", NoIdent, Ok),
        (IdentResult::Missing, "", NoIdent, Ok),
    ] {
        let name = format!("{result:?} {wanted:?}");
        assert_eq!(evaluate(&result, wanted.as_bytes(), Strict), strict, "{name}");
        assert_eq!(evaluate(&result, wanted.as_bytes(), Lax), lax, "{name}");
    }
    assert_eq!(
        [Ok, NoIdent, OtherUser].map(Evaluation::refusal),
        [None, Some(Status::NoIdent), Some(Status::OtherUser)]
    );
}

#[test]
fn results_are_parsed_from_bytes() {
    assert_eq!(IdentResult::parse(b"6193,1080", ASKED), None);
    let result = IdentResult::parse(b"6193,1080:USERID:UNIX: bob\r\n", ASKED).unwrap();
    assert_eq!(result.user(), Some(b"bob".as_slice()));
    let result = IdentResult::parse(b"nonsense\r\n", ASKED).unwrap();
    assert_eq!((result.user(), result.word()), (None, "ident-malformed"));
}

/// A second implementation of the grammar: octet by octet, one state per field. `Some(None)` is an
/// ERROR, `None` anything that is not an answer.
fn second_decoder(bytes: &[u8]) -> Option<Option<Vec<u8>>> {
    let mut fields = vec![Vec::new()];
    let mut ended = false;
    for (at, &octet) in bytes.iter().enumerate() {
        if at == 1000 {
            return None;
        }
        let keyword: Vec<u8> = fields.get(1).cloned().unwrap_or_default();
        let keyword = String::from_utf8_lossy(&keyword).to_ascii_uppercase();
        let most = if keyword.trim_matches([' ', '\t']) == "ERROR" { 3 } else { 4 };
        match octet {
            b'\n' => {
                ended = true;
                break;
            }
            b':' if fields.len() < most => fields.push(Vec::new()),
            _ => fields.last_mut().unwrap().push(octet),
        }
    }
    if !ended {
        return None;
    }
    if fields.last().unwrap().last() == Some(&b'\r') {
        fields.last_mut().unwrap().pop();
    }
    if fields.concat().iter().any(|&octet| octet == 0 || octet == b'\r') {
        return None;
    }
    let text = |at: usize| -> Option<String> {
        let text = String::from_utf8(fields.get(at)?.clone()).ok()?;
        Some(text.trim_matches([' ', '\t']).to_ascii_uppercase())
    };
    let mut ports = Vec::new();
    for part in text(0)?.split(',') {
        let part = part.trim_matches([' ', '\t']);
        if part.is_empty() || part.len() > 5 || part.contains(|c: char| !c.is_ascii_digit()) {
            return None;
        }
        ports.push(part.parse::<u64>().ok()?);
    }
    if ports != [6193, 1080] {
        return None;
    }
    match (text(1)?.as_str(), fields.len()) {
        ("ERROR", 3) => Some(None),
        ("USERID", 4) => {
            let user = fields.pop().unwrap();
            let blank = usize::from(user.first() == Some(&b' '));
            (1..=512).contains(&(user.len() - blank)).then_some(Some(user))
        }
        _ => None,
    }
}

/// Answers that are nearly right: pieces of the grammar in nearly the right order.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let blank = || prop::sample::select(vec!["", " ", "\t", "  "]);
    let port = |right: &'static str| prop_oneof![4 => Just(right.to_owned()), 1 => "[0-9+ -]{0,6}".prop_map(String::from)];
    let kind = prop::sample::select(vec!["USERID", "userid", "ERROR", "Error", "USER", ""]);
    let rest = prop_oneof![
        "[A-Za-z,: \t-]{0,12}:[ -~]{0,12}".prop_map(String::into_bytes),
        (0..700usize).prop_map(|count| [b"UNIX: ".to_vec(), vec![b'u'; count]].concat()),
        proptest::collection::vec(any::<u8>(), 0..40),
    ];
    let end = prop::sample::select(vec!["\r\n", "\n", "\r", "", "\r\r\n"]);
    (blank(), port("6193"), blank(), port("1080"), blank(), kind, blank(), rest, end).prop_map(
        |(a, client, b, ours, c, kind, d, rest, end)| {
            let head = format!("{a}{client}{b},{c}{ours}{b}:{d}{kind}{a}:");
            [head.as_bytes(), &rest, end.as_bytes()].concat()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn two_decoders_agree(bytes in prop_oneof![
        4 => nearly(),
        1 => proptest::collection::vec(any::<u8>(), 0..1100),
    ]) {
        let read = match answer(&bytes) {
            Ok(Parsed::Done(Answer::User(user), _)) => Some(Some(user.to_vec())),
            Ok(Parsed::Done(Answer::Error(_), _)) => Some(None),
            Ok(Parsed::More) | Err(_) => None,
        };
        prop_assert_eq!(read, second_decoder(&bytes));
    }
}
