"""A network namespace of this program's own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

# Set in the program that runs inside, to the namespace it came from.
INSIDE = "SOCKU_LAB_INSIDE"
# The map of user ids where every id is itself.
ALL_USERS = ["0", "0", "4294967295"]


def _own():
    return os.readlink("/proc/self/ns/net")


def has_all_users():
    """Whether this is root of the whole machine, who can become every user; not one of a user
    namespace, as `isolate` makes for others."""
    return os.geteuid() == 0 and Path("/proc/self/uid_map").read_text().split() == ALL_USERS


def isolate():
    """Starts this program again in a network namespace of its own, where a mistake reaches nothing
    and nobody else has a connection. True when that is done; False where it cannot be."""
    if INSIDE in os.environ:
        if os.environ[INSIDE] == _own():
            raise RuntimeError(f"{INSIDE} is set, but this is no namespace of its own")
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return True
    unshare = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-rn"]
    if not shutil.which("ip") or subprocess.run([*unshare, "true"], check=False).returncode:
        return False
    os.environ[INSIDE] = _own()
    # Nothing may stay in a buffer that the new program does not have.
    sys.stdout.flush()
    os.execvp(unshare[0], [*unshare, sys.executable, *sys.argv])
