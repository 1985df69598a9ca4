"""The proxies and relays: how each is installed, configured, started and stopped."""

import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from .results import AGAIN, REFERENCE

START_TIMEOUT_S = 10
STOP_TIMEOUT_S = 5
IDLE_SESSIONS = 9000
# Clients come from, and targets listen on, that many addresses from 127.0.0.1 on: from one address
# to one other there are 28,000 ports, and a few thousand sessions a second use them up.
ADDRESSES = 16

# Rules of socku by family. Those of IPv4 alone are read by versions without IPv6 as well.
RULES = {4: "permit cb 127.*.*.* from 127.*.*.*\n", 6: "permit cb ::1 from ::1\n"}

# SOCKS5 with a request that waits for the answer to its greeting, and with both in one piece.
SOCKS5, PIPELINED = "socks5", "socks5-pipelined"
LOOPBACK = {4: "127.0.0.1", 6: "::1"}

DANTE = """\
logoutput: {directory}/log
internal: {listen_host} port = {listen_port}
external: 127.0.0.1
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: root
client pass {{
    from: 127.0.0.0/8 to: 0.0.0.0/0
}}
socks pass {{
    from: 127.0.0.0/8 to: 127.0.0.0/8
    protocol: tcp
    command: connect
}}
"""

HAPROXY = """\
global
    maxconn 9300
    maxpipes 300
    nbthread 1
defaults
    mode tcp
    timeout connect 10s
    timeout client 1h
    timeout server 1h
    {option}
listen relay
    bind {listen} backlog 4096
{servers}
"""

NGINX = """\
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {directory}/pid;
error_log {directory}/log;
events {{ worker_connections 19500; }}
stream {{
    upstream targets {{
{upstream}
    }}
    server {{
        listen {listen} backlog=4096;
        proxy_pass targets;
        proxy_timeout 1h;
    }}
}}
"""


@dataclass(frozen=True)
class Proxy:
    """A proxy to measure. `command` and `config` may use {directory}, {config}, {listen},
    {listen_host} and {listen_port}; a relay's configuration also names its targets. `protocol` is
    that of all scenarios but those that name another, which is then among `others`."""

    name: str
    note: str
    protocol: str
    command: tuple = ()
    config: str | dict = ""  # a dictionary by family
    package: str | None = None
    core: bool = False  # measured in every round; the others in fewer
    idle_sessions: int = IDLE_SESSIONS
    option: str = ""  # for {option} of the configuration
    needs_flag: str | None = None  # left out when --help does not name it
    others: tuple = ()
    ipv6: bool = False  # can listen on ::1 and reach targets there

    def speaks(self, protocol):
        """Whether it can be measured by this protocol; None is its own."""
        return protocol in (None, self.protocol, *self.others)

    @property
    def is_floor(self):
        return not self.command

    @property
    def program(self):
        return self.command[0] if self.command else None

    def knows_its_flags(self):
        """Whether the program has the flag that this entry is about."""
        if not self.needs_flag:
            return True
        shown = subprocess.run([self.program, "--help"], capture_output=True, text=True)
        return self.needs_flag in shown.stdout


def known_proxies(socku, release, static=None):
    """All proxies. `socku` is the directory of its release build, `release` that of bench/,
    `static` another build of socku, if there is one."""
    haproxy = ("/usr/sbin/haproxy", "-db", "-q", "-f", "{config}")
    arguments = ("-l", "{listen}", "-c", "{config}")
    socku = (f"{socku}/socku", *arguments)
    both = {"others": (SOCKS5, PIPELINED), "ipv6": True}
    return [
        Proxy("socku", "default settings", "socks4", socku, RULES, core=True, **both),
        Proxy("socku-copy", "--splice off", "socks4", (*socku, "--splice", "off"), RULES,
              core=True, needs_flag="--splice", **both),
        *([Proxy("socku-static", "the static build", "socks4", (str(static), *arguments), RULES,
                 **both)]
          if static else []),
        Proxy(REFERENCE, "twin, current_thread", "socks4",
              (f"{release}/tokio-twin", "--listen", "{listen}"), core=True, **both),
        Proxy(AGAIN, "the same program a second time: shows the noise", "socks4",
              (f"{release}/tokio-twin", "--listen", "{listen}"), core=True, **both),
        Proxy("tokio-multi", "twin, multi-thread runtime", "socks4",
              (f"{release}/tokio-twin-multi", "--listen", "{listen}"), **both),
        Proxy("dante", "SOCKS4 and 5", "socks4", ("/usr/sbin/danted", "-f", "{config}"), DANTE,
              "dante-server", idle_sessions=500, others=(SOCKS5, PIPELINED)),
        Proxy("microsocks", "SOCKS5, a thread per session", "socks5",
              ("/usr/bin/microsocks", "-i", "{listen_host}", "-p", "{listen_port}"),
              package="microsocks", idle_sessions=1000),
        Proxy("haproxy", "plain relay, no SOCKS", "plain", haproxy, HAPROXY, "haproxy"),
        Proxy("haproxy-splice", "plain relay, option splice-auto", "plain", haproxy, HAPROXY,
              "haproxy", option="option splice-auto"),
        Proxy("nginx", "plain relay, no SOCKS", "plain",
              ("/usr/sbin/nginx", "-c", "{config}", "-e", "{directory}/log"), NGINX,
              "libnginx-mod-stream"),
        Proxy("floor", "no proxy: client to target", "plain", core=True),
    ]


