"""Other sites that the browser visits must not run anything; the user and the panel must.

Every name leads the browser to 127.0.0.1 (parts.Browser), so a hostile site is a page under
another name, and a console out in a network is the console under an address of RFC 5737.
"""

import http.server
import socketserver
import urllib.parse

import parts
from lab.servers import Threaded
from shells import Scripted

HOSTILE = "evil.test"
REBOUND = "rebound.test"
# Browsers trust 127.0.0.1 over plain HTTP and send Sec-Fetch-Site there. They do not trust this.
NETWORK = "192.0.2.1"

# Each gives a promise that is kept when the browser has its answer, or does not take it.
ATTEMPTS = {
    "image": "const it = new Image(); it.src = url; return new Promise((done) => { it.onload = it.onerror = done; });",
    "script": """const it = document.createElement('script'); it.src = url; document.body.append(it);
        return new Promise((done) => { it.onload = it.onerror = done; });""",
    "frame": """const it = document.createElement('iframe'); it.src = url; document.body.append(it);
        return new Promise((done) => { it.onload = it.onerror = done; });""",
    "fetch": "return fetch(url, { mode: 'no-cors', credentials: 'include' }).then((it) => it.text()).catch(() => {});",
    "quiet fetch": "return fetch(url, { mode: 'no-cors', referrerPolicy: 'no-referrer' }).then((it) => it.text()).catch(() => {});",
    "post": "return fetch(url, { mode: 'no-cors', method: 'POST', body: '' }).then((it) => it.text()).catch(() => {});",
}
# Each leads this window, or a new one, to the console.
JOURNEYS = {
    "link": "location.href = url;",
    "quiet link": """const it = document.createElement('a'); it.href = url; it.rel = 'noreferrer';
        document.body.append(it); it.click();""",
    "form": """const it = document.createElement('form'); it.action = url.split('?')[0];
        for (const [name, value] of new URLSearchParams(url.split('?')[1])) {
            const field = document.createElement('input');
            field.name = name; field.value = value; it.append(field);
        }
        document.body.append(it); it.submit();""",
    "window": "window.open(url);",
    "redirect": "location.href = '/redirect?' + encodeURIComponent(url);",
}


class Page(http.server.BaseHTTPRequestHandler):
    """An empty page, or the way on to another one."""

    def do_GET(self):
        path, _, target = self.path.partition("?")
        self.send_response(302 if path == "/redirect" else 200)
        if path == "/redirect":
            self.send_header("Location", urllib.parse.unquote(target))
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!DOCTYPE html><title>elsewhere</title><body>")

    def log_message(self, *_):
        """Nobody reads it."""


class Trap(socketserver.BaseRequestHandler):
    def handle(self):
        self.server.connections += 1


class TrapServer(Threaded):
    """Counts its connections: there must be none."""

    connections = 0

    def __init__(self):
        super().__init__(Trap)


def under(host, url):
    """The same page by another name."""
    return url.replace("127.0.0.1", host, 1)


def session(proxy_port, shell_port=7001):
    return f"h0=127.0.0.1&p0={shell_port}&f0=t1.txt&sh=127.0.0.1&sp={proxy_port}"


def at_rest(browser, root):
    parts.wait_for("the console to end", lambda: not parts.processes(root / parts.PROGRAM))


def shows_filled_panel(browser, proxy_port):
    return browser.run(
        """return document.readyState === 'complete' && !document.querySelector('.sessions')
            && document.querySelector('[name=sp]')?.value === arguments[0]
            && document.querySelector('[name=f0]').value === 't1.txt'
            && document.querySelector('.notice').textContent.includes('nothing has been run')""",
        str(proxy_port))


def other_sites_run_nothing(browser, url, _, root):
    (root / "cgi-bin/test_case/t1.txt").write_text("secret\n")
    with TrapServer() as trap, Threaded(Page) as pages:
        # Another site; and another port of this host, which is the same site.
        for here in [HOSTILE, "127.0.0.1"]:
            for console in [url, under(NETWORK, url)]:
                target = f"{console}?{session(trap.port)}"
                attack(browser, f"http://{here}:{pages.port}/", target, trap, root)


def attack(browser, page, target, trap, root):
    def nothing_ran(how):
        at_rest(browser, root)
        assert trap.connections == 0, f"{how} from {page} ran {target}"

    def visit():
        browser.open(page)
        parts.wait_for("the page", lambda: browser.run("return document.title === 'elsewhere'"))

    visit()
    for how, script in ATTEMPTS.items():
        browser.run(f"const attempt = (url) => {{ {script} }}; return attempt(arguments[0]).then(() => null)", target)
        nothing_ran(how)
    for how, script in JOURNEYS.items():
        visit()
        first = browser.windows()
        browser.run(f"const url = arguments[0]; {script}", target)
        if how == "window":
            parts.wait_for("the window", lambda: len(browser.windows()) > len(first))
            browser.switch(next(window for window in browser.windows() if window not in first))
        parts.wait_for(f"the panel after {how}", lambda: shows_filled_panel(browser, trap.port))
        nothing_ran(how)
        if how == "window":
            browser.close_window()
            browser.switch(first[0])


def a_rebound_name_gets_nothing(browser, url, _, root):
    with TrapServer() as trap:
        page = f"{under(REBOUND, url)}?{session(trap.port)}"
        browser.open(page)
        parts.wait_for("the refusal", lambda: "SOCKU_CONSOLE_HOSTS" in (browser.text("body") or ""))
        # For the browser this page and the console are one site now.
        status, text = browser.run(
            "return fetch(arguments[0]).then(async (it) => [it.status, await it.text()])", page)
        assert status == 403 and "<form" not in text and "t1.txt" not in text, (status, text)
        at_rest(browser, root)
        assert trap.connections == 0


def one_click_in_the_panel_runs(browser, url, proxy_port, root):
    for console in [url, under(NETWORK, url)]:
        shell = Scripted(b"** one **\n", [("exit", b"")])
        (root / "cgi-bin/test_case/t1.txt").write_text(shell.script())
        with Threaded(Page) as pages:
            browser.open(f"http://{HOSTILE}:{pages.port}/")
            parts.wait_for("the page", lambda: browser.run("return document.title === 'elsewhere'"))
            browser.run("location.href = arguments[0]", f"{console}?{session(proxy_port, shell.port)}")
            parts.wait_for("the panel", lambda: shows_filled_panel(browser, proxy_port))
        browser.click("#panel button")
        parts.wait_for("the session", lambda: browser.text("#e0") == "closed")
        assert browser.text("#s0") == shell.transcript()


CHECKS = [other_sites_run_nothing, a_rebound_name_gets_nothing, one_click_in_the_panel_runs]
