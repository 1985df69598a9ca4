"""Sessions through the proxy that a script opens one by one, so that it knows what a page must show."""

import os
import socket
import socketserver
import threading

from lab import socks
from lab.servers import Threaded


class Echo(socketserver.BaseRequestHandler):
    """A target that sends back what comes."""

    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data)


def target(host="127.0.0.1"):
    """An echo server on any free port."""
    return Threaded(Echo, host)


class Session:
    """A client of the proxy with one request, from an address of loopback. It counts what it sent."""

    def __init__(self, proxy_port, source="127.0.0.1"):
        self.socket = socket.create_connection(("127.0.0.1", proxy_port), 30, (source, 0))
        self.address = "%s:%d" % self.socket.getsockname()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def ask(self, command, port, host="127.0.0.1", user=b"", name=None, code=socks.GRANTED):
        """Sends the request and takes its reply; the port that the reply tells."""
        self.socket.sendall(socks.request(command, port, host, user, name))
        return socks.expect_reply(self.socket, code)

    def echo(self, count):
        """Sends so many bytes to an echo server and takes them back."""
        while count:
            piece = bytes(min(count, 16384))
            self.socket.sendall(piece)
            got = self.socket.recv(len(piece), socket.MSG_WAITALL)
            assert len(got) == len(piece), f"{len(got)} bytes of {len(piece)}"
            count -= len(piece)


class Busy:
    """Some sessions of several sources with traffic of their own, for pictures."""

    def __init__(self, proxy_port, users):
        self.targets = [target(f"127.0.{at}.1") for at in range(1, 5)]
        self.ended = threading.Event()
        self.threads = [
            threading.Thread(target=self.run, args=(proxy_port, at, user), daemon=True)
            for at, user in enumerate(users)
        ]
        for thread in self.threads:
            thread.start()

    def run(self, proxy_port, number, user):
        place = self.targets[number % len(self.targets)]
        self.ended.wait(number)
        with Session(proxy_port, f"127.0.0.{2 + number % 7}") as session:
            host, port = place.server_address
            session.ask(socks.CONNECT, port, host, user)
            while not self.ended.wait(0.05 + number % 5 / 4):
                session.echo(int.from_bytes(os.urandom(2)) * (1 + number % 3))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join()
