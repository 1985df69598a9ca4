#!/usr/bin/env python3
"""A machine for a page: this one, on which nothing that is changed stays.

A file system over that of this machine takes what is written. Network and processes are its own:
only loopback, which has the addresses of the examples. All of it is gone when its program ends.
"""

import os
import subprocess
import sys
from pathlib import Path

# Addresses of the gateway and the hosts of the examples. On loopback, all of a network is here.
ADDRESSES = ("192.168.1.1/24", "192.0.2.1/24", "203.0.113.9/32", "10.0.0.1/24",
             "2001:db8::80/128")
HOSTS = """\
127.0.0.1 localhost proxy.example
::1 localhost
192.0.2.80 www.example.com example.com
192.0.2.22 host gateway
2001:db8::80 ipv6.example.com
"""
SUDO = '#!/bin/sh\nexec "$@"\n'
# File systems with this machine's own files, and where others are that it does not take over.
WITH_FILES = ("ext4", "xfs", "btrfs", "overlay", "zfs", "tmpfs")
OF_KERNEL = ("/dev", "/proc", "/run", "/sys")


def command(directory, arguments):
    """The command that runs another one in a machine, whose files are kept in a directory."""
    own = ["unshare", "--mount", "--net", "--pid", "--uts", "--fork", "--kill-child"]
    return [*own, sys.executable, "-B", __file__, directory, *arguments]


def can_be():
    """Whether this program may make one."""
    probe = ["unshare", "--mount", "--net", "--pid", "--fork", "true"]
    return os.geteuid() == 0 and subprocess.run(probe, check=False).returncode == 0


def _run(*arguments):
    subprocess.run([str(argument) for argument in arguments], check=True)


def _own_mounts():
    """Where file systems with files are mounted, the outermost first."""
    rows = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    points = {row[4] for row in rows if row[row.index("-") + 1] in WITH_FILES}
    return sorted(point for point in points
                  if Path(point).is_dir() and not point.startswith(OF_KERNEL))


def _cover(points, root, layer):
    """Mounts what is at these points below `root`, and keeps what is written in `layer`."""
    for number, point in enumerate(points):
        upper, work = layer / f"upper-{number}", layer / f"work-{number}"
        upper.mkdir()
        work.mkdir()
        options = f"lowerdir={point},upperdir={upper},workdir={work}"
        _run("mount", "-t", "overlay", "overlay", "-o", options, f"{root}{point}")


def _enter(directory):
    """Makes the machine, and goes into it."""
    layer, root = directory / "layer", directory / "root"
    layer.mkdir()
    root.mkdir()
    # What is mounted here is seen nowhere else.
    _run("mount", "--make-rprivate", "/")
    points = _own_mounts()
    _run("mount", "-t", "tmpfs", "tmpfs", layer)
    _cover(points, root, layer)
    _run("mount", "--rbind", "/dev", root / "dev")
    _run("mount", "-t", "proc", "proc", root / "proc")
    _run("mount", "-t", "sysfs", "sysfs", root / "sys")
    _run("mount", "-t", "tmpfs", "tmpfs", root / "run")
    os.chroot(root)
    os.chdir("/")


def _furnish():
    """Gives it network and names."""
    _run("ip", "link", "set", "lo", "up")
    for address in ADDRESSES:
        _run("ip", "address", "add", address, "dev", "lo")
    Path("/etc/hosts").write_text(HOSTS)
    # A file of its own, whatever the link led to.
    Path("/etc/resolv.conf").unlink(missing_ok=True)
    Path("/etc/resolv.conf").write_text("nameserver 127.0.0.1\n")
    sudo = Path("/usr/local/bin/sudo")
    sudo.write_text(SUDO)
    sudo.chmod(0o755)


def main():
    own = os.getcwd()
    _enter(Path(sys.argv[1]))
    _furnish()
    os.chdir(own)
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
