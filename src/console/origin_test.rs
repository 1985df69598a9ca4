//! Tables: which headers run, and which hosts can be this server.

use super::*;

const HERE: &str = "127.0.0.1:8080";

/// A request with these headers.
fn request(headers: &[(&str, &str)]) -> Origin {
    let value = |name| {
        headers.iter().find(|(given, _)| *given == name).map(|(_, value)| (*value).to_string())
    };
    Origin {
        host: value("Host"),
        site: value("Sec-Fetch-Site"),
        purpose: value("Sec-Purpose"),
        origin: value("Origin"),
        referer: value("Referer"),
        agent: value("User-Agent"),
        language: value("Accept-Language"),
    }
}

#[test]
fn only_the_user_and_our_own_pages_run_scripts_without_a_click() {
    const MOZILLA: (&str, &str) = ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64)");
    let other = Permission::Confirm(OTHER_SITE);
    let unknown = Permission::Confirm(UNKNOWN_SITE);
    let rows: &[(&[(&str, &str)], Permission)] = &[
        (&[("Sec-Fetch-Site", "same-origin"), MOZILLA], Permission::Run),
        (&[("Sec-Fetch-Site", "none"), MOZILLA], Permission::Run),
        (&[("Sec-Fetch-Site", "cross-site"), MOZILLA], other),
        (&[("Sec-Fetch-Site", "same-site"), MOZILLA], other),
        (&[("Sec-Fetch-Site", "same-origin, cross-site"), MOZILLA], other),
        (&[("Sec-Fetch-Site", ""), MOZILLA], other),
        // Sec-Fetch-Site decides, whatever else is there.
        (&[("Sec-Fetch-Site", "cross-site"), ("Referer", "http://127.0.0.1:8080/")], other),
        (
            &[("Sec-Fetch-Site", "none"), ("Sec-Purpose", "prefetch;prerender")],
            Permission::Prefetch,
        ),
        (&[("Referer", "http://127.0.0.1:8080/cgi-bin/socku-console"), MOZILLA], Permission::Run),
        (&[("Referer", "https://127.0.0.1:8080?x"), MOZILLA], Permission::Run),
        (&[("Referer", "http://127.0.0.1:8081/"), MOZILLA], other),
        (&[("Referer", "http://127.0.0.1:8080.evil.example/"), MOZILLA], other),
        (&[("Referer", "http://evil.example/http://127.0.0.1:8080/"), MOZILLA], other),
        (&[("Referer", "http://127.0.0.1:8080@evil.example/"), MOZILLA], other),
        (&[("Referer", ""), MOZILLA], other),
        (&[("Origin", "http://127.0.0.1:8080"), MOZILLA], Permission::Run),
        (&[("Origin", "null"), ("Referer", "http://127.0.0.1:8080/"), MOZILLA], other),
        (&[("Origin", "http://evil.example"), ("Referer", "http://127.0.0.1:8080/")], other),
        (&[MOZILLA], unknown),
        (&[("User-Agent", "Lynx/2.9"), ("Accept-Language", "en")], unknown),
        (&[("Accept-Language", "")], unknown),
        (&[("User-Agent", "curl/8.5.0")], Permission::Run),
        (&[], Permission::Run),
    ];
    for (headers, permission) in rows {
        let headers = [*headers, &[("Host", HERE)]].concat();
        assert_eq!(request(&headers).permission(), *permission, "{headers:?}");
    }
}

#[test]
fn a_page_is_not_our_own_where_the_host_is_unknown() {
    let headers = [("Referer", "http:///"), ("User-Agent", "Mozilla/5.0")];
    assert_eq!(request(&headers).permission(), Permission::Confirm(OTHER_SITE));
}

#[test]
fn a_name_leads_here_only_if_it_is_listed() {
    let hosts = KnownHosts::parse("Gateway.lan., console.example\tgw");
    for known in [
        HERE,
        "192.168.1.1",
        "[::1]",
        "[::1]:8080",
        "localhost",
        "LocalHost:8080",
        "localhost.:80",
        "gateway.lan",
        "GATEWAY.LAN.:8080",
        "console.example:443",
        "gw",
    ] {
        assert!(request(&[("Host", known)]).is_known_host(&hosts), "{known}");
    }
    for foreign in [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "gateway.lan.evil.example",
        "lan",
        "127.1",
        "2130706433",
        "[::1",
        "[::1].evil.example",
        "[evil.example]",
        "::1",
        "evil.example:80]",
        "localhost:8080@evil.example",
        "127.0.0.1, evil.example",
        "",
        ":8080",
    ] {
        assert!(!request(&[("Host", foreign)]).is_known_host(&hosts), "{foreign}");
        assert!(!request(&[("Host", foreign)]).is_known_host(&KnownHosts::default()), "{foreign}");
    }
    assert!(!request(&[("Host", "gateway.lan")]).is_known_host(&KnownHosts::default()));
    assert!(request(&[]).is_known_host(&KnownHosts::default()));
}
