"""Clients that open short sessions one after another, and their target."""

import itertools
import socket
import socketserver
import threading
import time

from lab import socks
from lab.failure import Failure, expect
from lab.wait import DEADLINE_S, wait_for

CLIENTS = 8
# So many more requests show that the service goes on.
MORE = 200
# Between two requests of a client: each uses up a local port for a minute.
PAUSE_S = 0.02


class Echo(socketserver.BaseRequestHandler):
    """Sends back what it gets."""

    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data)


def dial(source, at, target, command=socks.CONNECT, code=socks.GRANTED):
    """A session of a client at `source`, through the proxy `at`, by SOCKS4; `reply` has the address
    of the reply."""
    connection = Connection(socket.AF_INET)
    try:
        connection.settimeout(DEADLINE_S)
        connection.bind((source, 0))
        connection.connect(at)
        connection.sendall(socks.request(command, target[1], target[0]))
        reply = connection.recv(socks.REPLY_BYTES, socket.MSG_WAITALL)
        expect(reply[:2] == bytes([0, code]), f"reply {reply} to {source}, expected {code}")
        connection.reply = (socket.inet_ntoa(reply[4:]), int.from_bytes(reply[2:4], "big"))
        return connection
    except BaseException:
        connection.close()
        raise


class Connection(socket.socket):
    """A socket with the address of the reply."""

    reply = None


def expect_echo(connection, data):
    """Sends bytes, which must come back."""
    connection.sendall(data)
    socks.expect_bytes(connection, data)


class Load:
    """Clients, a new one for each request, since a balancer remembers where one was served; what
    fails is kept, and nothing is tried again."""

    def __init__(self, at, target):
        self._number = itertools.count()
        self.failures, self.done = [], 0
        self._at, self._target = at, target
        self._lock, self._over = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(CLIENTS)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join(DEADLINE_S)

    def _run(self):
        while not self._over.wait(PAUSE_S):
            high, low = divmod(next(self._number), 250)
            source = f"10.1.{100 + high % 100}.{1 + low}"
            try:
                with dial(source, self._at, self._target) as connection:
                    expect_echo(connection, source.encode() * 20)
                    connection.shutdown(socket.SHUT_WR)
                    expect(connection.recv(1) == b"", "bytes after the end")
            except (OSError, Failure) as error:
                with self._lock:
                    self.failures.append(f"{time.strftime('%X')} {source}: {error}")
            else:
                with self._lock:
                    self.done += 1

    def wait_more(self):
        """Waits until many more requests are done."""
        goal = self.done + MORE
        wait_for(f"{MORE} more requests", lambda: self.done >= goal or self.failures)
        self.check()

    def check(self):
        """Raises if a request has failed."""
        if self.failures:
            raise Failure(f"{len(self.failures)} of {self.done} requests failed: "
                          + "; ".join(self.failures[:5]))
