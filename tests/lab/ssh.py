"""OpenSSH: a server that lets root in by a key, and clients that have the key."""

import contextlib
import shutil
from pathlib import Path

from . import ports, process

SSHD = """\
ListenAddress 127.0.0.1:{port}
ListenAddress [::1]:{ipv6_port}
HostKey {directory}/host_key
PidFile none
AuthorizedKeysFile {directory}/key.pub
StrictModes no
UsePAM no
PasswordAuthentication no
"""
OPTIONS = ("IdentitiesOnly=yes", "BatchMode=yes", "StrictHostKeyChecking=no",
           "UserKnownHostsFile=/dev/null", "ExitOnForwardFailure=yes")


@contextlib.contextmanager
def server(directory):
    """Runs sshd on a port of 127.0.0.1 and one of ::1; the block gets them, by their address. The
    keys of sshd and its clients are in the directory."""
    for key in ("host_key", "key"):
        process.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / key])
    # sshd's own, for its unprivileged half.
    Path("/run/sshd").mkdir(exist_ok=True)
    configuration = directory / "sshd.conf"
    with ports.reserved() as port, ports.reserved(host="::1") as ipv6_port:
        configuration.write_text(
            SSHD.format(directory=directory, port=port, ipv6_port=ipv6_port))
        # sshd starts itself again for each connection, so it wants to be named by its path.
        with ports.server([shutil.which("sshd"), "-D", "-e", "-f", configuration], ipv6_port):
            yield {"127.0.0.1": port, "::1": ipv6_port}


def client(directory, host, port, *options):
    """The command of a client of that server; words after it are run there."""
    fixed = [word for option in OPTIONS for word in ("-o", option)]
    return ["ssh", "-F", "none", *options, "-p", str(port), "-i", str(directory / "key"), *fixed,
            f"root@{host}"]
