//! The form of what is written, and that no field leaves its place.

use super::*;

fn form() -> Form {
    let mut form =
        Form { proxy_host: "127.0.0.1".into(), proxy_port: "1080".into(), ..Form::default() };
    let row = |host: &str, port: &str, script: &str| Row {
        host: host.into(),
        port: port.into(),
        script: script.into(),
    };
    form.rows[0] = row("127.0.0.1", "7001", "t1.txt");
    form.rows[3] = row("shell.example", "7004", "t4.txt");
    form
}

fn scripts() -> Vec<String> {
    vec!["t1.txt".into(), "t4.txt".into()]
}

#[test]
fn pieces_have_the_form_of_the_console() {
    assert_eq!(output(0, "a <b>\r\n% "), "<script>show(0,'a &lt;b&gt;&NewLine;% ')</script>\n");
    assert_eq!(
        command(4, "echo 'x'\n"),
        "<script>show(4,'<b>echo &#39;x&#39;&NewLine;</b>')</script>\n"
    );
    assert!(reason(1, "</script>").contains("show(1,'<em>&lt;/script&gt;</em>')"));
    assert_eq!(state(1, "closed"), "<script>ended(1,'closed')</script>\n");
}

#[test]
fn a_page_has_one_column_for_each_row_that_is_used() {
    let page = session_page(&form(), &scripts());
    assert_eq!(page.matches("<pre id=").count(), 2);
    for part in [
        "<title>127.0.0.1:7001, shell.example:7004 \u{2013} socku console</title>",
        "<pre id=\"s0\"",
        "<pre id=\"s3\"",
        "title=\"127.0.0.1:7001\"><bdi class=\"host\">127.0.0.1</bdi><bdi>:7001</bdi>",
        "title=\"shell.example:7004\"><bdi class=\"host\">shell.example</bdi><bdi>:7004</bdi>",
        "through <span class=\"address\" title=\"127.0.0.1:1080\">",
        ">Stop</button>",
        ">Run again</button>",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn the_panel_has_five_rows_and_keeps_what_was_filled_in() {
    let page = panel_page(&form(), &scripts(), "");
    for at in 0..5 {
        for kind in ["h", "p", "f"] {
            assert_eq!(page.matches(&format!(" name=\"{kind}{at}\"")).count(), 1);
        }
    }
    for part in [
        "name=\"sh\" aria-label=\"SOCKS host\" value=\"127.0.0.1\"",
        "name=\"sp\" aria-label=\"SOCKS port\" value=\"1080\"",
        "<option value=\"\" selected>SOCKS4</option><option value=\"5\">SOCKS5</option>",
        "value=\"shell.example\"",
        "value=\"7004\"",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert_eq!(page.matches("<option value=\"t4.txt\" selected>").count(), 1);
    assert_eq!(page.matches("<option value=\"\"></option>").count(), 5);
    assert!(panel_page(&form(), &[], "").contains("no scripts"));
}

#[test]
fn an_ipv6_address_stands_in_brackets_before_its_port() {
    let mut form = form();
    form.rows[0].host = "::1".into();
    form.rows[3].host = "[2001:db8::1]".into();
    form.proxy_host = "::1".into();
    let page = session_page(&form, &scripts());
    for part in [
        "<title>[::1]:7001, [2001:db8::1]:7004 \u{2013} socku console</title>",
        "title=\"[::1]:7001\"><bdi class=\"host\">[::1]</bdi><bdi>:7001</bdi>",
        "through <span class=\"address\" title=\"[::1]:1080\">",
        // The panel has what was filled in.
        "name=\"h0\" aria-label=\"Host 1\" value=\"::1\"",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn the_password_is_in_its_own_field_only() {
    let mut form = form();
    form.version = "5".into();
    form.user = "bob".into();
    form.password = "se<cret".into();
    for page in [session_page(&form, &scripts()), panel_page(&form, &scripts(), "")] {
        assert_eq!(page.matches("se&lt;cret").count(), 1);
        let field = page.split("<input name=\"sw\" ").nth(1).unwrap().split('>').next().unwrap();
        assert!(field.starts_with("type=\"password\" "));
        assert!(field.contains(" value=\"se&lt;cret\" "), "{field}");
        assert!(page.contains("<option value=\"5\" selected>SOCKS5</option>"));
        assert!(page.contains("name=\"su\" aria-label=\"SOCKS user\" value=\"bob\""));
    }
    assert!(session_page(&form, &scripts()).contains("</span> by SOCKS5</p>"));
    // The browser keeps the other fields for the next time.
    assert!(SCRIPT.contains("field.type !== 'password'"));
}

#[test]
fn no_field_leaves_its_place() {
    let hostile = "\"'></script></pre><img src=x>&\0".to_string();
    let row = Row { host: hostile.clone(), port: hostile.clone(), script: hostile.clone() };
    let form = Form {
        rows: std::array::from_fn(|_| row.clone()),
        proxy_host: hostile.clone(),
        proxy_port: hostile.clone(),
        version: hostile.clone(),
        user: hostile.clone(),
        password: hostile.clone(),
    };
    let scripts = [hostile.clone()];
    for page in [panel_page(&form, &scripts, &hostile), session_page(&form, &scripts)] {
        assert!(!page.contains("<img") && !page.contains("\"'>") && !page.contains('\0'));
        assert_eq!(page.matches("</script>").count(), 1);
    }
}

#[test]
fn nothing_is_loaded_from_anywhere() {
    let page = session_page(&form(), &scripts()) + &panel_page(&form(), &scripts(), "notice");
    assert!(!page.contains("http:") && !page.contains("https:") && !page.contains("url("));
    for line in [
        "Content-Security-Policy: default-src 'none';",
        "script-src-attr 'none'",
        "frame-ancestors 'none'",
        "X-Frame-Options: DENY\r\n",
        "Referrer-Policy: same-origin\r\n",
        "Cache-Control: no-store\r\n",
    ] {
        assert!(header().contains(line), "{line}");
    }
    assert!(header().ends_with("\r\n\r\n"));
    assert!(!header().trim_end().contains("\r\n\r\n"));
}
