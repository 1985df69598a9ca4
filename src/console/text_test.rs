//! Tables, and the properties that matter: pieces cut anywhere give the same text, and what is
//! shown decodes to what was sent. The decoder here follows the standards (ECMA-262 string
//! literals, HTML character references) and knows nothing of the encoder.

use super::*;
use proptest::prelude::*;

fn streamed(text: &str) -> String {
    let mut out = String::new();
    escape_streamed(text, &mut out);
    out
}

fn html(text: &str) -> String {
    let mut out = String::new();
    escape_html(text, &mut out);
    out
}

/// The value of a string literal between single quotes; panics where the literal would end.
pub fn read_string_literal(source: &str) -> String {
    let mut value = String::new();
    let mut source = source.chars();
    while let Some(character) = source.next() {
        match character {
            '\'' | '\n' | '\r' | '\u{2028}' | '\u{2029}' => panic!("the string ends early"),
            '\\' => match source.next().expect("a lone backslash") {
                'u' => {
                    let digits: String = source.by_ref().take(4).collect();
                    assert_eq!(digits.len(), 4);
                    value.push(u32::from_str_radix(&digits, 16).unwrap().try_into().unwrap());
                }
                'n' => value.push('\n'),
                't' => value.push('\t'),
                same @ ('\\' | '\'' | '"') => value.push(same),
                other => panic!("escape \\{other}"),
            },
            other => value.push(other),
        }
    }
    value
}

/// The text of HTML without elements; panics at anything that is not plain text.
pub fn read_html_text(mut html: &str) -> String {
    const REFERENCES: [(&str, char); 6] = [
        ("&amp;", '&'),
        ("&lt;", '<'),
        ("&gt;", '>'),
        ("&quot;", '"'),
        ("&#39;", '\''),
        ("&NewLine;", '\n'),
    ];
    let mut text = String::new();
    while let Some(first) = html.chars().next() {
        assert!(!matches!(first, '<' | '>' | '\0' | '\r'), "{first:?} in {html}");
        if first != '&' {
            text.push(first);
            html = &html[first.len_utf8()..];
            continue;
        }
        let known = REFERENCES.iter().find(|(name, _)| html.starts_with(name));
        let &(name, character) = known.unwrap_or_else(|| panic!("reference in {html}"));
        text.push(character);
        html = &html[name.len()..];
    }
    text
}

fn shown(text: &str) -> String {
    text.replace('\r', "").replace('\0', "\u{fffd}")
}

#[test]
fn every_character_that_means_something_is_escaped() {
    for (text, expected) in [
        ("plain text, 100% ~!@#$^*()", "plain text, 100% ~!@#$^*()"),
        ("a\nb\r\nc\rd", "a&NewLine;b&NewLine;cd"),
        ("</script>", "&lt;/script&gt;"),
        ("<!--<script>", "&lt;!--&lt;script&gt;"),
        ("';alert(1)//", "&#39;;alert(1)//"),
        ("\\';\\n\\u0041", "\\\\&#39;;\\\\n\\\\u0041"),
        ("\"`${1}", "&quot;`${1}"),
        ("&lt;&#60;&NewLine;", "&amp;lt;&amp;#60;&amp;NewLine;"),
        (
            "\0\u{1}\u{8}\t\u{b}\u{c}\u{1b}\u{7f}",
            "\u{fffd}\\u0001\\u0008\\u0009\\u000b\\u000c\\u001b\\u007f",
        ),
        ("\u{80}\u{9f}\u{2028}\u{2029}\u{feff}", "\\u0080\\u009f\\u2028\\u2029\\ufeff"),
        ("é中😀\u{fffd}\u{ffff}", "é中😀\u{fffd}\u{ffff}"),
    ] {
        assert_eq!(streamed(text), expected);
    }
}

#[test]
fn a_value_cannot_leave_its_attribute() {
    assert_eq!(html("\"><b>'&\0"), "&quot;&gt;&lt;b&gt;&#39;&amp;\u{fffd}");
}

#[test]
fn an_incomplete_character_at_the_end_is_one_replacement() {
    let mut out = String::new();
    let mut decoder = Decoder::default();
    decoder.decode(b"a\xe2\x82", &mut out);
    assert_eq!(out, "a");
    decoder.finish(&mut out);
    decoder.finish(&mut out);
    assert_eq!(out, "a\u{fffd}");
}

#[test]
fn a_character_cut_in_two_is_shown_whole_and_a_broken_one_at_once() {
    let mut out = String::new();
    let mut decoder = Decoder::default();
    for piece in [&b"\xf0"[..], b"\x9f", b"\x98", b"\x80"] {
        assert_eq!(out, "");
        decoder.decode(piece, &mut out);
    }
    assert_eq!(out, "😀");
    decoder.decode(b"\xf0\x9f", &mut out);
    decoder.decode(b"% ", &mut out);
    assert_eq!(out, "😀\u{fffd}% ");
}

/// Bytes among which beginnings and ends of characters are frequent.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        any::<char>().prop_map(|character| character.to_string().into_bytes()),
        any::<char>().prop_map(|character| {
            let mut bytes = character.to_string().into_bytes();
            bytes.pop();
            bytes
        }),
        Just(b"\xf0\x9f\x98".to_vec()),
        Just(b"</script>".to_vec()),
    ];
    proptest::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn pieces_cut_anywhere_give_the_same_text(
        bytes in bytes(),
        sizes in proptest::collection::vec(1usize..5, 1..20),
    ) {
        let (mut decoder, mut out) = (Decoder::default(), String::new());
        let (mut rest, mut sizes) = (&bytes[..], sizes.iter().cycle());
        while !rest.is_empty() {
            let (piece, left) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
            decoder.decode(piece, &mut out);
            prop_assert!(decoder.held.len() <= 3);
            rest = left;
        }
        decoder.finish(&mut out);
        prop_assert_eq!(out, String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn what_is_shown_decodes_to_what_was_sent(
        text in prop_oneof![any::<String>(), bytes().prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())],
    ) {
        let escaped = streamed(&text);
        prop_assert!(!escaped.contains('<'));
        prop_assert_eq!(read_html_text(&read_string_literal(&escaped)), shown(&text));
        let plain: String = text.chars().filter(|&character| character != '\r').collect();
        prop_assert_eq!(read_html_text(&html(&plain)), shown(&plain));
    }
}
