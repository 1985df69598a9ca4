"""What a page says of the container: its commands are run as they are, except that a stand-in for
docker notes what it was asked for, so that the test can do it with runc."""

import argparse
import json
import shlex
import time
from pathlib import Path

from lab import process
from lab.failure import expect
from lab.programs import ROOT

from command import commands
from page import blocks, read_by

READER = "tests/container/run"
# Writes its arguments as a line of JSON.
DOCKER = """#!/usr/bin/python3
import json, sys
open({notes!r}, "a").write(json.dumps(sys.argv[1:]) + "\\n")
"""
# release/build takes long where nothing is built yet.
BUILD_S_MAX = 1200


def _parser():
    """The part of docker's command line that pages use. Another flag is an error."""
    parser = argparse.ArgumentParser(prog="docker", exit_on_error=False)
    actions = parser.add_subparsers(dest="action", required=True)
    load = actions.add_parser("load", exit_on_error=False)
    load.add_argument("-i", dest="archive", required=True)
    run = actions.add_parser("run", exit_on_error=False)
    run.add_argument("-d", action="store_true")
    run.add_argument("--name")
    run.add_argument("-p", dest="ports")
    run.add_argument("-v", dest="volume")
    run.add_argument("--read-only", action="store_true")
    run.add_argument("--cap-drop")
    run.add_argument("--security-opt")
    run.add_argument("image")
    run.add_argument("arguments", nargs=argparse.REMAINDER)
    return parser


def _write_program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


class Recipe:
    """A page in a directory of its own, with what its reader has there. `archive` and `run` are
    what docker is to load and to run, `mount` is where the rules are and where they appear."""

    def __init__(self, page, directory, program=None):
        """With a program, release/build has nothing to do, and release/image takes that one."""
        self.page, self._directory = page, directory
        directory.mkdir()
        directory.chmod(0o755)
        (directory / "target").symlink_to(ROOT / "target")
        (directory / "socks.conf").symlink_to(ROOT / "socks.conf")
        self._notes = directory / "notes"
        _write_program(directory / "bin/docker", DOCKER.format(notes=str(self._notes)))
        for name, given in (("build", ":"), ("image", f'exec {ROOT}/release/image --program '
                                                      f'{shlex.quote(str(program))} "$@"')):
            real = f'exec {ROOT}/release/{name} "$@"'
            _write_program(directory / "release" / name,
                           f"#!/bin/sh\n{given if program else real}\n")

    def _bash(self, text):
        done = process.run(["bash", "-e", "-c", f'PATH="$PWD/bin:$PATH"\n{text}'],
                           cwd=self._directory, deadline_s=BUILD_S_MAX)
        expect(done.returncode == 0, f"{self.page}: `{text}`: {done.stderr.decode()}")

    def _make_rules_of_the_lan(self):
        """The rules that the recipe before this one has made."""
        typed = [command for block in blocks(self.page, (ROOT / self.page).read_text())
                 if block.kind == "run" for command in commands(block)]
        for command in typed:
            if command.text.endswith(">lan.conf"):
                self._bash(command.text)

    def follow(self):
        """Does what the page says."""
        started = time.time()
        self._make_rules_of_the_lan()
        for block in read_by(READER, self.page):
            if block.language == "conf":
                file = self._directory / block.lines[0].removeprefix("# ")
                file.parent.mkdir()
                file.write_text(block.text())
            else:
                self._bash(block.text())
        load, run = [_parser().parse_args(json.loads(line))
                     for line in self._notes.read_text().splitlines()]
        expect((load.action, run.action) == ("load", "run"), f"{self.page}: {load}, {run}")
        self.archive, self.run = self._directory / load.archive, run
        expect(self.archive.exists() and self.archive.stat().st_mtime >= int(started),
               f"{self.page}: release/image has not written {load.archive}")
        outside, inside, mode = run.volume.split(":")
        expect(mode == "ro", f"{self.page}: rules are mounted as {mode}")
        self.mount = Path(outside), inside

    def rules(self):
        return self.mount[0] / "socks.conf"
