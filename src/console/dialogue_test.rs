//! Dialogues as tables, and the same with every cut of what arrives.

use super::*;

/// The actions of a dialogue on these pieces: `text`, `<line>`, and `.` for the close. `~` as a
/// piece is quiet.
fn run(script: &str, pieces: &[&[u8]]) -> String {
    let mut dialogue = Dialogue::new(Script::new(script));
    let mut done = String::new();
    for piece in pieces {
        match *piece {
            b"~" => dialogue.handle_quiet(),
            _ => dialogue.handle_bytes(piece),
        }
        drain(&mut dialogue, &mut done);
    }
    dialogue.handle_end();
    drain(&mut dialogue, &mut done);
    done
}

fn drain(dialogue: &mut Dialogue, done: &mut String) {
    while let Some(action) = dialogue.poll() {
        match action {
            Effect::Show(text) => done.push_str(&text),
            Effect::Send(line) => {
                done.push_str(&format!(
                    "<{}>",
                    String::from_utf8_lossy(&line).trim_end_matches('\n')
                ));
            }
            Effect::CloseWriting => done.push('.'),
        }
    }
}

#[test]
fn one_line_goes_out_for_each_prompt_and_none_ahead_of_it() {
    for (sent, expected) in [
        ("", ""),
        ("%", "%"),
        ("% ", "% <a>"),
        ("welcome\n% ", "welcome\n% <a>"),
        ("welcome\r\n% ", "welcome\r\n% <a>"),
        ("% out\n% ", "% <a>out\n% <b>"),
        ("% % % % ", "% <a>% <b>% .% "),
        ("% news\nof others\n% ", "% <a>news\nof others\n% <b>"),
        ("100% done\n% ", "100% done\n% <a>"),
        ("%% \n", "%% \n"),
        (" % \n", " % \n"),
        ("%\n % x", "%\n % x"),
        ("text% ", "text% "),
    ] {
        assert_eq!(run("a\nb\n", &[sent.as_bytes()]), expected, "{sent:?}");
        let every_byte: Vec<&[u8]> = sent.as_bytes().chunks(1).collect();
        assert_eq!(run("a\nb\n", &every_byte), expected, "{sent:?} byte by byte");
    }
}

#[test]
fn a_prompt_after_text_counts_once_nothing_follows_it() {
    assert_eq!(run("a\nb\n", &[b"no line end% ", b"~"]), "no line end% <a>");
    assert_eq!(run("a\nb\n", &[b"no line end%", b" ", b"~", b"~"]), "no line end% <a>");
    assert_eq!(run("a\nb\n", &[b"100% ", b"done", b"~"]), "100% done");
    assert_eq!(run("a\nb\n", &[b"100%", b"~", b" ", b"done\n", b"~"]), "100% done\n");
    assert_eq!(run("a\nb\n", &[b"x% ", b"~", b"% "]), "x% <a>% <b>");
}

#[test]
fn quiet_alone_sends_nothing() {
    assert_eq!(run("a\n", &[b"~", b"text\n", b"~", b"%", b"~"]), "text\n%");
}

#[test]
fn a_script_without_lines_closes_at_the_first_prompt_and_only_once() {
    assert_eq!(run("", &[b"% % "]), "% .% ");
}

#[test]
fn a_broken_character_before_the_prompt_is_shown_before_the_command() {
    assert_eq!(run("a\n", &[b"\xe2\x82\n% "]), "\u{fffd}\n% <a>");
    assert_eq!(run("a\n", &[b"\xe2", b"\x82", b"\xac\xe2\x82"]), "€\u{fffd}");
}
