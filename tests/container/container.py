"""An image archive as the bundle of a container, and the container as a process."""

import json
import tarfile

from lab import process
from lab.failure import expect
from lab.process import Process
from lab.wait import wait_for

# Both ends of the cable between this namespace and the container's.
OUTSIDE, INSIDE = "10.0.0.1", "10.0.0.2"
NAME = "socku-test"
# What a container may do unless it is told otherwise; engines leave some more.
DEFAULT_CAPABILITIES = ["CAP_CHOWN", "CAP_NET_BIND_SERVICE", "CAP_SETUID"]


def name_of(archive):
    """The name that `docker run` knows a loaded image by."""
    with tarfile.open(archive) as file:
        manifest, = json.load(file.extractfile("manifest.json"))
        name, = manifest["RepoTags"]
        return name


def unpack(archive, root):
    """Unpacks the layers of an image into a directory; the image's settings."""
    with tarfile.open(archive) as file:
        manifest, = json.load(file.extractfile("manifest.json"))
        for layer in manifest["Layers"]:
            with tarfile.open(fileobj=file.extractfile(layer)) as content:
                content.extractall(root)
        return json.load(file.extractfile(manifest["Config"]))["config"]


def bundle(directory, settings, run, mounts, arguments):
    """Writes the configuration of a container beside its root file system: the image's settings, and
    the restrictions that `docker run` was asked for. `mounts` are directories by where they
    appear."""
    uid, gid = map(int, settings["User"].split(":"))
    granted = {kind: [] for kind in ("bounding", "effective", "permitted", "ambient", "inheritable")}
    if run.cap_drop != "ALL":
        granted["bounding"] = DEFAULT_CAPABILITIES
    configuration = {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": uid, "gid": gid}, "cwd": settings["WorkingDir"] or "/",
            "args": settings["Entrypoint"] + (arguments or settings["Cmd"]),
            "env": settings.get("Env") or [], "capabilities": granted,
            "noNewPrivileges": run.security_opt == "no-new-privileges"},
        "root": {"path": "root", "readonly": run.read_only},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}] + [
            {"destination": inside, "source": str(outside), "options": ["bind", "ro"]}
            for inside, outside in mounts.items()],
        "linux": {"namespaces": [{"type": kind}
                                 for kind in ("pid", "network", "ipc", "uts", "mount")]},
    }
    (directory / "config.json").write_text(json.dumps(configuration))


class Container(Process):
    """A container that runs the program of an image, with a cable to this namespace."""

    def __init__(self, directory, settings, run, mounts, arguments=None):
        bundle(directory, settings, run, mounts, arguments)
        self._runc = ["runc", "--root", directory / "state"]
        super().__init__([*self._runc, "run", "--bundle", directory, NAME])

    def connect(self):
        """Lays the cable, once the program listens."""
        self.wait_line(" listening on ")
        state = process.run([*self._runc, "state", NAME])
        self.inside = json.loads(state.stdout)["pid"]
        ip = lambda *arguments: expect_done(["ip", *arguments])
        inside = ["nsenter", f"--target={self.inside}", "--net"]
        ip("link", "add", "outside", "type", "veth", "peer", "name", "inside", "netns", self.inside)
        ip("address", "add", f"{OUTSIDE}/24", "dev", "outside")
        ip("link", "set", "outside", "up")
        for command in (["address", "add", f"{INSIDE}/24", "dev", "inside"],
                        ["link", "set", "inside", "up"], ["link", "set", "lo", "up"]):
            expect_done([*inside, "ip", *command])

    def execute(self, command):
        """Runs a program inside, to its end."""
        return process.run([*self._runc, "exec", NAME, *command])

    def signal(self, name):
        """Sends a signal to the program."""
        expect_done([*self._runc, "kill", NAME, name])

    def wait_end(self):
        """Waits until it has ended by itself; its exit code."""
        return wait_for("the container to end", lambda: (self._child.poll(),)
                        if self._child.poll() is not None else None)[0]


def expect_done(command):
    """Runs a step of the test, which must succeed."""
    done = process.run(command)
    expect(done.returncode == 0, f"{' '.join(map(str, command))}: {done.stderr.decode()}")
