//! What the console makes of a query and of a remote shell, read back by a decoder that shares
//! nothing with it.

use socku::internals::console::Script;
use socku::internals::console::page;
use socku::internals::console::{Dialogue, Effect};
use socku::internals::console::{Form, QUERY_BYTES_MAX, parse};

/// What was understood, written out anew, is understood the same, and no field leaves its place.
pub fn query(bytes: &[u8]) {
    let Some(form) = parse(bytes) else {
        assert!(bytes.len() > QUERY_BYTES_MAX);
        return;
    };
    let again = written(&form);
    assert!(again.len() > QUERY_BYTES_MAX || parse(again.as_bytes()) == Some(form.clone()));
    for page in [page::panel_page(&form, &[], ""), page::session_page(&form, &[])] {
        assert_eq!(page.matches("</script>").count(), 1);
        assert_eq!(page.matches("</form>").count(), 1);
    }
    let _ = (form.proxy(), form.rows.each_ref().map(|row| row.target()));
}

fn written(form: &Form) -> String {
    let escaped = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let proxy = [
        ("sh", &form.proxy_host),
        ("sp", &form.proxy_port),
        ("sv", &form.version),
        ("su", &form.user),
        ("sw", &form.password),
    ];
    let mut query = String::new();
    for (name, value) in proxy {
        query += &format!("&{name}={}", escaped(value));
    }
    for (at, row) in form.rows.iter().enumerate() {
        for (kind, value) in [('h', &row.host), ('p', &row.port), ('f', &row.script)] {
            query += &format!("&{kind}{at}={}", escaped(value));
        }
    }
    query
}

/// Where the bytes were cut changes nothing, and what is shown is what was sent.
pub fn shell(bytes: &[u8]) {
    let whole = told(std::iter::once(bytes));
    assert_eq!(told(bytes.chunks(1)), whole);
    assert_eq!(told(bytes.chunks(3)), whole);
    let sent = String::from_utf8_lossy(bytes).replace('\r', "").replace('\0', "\u{fffd}");
    assert_eq!(whole.0, sent);
    assert!(whole.1.iter().all(|&at| whole.0[..at].ends_with("% ")));
}

/// What is shown, and the places in it where a line was sent or writing was closed.
fn told<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (String, Vec<usize>) {
    let mut dialogue = Dialogue::new(Script::new("ls\nexit\n"));
    let (mut shown, mut answers) = (String::new(), Vec::new());
    let mut drain = |dialogue: &mut Dialogue| {
        while let Some(action) = dialogue.poll() {
            match action {
                Effect::Show(text) => shown += &read(&page::output(0, &text)),
                Effect::Send(_) | Effect::CloseWriting => answers.push(shown.len()),
            }
        }
    };
    for piece in pieces {
        dialogue.handle_bytes(piece);
        drain(&mut dialogue);
    }
    dialogue.handle_end();
    drain(&mut dialogue);
    (shown, answers)
}

/// What a browser would show for one piece of output.
fn read(piece: &str) -> String {
    let literal = piece.strip_prefix("<script>show(0,'");
    let mut rest = literal.unwrap().strip_suffix("')</script>\n").unwrap();
    let mut text = String::new();
    while let Some(first) = rest.chars().next() {
        assert!(!matches!(first, '<' | '>' | '\'' | '\n' | '\r' | '\u{2028}' | '\u{2029}'));
        let (character, length) = match first {
            '&' => reference(rest),
            '\\' if rest.starts_with("\\\\") => ('\\', 2),
            '\\' => (u32::from_str_radix(&rest[2..6], 16).unwrap().try_into().unwrap(), 6),
            plain => (plain, plain.len_utf8()),
        };
        text.push(character);
        rest = &rest[length..];
    }
    text
}

fn reference(rest: &str) -> (char, usize) {
    let length = rest.find(';').expect("the end of a reference") + 1;
    let character = match &rest[1..length - 1] {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "#39" => '\'',
        "NewLine" => '\n',
        other => panic!("reference {other}"),
    };
    (character, length)
}
