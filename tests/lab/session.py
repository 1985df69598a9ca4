"""Sessions through a proxy that runs already, to a server that echoes."""

import socket
import threading

from . import socks
from .failure import Failure, expect
from .wait import DEADLINE_S

# Where socku listens unless told otherwise.
ADDRESS = ("127.0.0.1", 1080)


def echo_server():
    """Echoes whatever comes, until the end; its address."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)

    def echo(stream):
        with stream:
            while data := stream.recv(65536):
                stream.sendall(data)

    def serve():
        while True:
            stream, _ = listener.accept()
            threading.Thread(target=echo, args=(stream,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()


def ask(target, at=ADDRESS):
    """A connection to the proxy that has asked for a target by SOCKS4, and the reply's code."""
    stream = socket.create_connection(at, DEADLINE_S)
    stream.sendall(socks.request(socks.CONNECT, target[1], target[0]))
    reply = receive(stream, socks.REPLY_BYTES)
    return stream, reply[1]


def receive(stream, count):
    """So many bytes of a connection."""
    data = b""
    while len(data) < count:
        piece = stream.recv(count - len(data))
        if not piece:
            raise Failure(f"the end after {len(data)} of {count} bytes")
        data += piece
    return data


def relayed(stream, data=b"hello"):
    """Sends bytes to the echo server, and expects them back."""
    stream.sendall(data)
    expect(receive(stream, len(data)) == data, "the echo is another one")


def try_session(target, at=ADDRESS):
    """A whole session to the echo server."""
    stream, code = ask(target, at)
    with stream:
        expect(code == socks.GRANTED, f"the reply is {code}")
        relayed(stream)
