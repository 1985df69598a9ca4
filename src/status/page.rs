//! The status page, and what a browser lets it do.

/// The page: one file, which needs nothing else but `/events`.
pub const PAGE: &[u8] = include_bytes!("page.html");

/// `Content-Security-Policy`: this style, this script and an empty icon, and requests to the
/// listener the page came from; nothing that slips into the page can run, load or be framed. The
/// hashes are those of the page as it is.
pub const POLICY: &str = concat!(
    "default-src 'none'; ",
    "style-src 'sha256-GVhP57Uz9ZQVobYFQDsgRHXOoq/Xrsoah303xH8R4+g='; ",
    "script-src 'sha256-yupiRMUp4rjMgGI5YKsAsvf7JbU9aVTIToj6ZwrjCZI='; ",
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; ",
    "frame-ancestors 'none'",
);

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    /// The text between `<tag>` and `</tag>`.
    fn inside(tag: &str) -> &'static str {
        let page = str::from_utf8(PAGE).unwrap();
        let (_, rest) = page.split_once(&format!("<{tag}>")).unwrap();
        rest.split_once(&format!("</{tag}>")).unwrap().0
    }

    /// The source expression of a text: coreutils hash it, since nothing else here needs SHA-256.
    fn source_expression(text: &str) -> String {
        let mut child = Command::new("sha256sum")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sha256sum of coreutils");
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap().stdout;
        let hex = str::from_utf8(&output[..64]).unwrap();
        let bytes = (0..32).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap());
        format!("'sha256-{}'", base64(&bytes.collect::<Vec<_>>()))
    }

    fn base64(bytes: &[u8]) -> String {
        const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for group in bytes.chunks(3) {
            let bits = (0..3)
                .fold(0, |bits, at| bits << 8 | u32::from(group.get(at).copied().unwrap_or(0)));
            for at in 0..4 {
                let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
                text.push(if at <= group.len() { char::from(digit) } else { '=' });
            }
        }
        text
    }

    #[test]
    fn the_policy_permits_the_style_and_the_script_of_the_page_and_no_other() {
        assert_eq!(base64(b"socku"), "c29ja3U=");
        for (directive, tag) in [("style-src", "style"), ("script-src", "script")] {
            let wanted = format!("{directive} {};", source_expression(inside(tag)));
            assert!(POLICY.contains(&wanted), "POLICY in src/status/page.rs: {wanted}");
        }
        assert!(!POLICY.contains("unsafe"));
    }

    #[test]
    fn the_page_is_small_and_has_nothing_that_the_policy_stops() {
        assert!(PAGE.len() < 24 << 10, "{} bytes", PAGE.len());
        let page = str::from_utf8(PAGE).unwrap();
        for stopped in ["style=\"", "onclick=", "<img", "<link rel=\"stylesheet\"", "innerHTML"] {
            assert!(!page.contains(stopped), "{stopped}");
        }
        assert_eq!((page.matches("<style").count(), page.matches("<script").count()), (1, 1));
    }
}
