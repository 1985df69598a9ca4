"""What a machine has on its disk."""

import os
from pathlib import Path

# Not of the disk, or of the test.
ELSEWHERE = {"proc", "sys", "dev", "run", "tmp", "test", "packages"}
# dpkg's and systemd's own records, and copies that are made whenever a user is added.
RECORDS = ("var/lib/dpkg/", "var/log/", "var/cache/ldconfig/", "var/lib/systemd/", "etc/.pwd.lock",
           "etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-")


def listed(root):
    """Every file and directory below a root, as paths from there, without what a purge may leave."""
    root, names = Path(root), set()
    for directory, inner, files in os.walk(root):
        here = Path(directory).relative_to(root)
        if here == Path("."):
            inner[:] = [name for name in inner if name not in ELSEWHERE]
        names |= {str(here / name) for name in [*inner, *files]}
    return {name for name in names if not name.startswith(RECORDS)}
