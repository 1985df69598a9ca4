"""What a client's test works with: the proxy, servers to reach through it, and what is expected."""

import hashlib
import os
import socketserver
from pathlib import Path

from lab import process
from lab.failure import Failure
from lab.proxy import Proxy
from lab.servers import Threaded, files
from lab.wait import DEADLINE_S

PAGE_BYTES = 1 << 20


class Digest(socketserver.BaseRequestHandler):
    """Reads to the FIN and answers with the hash of what came: both directions end by themselves."""

    def handle(self):
        digest = hashlib.sha256()
        while data := self.request.recv(1 << 16):
            digest.update(data)
        self.request.sendall(digest.hexdigest().encode())


class Rig:
    """Proxy and servers, and what a client's test says of them."""

    def __init__(self, program, directory, flags=()):
        self.directory = Path(directory)
        self.page = os.urandom(PAGE_BYTES // 2).hex().encode()
        www = self.directory / "www"
        www.mkdir()
        (www / "page.txt").write_bytes(self.page)
        self.web_port = files(www).port
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
        done = process.run(arguments, send, deadline_s, environment, cwd=self.directory)
        if done.returncode != 0:
            raise Failure(f"{arguments[0]}: exit code {done.returncode}: "
                          + (done.stderr + done.stdout).decode(errors="replace").strip()[-300:])
        return done.stdout

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
