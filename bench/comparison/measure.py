"""Single measurements: the load generator, strace, and the allocation counter."""

import json
import mmap
import os
import signal
import struct
import subprocess
import tempfile
import time
from pathlib import Path

from .proxies import ADDRESSES, PIPELINED, SOCKS5

# System calls that only wait.
WAITS = {"epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select", "pselect6",
         "restart_syscall"}
# Bounded by number: each leaves two connections in TIME_WAIT for a minute, of which the kernel
# keeps 131,072; all proxies in turn should stay below that.
SHORT = ("--sessions", "64", "--warmup-count", "1000", "--count", "4000")
# Half as many for each form of SOCKS5, for the same reason.
SHORT_SOCKS5 = ("--sessions", "64", "--warmup-count", "500", "--count", "2000")
CALL_SESSIONS = 200
ALLOCATION_SESSIONS = 1000
FAIR_SESSIONS = 200


class Failed(Exception):
    """A measurement that gave no figure."""


class Load:
    """The load generator, pinned to a core."""

    def __init__(self, program, core):
        self.program = program
        self.core = core

    def command(self, running, mode, options, deadline_s, target=None, protocol=None):
        command = ["taskset", "-c", str(self.core), str(self.program), mode,
                   "--target", target or running.target, "--deadline", str(deadline_s), *options]
        if running.family == 4:
            # The loopback interface has one IPv6 address.
            command += ["--targets", str(ADDRESSES), "--sources", str(ADDRESSES)]
        if running.listen:
            command += ["--proxy", running.listen, "--protocol",
                        protocol or running.proxy.protocol, "--pid", str(running.pid)]
        return command

    def run(self, running, mode, options=(), deadline_s=30, target=None, protocol=None):
        """Runs to the end, by another protocol than the proxy's usual one if one is given; the
        result as a dictionary."""
        command = self.command(running, mode, options, deadline_s, target, protocol)
        done = subprocess.run(command, capture_output=True, text=True, timeout=deadline_s + 10)
        if done.returncode != 0:
            raise Failed(done.stderr.strip()[-300:])
        return _checked(json.loads(done.stdout.splitlines()[-1]))

    def start(self, running, mode, options=(), deadline_s=60, target=None, protocol=None):
        """Starts a run that the caller talks to."""
        command = self.command(running, mode, options, deadline_s, target, protocol)
        return subprocess.Popen(command, text=True,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)


def _checked(result):
    if result.get("failed"):
        raise Failed(f"{result['failed']:.0f} sessions failed: {result.get('failure')}")
    return result


