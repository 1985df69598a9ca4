"""The programs around the console: proxy, web servers, and a browser spoken to by WebDriver.

Everything listens on 127.0.0.1 and ends with the `with` block that started it.
"""

import base64
import contextlib
import json
import pathlib
import shutil
import tempfile
import urllib.error
import urllib.request

from lab import ports, programs, wait
from lab.process import Process
from lab.proxy import Proxy

# The console in a document root.
PROGRAM = "cgi-bin/socku-console"
DEADLINE_S = 60
# Pages are asked often enough, and what comes to rest must rest for a few of these.
PAUSE_S = 0.05


def wait_for(what, condition, deadline_s=DEADLINE_S):
    """Calls `condition` until it gives something true."""
    return wait.wait_for(what, condition, deadline_s, PAUSE_S)


@contextlib.contextmanager
def directory():
    with tempfile.TemporaryDirectory(prefix="socku-browser-", ignore_cleanup_errors=True) as path:
        yield pathlib.Path(path)


@contextlib.contextmanager
def proxy():
    """socku; gives its port. It is never asked for a name."""
    with directory() as path:
        program = programs.built() / "socku"
        with Proxy(program, path, rules="permit c 127.*.*.*\n") as process:
            yield process.port


def processes(program):
    """The processes that run this very file."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*/exe"):
        with contextlib.suppress(OSError):
            found += [entry] if entry.readlink() == program else []
    return found


def site(path, scripts):
    """A document root with the console in cgi-bin and its scripts beside it."""
    cgi = path / "cgi-bin"
    (cgi / "test_case").mkdir(parents=True)
    shutil.copy(programs.built() / "socku-console", cgi)
    for name, text in scripts.items():
        (cgi / "test_case" / name).write_text(text)


def console(port):
    """The console's address."""
    return f"http://127.0.0.1:{port}/cgi-bin/socku-console"


@contextlib.contextmanager
def lighttpd(root, port=0):
    with directory() as path, ports.reserved(port) as port:
        (path / "lighttpd.conf").write_text(
            f'server.bind = "127.0.0.1"\nserver.port = {port}\n'
            f'server.document-root = "{root}"\n'
            'server.modules = ("mod_cgi")\n'
            'cgi.assign = ("/socku-console" => "")\n'
            "server.stream-response-body = 2\n"
        )
        with ports.server(["lighttpd", "-D", "-f", path / "lighttpd.conf"], port):
            yield console(port)


@contextlib.contextmanager
def busybox(root, port=0):
    with ports.reserved(port) as port:
        command = ["busybox", "httpd", "-f", "-p", f"127.0.0.1:{port}", "-h", root]
        with ports.server(command, port):
            yield console(port)


class Browser:
    """A WebDriver session: as much of it as is needed here."""

    def __init__(self, port, profile):
        self.base = f"http://127.0.0.1:{port}"
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]
        arguments += ["--no-first-run", "--disable-background-networking", "--disable-sync"]
        arguments += ["--disable-component-update", "--hide-scrollbars", "--window-size=1400,820"]
        # Every name and address is this machine; nothing else is ever dialled.
        arguments += ["--host-resolver-rules=MAP * 127.0.0.1"]
        options = {"args": [*arguments, f"--user-data-dir={profile}"], "binary": shutil.which("chromium")}
        # Pages load as long as their sessions run, so nothing waits for that.
        wanted = {"browserName": "chrome", "pageLoadStrategy": "none", "goog:chromeOptions": options,
                  "goog:loggingPrefs": {"browser": "ALL"}}
        session = self.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.base += f"/session/{session['sessionId']}"

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from None

    def open(self, url):
        self.call("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        return self.call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def element(self, selector):
        query = {"using": "css selector", "value": selector}
        return "/element/" + next(iter(self.call("POST", "/element", query).values()))

    def type(self, selector, text):
        self.call("POST", self.element(selector) + "/clear", {})
        self.call("POST", self.element(selector) + "/value", {"text": text})

    def click(self, selector):
        self.call("POST", self.element(selector) + "/click", {})

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0])?.textContent", selector)

    def windows(self):
        return self.call("GET", "/window/handles")

    def switch(self, window):
        self.call("POST", "/window", {"handle": window})

    def close_window(self):
        self.call("DELETE", "/window")

    def wheel(self, selector, distance):
        """Turns the mouse wheel over an element, downwards by so many pixels."""
        x, y = self.run("const box = document.querySelector(arguments[0]).getBoundingClientRect();"
                        "return [(box.left + box.right) / 2, (box.top + box.bottom) / 2]", selector)
        self.devtools("Input.dispatchMouseEvent",
                      {"type": "mouseWheel", "x": x, "y": y, "deltaX": 0, "deltaY": distance})

    def press_enter(self):
        """Presses the enter key where the focus is, and lets it go."""
        code = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
        self.devtools("Input.dispatchKeyEvent", {"type": "keyDown", **code})
        self.devtools("Input.dispatchKeyEvent", {"type": "keyUp", **code})

    def console(self):
        """What the console has got since the last call."""
        return self.call("POST", "/se/log", {"type": "browser"})

    def look(self, width, height, dark):
        """What kind of screen the page is on."""
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.devtools("Emulation.setDeviceMetricsOverride", screen)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", {"features": [scheme]})

    def devtools(self, command, parameters):
        self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def screenshot(self, file):
        file.write_bytes(base64.b64decode(self.call("GET", "/screenshot")))


@contextlib.contextmanager
def browser():
    with directory() as profile, Process(["chromedriver", "--port=0"], keeps="stdout") as driver:
        browser = Browser(driver.wait_line(r"started successfully on port (\d+)").group(1), profile)
        try:
            yield browser
        finally:
            browser.call("DELETE", "")
