"""The service of the systemd that runs on this machine, a container."""

from . import process
from .failure import expect
from .wait import wait_for

SERVICE, SOCKET = "socku.service", "socku.socket"


def systemctl(*arguments, succeeds=True):
    """Runs systemctl; what it says."""
    done = process.run(["systemctl", *arguments])
    said = (done.stdout + done.stderr).decode()
    expect((done.returncode == 0) == succeeds, f"systemctl {arguments}: {done.returncode}, {said}")
    return said


def show(field, unit=SERVICE):
    return systemctl("show", "-P", field, unit).strip()


def wait_show(field, wanted, unit=SERVICE):
    """Waits until a property has a value, or one that contains it."""
    wait_for(lambda: f"{field}={wanted}, not {show(field, unit)!r}",
             lambda: wanted in show(field, unit), pause_s=0.1)


def journal(*options):
    return process.run(["journalctl", "-o", "cat", "-u", SERVICE, *options]).stdout.decode()