def install(packages):
    """Installs what is missing from Debian; returns what could not be installed."""
    if not packages:
        return []
    # policy-rc.d keeps the packages from starting their services.
    policy = Path("/usr/sbin/policy-rc.d")
    own_policy = not policy.exists() and os.access(policy.parent, os.W_OK)
    if own_policy:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        subprocess.run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages],
                       check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
        return []
    except (subprocess.CalledProcessError, FileNotFoundError):
        return packages
    finally:
        if own_policy:
            policy.unlink()


class Ports:
    """Hands out addresses that were not used before in this run, so that connections in TIME_WAIT
    of one measurement do not stand in the way of the next."""

    def __init__(self):
        # Below the range of ephemeral ports.
        self._next = 20000

    def address(self, family=4):
        host = LOOPBACK[family]
        while True:
            port, self._next = self._next, self._next + 1
            with socket.socket(_kind(host)) as probe:
                try:
                    probe.bind((host, port))
                except OSError:
                    continue
            return f"{host}:{port}" if family == 4 else f"[{host}]:{port}"


def _kind(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def kernel_address(host, port):
    """An address as /proc/net/tcp and tcp6 show it: 32-bit words in the machine's order."""
    octets = socket.inet_pton(_kind(host), host)
    words = struct.unpack(f"={len(octets) // 4}I", octets)
    return f"{''.join(f'{word:08X}' for word in words)}:{port:04X}"


def _lines(target, line):
    """A line of configuration for each of the addresses where the targets listen."""
    port = target.rpartition(":")[2]
    return "\n".join(line.format(at=at, address=f"127.0.0.{at}:{port}")
                     for at in range(1, ADDRESSES + 1))


class Running:
    """A proxy that runs, pinned to a core; on loopback addresses of one family, 4 or 6."""

    def __init__(self, proxy, ports, directory, core, environment=None, family=4):
        self.proxy = proxy
        self.family = family
        self.target = ports.address(family)
        self.listen = None
        self.process = None
        if proxy.is_floor:
            return
        self.listen = ports.address(family)
        directory = Path(directory) / f"{proxy.name}-{self.listen.rpartition(':')[2]}"
        directory.mkdir(parents=True)
        host, _, port = self.listen.rpartition(":")
        host = host.strip("[]")
        places = {
            "directory": directory, "config": directory / "config", "listen": self.listen,
            "listen_host": host, "listen_port": port, "option": proxy.option,
            "servers": _lines(self.target, "    server target{at} {address}"),
            "upstream": _lines(self.target, "        server {address};"),
        }
        if proxy.config:
            places["config"].write_text(proxy.config[family] if proxy.config is RULES
                                        else proxy.config.format(**places))
        command = [part.format(**places) for part in proxy.command]
        self.log = directory / "stderr"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["taskset", "-c", str(core), *command], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, env={**os.environ, **(environment or {})},
            )
        try:
            self._wait_until_listening(host, int(port))
        except Exception:
            self.stop()
            raise

    def _wait_until_listening(self, host, port):
        """Looks into the kernel's table: a probing connection would be a session."""
        wanted = kernel_address(host, port)
        table = Path("/proc/net/tcp6" if self.family == 6 else "/proc/net/tcp")
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            for line in table.read_text().splitlines()[1:]:
                fields = line.split()
                if fields[1] == wanted and fields[3] == "0A":
                    # Workers may still be starting.
                    time.sleep(0.1)
                    return
            time.sleep(0.02)
        text = self.log.read_text(errors="replace").strip()[-300:].replace("\n", " ")
        raise RuntimeError(f"{self.proxy.name} does not listen on {self.listen}: {text}")

    @property
    def pid(self):
        return self.process.pid if self.process else None

    def descendants(self):
        """The proxy's process and all below it."""
        pids = [self.pid] if self.pid else []
        for pid in pids:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                try:
                    pids.extend(map(int, children.read_text().split()))
                except OSError:
                    pass
        return pids

    def stop(self):
        """Ends the proxy; its own processes only, by their numbers."""
        if not self.process or self.process.poll() is not None:
            return
        pids = self.descendants()
        self.process.send_signal(signal.SIGTERM)
        try:
            # socku drains first; a second signal ends that.
            self.process.wait(0.5)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.process.wait()


def missing_programs(proxies):
    """Packages whose program is not there."""
    return sorted({proxy.package for proxy in proxies
                   if proxy.package and (not shutil.which(proxy.program)
                                         or (proxy.package == "libnginx-mod-stream" and not Path(
                                             "/usr/lib/nginx/modules/ngx_stream_module.so"
                                         ).exists()))})
