"""The proxy, and what its log says of its sessions."""

import os
import re
import signal
from pathlib import Path

from .process import Process
from .wait import wait_for

RULES = "permit cb 127.*.*.* from 127.*.*.*\n"
# A closed port of loopback: nobody's name server is asked.
NO_NAMESERVER = "127.0.0.1:1"
# Flags that make it listen on a free port of ::1 as well.
LISTEN_IPV6 = ("-l", "[::1]:0")
# The SOCKS5 user of `users_file`.
USER, PASSWORD = "alice", "secret"


def users_file(directory):
    """Writes a users file with one user, which only its owner may read; its path."""
    file = Path(directory) / "users"
    file.touch(mode=0o600)
    file.write_text(f"{USER}:{PASSWORD}\n")
    return file


class Proxy(Process):
    """socku on a free port of 127.0.0.1. `before` is a command to run it under."""

    def __init__(self, program, directory, before=(), flags=(), rules=RULES,
                 nameserver=NO_NAMESERVER):
        rule_file = Path(directory) / "socks.conf"
        rule_file.write_text(rules)
        super().__init__([*before, program, "-l", "127.0.0.1:0", "-c", rule_file,
                          "--nameserver", nameserver, *flags], {"RUST_LOG": "info"})
        self.address = self.wait_line(r"listening on ([^\s\"]+)").group(1)
        self.port = int(self.address.rpartition(":")[2])
        self._told = 0

    def ipv6_address(self):
        """Its address of ::1, for one with the flags `LISTEN_IPV6`."""
        return self.wait_line(r"listening on (\[::1\]:\d+)").group(1)

    def sessions(self, count):
        """The next `count` access lines, each as a dictionary of its fields."""
        def find():
            found = [line for line in self.lines if " access] " in line][self._told:]
            return found[:count] if len(found) >= count else None
        found = wait_for(f"{count} access lines", find)
        self._told += count
        return [dict(re.findall(r'(\S+?)="?([^" ]*)', line)) for line in found]

    def sessions_by_id(self, count):
        """The same in the order in which they began. They may end in any other."""
        return sorted(self.sessions(count), key=lambda fields: int(fields["id"]))

    def wait_idle(self):
        """Waits until it has no session."""
        def is_idle():
            before = len(self.lines)
            os.kill(self.pid, signal.SIGUSR1)
            return self.wait_line(r" dump\] sessions=(\d+) ", before).group(1) == "0"
        wait_for("its sessions to end", is_idle)

    def forget(self):
        """Lets the next access line be one that is not written yet."""
        self._told = sum(" access] " in line for line in self.lines)
