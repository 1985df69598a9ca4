"""Debian's packages: which of them are missing, and how they are installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

LIST = Path(__file__).resolve().parents[2] / ".ci/packages"
POLICY = Path("/usr/sbin/policy-rc.d")


def listed():
    """The packages of .ci/packages, sorted."""
    lines = LIST.read_text().splitlines()
    return sorted({word for line in lines for word in line.split("#")[0].split()})


def not_installed(packages):
    """Those of these packages that are not installed, in order."""
    query = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *packages]
    shown = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    installed = {line.split()[0] for line in shown.splitlines() if line.endswith(" installed")}
    return [package for package in packages if package not in installed]


def missing(packages):
    """Of programs with their packages, the packages of those that are not there, sorted."""
    not_listed = sorted(set(packages.values()) - set(listed()))
    if not_listed:
        sys.exit(f"not in .ci/packages: {' '.join(not_listed)}")
    return sorted({package for program, package in packages.items() if not shutil.which(program)})


def require(packages):
    """Ends this program if programs of these packages are not there, and says how they come."""
    absent = missing(packages)
    if absent:
        sys.exit(f"missing: {' '.join(absent)} (Debian); .ci/prepare installs them")


def install(packages):
    """Installs packages of Debian, none of which starts a service; returns those that could not be
    installed."""
    if not packages:
        return []
    # Programs of a test are started by the test. A machine that has a policy keeps it.
    is_own_policy = not POLICY.exists() and os.access(POLICY.parent, os.W_OK)
    if is_own_policy:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        subprocess.run(["apt-get", "update", "-q"], check=False, stdout=subprocess.DEVNULL)
        subprocess.run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages],
                       check=True, stdout=subprocess.DEVNULL, env=environment)
        return []
    except (subprocess.CalledProcessError, FileNotFoundError):
        return packages
    finally:
        if is_own_policy:
            POLICY.unlink()


def unpack(names, directory):
    """Downloads packages of Debian and unpacks them below a directory, where nothing starts and
    nothing else of this machine changes; ends this program if they cannot be had. Those that are
    there already are kept."""
    directory = Path(directory).resolve()
    for name in names:
        place, fresh = directory / name, directory / f".{name}"
        if place.is_dir():
            continue
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        if os.geteuid() == 0:
            # As root apt downloads as a user of its own, who may not write below a home directory.
            subprocess.run(["apt-get", "update", "-q"], check=False, stdout=subprocess.DEVNULL)
        download = ["apt-get", "-o", "APT::Sandbox::User=root", "download", "-q", name]
        try:
            subprocess.run(download, check=True, cwd=fresh, stdout=subprocess.DEVNULL)
            archive = next(fresh.glob("*.deb"))
            subprocess.run(["dpkg", "-x", archive, fresh], check=True)
        except (subprocess.CalledProcessError, FileNotFoundError, StopIteration):
            sys.exit(f"cannot be downloaded: {name}")
        archive.unlink()
        fresh.rename(place)
