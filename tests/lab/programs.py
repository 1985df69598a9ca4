"""The programs of this repository."""

import os
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def built(profile="debug"):
    """The directory of the programs that cargo builds."""
    return ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / profile


def build(*options):
    """Builds them with these options of `cargo build`; the directory they are in."""
    subprocess.run(["cargo", "build", "--quiet", *options], cwd=ROOT, check=True)
    return built("release" if "--release" in options else "debug")


def release_or(file):
    """A built socku, or where there is none the release build."""
    return Path(file).resolve() if file else build("--release") / "socku"


def version():
    """The version in Cargo.toml."""
    return tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
