"""A program on a terminal of its own, as somebody at the keyboard uses it."""

import os
import pty
import select
import signal
import time

from lab.failure import Failure
from lab.wait import DEADLINE_S

READ_BYTES = 1 << 16
SHOWN_BYTES = 200


class Terminal:
    """Runs a program on a terminal; ended by its process id."""

    def __init__(self, *arguments, cwd, **environment):
        self.output, self._name = bytearray(), arguments[0]
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            try:
                os.chdir(cwd)
                os.execvpe(arguments[0], arguments, {**os.environ, "TERM": "dumb", **environment})
            finally:
                # Otherwise a second copy of this program would go on.
                os._exit(127)

    def type(self, text):
        """Types this."""
        os.write(self._terminal, text.encode())

    def expect(self, text, deadline_s=DEADLINE_S):
        """Reads until this is shown; everything up to there that was not taken before."""
        until, start = time.monotonic() + deadline_s, 0
        while True:
            place = self.output.find(text.encode(), start)
            if place >= 0:
                taken = bytes(self.output[:place + len(text)])
                del self.output[:place + len(text)]
                return taken
            start = max(0, len(self.output) - len(text))
            if not self._read(until - time.monotonic()):
                shown = bytes(self.output[-SHOWN_BYTES:])
                raise Failure(f"{text!r} is not shown: {len(self.output)} bytes, at the end {shown}")

    def expect_octets(self, count, deadline_s=DEADLINE_S):
        """Reads until so many are shown; these."""
        until = time.monotonic() + deadline_s
        while len(self.output) < count:
            if not self._read(until - time.monotonic()):
                raise Failure(f"{len(self.output)} octets are shown, expected {count}")
        taken = bytes(self.output[:count])
        del self.output[:count]
        return taken

    def _read(self, wait_s):
        """Takes what is shown; whether there was anything in time."""
        if wait_s <= 0 or not select.select([self._terminal], [], [], wait_s)[0]:
            return False
        try:
            shown = os.read(self._terminal, READ_BYTES)
        except OSError:
            # How Linux says that the program has closed its terminal.
            return False
        self.output += shown
        return bool(shown)

    def close(self):
        """Ends it with all that it started."""
        os.close(self._terminal)
        try:
            os.killpg(self._pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.waitpid(self._pid, 0)
