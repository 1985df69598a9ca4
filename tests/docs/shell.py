"""A shell that runs the commands of a page, as its reader would in one terminal."""

import contextlib
import os
import select
import subprocess
from pathlib import Path

from lab import ports
from lab.failure import Failure, TooLate, expect
from lab.wait import wait_for

# Nothing of a page takes longer; building is done before.
DEADLINE_S = 100
SERVER_DEADLINE_S = 20


class Shell:
    """bash in the background. Each command writes to a file of its own."""

    def __init__(self, directory):
        self._directory, self._count = Path(directory), 0
        reader, writer = os.pipe()
        self._status = reader
        self._bash = subprocess.Popen(
            ["bash", "--norc", "--noprofile"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, pass_fds=[writer], text=True)
        os.close(writer)
        self._answer = writer
        # As in a terminal. Otherwise a command in the background would ignore ^C.
        self._ask(f"set -m; echo >&{writer} ready")

    def _ask(self, line):
        """Lets bash run a line; what it answers."""
        self._bash.stdin.write(f"{line}\n")
        self._bash.stdin.flush()
        if not select.select([self._status], [], [], DEADLINE_S)[0]:
            raise TooLate(f"has not ended after {DEADLINE_S} s: {' '.join(self.printed()[-3:])}")
        answer = os.read(self._status, 100).decode().strip()
        if not answer:
            raise Failure("ended the shell")
        return answer

    def run(self, command):
        """Runs a command; its exit code, and the lines that it has printed until now."""
        self._count += 1
        script, output = self._file("script"), self._file("output")
        script.write_text(f"{command}\n")
        code = self._ask(f". {script} >{output} 2>&1 </dev/null {self._answer}>&-; "
                         f"echo $? >&{self._answer}")
        return int(code), output.read_text(errors="replace").splitlines()

    def _file(self, kind, number=None):
        return self._directory / f"{kind}-{number or self._count}"

    def printed(self):
        """What all commands have printed until now."""
        files = [self._file("output", number + 1) for number in range(self._count)]
        return [line for file in files for line in file.read_text(errors="replace").splitlines()]

    def background(self):
        """The process id of the last command in the background."""
        return int(self._ask(f"echo $! >&{self._answer}"))

    def wait_listening(self, port=None):
        """Waits until the last command in the background listens, on this port if one is given."""
        group = os.getpgid(self.background())

        def is_listening():
            found = _listening(group)
            expect(found is not None, f"has ended: {' '.join(self.printed()[-3:])}")
            return port in found if port else found
        wait_for("it to listen", is_listening, SERVER_DEADLINE_S)

    def end(self):
        """Ends the last command in the background as ^C does, with all that it started; its exit
        code."""
        group = os.getpgid(self.background())
        code = int(self._ask(f"kill -INT -{group}; wait $!; echo $? >&{self._answer}"))
        wait_for("its end", lambda: _listening(group) is None, SERVER_DEADLINE_S)
        return code


def _listening(group):
    """The ports on which the processes of a job listen; None if there are none."""
    found = None
    for entry in Path("/proc").glob("[0-9]*"):
        # One may end meanwhile.
        with contextlib.suppress(OSError):
            if os.getpgid(int(entry.name)) == group and (entry / "exe").exists():
                found = (found or set()) | ports.listening(entry.name)
    return found
