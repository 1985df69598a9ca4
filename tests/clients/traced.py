"""What strace must see of the proxy: one thread, and no call while its sessions are idle."""

import os
import socket
import struct
import time

from lab import DEADLINE_S, Failure, Process, wait_for

IDLE_S = 3
SESSIONS = 100


def dial(lab, request=b""):
    connection = socket.create_connection(("127.0.0.1", lab.proxy.port), DEADLINE_S)
    connection.sendall(request)
    return connection


def granted(connection):
    reply = connection.recv(8, socket.MSG_WAITALL)
    if reply[:2] != b"\0\x5a":
        raise Failure(f"reply {reply}")
    return connection


def ask(command, port):
    return struct.pack(">BBH4sx", 4, command, port, bytes([127, 0, 0, 1]))


def one_thread(lab):
    """After all that the clients did, there is one thread."""
    threads = os.listdir(f"/proc/{lab.proxy.pid}/task")
    if len(threads) != 1:
        raise Failure(f"{len(threads)} threads")


def idle(lab):
    """Sessions in every state that can last make no call while nothing happens."""
    relaying = [granted(dial(lab, ask(1, lab.digest_port))) for _ in range(SESSIONS)]
    awaiting = [granted(dial(lab, ask(2, 21))) for _ in range(5)]
    reading = [dial(lab, b"\4\1"), dial(lab)]
    half_closed = granted(dial(lab, ask(1, lab.digest_port)))
    # Half a request and its FIN's like are in once a later session has been answered.
    granted(dial(lab, ask(1, lab.digest_port))).close()
    # That one is over: its end must not fall into the time that is watched.
    lab.proxy.sessions(1)
    trace = lab.directory / "idle.trace"
    strace = Process(["strace", "-f", "-o", trace, "-p", str(lab.proxy.pid)])
    try:
        strace.wait_line("attached")
        time.sleep(IDLE_S)
        strace.check()
        # What it was in when strace came, and is still in, is not finished and not written.
        calls = [line for line in trace.read_text().splitlines() if " = " in line]
        if calls:
            raise Failure(f"{len(calls)} calls in {IDLE_S} idle seconds: {calls[:3]}")
        # Had strace not seen anything, there would be nothing either.
        half_closed.shutdown(socket.SHUT_WR)
        wait_for("a call in the trace", lambda: " = " in trace.read_text())
    finally:
        strace.stop("INT")
    for connection in [*relaying, *awaiting, *reading, half_closed]:
        connection.close()
    lab.proxy.sessions(SESSIONS + len(awaiting) + len(reading) + 1)


CHECKS = [("strace: no call while sessions idle", "strace", "strace", None, idle),
          ("one thread", "strace", "strace", None, one_thread)]
