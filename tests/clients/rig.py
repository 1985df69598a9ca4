"""What a client's test works with: the proxy, servers to reach through it, and what is expected."""

import hashlib
import os
import socketserver
from pathlib import Path

from lab import process
from lab.failure import Failure
from lab.proxy import LISTEN_IPV6, PASSWORD, USER, Proxy, users_file
from lab.servers import Threaded, files
from lab.wait import DEADLINE_S

PAGE_BYTES = 1 << 20
# The fields of the access line of a granted session by SOCKS5.
SOCKS5 = {"proto": "5", "reply": "0"}
# User and password, as most clients want them written.
LOGIN = f"{USER}:{PASSWORD}"
RULES = """\
permit c 127.*.*.* port {login_port} auth
deny c 127.*.*.* port {login_port}
permit cb 127.*.*.* from 127.*.*.*
permit cb 127.*.*.* from ::1
permit cb ::1 from 127.*.*.*
permit cb ::1 from ::1
"""


class Digest(socketserver.BaseRequestHandler):
    """Reads to the FIN and answers with the hash of what came: both directions end by themselves."""

    def handle(self):
        digest = hashlib.sha256()
        while data := self.request.recv(1 << 16):
            digest.update(data)
        self.request.sendall(digest.hexdigest().encode())


def bracketed(host):
    """A host as it is written before a colon and a port."""
    return f"[{host}]" if ":" in host else host


class Rig:
    """Proxy and servers, and what a client's test says of them."""

    def __init__(self, program, directory, flags=()):
        self.directory = Path(directory)
        self.page = os.urandom(PAGE_BYTES // 2).hex().encode()
        www = self.directory / "www"
        www.mkdir()
        (www / "page.txt").write_bytes(self.page)
        # As long, and nothing of it is seen.
        (www / "page.html").write_bytes(b"<!doctype html><p>page<!-- " + self.page + b" -->")
        self.web_port, self.web6_port = files(www).port, files(www, "::1").port
        self.digest_port, self.digest6_port = Threaded(Digest).port, Threaded(Digest, "::1").port
        # For a client that looks a name up itself: the machine says which family is first.
        self.both_port = files(www, "::").port
        # Its rule wants a user who has proved who he is.
        self.login_port = files(www).port
        self.proxy = Proxy(
            program, directory, rules=RULES.format(login_port=self.login_port),
            flags=("--users", users_file(directory), *LISTEN_IPV6, *flags))
        self.proxy6_address = self.proxy.ipv6_address()
        self.proxy6_port = int(self.proxy6_address.rpartition(":")[2])

    def targets(self, port=None, ipv6_port=None):
        """A server of 127.0.0.1 and one of ::1 (those of the page unless told otherwise), by
        address and by name: a host, its port, and the address that it leads to."""
        port, ipv6_port = port or self.web_port, ipv6_port or self.web6_port
        for host, there, address in (("127.0.0.1", port, "127.0.0.1"), ("::1", ipv6_port, "[::1]"),
                                     ("localhost", port, "127.0.0.1"),
                                     ("localhost", ipv6_port, "[::1]")):
            yield host, there, f"{address}:{there}"

    def url(self, host="127.0.0.1", port=None, page="page.txt"):
        """The page's address."""
        return f"http://{bracketed(host)}:{port or self.web_port}/{page}"

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

    def expect_socks5(self, user="", **fields):
        """The same by SOCKS5."""
        self.expect_session(user=user, **{**SOCKS5, **fields})

    def expect_own_lookup(self, user):
        """By SOCKS5 to the server of both families, by an address that the client found."""
        session = self.proxy.sessions(1)[0]
        if session["target"] not in [f"127.0.0.1:{self.both_port}", f"[::1]:{self.both_port}"]:
            raise Failure(f"another target: {session}")
        self.compare(session, user=user, address=session["target"], **SOCKS5)

    @staticmethod
    def compare(session, **fields):
        """An access line has these fields."""
        for name, value in {"command": "connect", "reply": "90", "reason": "done", **fields}.items():
            if session.get(name) != str(value):
                raise Failure(f"{name}={session.get(name)}, expected {value}: {session}")
