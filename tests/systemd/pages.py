"""The pages of the documents whose commands need systemd, in the container."""

import shutil
import sys
from pathlib import Path

from lab import process
from lab.failure import expect

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "docs"))

import page as pages  # noqa: E402

SOURCE = Path("/source")
# In this order: the later ones find the service that the earlier ones install.
WITH_SYSTEMD = ("README.md", "docs/service.md", "docs/logging.md", "docs/scaling.md")
# Root needs none, and the container has none.
SUDO = 'sudo() { "$@"; }\n'


def blocks(page):
    """Its blocks that need systemd."""
    found = pages.blocks(page, (SOURCE / page).read_text())
    return [block for block in found if block.needs_systemd()]


def makes_user(page):
    return any("useradd" in block.text() for block in blocks(page))


def do(block):
    """Runs the commands of a block, or checks the drop-in that it is."""
    if block.kind == "unit":
        _check_drop_in(block)
        return
    done = process.run(["bash", "-e", "-o", "pipefail", "-c", SUDO + block.text()], cwd=SOURCE)
    expect(done.returncode == 0, f"{block}: exit code {done.returncode}: "
           + (done.stdout + done.stderr).decode())


def _check_drop_in(block):
    directory = Path(f"/run/systemd/system/{block.argument}.d")
    directory.mkdir(parents=True)
    try:
        (directory / "page.conf").write_text(block.text())
        done = process.run(["systemd-analyze", "verify", block.argument])
        said = (done.stdout + done.stderr).decode()
        expect(done.returncode == 0 and not said, f"{block}: {said}")
    finally:
        shutil.rmtree(directory)
