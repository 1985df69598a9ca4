"""A container in which systemd boots, and a script of tests/ that runs inside of it: a folder of
tests/ has that script as its file `inside`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from . import process
from .failure import TooLate
from .programs import ROOT

PROGRAMS = {"systemd-nspawn": "systemd-container", "unshare": "util-linux"}
BOOT_S_MAX = 170
# In the container.
MARK = Path("socku-test-container")
TEST = Path("test")
# What a reader of the documents has before him, if the script runs commands of theirs.
SOURCE = Path("source")
OUTPUT = TEST / "output"
BOOTED = TEST / "booted"
# Runs a program. Whatever that starts, mounts and writes below /run is gone when `unshare` is.
ALONE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c",
         'mount -t tmpfs tmpfs /run && exec "$@"', "sh"]


def can_try():
    """Whether this is root, who may mount and unshare."""
    return process.run([*ALONE, "true"]).returncode == 0


def refuse_outside():
    """Ends this program anywhere but in such a container."""
    manager = Path("/run/host/container-manager")
    is_container = manager.exists() and manager.read_text().strip() == "systemd-nspawn"
    if not (is_container and (Path("/") / MARK).exists()):
        sys.exit("only for the container that the test makes")


def _unit(script):
    return f"""[Unit]
Description={script}
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
TimeoutStartSec={BOOT_S_MAX}
ExecStartPre=/usr/bin/touch /{BOOTED}
ExecStart=/usr/bin/python3 -B /{script}
StandardOutput=append:/{OUTPUT}
StandardError=append:/{OUTPUT}
"""


def _prepare(root, folder):
    """Lets the script run when systemd has booted there."""
    (root / MARK).touch()
    for source in (ROOT / "tests/lab", ROOT / "tests/docs", folder):
        shutil.copytree(source, root / TEST / source.name)
    (root / "etc/systemd/system/socku-test.service").write_text(_unit(TEST / folder.name / "inside"))
    # Nothing else of a system is wanted.
    (root / "etc/systemd/system/default.target").write_text(
        "[Unit]\nRequires=basic.target\nAfter=basic.target\nWants=socku-test.service\n"
        "AllowIsolate=yes\n")


def _boot(root):
    """Boots the container, which ends by itself, and at the latest with this program; what
    systemd-nspawn has said."""
    command = [*ALONE, "systemd-nspawn", "--quiet", f"--directory={root}", f"--machine=socku-{os.getpid()}",
               "--boot", "--private-network", "--register=no", "--keep-unit", "--link-journal=no",
               "--resolv-conf=off", "--timezone=off", "--console=pipe"]
    try:
        done = process.run(command, deadline_s=BOOT_S_MAX, stderr=subprocess.STDOUT)
        return done.stdout.decode(errors="replace")
    except TooLate as error:
        return str(error)


def run_inside(root, folder, report):
    """Boots the Debian of a directory, lets it run the script of a folder, and takes the results
    over. Where no container boots, that is skipped."""
    name = f"{folder.name} in a container"
    _prepare(root, folder)
    said = _boot(root)
    if not (root / BOOTED).exists():
        report.skip(name, f"it does not boot: {said[-2000:]}")
        return
    lines = (root / OUTPUT).read_text().splitlines() if (root / OUTPUT).exists() else []
    print("\n".join(["in the container:", *lines]), flush=True)
    if not lines or not lines[-1].endswith(" 0 failed"):
        report.fail(name, f"see above; the console has said: {said[-2000:]}")
