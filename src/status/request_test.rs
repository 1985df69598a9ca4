use super::*;
use proptest::prelude::*;

fn parsed(text: &str) -> Result<Request, RequestError> {
    match parse(text.as_bytes()) {
        Ok(Parsed::Done(request, length)) => {
            assert!(length <= text.len());
            Ok(request)
        }
        Ok(Parsed::More) => panic!("more is wanted after {text:?}"),
        Err(error) => Err(error),
    }
}

fn get(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:9100\r\n{more}\r\n")
}

const METRICS: Resource = Resource::Metrics { open_metrics: false };

#[test]
fn each_path_has_its_resource_and_others_are_not_found() {
    for (path, resource) in [
        ("/", Some(Resource::Page)),
        ("/?x=/events", Some(Resource::Page)),
        ("/events", Some(Resource::Events)),
        ("/snapshot", Some(Resource::Snapshot)),
        ("/snapshot/", None),
        ("/metrics", Some(METRICS)),
        ("/metrics?name=a", Some(METRICS)),
        ("http://localhost/metrics", Some(METRICS)),
        ("HTTP://[::1]:9100/metrics", Some(METRICS)),
        ("http://127.0.0.1", Some(Resource::Page)),
        ("http://127.0.0.1?x", None),
        ("/metrics/", None),
        ("/Metrics", None),
        ("/%6detrics", None),
        ("//metrics", None),
        ("/../metrics", None),
        ("metrics", None),
        ("*", None),
    ] {
        let expected = resource
            .map(|resource| Request { resource, is_head: false })
            .ok_or(RequestError::NotFound);
        assert_eq!(parsed(&get(path, "")), expected, "{path}");
    }
}

