"""Remote shells for the console: scripted ones for the tests, and one to play with."""

import codecs
import socket
import socketserver
import threading
import time

from lab.servers import Threaded

PROMPT = b"% "


class Server(Threaded):
    """A shell per connection, on a free port of 127.0.0.1."""

    def __init__(self, port=0):
        super().__init__(Handler, port=port)

    def talk(self, lines, send):
        raise NotImplementedError


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.request.makefile("rb") as lines:
            self.server.talk(lines, self.request.sendall)


class Scripted(Server):
    """Greets, and answers each line of its list with what stands beside it.

    An answer is bytes, or a list of bytes, of events to wait for and of pauses in seconds. Anything that comes too
    early, too late or otherwise than in the list is a failure.
    """

    def __init__(self, greeting, exchanges):
        self.greeting = greeting
        self.exchanges = exchanges
        self.failure = None
        self.left = threading.Event()
        super().__init__()

    def talk(self, lines, send):
        try:
            self.say(send, self.greeting)
            for line, answer in self.exchanges:
                send(PROMPT)
                heard = lines.readline()
                if heard != line.encode() + b"\n":
                    self.failure = f"heard {heard!r}, expected {line!r}"
                    return
                self.say(send, answer)
        finally:
            self.left.set()

    @staticmethod
    def say(send, answer):
        for part in answer if isinstance(answer, list) else [answer]:
            if isinstance(part, threading.Event):
                part.wait(120)
            elif isinstance(part, float):
                time.sleep(part)
            else:
                send(part)

    def transcript(self):
        """What the column must show."""
        sent = self.parts(self.greeting)
        for line, answer in self.exchanges:
            sent += PROMPT + line.encode() + b"\n" + self.parts(answer)
        return sent.decode("utf-8", "replace").replace("\r", "").replace("\0", "\ufffd")

    @staticmethod
    def parts(answer):
        parts = answer if isinstance(answer, list) else [answer]
        return b"".join(part for part in parts if isinstance(part, bytes))

    def script(self):
        return "".join(line + "\n" for line, _ in self.exchanges)


class Playground(Server):
    """Knows a few harmless commands: it runs nothing on this machine."""

    @classmethod
    def near(cls, port):
        """One on this port, or on any other if that is taken."""
        try:
            return cls(port)
        except OSError:
            return cls()

    def talk(self, lines, send):
        send(b"** echo, seq, sleep, rot13, exit **\n" + PROMPT)
        for line in lines:
            command, _, rest = line.decode("utf-8", "replace").strip().partition(" ")
            if command == "exit":
                return
            for answer in self.answers(command, rest):
                send(answer.encode())
            send(PROMPT)

    @staticmethod
    def answers(command, rest):
        if command == "echo":
            yield rest + "\n"
        elif command == "rot13":
            yield codecs.encode(rest, "rot13") + "\n"
        elif command == "seq" and rest.isdigit():
            for number in range(min(int(rest), 1000)):
                time.sleep(0.02)
                yield f"{number + 1}\n"
        elif command == "sleep" and rest.isdigit():
            time.sleep(min(int(rest), 60))
        elif command:
            yield f"Unknown command: [{command}].\n"
