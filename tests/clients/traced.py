"""What strace must see of the proxy: one thread, and no call while its sessions are idle."""

import os
import socket
import time

from lab.failure import Failure
from lab.process import Process
from lab.socks import BIND, CONNECT, GRANTED, expect_reply, request
from lab.wait import DEADLINE_S, wait_for

IDLE_S = 3
SESSIONS = 100


def dial(rig, data=b""):
    connection = socket.create_connection(("127.0.0.1", rig.proxy.port), DEADLINE_S)
    connection.sendall(data)
    return connection


def granted(rig, command, port):
    connection = dial(rig, request(command, port))
    expect_reply(connection, GRANTED)
    return connection


def one_thread(rig):
    """After all that the clients did, there is one thread."""
    threads = os.listdir(f"/proc/{rig.proxy.pid}/task")
    if len(threads) != 1:
        raise Failure(f"{len(threads)} threads")


def idle(rig):
    """Sessions in every state that can last make no call while nothing happens."""
    relaying = [granted(rig, CONNECT, rig.digest_port) for _ in range(SESSIONS)]
    awaiting = [granted(rig, BIND, 21) for _ in range(5)]
    reading = [dial(rig, b"\4\1"), dial(rig)]
    half_closed = granted(rig, CONNECT, rig.digest_port)
    # Half a request and its FIN's like are in once a later session has been answered.
    granted(rig, CONNECT, rig.digest_port).close()
    # That one is over: its end must not fall into the time that is watched.
    rig.proxy.sessions(1)
    trace = rig.directory / "idle.trace"
    with Process(["strace", "-f", "-o", trace, "-p", rig.proxy.pid], stop_signal="INT") as strace:
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
    for connection in [*relaying, *awaiting, *reading, half_closed]:
        connection.close()
    rig.proxy.sessions(SESSIONS + len(awaiting) + len(reading) + 1)


CHECKS = [("strace: no call while sessions idle", "strace", "strace", None, None, idle),
          ("one thread", "strace", "strace", None, None, one_thread)]
