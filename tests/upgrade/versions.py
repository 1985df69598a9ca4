"""Two versions of the program, one of which is installed at a place."""

import os
import re
import shutil
import signal
import subprocess
import time

from lab import process
from lab.failure import expect
from lab.programs import ROOT, built

# Kept from run to run: to build it anew takes a minute.
OTHER = built("another-version")


def build_other():
    """The same source as another version, without optimization; the program."""
    tree = OTHER / "tree"
    tree.mkdir(parents=True, exist_ok=True)
    for name in ("src", "examples", "Cargo.toml", "Cargo.lock", "socks.conf"):
        source = ROOT / name
        shutil.rmtree(tree / name, ignore_errors=True)
        # With their times, so that only what has changed is built.
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, tree / name)
    manifest = tree / "Cargo.toml"
    text, count = re.subn(r'^version = "\d+', 'version = "99', manifest.read_text(), 1, re.M)
    expect(count == 1, "Cargo.toml has no version")
    manifest.write_text(text)
    subprocess.run(["cargo", "build", "--quiet", "--bin", "socku"], cwd=tree, check=True,
                   env={**os.environ, "CARGO_TARGET_DIR": str(OTHER), "CARGO_PROFILE_DEV_DEBUG": "0"})
    return OTHER / "debug/socku"


def name(program):
    """As in the log: socku and its version."""
    return process.run([program, "--version"]).stdout.decode().strip()


def install(source, place):
    """Replaces the program in one step."""
    shutil.copy(source, f"{place}.new")
    os.rename(f"{place}.new", place)


class Installed:
    """The program at a place, which can be replaced by one of another version."""

    def __init__(self, program, place):
        self.place = place
        self.name = name(program)
        install(program, place)

    def upgrade(self, proxy, program):
        """The proxy becomes this program; when that began, and when it listened."""
        install(program, self.place)
        old, self.name = self.name, name(program)
        before, began = len(proxy.lines), time.monotonic()
        os.kill(proxy.pid, signal.SIGUSR2)
        proxy.wait_line(r"listening on ", before)
        ended, lines = time.monotonic(), proxy.lines[before:]
        wanted = f"upgraded from {old} to {self.name}: "
        expect(any(wanted in line for line in lines), f"no {wanted!r} in {lines}")
        return began, ended