class Strace:
    """Counts the system calls of a proxy's processes between start and stop."""

    def __init__(self, running):
        self._file = tempfile.NamedTemporaryFile("r", suffix=".strace")
        pids = [option for pid in running.descendants() for option in ("-p", str(pid))]
        self._process = subprocess.Popen(
            ["strace", "-f", "-c", "-U", "calls,name", "-o", self._file.name, *pids],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        # It says "Process N attached" for every task. Without that it counts nothing, and a count
        # of nothing must not pass for a proxy that calls nothing.
        said = self._process.stderr.readline()
        if b"attached" not in said:
            self._process.kill()
            self._process.communicate()
            raise Failed(f"strace: {said.decode(errors='replace').strip()}")
        time.sleep(0.3)

    def stop(self):
        """The calls by name."""
        self._process.send_signal(signal.SIGINT)
        self._process.communicate(timeout=10)
        calls = counts(self._file.read())
        self._file.close()
        return calls


def counts(summary):
    """The calls by name in a summary of `strace -c -U calls,name`."""
    calls = {}
    for line in summary.splitlines():
        fields = line.split()
        if len(fields) == 2 and fields[0].isdigit() and fields[1] != "total":
            calls[fields[1]] = int(fields[0])
    return calls


def split(calls):
    """How many of the calls do something, and how many only wait."""
    waits = sum(count for name, count in calls.items() if name in WAITS)
    return sum(calls.values()) - waits, waits


class IdleSessions:
    """Sessions that are open and do nothing while the block runs; `result` afterwards."""

    def __init__(self, load, running, sessions, protocol=None):
        options = ("--sessions", str(sessions), "--hold", "60")
        self._run = load.start(running, "idle", options, deadline_s=120, protocol=protocol)
        self.result = None

    def __enter__(self):
        if self._run.stdout.readline().strip() != "idle":
            _, error = self._run.communicate(timeout=10)
            raise Failed(error.strip()[-300:])
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.result = self._end()
        finally:
            if self._run.poll() is None:
                self._run.kill()
                self._run.communicate()

    def _end(self):
        output, error = self._run.communicate("go on\n", timeout=60)
        if self._run.returncode != 0:
            raise Failed(error.strip()[-300:])
        result = _checked(json.loads(output.splitlines()[-1]))
        if result["alive"] != result["sessions"]:
            raise Failed(f"only {result['alive']:.0f} of {result['sessions']:.0f} sessions lived")
        return result


def idle(load, running, watch_s, protocol=None):
    """Memory of idle sessions, and the system calls they cause (there should be none)."""
    with IdleSessions(load, running, running.proxy.idle_sessions, protocol) as sessions:
        strace = Strace(running)
        time.sleep(watch_s)
        calls = strace.stop()
    made, waits = split(calls)
    return {**sessions.result, "idle_calls": made, "idle_waits": waits,
            "idle_calls_by_name": calls}


def growth(load, running, ports, level, window, repetitions):
    """Cost of a session and of a byte beside idle sessions; a result for each repetition."""
    with IdleSessions(load, running, level):
        for _ in range(repetitions):
            # The targets of the idle sessions are in their own process.
            short = load.run(running, "short", SHORT, target=ports.address())
            bulk = load.run(running, "bulk", ("--sessions", "1", *window), target=ports.address())
            yield {"cpu_per_session": short["cpu_per_unit"], "cpu_per_gb": bulk["cpu_per_unit"]}


def fairness(load, running, ports, window):
    """Round trips of many sessions alone, and beside one that floods the proxy."""
    ping_pong = ("--sessions", str(FAIR_SESSIONS), *window)
    alone = load.run(running, "pingpong", ping_pong, target=ports.address())
    # Begins earlier and ends later; with targets and a load process of its own.
    flood = load.start(running, "bulk", ("--sessions", "1", "--warmup", "0", "--seconds", "3"),
                       target=ports.address())
    try:
        time.sleep(0.5)
        beside = load.run(running, "pingpong", ping_pong, target=ports.address())
        output, error = flood.communicate(timeout=30)
    finally:
        flood.kill()
    if flood.returncode != 0:
        raise Failed(error.strip()[-300:])
    return {"p99_alone_us": alone["p99_us"], "p99_beside_us": beside["p99_us"],
            "p99_ratio": beside["p99_us"] / alone["p99_us"],
            "flood_rate": json.loads(output.splitlines()[-1])["rate"]}


def calls_per_session(load, running, protocol=None):
    """System calls of a short session, one session at a time."""
    options = ("--sessions", "1", "--count", str(CALL_SESSIONS))
    load.run(running, "short", options, protocol=protocol)
    strace = Strace(running)
    try:
        load.run(running, "short", options, protocol=protocol)
    finally:
        calls = strace.stop()
    made, waits = split(calls)
    if not made:
        raise Failed("strace saw no system call")
    return {"calls_per_session": made / CALL_SESSIONS, "waits_per_session": waits / CALL_SESSIONS,
            "by_name": {name: count / CALL_SESSIONS for name, count in calls.items()}}


def calls_of_socks5(load, running):
    """The same for both forms of SOCKS5, as far as the proxy speaks them, and how many calls each
    makes beyond those of SOCKS4 in the same process."""
    found = {protocol: calls_per_session(load, running, protocol)
             for protocol in ("socks4", SOCKS5, PIPELINED) if running.proxy.speaks(protocol)}
    return beside_socks4(found)


def beside_socks4(found):
    """One result out of those of each protocol."""
    result = {}
    for name, protocol in (("waiting", SOCKS5), ("pipelined", PIPELINED)):
        if protocol not in found:
            continue
        one = found[protocol]
        result.update({f"{name}_calls": one["calls_per_session"],
                       f"{name}_waits": one["waits_per_session"],
                       f"{name}_by_name": one["by_name"]})
        if "socks4" in found:
            # Rounded: on a busy machine, a session in a hundred takes one more read.
            more = one["calls_per_session"] - found["socks4"]["calls_per_session"]
            result[f"{name}_more_calls"] = round(more, 1)
    return result


class AllocationCounter:
    """A library, loaded before the proxy's own, that counts calls of malloc and its kin."""

    def __init__(self, source, directory):
        self.library = Path(directory) / "count_allocations.so"
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", self.library, source], check=True)
        self.counter = Path(directory) / "allocations"

    def environment(self):
        """The environment for the proxy's start."""
        self.counter.write_bytes(bytes(mmap.PAGESIZE))
        return {"LD_PRELOAD": str(self.library), "ALLOCATION_COUNTER": str(self.counter)}

    def read(self):
        """Allocations so far."""
        return struct.unpack("=Q", self.counter.read_bytes()[:8])[0]


def allocations(load, running, counter):
    """Allocations of short sessions and of a relay, both warm."""
    if counter.read() == 0:
        raise Failed("the counter was not loaded, as for a static program")
    options = ("--sessions", "16", "--count", str(ALLOCATION_SESSIONS))
    load.run(running, "short", options)
    before = counter.read()
    load.run(running, "short", options)
    per_session = (counter.read() - before) / ALLOCATION_SESSIONS
    bulk = ("--sessions", "16", "--warmup", "0", "--seconds", "1.2")
    load.run(running, "bulk", bulk)
    run = load.start(running, "bulk", bulk)
    time.sleep(0.5)
    before, started = counter.read(), time.monotonic()
    time.sleep(0.5)
    per_second = (counter.read() - before) / (time.monotonic() - started)
    _, error = run.communicate(timeout=30)
    if run.returncode != 0:
        raise Failed(error.strip()[-300:])
    return {"per_session": per_session, "per_second_relaying": per_second}


def binary_size(proxy):
    """Bytes of the program's file."""
    return {"bytes": os.stat(proxy.program).st_size}
