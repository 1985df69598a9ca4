"""Clients that send urgent data, and get it: ^C at telnet, and at FTP while a file is fetched.

Telnet's Synch is IAC DM with an urgent octet, and whoever gets it throws away what came before. An
FTP client sends the same with its ABOR. A proxy that drops the urgent octet leaves a stray DM; one
that stops reading in front of it leaves a client that waits for ever.
"""

import contextlib
import socket
import threading

from clients import FtpServer, client
from lab.failure import Failure
from lab.process import Process
from lab.wait import wait_for
from terminal import Terminal

PROMPT = "ready> "
TELNET_PROMPT = "inetutils-telnet> "
FTP_PROMPT = "ftp> "
# Only ^C ends the counting.
COUNT_TO = 100_000_000
ROUNDS = 5
# A hole, which takes no room on the disk and longer to fetch than anybody waits.
LARGE_FILE_BYTES = 1 << 40
# So much of it is there when ^C is typed.
FETCHED_BYTES = 1 << 20
SMALL_FILE = b"0123456789abcdef" * 4096


def proxied(rig, *arguments):
    """The program on a terminal, its connections through the proxy and else untouched: libdsocks
    comes in between when ^C interrupts a client in the middle of a call."""
    configuration = rig.directory / "urgent.conf"
    configuration.write_text(f"strict_chain\n[ProxyList]\nsocks4 127.0.0.1 {rig.proxy.port}\n")
    return Terminal("proxychains4", "-q", "-f", str(configuration), *arguments, cwd=rig.directory)


@contextlib.contextmanager
def session(rig, *arguments):
    """A client at work. Whatever becomes of it, its sessions at the proxy are over afterwards."""
    terminal = proxied(rig, *arguments)
    try:
        yield terminal
    finally:
        terminal.close()
        rig.proxy.wait_idle()


class TelnetServer:
    """telnetd for one connection to a free port of 127.0.0.1, with a shell for the login."""

    def __init__(self, directory):
        self._shell = directory / "shell"
        self._shell.write_text(f"#!/bin/sh\nPS1='{PROMPT}' exec /bin/sh -i\n")
        self._shell.chmod(0o755)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = ("127.0.0.1", str(self._listener.getsockname()[1]))
        self._process = None
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        connection = self._listener.accept()[0]
        with connection:
            self._process = Process(["telnetd", "-h", "-E", self._shell], stop_signal="KILL",
                                    stdin=connection, stdout=connection)

    def stop(self):
        self._listener.close()
        if self._process:
            self._process.stop()


@contextlib.contextmanager
def telnet(rig):
    """A telnet client at the prompt of the far shell."""
    server = TelnetServer(rig.directory)
    try:
        with session(rig, "inetutils-telnet", *server.address) as terminal:
            terminal.expect(PROMPT)
            yield terminal
            terminal.type("exit\n")
            terminal.expect("Connection closed")
    finally:
        server.stop()
    rig.expect_session(target=":".join(server.address))


def counted_from(first, size):
    """What `seq` shows from this number on, so many octets of it."""
    lines, octets = [], 0
    while octets < size:
        lines.append(b"%d\r\n" % first)
        octets += len(lines[-1])
        first += 1
    return b"".join(lines)[:size]


def common_length(one, other):
    """How many octets of two texts are the same from their beginning on."""
    for place, (octet, expected) in enumerate(zip(one, other)):
        if octet != expected:
            return place
    return min(len(one), len(other))


def expect_one_gap(shown):
    """The counting has been shown from 1 on, whole but for one gap: that of the Synch."""
    rest = shown[common_length(shown, counted_from(1, len(shown))):]
    # The numbers after the gap; the first of them may be cut.
    _, _, whole = rest.partition(b"\n")
    number = whole.partition(b"\r")[0]
    is_number = not rest.strip(b"0123456789\r\n")
    if not is_number or number and whole != counted_from(int(number), len(whole)):
        raise Failure(f"this is not the rest of the counting: {rest[:40]} ... {rest[-40:]}")


def count(terminal, octets):
    """Starts the counting and waits until so much of it is shown; that."""
    terminal.type(f"seq {COUNT_TO}\n")
    terminal.expect(f"seq {COUNT_TO}\r\n")
    return terminal.expect_octets(octets)


