"""SOCKS4, 4A and 5 in bytes, for clients that a script plays itself."""

import socket
import struct

from .failure import expect

CONNECT, BIND = 1, 2
GRANTED, REFUSED = 90, 91
REPLY_BYTES = 8
# SOCKS5: methods, the code of a reply that grants, and the length of one with an IPv4 address.
NO_METHOD_NEEDED, PASSWORD_METHOD = 0, 2
GRANTED_5 = 0
REPLY_5_BYTES = 10


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


def greeting(*methods):
    """The greeting of SOCKS5 that offers these methods."""
    return bytes([5, len(methods), *methods])


def login(user, password):
    """User and password (RFC 1929)."""
    return bytes([1, len(user)]) + user.encode() + bytes([len(password)]) + password.encode()


def request_5(command, port, host="127.0.0.1"):
    """A request of SOCKS5 for an IPv4 address."""
    return bytes([5, command, 0, 1]) + socket.inet_aton(host) + port.to_bytes(2, "big")


def expect_bytes(connection, data):
    """Reads as many bytes, which must be these."""
    got = connection.recv(len(data), socket.MSG_WAITALL)
    expect(got == data, f"{got} came, expected {data}")


def expect_reply_5(connection, code):
    """Reads a reply of SOCKS5 with an IPv4 address and compares its code; the port that it tells."""
    reply = connection.recv(REPLY_5_BYTES, socket.MSG_WAITALL)
    is_right = len(reply) == REPLY_5_BYTES and reply[:4] == bytes([5, code, 0, 1])
    expect(is_right, f"reply {reply}, expected {code}")
    return int.from_bytes(reply[8:], "big")
