"""The messages of SOCKS5 in words, as RFC 1928 and RFC 1929 have them.

Any bytes may be given: those that are no message are left over. A reply and the answer to a greeting
begin alike, as do a request and a greeting; the longer ones are tried first.
"""

import socket

VERSION, PASSWORD_VERSION = 5, 1
COMMANDS = {1: "CONNECT", 2: "BIND"}
METHODS = {0: "none", 2: "password", 255: "not acceptable"}
# By ATYP, the family and the octets of an address. A name has its length before it.
FAMILIES = {1: (socket.AF_INET, 4, "{}"), 4: (socket.AF_INET6, 16, "[{}]")}
NAME = 3
HEAD_OCTETS = 4


def from_client(data, port):
    """Texts for the messages that a client sends, one after the other, and the bytes after them.
    `port` gives the text for a port."""
    return each(data, port, (request, greeting, password))


def from_proxy(data, port):
    """Likewise what a proxy sends."""
    return each(data, port, (reply, method, password_answer))


def each(data, port, readers):
    """Texts for the messages of these kinds, as long as there are any, and what is left. A reader
    gives the octets of a message and its text, or nothing."""
    texts = []
    while found := next(filter(None, (reader(data, port) for reader in readers)), None):
        length, text = found
        texts.append(f"<{text}>")
        data = data[length:]
    return texts, data


def greeting(data, _):
    if data[:1] == bytes([VERSION]) and len(data) > 2 and len(data) >= 2 + data[1]:
        offered = ", ".join(METHODS.get(octet, str(octet)) for octet in data[2:2 + data[1]])
        return 2 + data[1], f"greeting: {offered}"
    return None


def password(data, _):
    if data[:1] == bytes([PASSWORD_VERSION]) and len(data) > 2 and len(data) > 2 + data[1]:
        end = 2 + data[1]
        user = data[2:end].decode(errors="replace")
        return end + 1 + data[end], f"user {user}, password"
    return None


def request(data, port):
    end, target = address(data, port)
    if end and data[1] in COMMANDS:
        return end, f"request: {COMMANDS[data[1]]} {target}"
    return None


def method(data, _):
    if len(data) > 1 and data[0] == VERSION:
        return 2, f"method: {METHODS.get(data[1], data[1])}"
    return None


def password_answer(data, _):
    if len(data) > 1 and data[0] == PASSWORD_VERSION:
        return 2, "password refused" if data[1] else "password accepted"
    return None


def reply(data, port):
    end, bound = address(data, port)
    return (end, f"reply {data[1]} {bound}") if end else None


def address(data, port):
    """Where the address of a request or reply ends, and its text; 0 if there is none."""
    if len(data) <= HEAD_OCTETS or data[0] != VERSION or data[2] != 0:
        return 0, ""
    family, length, form = FAMILIES.get(data[3], (None, data[HEAD_OCTETS], "{}"))
    start = HEAD_OCTETS if family else HEAD_OCTETS + 1
    end = start + length + 2
    if len(data) < end or not family and data[3] != NAME:
        return 0, ""
    octets, number = data[start:end - 2], int.from_bytes(data[end - 2:end], "big")
    host = socket.inet_ntop(family, octets) if family else octets.decode(errors="replace")
    return end, f"{form.format(host)}:{port(str(number))}"
