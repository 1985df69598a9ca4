//! The answers of the status listener, as bytes. Every connection is closed after its answer.

use super::page::{PAGE, POLICY};
use super::request::RequestError;

/// The content type of OpenMetrics 1.0.
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The content type of Prometheus' text format.
pub const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What every answer says: nothing is stored, or shown as something that it is not, and no other
/// site may take it in.
const COMMON: &str = "Connection: close\r\nCache-Control: no-store\r\n\
                      X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\
                      Cross-Origin-Resource-Policy: same-origin\r\n\
                      Cross-Origin-Opener-Policy: same-origin\r\nX-Frame-Options: DENY\r\n";

/// The page.
pub fn page(is_head: bool) -> Vec<u8> {
    whole("200 OK", "text/html; charset=utf-8", PAGE, "", is_head)
}

/// The metrics, as a text of this content type.
pub fn metrics(text: &str, content_type: &str, is_head: bool) -> Vec<u8> {
    whole("200 OK", content_type, text.as_bytes(), "", is_head)
}

/// One snapshot: one line.
pub fn snapshot(data: &str, is_head: bool) -> Vec<u8> {
    whole("200 OK", "application/json", format!("{data}\n").as_bytes(), "", is_head)
}

/// The answer to a request that is rejected.
pub fn rejection(error: RequestError) -> Vec<u8> {
    let (status, text, more) = match error {
        RequestError::Malformed => ("400 Bad Request", "expected a request of HTTP/1.1\n", ""),
        RequestError::ForeignHost => (
            "403 Forbidden",
            "expected an address or localhost in Host, so that no other site can read this\n",
            "",
        ),
        RequestError::CrossSite => {
            ("403 Forbidden", "expected no request of another site's page\n", "")
        }
        RequestError::NotFound => {
            ("404 Not Found", "there are /, /metrics, /snapshot and /events\n", "")
        }
        RequestError::Method => {
            ("405 Method Not Allowed", "expected GET or HEAD\n", "Allow: GET, HEAD\r\n")
        }
        RequestError::TooLarge => {
            ("431 Request Header Fields Too Large", "expected at most 8 KiB and 64 fields\n", "")
        }
    };
    whole(status, "text/plain; charset=utf-8", text.as_bytes(), more, false)
}

/// The answer to a request for events when as many clients as may be read them already.
pub fn too_many_streams() -> Vec<u8> {
    let text = b"too many pages are open\n";
    whole(
        "503 Service Unavailable",
        "text/plain; charset=utf-8",
        text,
        "Retry-After: 10\r\n",
        false,
    )
}

/// The head of a stream of events; what follows is sent as it comes, to the end of the connection.
pub fn stream_head() -> Vec<u8> {
    head("200 OK", "text/event-stream", "")
}

/// One event of a stream. `data` is one line.
pub fn event(data: &str) -> Vec<u8> {
    format!("data: {data}\n\n").into_bytes()
}

/// An answer with its length. The one to HEAD is that to GET without the body (RFC 9110 section
/// 9.3.2).
fn whole(status: &str, content_type: &str, body: &[u8], more: &str, is_head: bool) -> Vec<u8> {
    let more = format!("Content-Length: {}\r\n{more}", body.len());
    let mut answer = head(status, content_type, &more);
    if !is_head {
        answer.extend_from_slice(body);
    }
    answer
}

fn head(status: &str, content_type: &str, more: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n{more}{COMMON}\
         Content-Security-Policy: {POLICY}\r\n\r\n"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer's status, fields and body.
    fn read(answer: &[u8]) -> (u16, String, Vec<u8>) {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut head = httparse::Response::new(&mut headers);
        let length = head.parse(answer).unwrap().unwrap();
        let fields = String::from_utf8(answer[..length].to_vec()).unwrap();
        (head.code.unwrap(), fields, answer[length..].to_vec())
    }

    #[test]
    fn every_answer_closes_is_not_stored_and_protects_the_browser() {
        let answers = [
            page(false),
            metrics("x", PROMETHEUS, false),
            snapshot("{}", false),
            rejection(RequestError::NotFound),
            too_many_streams(),
            stream_head(),
        ];
        for answer in answers {
            let (_, fields, _) = read(&answer);
            for field in [
                "Connection: close\r\n",
                "Cache-Control: no-store\r\n",
                "X-Content-Type-Options: nosniff\r\n",
                "Content-Security-Policy: default-src 'none'; ",
                "frame-ancestors 'none'\r\n",
                "Cross-Origin-Resource-Policy: same-origin\r\n",
            ] {
                assert!(fields.contains(field), "{field} in {fields}");
            }
        }
    }

    #[test]
    fn each_rejection_has_its_status_and_says_what_was_expected() {
        for (error, status) in [
            (RequestError::Malformed, 400),
            (RequestError::ForeignHost, 403),
            (RequestError::CrossSite, 403),
            (RequestError::NotFound, 404),
            (RequestError::Method, 405),
            (RequestError::TooLarge, 431),
        ] {
            let (code, fields, body) = read(&rejection(error));
            assert_eq!(code, status);
            assert!(fields.contains(&format!("Content-Length: {}\r\n", body.len())));
            assert_eq!(fields.contains("\r\nAllow: GET, HEAD\r\n"), status == 405);
            assert!(body.ends_with(b"\n"));
        }
    }

    #[test]
    fn the_answer_to_head_is_that_to_get_without_the_body() {
        let (get, head) = (page(false), page(true));
        assert_eq!(get, [head.as_slice(), PAGE].concat());
        assert!(read(&head).1.contains(&format!("Content-Length: {}\r\n", PAGE.len())));
    }

    #[test]
    fn an_event_is_one_line_of_data_and_an_empty_line() {
        assert_eq!(event("{}"), b"data: {}\n\n");
        let (_, fields, body) = read(&stream_head());
        assert!(body.is_empty() && !fields.contains("Content-Length"));
    }
}
