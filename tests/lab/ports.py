"""Ports of loopback, and what the kernel's table says of them.

A program is best told port 0 and asked for the port that it got. For one that cannot do that,
`reserved` holds a port: to find a free one, let go of it and name it leaves others time to take it.
"""

import contextlib
import os
import socket
from pathlib import Path

from .process import Process
from .wait import wait_for

LISTEN = "0A"


@contextlib.contextmanager
def reserved(port=0, host="127.0.0.1"):
    """A port (this one, or any that is free) for as long as the block runs. The kernel gives it to
    nobody by itself, and a program that names it and sets SO_REUSEADDR, as servers do, can listen
    on it. Until one does, it is a closed port."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((host, port))
        yield holder.getsockname()[1]


def inodes(pid):
    """The inodes of a process's sockets."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        # One that was closed meanwhile is no socket of the process.
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(entry).removeprefix("socket:[").removesuffix("]"))
    return found


def table(pid="self"):
    """The rows of the TCP tables in a process's network namespace, each as its fields; `proc(5)`
    describes them."""
    # A kernel without IPv6 has only one of them.
    tables = [file for file in Path(f"/proc/{pid}/net").glob("tcp*") if file.name in ("tcp", "tcp6")]
    return [row.split() for file in tables for row in file.read_text().splitlines()[1:]]


def listening(pid):
    """The ports on which a process listens."""
    own = inodes(pid)
    return {int(row[1].rpartition(":")[2], 16)
            for row in table(pid) if row[3] == LISTEN and row[9] in own}


@contextlib.contextmanager
def server(command, port):
    """Runs a program that comes to listen on this port; the block begins when it does. To connect
    instead, to see whether it answers, would be a session to it."""
    with Process(command) as process:
        def is_listening():
            process.check()
            try:
                return port in listening(process.pid)
            except OSError:
                # It has just ended: the next check says so.
                return False
        wait_for(lambda: f"{process.name} to listen on port {port}", is_listening)
        yield process
