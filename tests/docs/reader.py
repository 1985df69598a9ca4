"""The reader of a page: types its commands into a shell, and compares what they print."""

import contextlib
import os
import sys
import tempfile
from difflib import get_close_matches
from pathlib import Path

from lab import servers
from lab.failure import Failure, expect
from lab.wait import wait_for

from claims import run_by_ci
from command import bare, commands, is_background
from page import blocks
from shell import SERVER_DEADLINE_S, Shell
from shown import difference, missing

WEB = (("192.0.2.80", 80), ("2001:db8::80", 80))
# The exit code of a program that leaves ^C to the system.
INTERRUPTED = 130


def is_for_reader(block):
    """Whether there is something to do with a block."""
    is_rules = block.language == "conf" and not block.kind
    return is_rules or block.kind in ("run", "serves", "output", "file")


class Reader:
    """Goes through the blocks of a page in one shell."""

    def __init__(self, directory):
        self._directory = directory
        self._shell = Shell(directory)
        # Numbers of the access lines that no session to come is expected in.
        self._taken = set()

    def read(self, block):
        """Does with a block what its comment says."""
        if block.kind == "run" and not block.argument:
            self._taken = set(range(len(self._access_lines())))
            self._type(commands(block))
        elif block.kind == "serves":
            self._serve(commands(block), block.argument.split(", "))
        elif block.kind == "output":
            self._compare(block)
        elif block.kind == "session":
            self._expect_session(block.argument.split())
        elif block.kind == "file":
            path = Path(os.path.expanduser(block.argument))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text())
        elif block.language == "conf" and not block.kind:
            self._check_rules(block)

    def _type(self, typed):
        for command in typed:
            if not run_by_ci(command):
                self._run(command)

    def _run(self, command):
        code, printed = self._shell.run(command.text)
        if command.shown is None:
            expect(code == 0, f"line {command.line}: `{command.text}` has exit code {code}: "
                   + "\n".join(printed[-5:]))
        else:
            words = difference(command.shown, printed)
            expect(not words, f"line {command.line}: `{command.text}`: the page {words}")
            expected = _exit_code(command.shown)
            expect(code in expected, f"line {command.line}: `{command.text}` has exit code {code}")
        if is_background(command.text):
            self._shell.wait_listening()

    def _serve(self, typed, addresses):
        """The last commands are servers, each of which listens at its address until ^C."""
        typed = [command for command in typed if not run_by_ci(command)]
        self._type(typed[:-len(addresses)])
        for server, address in zip(typed[-len(addresses):], addresses):
            self._shell.run(f"{bare(server.text)} &")
            self._shell.wait_listening(int(address.rpartition(":")[2]))
            code = self._shell.end()
            expect(code in (0, INTERRUPTED),
                   f"line {server.line}: `{server.text}` has exit code {code} at its end")

    def _compare(self, block):
        """Its lines are printed by the commands before it, sooner or later."""
        def absent():
            line = missing(block.lines, self._shell.printed())
            similar = get_close_matches(line or "", self._shell.printed(), 1, 0)
            return f"`{line}`; printed is `{''.join(similar)}`" if line else None
        wait_for(absent, lambda: not absent(), SERVER_DEADLINE_S)

    def _access_lines(self):
        return [line for line in self._shell.printed() if " access] " in line]

    def _expect_session(self, fields):
        """An access line has these fields, sooner or later: which of several sessions ends first is
        chance."""
        def others():
            return [(number, line) for number, line in enumerate(self._access_lines())
                    if number not in self._taken]

        def find():
            return next(({number} for number, line in others() if is_granted(line.split(), fields)),
                        None)
        self._taken |= wait_for(
            lambda: "\n".join(["the session; there are only:", *(line for _, line in others())]),
            find, SERVER_DEADLINE_S)

    def _check_rules(self, block):
        rules = self._directory / "rules.conf"
        rules.write_text(block.text())
        code, printed = self._shell.run(f"socku -t -c {rules}")
        expect(code == 0, "\n".join(printed))


def is_granted(words, fields):
    """Whether an access line is about a session that was granted, with these fields."""
    return bool({"reply=0", "reply=90"} & set(words)) and set(fields) <= set(words)


def _exit_code(shown):
    """The exit codes of a command that prints this."""
    last = shown[-1] if shown else ""
    if last.startswith("deny: "):
        return (3,)
    if last.startswith("socku: "):
        return (1, 2)
    if last.startswith("curl: ("):
        return (int(last.partition("(")[2].partition(")")[0]),)
    return (0,)


def main(page, text, programs):
    """Reads a page in the machine that this program is in; the exit code."""
    os.environ["PATH"] = f"{programs}:{os.environ['PATH']}"
    os.environ["CARGO_NET_OFFLINE"] = "true"
    os.environ.pop("RUST_LOG", None)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "index.html").write_text("hello\n")
        (directory / "shell").mkdir()
        with contextlib.ExitStack() as running:
            for address in WEB:
                running.enter_context(servers.files(directory, *address))
            reader = Reader(directory / "shell")
            for block in blocks(page, text):
                try:
                    reader.read(block)
                except Failure as error:
                    print(f"{block}: {error}", file=sys.stderr)
                    return 1
    return 0
