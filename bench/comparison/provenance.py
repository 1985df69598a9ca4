"""The origin of the figures: commit, date, machine, kernel, and the versions of all programs."""

import os
import platform
import re
import subprocess
from datetime import datetime, timezone
from pathlib import Path


def output_of(command, directory=None):
    """The first line that a program prints; None when it cannot be run or fails."""
    try:
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip().partition("\n")[0] if done.returncode == 0 else None


def commit(root):
    """The commit of the tree, and whether the tree differs from it."""
    name = output_of(["git", "rev-parse", "--short=12", "HEAD"], root)
    if not name:
        return "unknown: not a git repository"
    changed = output_of(["git", "status", "--porcelain", "--untracked-files=no"], root)
    return f"{name}, with uncommitted changes" if changed else name


def date():
    """Now, to the minute."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def processor(cpuinfo):
    """The model in the text of /proc/cpuinfo."""
    return next((line.partition(":")[2].strip() for line in cpuinfo.splitlines()
                 if line.startswith("model name")), platform.machine())


def locked_version(lock, crate):
    """The version of a crate in the text of a Cargo.lock; None when it is not there."""
    found = re.search(rf'^name = "{re.escape(crate)}"\nversion = "([^"]+)"$', lock, re.MULTILINE)
    return found and found.group(1)


def version(proxy, lock):
    """The program and version under a proxy's name; `lock` is the text of bench/Cargo.lock."""
    if proxy.package:
        known = output_of(["dpkg-query", "-W", "-f", "${Version}", proxy.package])
        return f"{proxy.package} {known or 'of unknown version'}"
    if proxy.name.startswith("tokio"):
        return f"tokio {locked_version(lock, 'tokio')}"
    return output_of([proxy.program, "--version"]) or "unknown"


def rows(root, proxies, cores, own_build):
    """Pairs of name and text for the table. Call this before measuring: the tree may change."""
    lock = (Path(root) / "bench" / "Cargo.lock").read_text()
    given = "" if own_build else "; socku is another build, given with --socku"
    return [
        ("commit", commit(root) + given),
        ("date", date()),
        ("kernel", f"Linux {platform.release()}"),
        ("machine", f"{os.cpu_count()} cores ({processor(Path('/proc/cpuinfo').read_text())}); "
                    f"proxy on core {cores[0]}, clients and targets on core {cores[1]}; loopback"),
        ("compiler", output_of(["rustc", "--version"]) or "unknown"),
        *((proxy.name, f"{version(proxy, lock)} ({proxy.note})")
          for proxy in proxies if not proxy.is_floor),
    ]