def expect_interrupted(terminal, shown):
    """The counting has ended; the prompt is there, and the next command works."""
    shown += terminal.expect(f"\r\n{PROMPT}")
    # The echo of ^C may fall into the gap.
    expect_one_gap(shown.removesuffix(f"\r\n{PROMPT}".encode()).removesuffix(b"^C"))
    terminal.type("echo w''ell\n")
    if terminal.expect(PROMPT) != f"echo w''ell\r\nwell\r\n{PROMPT}".encode():
        raise Failure("the command after ^C does something else")


def interrupted_counting(rig, interrupt):
    """The counting is interrupted again and again. `interrupt` gives what is shown meanwhile."""
    with telnet(rig) as terminal:
        for number in range(1, ROUNDS + 1):
            shown = count(terminal, number * 100_000)
            expect_interrupted(terminal, shown + interrupt(terminal))


@client("telnet, urgent data: ^C in the middle of output", "inetutils-telnet", "inetutils-telnet")
def telnet_interrupt(rig):
    def interrupt(terminal):
        # telnetd throws away what is on the way and says so by a Synch.
        terminal.type("\x03")
        return b""
    interrupted_counting(rig, interrupt)


@client("telnet, urgent data: interrupt and Synch", "inetutils-telnet", "inetutils-telnet")
def telnet_synch(rig):
    def interrupt(terminal):
        terminal.type("\x1d")
        shown = terminal.expect(f"\r\n{TELNET_PROMPT}")[:-len(f"\r\n{TELNET_PROMPT}")]
        # The Synch makes telnetd look for the interrupt before anything else.
        terminal.type("send ip synch\n")
        terminal.expect("send ip synch\r\n")
        return shown
    interrupted_counting(rig, interrupt)


def ftp(terminal, command, answer):
    """Types a command at the client's prompt and waits for the server's answer."""
    terminal.expect(FTP_PROMPT)
    terminal.type(f"{command}\n")
    terminal.expect(answer)


def interrupted_fetch(rig, program, server):
    """^C while a file is fetched; then the next command works, and the next fetch."""
    part, small = rig.directory / f"part-{program}", rig.directory / f"small-{program}"
    with session(rig, program, "-n", "-p", *server.address) as terminal:
        ftp(terminal, "user bob secret", "230 ")
        ftp(terminal, "binary", "200 ")
        ftp(terminal, f"get large {part.name}", "\n1")
        wait_for("a part of the file",
                 lambda: part.exists() and part.stat().st_size > FETCHED_BYTES)
        terminal.type("\x03")
        ftp(terminal, "quote noop", "200 I successfully")
        ftp(terminal, f"get small {small.name}", "226 Transfer complete")
        ftp(terminal, "quit", "221 ")
    if small.read_bytes() != SMALL_FILE:
        raise Failure("the file that was fetched after ^C is another one")
    part.unlink()
    small.unlink()
    control, interrupted, whole = sorted(rig.proxy.sessions(3), key=lambda s: int(s["id"]))
    rig.compare(control, target=":".join(server.address))
    rig.compare(interrupted, up=0, reason=interrupted["reason"])
    rig.compare(whole, up=0, down=len(SMALL_FILE))


def interrupted_fetches(rig, program):
    """The same again and again: where the proxy reads in between is chance."""
    home = rig.directory / f"home-{program}"
    home.mkdir()
    with open(home / "large", "wb") as large:
        large.truncate(LARGE_FILE_BYTES)
    (home / "small").write_bytes(SMALL_FILE)
    with FtpServer(home) as server:
        for _ in range(ROUNDS):
            interrupted_fetch(rig, program, server)


@client("tnftp, urgent data: ^C while a file is fetched", "tnftp", "tnftp", "pyftpdlib")
def tnftp_interrupt(rig):
    interrupted_fetches(rig, "tnftp")


@client("inetutils-ftp, urgent data: ^C while a file is fetched", "inetutils-ftp", "inetutils-ftp",
        "pyftpdlib")
def inetutils_ftp_interrupt(rig):
    interrupted_fetches(rig, "inetutils-ftp")
