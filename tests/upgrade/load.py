"""Many sessions at once, in one thread: what each end has sent and received, by its hash."""

import hashlib
import os
import random
import selectors
import socket
import threading
import time

from lab.failure import expect
from lab.wait import wait_for

PATTERN = os.urandom(1 << 20)
TICK_S = 0.05
SMALL_BYTES, BULK_BYTES = 1500, 256 << 10


class End:
    """One end of a session. It sends as much of the pattern as it is allowed to."""

    def __init__(self, connection, is_reading=True):
        connection.setblocking(False)
        self.socket, self.is_reading = connection, is_reading
        self.allowed = self.sent_bytes = self.received_bytes = 0
        self.sent, self.received = hashlib.blake2b(), hashlib.blake2b()
        self.is_finishing = self.has_finished = self.has_ended = False

    def send(self):
        while self.sent_bytes < self.allowed:
            start = self.sent_bytes % len(PATTERN)
            piece = PATTERN[start:start + min(self.allowed - self.sent_bytes, 64 << 10)]
            try:
                count = self.socket.send(piece)
            except BlockingIOError:
                return
            self.sent.update(piece[:count])
            self.sent_bytes += count
        if self.is_finishing and not self.has_finished:
            self.has_finished = True
            self.socket.shutdown(socket.SHUT_WR)

    def receive(self):
        """At most a piece."""
        try:
            piece = self.socket.recv(256 << 10)
        except BlockingIOError:
            return
        self.received.update(piece)
        self.received_bytes += len(piece)
        self.has_ended = not piece


class Session:
    """Both ends, and what they do: "small", "down", "up", "half-closed" or "stalled"."""

    def __init__(self, kind, client, target):
        self.kind, self.port = kind, client.getsockname()[1]
        self.client, self.target = End(client, is_reading=kind != "stalled"), End(target)
        if kind == "half-closed":
            self.client.allowed = SMALL_BYTES
            self.client.is_finishing = True
        if kind == "stalled":
            self.target.allowed = 16 << 20

    def allow_more(self):
        if self.kind == "small" and random.random() < 0.1:
            self.client.allowed += random.randint(1, SMALL_BYTES)
            self.target.allowed += random.randint(1, SMALL_BYTES)
        elif self.kind == "half-closed" and random.random() < 0.1:
            self.target.allowed += random.randint(1, SMALL_BYTES)
        elif self.kind in ("down", "up"):
            end = self.target if self.kind == "down" else self.client
            end.allowed = max(end.allowed, min(end.allowed, end.sent_bytes) + BULK_BYTES)

    def ends(self):
        return self.client, self.target

    def check(self):
        for one, other in (self.ends(), self.ends()[::-1]):
            expect(one.sent_bytes == other.received_bytes
                   and one.sent.digest() == other.received.digest(),
                   f"{self.kind}: {one.sent_bytes} bytes sent, {other.received_bytes} received")


class Load:
    """The thread that keeps all sessions busy."""

    def __init__(self):
        self.sessions, self._new = [], []
        self.failure = None
        self._is_finishing = False
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, kind, client, target):
        self._new.append(Session(kind, client, target))

    def _run(self):
        try:
            while not self._is_over():
                self._tick()
        except Exception as error:  # it is the whole test's failure
            self.failure = error

    def _is_over(self):
        return self._is_finishing and not self._new and all(
            end.has_ended for session in self.sessions for end in session.ends())

    def _tick(self):
        while self._new:
            session = self._new.pop()
            self.sessions.append(session)
            for end in session.ends():
                if end.is_reading:
                    self._selector.register(end.socket, selectors.EVENT_READ, end)
        for session in self.sessions:
            if self._is_finishing:
                self._finish(session)
            else:
                session.allow_more()
            for end in session.ends():
                end.send()
        until = time.monotonic() + TICK_S
        while (left := until - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                key.data.receive()
                if key.data.has_ended:
                    self._selector.unregister(key.data.socket)

    def _finish(self, session):
        for end in session.ends():
            end.is_finishing = True
            if not end.is_reading:
                end.is_reading = True
                self._selector.register(end.socket, selectors.EVENT_READ, end)

    def check(self):
        """Raises what has gone wrong so far."""
        if self.failure:
            raise self.failure

    def finish(self):
        """Ends all sessions in order, and compares what was sent and received."""
        self._is_finishing = True
        wait_for("all sessions to end", lambda: self.failure or not self._thread.is_alive(), 60)
        self.check()
        for session in self.sessions:
            session.check()
            for end in session.ends():
                end.socket.close()
