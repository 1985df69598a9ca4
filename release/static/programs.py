"""Static programs, as cargo builds them."""

import resource
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from lab.programs import ROOT

from . import elf, toolchain

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


PROFILES = {
    "fast": Profile("release", (), (), ()),
    "small": Profile(
        "small", SMALL_FEATURES, ("optimize_for_size",),
        # A panic ends the program without its text, and no text is kept for one.
        ("-Cpanic=immediate-abort", "-Zlocation-detail=none")),
}
# Equal runs of instructions are written once. LLVM accepts that for any processor and does it for
# some; for i386 it makes what it cannot assemble.
OUTLINED = "-Cllvm-args=-enable-machine-outliner=always"
NOT_OUTLINED = ("i686-unknown-linux-musl",)


class Built(NamedTuple):
    """A program, its size, and the seconds of CPU that it took to build."""

    file: Path
    bytes: int
    cpu_s: float


def file(target, name, root=ROOT):
    """Where the program of a target and a profile is, once it is built from the source in `root`."""
    return root / toolchain.PLACE / target.name / name / "socku"


def cpu_s():
    """Seconds of CPU of all programs that this one has run to their end."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def intermediate(root=ROOT):
    """Where cargo builds."""
    return root / toolchain.PLACE / "cargo"


def _cargo_build(target, profile, features, root, name="socku"):
    """Lets cargo build the program of this name; where it leaves it."""
    chosen = ["--no-default-features", "--features", ",".join(features)] if features else []
    is_outlined = profile is PROFILES["small"] and target.name not in NOT_OUTLINED
    flags = (*profile.flags, OUTLINED) if is_outlined else profile.flags
    done = subprocess.run(
        [toolchain.CARGO, "build", "--quiet", "--locked", "--bin", name, "--target", target.name,
         "--profile", profile.cargo, "--target-dir", intermediate(root), *chosen,
         "-Zbuild-std=std,panic_abort", f"-Zbuild-std-features={','.join(profile.library)}"],
        cwd=root, check=False, env=toolchain.environment(target, flags, root=root))
    if done.returncode:
        sys.exit(f"{target.name}: {name} cannot be built")
    return intermediate(root) / target.name / profile.cargo / name


def build(target, name, root=ROOT):
    """Builds socku for a target by the profile of this name, from the source in `root`."""
    before = cpu_s()
    profile = PROFILES[name]
    built = _cargo_build(target, profile, profile.features, root)
    program = file(target, name, root)
    program.parent.mkdir(parents=True, exist_ok=True)
    # In one step: another process may be running the one that was there.
    fresh = program.with_name("socku.new")
    fresh.write_bytes(elf.loaded(built.read_bytes()))
    fresh.chmod(0o755)
    fresh.rename(program)
    return Built(program, program.stat().st_size, cpu_s() - before)


def console(target):
    """The console for a target, built by the profile fast: its bytes, as it is not kept."""
    built = _cargo_build(target, PROFILES["fast"], (), ROOT, "socku-console")
    return elf.loaded(built.read_bytes())


def bytes_with(target, features):
    """The bytes of the small program with these features, which is not kept."""
    return len(elf.loaded(_cargo_build(target, PROFILES["small"], features, ROOT).read_bytes()))


def test(target, arguments):
    """Runs the library's tests for a target, as `cargo test` does with these arguments; whether they
    passed."""
    runner = {target.variable("RUNNER"): " ".join(target.runner())} if target.runner() else {}
    # Optimized a little: an emulator is slow enough. Overflow is checked as in any test.
    faster = {"CARGO_PROFILE_DEV_DEBUG": "0", "CARGO_PROFILE_DEV_OPT_LEVEL": "1"}
    environment = toolchain.environment(target, (), unwinds=True) | runner | faster
    done = subprocess.run(
        [toolchain.CARGO, "test", "--quiet", "--locked", "--lib", "--target", target.name,
         "--target-dir", intermediate(), "-Zbuild-std",
         "-Zbuild-std-features=panic-unwind", *arguments],
        cwd=ROOT, check=False, env=environment)
    return done.returncode == 0
