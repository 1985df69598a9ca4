"""SOCKS4 and 4A in bytes, for clients that a script plays itself."""

import socket
import struct

from .failure import expect

CONNECT, BIND = 1, 2
GRANTED, REFUSED = 90, 91
REPLY_BYTES = 8


def request(command, port, host="127.0.0.1", user=b"", name=None):
    """A request; with a name it is one of 4A, with 0.0.0.1 or its like as host."""
    head = struct.pack(">BBH4s", 4, command, port, socket.inet_aton(host))
    return head + user + b"\0" + (name + b"\0" if name else b"")


def expect_reply(connection, code):
    """Reads a reply and compares its code; the port that it tells."""
    reply = connection.recv(REPLY_BYTES, socket.MSG_WAITALL)
    is_right = len(reply) == REPLY_BYTES and reply[:2] == bytes([0, code])
    expect(is_right, f"reply {reply}, expected {code}")
    return int.from_bytes(reply[2:4], "big")
