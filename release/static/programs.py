"""Static programs, as cargo builds them."""

import os
import resource
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from lab.programs import ROOT

from . import toolchain

# What a gateway needs; all else is left out of the small program.
SMALL_FEATURES = ("server",)


class Profile(NamedTuple):
    """A way to build."""

    # What Cargo.toml calls it.
    cargo: str
    # What of cargo's features is built; all that are on by default if there are none.
    features: tuple
    # Features of the standard library.
    library: tuple
    flags: tuple
    # Whether it always has the same addresses in memory.
    is_fixed: bool


PROFILES = {
    "fast": Profile("release", (), (), (), False),
    "small": Profile(
        "small", SMALL_FEATURES, ("optimize_for_size",),
        # A panic ends the program without its text, and no text is kept for one. Addresses are
        # fixed, which saves the table of those to adjust. Equal runs of instructions are written
        # once, on processors where LLVM can.
        ("-Cpanic=immediate-abort", "-Zlocation-detail=none",
         "-Cllvm-args=-enable-machine-outliner=always"), True),
}


class Built(NamedTuple):
    """A program, and the seconds of CPU that it took to build."""

    file: Path
    cpu_s: float

    @property
    def bytes(self):
        return self.file.stat().st_size


def file(target, name, place=toolchain.PLACE):
    """Where the program of a target and a profile is, once it is built."""
    return place / target.name / name / "socku"


def _cpu_s():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def build(target, name, features=None, place=toolchain.PLACE):
    """Builds socku for a target by the profile of this name. `features` replaces those of the
    profile."""
    profile = PROFILES[name]
    features = profile.features if features is None else features
    chosen = ["--no-default-features", "--features", ",".join(features)] if features else []
    before = _cpu_s()
    subprocess.run(
        [toolchain.CARGO, "build", "--quiet", "--locked", "--bin", "socku", "--target", target.name,
         "--profile", profile.cargo, "--target-dir", place / "cargo", *chosen,
         "-Zbuild-std=std,panic_abort", f"-Zbuild-std-features={','.join(profile.library)}"],
        cwd=ROOT, check=True, env=toolchain.environment(target, profile.flags, profile.is_fixed))
    built = place / "cargo" / target.name / profile.cargo / "socku"
    program = file(target, name, place)
    program.parent.mkdir(parents=True, exist_ok=True)
    # In one step: another process may be running the one that was there.
    shutil.copy2(built, f"{program}.new")
    os.rename(f"{program}.new", program)
    return Built(program, _cpu_s() - before)
