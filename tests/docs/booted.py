"""Pages in a container in which systemd has booted: the blocks that are run there, from the source
that the test has put there."""

import shutil
from pathlib import Path

from lab import process
from lab.failure import expect

import page as pages

SOURCE = Path("/source")
# Root needs none, and the container has none.
SUDO = 'sudo() { "$@"; }\n'
# An upgrade by dpkg among them.
RUN_S_MAX = 60


def blocks(page, folder):
    """The blocks of a page for the container of this folder of tests/."""
    found = pages.blocks(page, (SOURCE / page).read_text())
    return [block for block in found if block.container() == folder]


def do(block):
    """Runs the commands of a block, or checks the drop-in that it is."""
    if block.kind == "unit":
        _check_drop_in(block)
        return
    done = process.run(["bash", "-e", "-o", "pipefail", "-c", SUDO + block.text()], cwd=SOURCE,
                       deadline_s=RUN_S_MAX)
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
