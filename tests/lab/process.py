"""Programs: in the background until they are stopped, or run to their end by a deadline."""

import atexit
import contextlib
import os
import re
import signal
import subprocess
import sys
import threading

from .failure import Failure, TooLate
from .wait import DEADLINE_S, wait_for

SHOWN_LINES = 50
# Those in the background that have not been stopped.
_RUNNING = []


class Process:
    """A program in the background; what it writes to standard error is kept, line by line.

    It is stopped by its process id: by `stop`, at the end of a `with` block, and at the latest when
    this program ends.
    """

    def __init__(self, arguments, environment=None, keeps="stderr", stop_signal="TERM", **options):
        """`keeps` is the output to keep, "stderr" or "stdout"; the other one is dropped unless
        `options`, which are those of Popen, say otherwise."""
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL,
                   "stderr": subprocess.DEVNULL, keeps: subprocess.PIPE, **options}
        self.lines = []
        self._stop_signal = getattr(signal, f"SIG{stop_signal}")
        self.name = os.path.basename(arguments[0])
        self._child = subprocess.Popen(
            [str(argument) for argument in arguments], env={**os.environ, **(environment or {})},
            text=True, errors="replace", **streams)
        _RUNNING.append(self)
        self.pid = self._child.pid
        self._reader = threading.Thread(
            target=self._read, args=(getattr(self._child, keeps),), daemon=True)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.stop()
        # To be interrupted is no failure.
        if kind and issubclass(kind, Exception):
            self.show()

    def _read(self, output):
        with output:
            for line in output:
                self.lines.append(line.rstrip("\n"))

    def wait_line(self, pattern, skip=0):
        """The match of the first line, after `skip` lines, that has the pattern."""
        def find():
            # First: what it wrote before it ended is there when its end is seen.
            has_ended = self._child.poll() is not None
            if has_ended:
                self._reader.join(DEADLINE_S)
            found = next(filter(None, (re.search(pattern, line) for line in self.lines[skip:])), None)
            if has_ended and not found:
                self.check()
            return found
        return wait_for(lambda: f"{pattern!r} in\n" + "\n".join(self.lines), find)

    def show(self):
        """Prints its last lines: whatever went wrong, they may tell why."""
        shown = [f"--- {self.name}, its last lines:", *self.lines[-SHOWN_LINES:]]
        print("\n".join(shown), file=sys.stderr, flush=True)

    def check(self):
        """Raises if it has ended."""
        if self._child.poll() is not None:
            self._reader.join(DEADLINE_S)
            raise Failure(f"{self.name} ended, exit code {self._child.returncode}: "
                          + "\n".join(self.lines[-5:]))

    def stop(self):
        """Ends it, by force if it takes too long; its exit code."""
        if self._child.poll() is None:
            self._child.send_signal(self._stop_signal)
        try:
            self._child.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        # Not before: an exception may have come while it was awaited.
        if self in _RUNNING:
            _RUNNING.remove(self)
        return self._child.returncode


def run(arguments, send=None, deadline_s=DEADLINE_S, environment=None, **options):
    """Runs a program to its end, in a process group of its own, of which nothing is left
    afterwards: the `CompletedProcess`. `TooLate` is raised after the deadline."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    with subprocess.Popen(
            [str(argument) for argument in arguments], start_new_session=True,
            stdin=subprocess.DEVNULL if send is None else subprocess.PIPE,
            env={**os.environ, **(environment or {})}, **streams) as child:
        try:
            output, errors = child.communicate(send, deadline_s)
        except subprocess.TimeoutExpired as error:
            raise TooLate(f"{arguments[0]} has not ended after {deadline_s} s") from error
        finally:
            # It may have started others, and left them.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(arguments, child.returncode, output, errors)


def show_running():
    """Prints the last lines of all that run in the background."""
    for process in _RUNNING:
        process.show()


def exit_on_sigterm():
    """Lets SIGTERM and SIGHUP end this program as an exception does: `with` blocks are left and
    what runs in the background is stopped."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))


@atexit.register
def _stop_all():
    for process in [*_RUNNING]:
        process.stop()
