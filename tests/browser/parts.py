"""The programs around the console: proxy, web servers, and a browser spoken to by WebDriver.

Everything listens on 127.0.0.1 and ends with the `with` block that started it.
"""

import base64
import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"
# The console in a document root.
PROGRAM = "cgi-bin/socku-console"
DEADLINE = 60


def wait_for(what, condition, deadline=DEADLINE):
    """Calls `condition` until it gives something true."""
    until = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError(f"waited in vain for {what}")
        time.sleep(0.05)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


@contextlib.contextmanager
def running(command, port, **options):
    """Runs a program that comes to listen on `port`."""
    process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, **options)
    try:
        wait_for(f"{command[0]} on port {port}", lambda: process.poll() is not None or answers(port))
        if process.poll() is not None:
            raise AssertionError(f"{command[0]} ended: {process.returncode}")
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def directory():
    path = pathlib.Path(tempfile.mkdtemp(prefix="socku-browser-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def proxy(rules="permit c 127.*.*.*\n", port=None):
    """socku; gives its port. It is never asked for a name, so its name server is a closed port."""
    with directory() as path:
        (path / "socks.conf").write_text(rules)
        port = port or free_port()
        command = [PROGRAMS / "socku", "-l", f"127.0.0.1:{port}", "-c", path / "socks.conf"]
        command += ["--nameserver", "127.0.0.1:1"]
        with running(command, port, env={**os.environ, "RUST_LOG": "warn"}):
            yield port


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
    shutil.copy(PROGRAMS / "socku-console", cgi)
    for name, text in scripts.items():
        (cgi / "test_case" / name).write_text(text)


@contextlib.contextmanager
def lighttpd(root, port=None):
    port = port or free_port()
    with directory() as path:
        (path / "lighttpd.conf").write_text(
            f'server.bind = "127.0.0.1"\nserver.port = {port}\n'
            f'server.document-root = "{root}"\n'
            'server.modules = ("mod_cgi")\n'
            'cgi.assign = ("/socku-console" => "")\n'
            "server.stream-response-body = 2\n"
        )
        with running([find("lighttpd"), "-D", "-f", path / "lighttpd.conf"], port):
            yield f"http://127.0.0.1:{port}/cgi-bin/socku-console"


@contextlib.contextmanager
def busybox(root, port=None):
    port = port or free_port()
    with running([find("busybox"), "httpd", "-f", "-p", f"127.0.0.1:{port}", "-h", root], port):
        yield f"http://127.0.0.1:{port}/cgi-bin/socku-console"


def find(name):
    """Some programs are outside of the PATH that ordinary users have."""
    return shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin") or name


class Browser:
    """A WebDriver session: as much of it as is needed here."""

    def __init__(self, port, profile):
        self.base = f"http://127.0.0.1:{port}"
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]
        arguments += ["--no-first-run", "--disable-background-networking", "--disable-sync"]
        arguments += ["--disable-component-update", "--hide-scrollbars", "--window-size=1400,820"]
        # Every name and address is this machine; nothing else is ever dialled.
        arguments += ["--host-resolver-rules=MAP * 127.0.0.1"]
        options = {"args": [*arguments, f"--user-data-dir={profile}"], "binary": find("chromium")}
        # Pages load as long as their sessions run, so nothing waits for that.
        wanted = {"browserName": "chrome", "pageLoadStrategy": "none", "goog:chromeOptions": options}
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
    port = free_port()
    with directory() as profile, running([find("chromedriver"), f"--port={port}"], port,
                                         stdout=subprocess.DEVNULL):
        browser = Browser(port, profile)
        try:
            yield browser
        finally:
            browser.call("DELETE", "")
