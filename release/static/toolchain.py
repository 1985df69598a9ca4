"""The tools that static programs are built with: their versions, whether they are there, and how
cargo is told to use them.

The standard library is built along with the program, by flags of rustc that are not stable. That is
why the versions are fixed, and stated here alone.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from lab import packages
from lab.programs import ROOT

RUST = "1.96.0"
ZIG = "0.17.1"

# Below the source.
PLACE = "target/static"
VENV = ROOT / PLACE / "venv"
# Debian's own, whatever else is on the path: only they come with the source of their library.
RUSTC, CARGO = Path("/usr/bin/rustc"), Path("/usr/bin/cargo")
LIBRARY = Path("/usr/lib/rustlib/src/rust/library")
PACKAGES = {str(RUSTC): "rustc-web", str(CARGO): "cargo-web"}
# The program that cargo calls as linker.
LINKER = """#!/bin/sh
# Written by release/static/toolchain.py.
exec {command} "$@"
"""


def _output(*command):
    """What a command prints; nothing if it cannot be run."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _zig():
    """The command that runs zig of the right version, or nothing."""
    for python in (VENV / "bin/python", sys.executable):
        if _output(python, "-m", "ziglang", "version") == ZIG:
            return [str(python), "-m", "ziglang"]
    return []


def _missing_packages(emulators):
    """Of Debian's packages those that are not there."""
    absent = packages.missing(PACKAGES)
    absent += [] if LIBRARY.is_dir() else ["rust-web-src"]
    runners = [command for command in emulators if not shutil.which(command)]
    return absent + (["qemu-user-static"] if runners else [])


def _rust_is_right():
    return _output(RUSTC, "--version").startswith(f"rustc {RUST} ")


def install(emulators=()):
    """Installs what is missing: packages of Debian, as root, and zig below target/."""
    failed = packages.install(_missing_packages(emulators))
    if failed:
        sys.exit(f"cannot be installed: {' '.join(failed)}")
    if not _zig():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        subprocess.run([VENV / "bin/pip", "install", "-q", f"ziglang=={ZIG}"], check=True)


def require(emulators=()):
    """Ends this program unless all tools are there, in the right versions."""
    absent = [f"{name} (Debian)" for name in _missing_packages(emulators)]
    if not absent and not _rust_is_right():
        found = _output(RUSTC, "--version") or "nothing"
        absent.append(f"rustc {RUST} (Debian: rustc-web), found {found}")
    absent += [] if _zig() else [f"ziglang=={ZIG} (pip)"]
    if absent:
        sys.exit(f"missing: {', '.join(absent)}; --install installs it")


def _linker(target, unwinds, root):
    """Writes the linker of a target; its path."""
    command = [*_zig(), "cc", "-target", *target.zig]
    if not unwinds:
        command = [sys.executable, str(Path(__file__).with_name("link.py")), str(root), *command, "--"]
    file = root / PLACE / "linkers" / f"{target.name}{'-unwinding' if unwinds else ''}"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(LINKER.format(command=shlex.join(command)))
    file.chmod(0o755)
    return file


def environment(target, flags, unwinds=False, root=ROOT):
    """The environment in which cargo builds for a target with these flags of rustc, whatever is set
    in that of this program. A program that unwinds catches panics, as tests do; `root` has the
    source."""
    own = {name: value for name, value in os.environ.items()
           if not name.startswith(("CARGO_", "RUST")) or name in ("CARGO_HOME", "CARGO_NET_OFFLINE")}
    zig_cache = str(root / PLACE / "zig")
    home = Path(own.get("CARGO_HOME", Path.home() / ".cargo"))
    # No path of this machine is in the program, so that two builds are equal wherever they are made.
    flags = ["-Zunstable-options", "-Clink-self-contained=no", "-Ctarget-feature=+crt-static",
             *([] if unwinds else ["-Cforce-unwind-tables=no"]), f"--remap-path-prefix={home}/registry/src=crates",
             f"--remap-path-prefix={root}=.", f"--remap-path-prefix={LIBRARY.resolve()}=library",
             f"--remap-path-prefix={LIBRARY}=library", *flags]
    return {**own,
            # Lets a stable compiler take flags that are not.
            "RUSTC_BOOTSTRAP": "1", "RUSTC": str(RUSTC), "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(flags),
            "CARGO_INCREMENTAL": "0", target.variable("LINKER"): str(_linker(target, unwinds, root)),
            # zig's C library is built for each target, and kept there.
            "ZIG_GLOBAL_CACHE_DIR": zig_cache, "ZIG_LOCAL_CACHE_DIR": zig_cache}