#[test]
fn only_get_and_head_are_answered() {
    let head = parsed("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(head, Ok(Request { resource: Resource::Page, is_head: true }));
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "get", "CONNECT", "TRACE", "G"] {
        let request = format!("{method} / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(parsed(&request), Err(RequestError::Method), "{method}");
    }
}

#[test]
fn a_host_is_an_address_or_localhost() {
    for (host, expected) in [
        ("127.0.0.1", true),
        ("127.0.0.1:9100", true),
        ("192.0.2.7:80", true),
        ("localhost", true),
        ("LocalHost:1", true),
        ("[::1]", true),
        ("[2001:db8::1]:9100", true),
        ("localhost:", true),
        ("example.com", false),
        ("localhost.example.com", false),
        ("127.0.0.1.example.com", false),
        ("127.0.0.1:80:80", false),
        ("127.0.0.1:x", false),
        ("127.1", false),
        ("[::1", false),
        ("[localhost]", false),
        ("[127.0.0.1]", false),
        ("::1", false),
        ("user@127.0.0.1", false),
        ("", false),
        ("\u{e9}", false),
    ] {
        assert_eq!(is_own(host), expected, "{host}");
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(parsed(&request).is_ok(), expected, "{host}");
        let request = format!("GET http://{host}/ HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(parsed(&request).is_ok(), expected && !host.is_empty(), "{host}");
    }
}

#[test]
fn http_1_1_names_its_host_once_and_http_1_0_need_not() {
    let other = parsed("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(other, Err(RequestError::ForeignHost));
    let two = parsed("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nhost: 127.0.0.1\r\n\r\n");
    assert_eq!(two, Err(RequestError::Malformed));
    assert_eq!(parsed("GET / HTTP/1.1\r\n\r\n"), Err(RequestError::Malformed));
    assert!(parsed("GET / HTTP/1.0\r\n\r\n").is_ok());
    let old = parsed("GET / HTTP/1.0\r\nHost: a.example\r\n\r\n");
    assert_eq!(old, Err(RequestError::ForeignHost));
}

#[test]
fn a_page_of_another_site_is_not_answered_but_a_link_may_lead_to_the_page() {
    for (path, site, is_answered) in [
        ("/events", "cross-site", false),
        ("/metrics", "same-site", false),
        ("/snapshot", "anything", false),
        ("/events", "same-origin", true),
        ("/metrics", "none", true),
        ("/", "cross-site", true),
    ] {
        let text =
            format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nSec-Fetch-Site: {site}\r\n\r\n");
        let expected = if is_answered { None } else { Some(RequestError::CrossSite) };
        assert_eq!(parsed(&text).err(), expected, "{path} {site}");
    }
}

#[test]
fn open_metrics_are_given_to_those_who_accept_them() {
    let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                      application/openmetrics-text;version=0.0.1;q=0.5,text/plain;q=0.3,*/*;q=0.1";
    for (accept, expected) in [
        (prometheus, true),
        ("application/openmetrics-text", true),
        ("text/plain, Application/OpenMetrics-Text; version=1.0.0", true),
        ("application/openmetrics-text; q=0", false),
        ("application/openmetrics-text; version=2.0.0", false),
        ("text/plain", false),
        ("*/*", false),
        ("application/openmetrics-texts", false),
        ("", false),
    ] {
        let request = parsed(&get("/metrics", &format!("Accept: {accept}\r\n"))).unwrap();
        assert_eq!(request.resource, Resource::Metrics { open_metrics: expected }, "{accept}");
    }
    let two = get("/metrics", "accept: text/html\r\nACCEPT: application/openmetrics-text\r\n");
    assert_eq!(parsed(&two).unwrap().resource, Resource::Metrics { open_metrics: true });
}

#[test]
fn a_request_cut_anywhere_waits_for_the_rest() {
    let text = get("/metrics", "Accept: text/plain\r\n");
    for end in 0..text.len() {
        assert_eq!(parse(&text.as_bytes()[..end]), Ok(Parsed::More), "{end} bytes");
    }
    let followed = format!("{text}GET /events HTTP/1.1\r\n");
    let request = Request { resource: METRICS, is_head: false };
    assert_eq!(parse(followed.as_bytes()), Ok(Parsed::Done(request, text.len())));
}

#[test]
fn a_head_has_limits_in_bytes_and_fields() {
    let of_bytes = |bytes: usize| {
        let rest = get("/", "X: \r\n").len();
        get("/", &format!("X: {}\r\n", "x".repeat(bytes - rest)))
    };
    assert!(parsed(&of_bytes(HEAD_BYTES_MAX)).is_ok());
    assert_eq!(parsed(&of_bytes(HEAD_BYTES_MAX + 1)), Err(RequestError::TooLarge));
    assert_eq!(parse(&[b'G'; HEAD_BYTES_MAX]), Err(RequestError::TooLarge));
    assert!(parsed(&get("/", &"a: b\r\n".repeat(HEADERS_MAX - 1))).is_ok());
    let many = get("/", &"a: b\r\n".repeat(HEADERS_MAX));
    assert_eq!(parsed(&many), Err(RequestError::TooLarge));
}

#[test]
fn what_is_not_http_is_malformed() {
    for text in [
        "\x04\x01\0\x50\x7f\0\0\x01\0",
        "\x16\x03\x01\x02\0",
        "GET  / HTTP/1.1\r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost 127.0.0.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n folded\r\n\r\n",
        "GET /\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        assert_eq!(parse(text.as_bytes()), Err(RequestError::Malformed), "{text:?}");
    }
}

proptest! {
    /// A decision never changes when more bytes come, and nothing panics.
    #[test]
    fn more_bytes_change_no_decision(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "(GET|HEAD|PUT) [/a-z?]{1,9} HTTP/1\\.[01]\r\n(Host: (localhost|a)\r\n)?(A: b\r\n)?\r\n.*"
                .prop_map(String::into_bytes),
        ],
    ) {
        let mut decided = None;
        for end in 0..=bytes.len() {
            let now = parse(&bytes[..end]);
            if let Some(before) = decided {
                prop_assert_eq!(now, before);
            }
            decided = Some(now).filter(|now| *now != Ok(Parsed::More));
        }
    }
}
