"""The targets of static programs: what each of the tools calls them."""

import os
import platform
from typing import NamedTuple


class Target(NamedTuple):
    """A target by the name that Rust has for it."""

    name: str
    # What zig calls it, and the options that keep its C library to the same processors.
    zig: tuple
    # The emulator's processor, as in qemu-mips-static.
    qemu: str

    def runner(self):
        """The command that a program of this target is run under: none if this machine can."""
        is_own = self.name.partition("-")[0] == platform.machine()
        return [] if is_own else [f"qemu-{self.qemu}-static"]

    def variable(self, name):
        """The variable of cargo that holds a setting of this target."""
        return f"CARGO_TARGET_{self.name.upper().replace('-', '_')}_{name}"


_ALL = (
    Target("x86_64-unknown-linux-musl", ("x86_64-linux-musl",), "x86_64"),
    Target("i686-unknown-linux-musl", ("x86-linux-musl",), "i386"),
    Target("aarch64-unknown-linux-musl", ("aarch64-linux-musl",), "aarch64"),
    Target("armv7-unknown-linux-musleabihf", ("arm-linux-musleabihf", "-mcpu=generic+v7a"), "arm"),
    Target("armv5te-unknown-linux-musleabi", ("arm-linux-musleabi", "-mcpu=arm926ej_s"), "arm"),
    Target("mips-unknown-linux-musl", ("mips-linux-musleabi",), "mips"),
    Target("mipsel-unknown-linux-musl", ("mipsel-linux-musleabi",), "mipsel"),
    Target("riscv64gc-unknown-linux-musl", ("riscv64-linux-musl",), "riscv64"),
    Target("s390x-unknown-linux-musl", ("s390x-linux-musl",), "s390x"),
)
TARGETS = {target.name: target for target in _ALL}
# The one that the tables look at more closely, and that runs without an emulator on most machines.
MAIN = TARGETS["x86_64-unknown-linux-musl"]


def add_arguments(parser):
    """Lets a command line name targets."""
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--all", action="store_true", help="every target")


def chosen(parser, options):
    """The targets that a command line names."""
    names = list(TARGETS) if options.all else options.targets
    unknown = [name for name in names if name not in TARGETS]
    if unknown:
        parser.error(f"found {unknown[0]}, expected a target: {', '.join(TARGETS)}")
    if not names:
        parser.error("expected a target or --all")
    return [TARGETS[name] for name in dict.fromkeys(names)]
