"""A small Debian in a directory: made once a day, unpacked for each test."""

import contextlib
import os
import time
from pathlib import Path

from . import process
from .failure import expect
from .programs import built

PROGRAMS = {"mmdebstrap": "mmdebstrap", "unshare": "util-linux"}
# What the tests need in there.
PACKAGES = "systemd,python3,busybox"
ARCHIVE = built().parent / "chroot.tar"
ARCHIVE_AGE_MAX_S = 24 * 60 * 60
MAKE_S_MAX = 300
# Runs a program with a directory as its root and without a network. Whatever that starts, mounts
# and writes below /run is gone when `unshare` is.
ENTER = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c",
         'mount -t proc proc "$0/proc" && mount -t tmpfs tmpfs "$0/run" && exec chroot "$0" "$@"']


def _suite():
    lines = Path("/etc/os-release").read_text().splitlines()
    return next(line.split("=")[1] for line in lines if line.startswith("VERSION_CODENAME="))


def _sources():
    """Where this machine has its packages from."""
    places = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    return [place for place in places if place.is_file() and place.suffix in (".list", ".sources")]


def _run(*command):
    done = process.run(command, deadline_s=MAKE_S_MAX)
    expect(done.returncode == 0, f"{command[0]}: {done.stderr.decode()}")


def _archive():
    """The archive of a fresh Debian, which is made if there is none, or an old one."""
    if ARCHIVE.exists() and time.time() - ARCHIVE.stat().st_mtime < ARCHIVE_AGE_MAX_S:
        return ARCHIVE
    ARCHIVE.parent.mkdir(parents=True, exist_ok=True)
    # Another test may make it at the same time.
    own = ARCHIVE.with_name(f"chroot-{os.getpid()}.tar")
    _run("mmdebstrap", "--quiet", "--variant=minbase", "--dpkgopt=force-unsafe-io",
         f"--include={PACKAGES}", _suite(), own, *_sources())
    return own.rename(ARCHIVE)


@contextlib.contextmanager
def made(root):
    """A Debian in a directory that does not exist yet, in memory, as long as the block runs."""
    archive = _archive()
    root.mkdir(parents=True)
    _run("mount", "-t", "tmpfs", "tmpfs", root)
    try:
        _run("tar", "-C", root, "-xf", archive)
        yield
    finally:
        _run("umount", root)


def run(root, *command, **options):
    """Runs a program in there: the `CompletedProcess`."""
    return process.run([*ENTER, root, *command], **options)
