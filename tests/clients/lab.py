"""What the clients work with: the proxy, servers behind it, and commands with a deadline."""

import functools
import hashlib
import http.server
import os
import re
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from pathlib import Path

# Longer than anything that works takes, even on a busy machine.
DEADLINE_S = 30
RULES = "permit cb 127.*.*.* from 127.*.*.*\n"
# A closed port of loopback: nobody's name server is asked.
NO_NAMESERVER = "127.0.0.1:1"
PAGE_BYTES = 1 << 20


class Failure(Exception):
    """Something is not as it has to be; the text says what."""


def wait_for(what, condition, deadline_s=DEADLINE_S):
    """Calls `condition` until it gives something."""
    until = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise Failure(f"waited in vain for {what}")
        time.sleep(0.01)


class Process:
    """A program that runs beside; ended by its process id."""

    def __init__(self, arguments, environment=None, **options):
        self.lines = []
        self._child = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env={**os.environ, **(environment or {})}, text=True, errors="replace", **options)
        self.pid = self._child.pid
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self._child.stderr:
            self.lines.append(line.rstrip("\n"))

    def wait_line(self, pattern, skip=0):
        """The first line, but for `skip` of all lines, that matches."""
        def find():
            self.check()
            return next(filter(None, (re.search(pattern, line) for line in self.lines[skip:])), None)
        return wait_for(f"{pattern!r} in\n" + "\n".join(self.lines), find)

    def check(self):
        """Raises if it has ended."""
        if self._child.poll() is not None:
            raise Failure(f"{self._child.args[0]} ended: " + "\n".join(self.lines[-5:]))

    def stop(self, name="TERM"):
        """Ends it; its exit code."""
        if self._child.poll() is None:
            self._child.send_signal(getattr(signal, f"SIG{name}"))
        try:
            return self._child.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            return self._child.wait()


class Proxy(Process):
    """socku on a free port of 127.0.0.1. `before` is a command to run it under."""

    def __init__(self, program, directory, before=(), flags=(), rules=RULES,
                 nameserver=NO_NAMESERVER):
        rule_file = Path(directory) / "socks.conf"
        rule_file.write_text(rules)
        super().__init__([*before, program, "-l", "127.0.0.1:0", "-c", rule_file,
                          "--nameserver", nameserver, *flags], {"RUST_LOG": "info"})
        self.address = self.wait_line(r"listening on (\S+)").group(1)
        self.port = int(self.address.rsplit(":")[-1])
        self._told = 0

    def sessions(self, count):
        """The next `count` access lines, each as a dictionary of its fields."""
        def find():
            found = [line for line in self.lines if " access] " in line][self._told:]
            return found[:count] if len(found) >= count else None
        found = wait_for(f"{count} access lines", find)
        self._told += count
        return [dict(re.findall(r'(\S+?)="?([^" ]*)', line)) for line in found]

    def wait_idle(self):
        """Waits until it has no session."""
        def is_idle():
            before = len(self.lines)
            os.kill(self.pid, signal.SIGUSR1)
            return self.wait_line(r" dump\] sessions=(\d+) ", before).group(1) == "0"
        wait_for("its sessions to end", is_idle)

    def forget(self):
        """Lets the next access line be one that is not written yet."""
        self._told = sum(" access] " in line for line in self.lines)


class Page(http.server.SimpleHTTPRequestHandler):
    """Serves the files of a directory and says nothing."""

    def log_message(self, *_):
        pass


class Digest(socketserver.BaseRequestHandler):
    """Reads to the FIN and answers with the hash of what came: both directions end by themselves."""

    def handle(self):
        digest = hashlib.sha256()
        while data := self.request.recv(1 << 16):
            digest.update(data)
        self.request.sendall(digest.hexdigest().encode())


class Threaded(socketserver.ThreadingTCPServer):
    """On a free port of 127.0.0.1, a thread per connection."""
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, handler):
        super().__init__(("127.0.0.1", 0), handler)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        """A client that fails tells so itself."""


class Lab:
    """Proxy and servers, and what a client's test says of them."""

    def __init__(self, program, directory, flags=()):
        self.directory = Path(directory)
        self.page = os.urandom(PAGE_BYTES // 2).hex().encode()
        www = self.directory / "www"
        www.mkdir()
        (www / "page.txt").write_bytes(self.page)
        self.web_port = Threaded(functools.partial(Page, directory=www)).port
        self.digest_port = Threaded(Digest).port
        self.proxy = Proxy(program, directory, flags=flags)

    def url(self, host="127.0.0.1"):
        """The page's address."""
        return f"http://{host}:{self.web_port}/page.txt"

    def request(self):
        """A request for the page, for clients that speak no HTTP."""
        return b"GET /page.txt HTTP/1.0\r\n\r\n"

    def run(self, *arguments, send=b"", deadline_s=DEADLINE_S, **environment):
        """Runs a client; what it wrote to standard output."""
        child = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, **environment}, start_new_session=True, cwd=self.directory)
        try:
            output, errors = child.communicate(send, deadline_s)
        except subprocess.TimeoutExpired as error:
            # Its own group: a client may have started others.
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            raise Failure(f"{arguments[0]} has not ended after {deadline_s} s") from error
        if child.returncode != 0:
            raise Failure(f"{arguments[0]}: exit code {child.returncode}: "
                          + (errors + output).decode(errors="replace").strip()[-300:])
        return output

    def expect_page(self, output):
        """`output` ends with the page, whole."""
        if not output.endswith(self.page):
            raise Failure(f"got {len(output)} bytes that are not the page: {output[:80]}")

    def expect_digest(self, output, data):
        """`output` is the digest server's answer to `data`."""
        if output.strip() != hashlib.sha256(data).hexdigest().encode():
            raise Failure(f"sent {len(data)} bytes, another hash came back: {output[:80]}")

    def expect_session(self, **fields):
        """The next access line says so; what is not said: granted, and ended in order."""
        self.compare(self.proxy.sessions(1)[0], **fields)

    @staticmethod
    def compare(session, **fields):
        """An access line has these fields."""
        for name, value in {"command": "connect", "reply": "90", "reason": "done", **fields}.items():
            if session.get(name) != str(value):
                raise Failure(f"{name}={session.get(name)}, expected {value}: {session}")


def isolate():
    """Goes on in a network namespace of its own, where a mistake reaches nothing and
    nobody else has a connection."""
    if "SOCKU_CLIENTS_ISOLATED" in os.environ:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return True
    unshare = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-rn"]
    if not shutil.which("ip") or subprocess.run([*unshare, "true"], check=False).returncode:
        return False
    os.environ["SOCKU_CLIENTS_ISOLATED"] = "1"
    os.execvp(unshare[0], [*unshare, sys.executable, *sys.argv])


def free_port():
    """A port of 127.0.0.1 on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
