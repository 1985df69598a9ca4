"""The scenarios, the figures that come out of them, and the targets of socku."""

from dataclasses import dataclass

from .measure import SHORT


@dataclass(frozen=True)
class Scenario:
    """One run of the load generator."""

    name: str
    mode: str
    options: tuple = ()
    quick: bool = False  # part of --quick
    timed: bool = True  # takes the options of the measured window


SCENARIOS = [
    Scenario("bulk-1-down", "bulk", ("--sessions", "1", "--direction", "down"), quick=True),
    Scenario("bulk-1-up", "bulk", ("--sessions", "1", "--direction", "up"), quick=True),
    Scenario("bulk-16-down", "bulk", ("--sessions", "16", "--direction", "down"), quick=True),
    Scenario("bulk-16-up", "bulk", ("--sessions", "16", "--direction", "up"), quick=True),
    Scenario("bulk-64-down", "bulk", ("--sessions", "64", "--direction", "down")),
    Scenario("bulk-64-up", "bulk", ("--sessions", "64", "--direction", "up")),
    Scenario("copied-1-down", "bulk", ("--sessions", "1", "--sender", "copy")),
    Scenario("copied-16-down", "bulk", ("--sessions", "16", "--sender", "copy")),
    Scenario("short", "short", SHORT, quick=True, timed=False),
    Scenario("pingpong-1", "pingpong", ("--sessions", "1")),
    Scenario("pingpong-100", "pingpong", ("--sessions", "100"), quick=True),
    Scenario("pingpong-1000", "pingpong", ("--sessions", "1000")),
]


@dataclass(frozen=True)
class Figure:
    """One number of a result, with its target if it has one."""

    key: str
    title: str
    scenario: str
    value: str
    unit: str
    scale: float = 1.0
    ratio_target: float | None = None  # at most this ratio to the twin
    value_target: float | None = None  # at most this value
    higher_is_better: bool = False
    floor_value: str | None = None  # the value that a run without proxy gives instead
    compared: bool = True  # has a place among the ratios
    watched: bool = False  # has a line among the targets even without one
    plot: bool = False  # is in the picture of socku and the twin
    headline: bool = False  # is in the README's table
    peers: bool = False  # is in the README's picture of socku and its peers

    @property
    def in_targets(self):
        """Whether the figure has a line in the table of targets."""
        return (self.watched or self.ratio_target is not None
                or self.value_target is not None)


def _bulk(streams, target):
    for way in ("down", "up"):
        name = f"bulk-{streams}-{way}"
        plural = "s" if streams > 1 else ""
        yield Figure(
            f"cpu-{name}", f"CPU per GB, {streams} stream{plural} {way}", name,
            "cpu_per_unit", "s/GB", ratio_target=target, floor_value="load_cpu_per_unit",
            plot=True, headline=streams < 64, peers=name == "bulk-16-down",
        )
        yield Figure(
            f"rate-{name}", f"throughput, {streams} stream{plural} {way}", name,
            "rate", "GB/s", higher_is_better=True,
        )
        yield Figure(
            f"load-{name}", f"load generator busy, {streams} stream{plural} {way}", name,
            "load_busy", "%", 100, compared=False,
        )


def _ping(sessions, target):
    name = f"pingpong-{sessions}"
    plural = "s" if sessions > 1 else ""
    yield Figure(
        f"cpu-{name}", f"CPU per round trip, {sessions:,} session{plural}", name,
        "cpu_per_unit", "us", 1e6, ratio_target=target, floor_value="load_cpu_per_unit",
        plot=True, headline=sessions == 100, peers=sessions == 100,
    )
    for part in ("p50", "p99"):
        yield Figure(f"{part}-{name}", f"round trip {part}, {sessions:,} session{plural}", name,
                     f"{part}_us", "us", watched=sessions in (1, 100),
                     headline=(part, sessions) == ("p50", 100))


def _growth():
    for level in GROWTH:
        beside = f"beside {level:,} idle session" + ("s" if level > 1 else "")
        yield Figure(f"growth-session-{level}", f"CPU per short session {beside}",
                     f"growth-{level}", "cpu_per_session", "us", 1e6)
    for level in GROWTH:
        beside = f"beside {level:,} idle session" + ("s" if level > 1 else "")
        yield Figure(f"growth-gb-{level}", f"CPU per GB, 1 stream down, {beside}",
                     f"growth-{level}", "cpu_per_gb", "s/GB")


# Sessions that are open and idle while something else is measured.
GROWTH = (1, 100, 1000, 9000)
# Scenarios that are no part of a round, each in fresh processes.
ONCE = ("idle", "calls", "allocations", "growth", "fairness", "binary")
# The repetitions of those that vary; the others are counted, and once is enough.
REPETITIONS = {"calls": 3, "fairness": 3}

FIGURES = [
    *_bulk(1, 0.50),
    *_bulk(16, 0.22),
    *_bulk(64, None),
    *(Figure(f"cpu-copied-{streams}", f"CPU per GB, {streams} down, sent with send(2)",
             f"copied-{streams}-down", "cpu_per_unit", "s/GB", floor_value="load_cpu_per_unit")
      for streams in (1, 16)),
    Figure("cpu-short", "CPU per short session", "short", "cpu_per_unit", "us", 1e6,
           ratio_target=0.88, floor_value="load_cpu_per_unit", plot=True, headline=True,
           peers=True),
    Figure("rate-short", "short sessions per second", "short", "rate", "/s",
           higher_is_better=True),
    *_ping(1, None),
    *_ping(100, 0.95),
    *_ping(1000, None),
    Figure("idle-memory", "memory per idle session (Pss)", "idle", "pss_per_session", "B",
           value_target=512, plot=True, headline=True, peers=True),
    Figure("idle-calls", "system calls while all sessions idle, waits not counted", "idle",
           "idle_calls", "", value_target=0),
    Figure("idle-waits", "returns from waits while all sessions idle", "idle", "idle_waits", "",
           watched=True),
    Figure("calls", "system calls per short session, waits not counted", "calls",
           "calls_per_session", "", value_target=20, headline=True),
    Figure("waits", "waits (epoll_wait) per short session", "calls", "waits_per_session", "",
           watched=True, headline=True),
    Figure("allocs-session", "allocations per short session, warm", "allocations",
           "per_session", "", value_target=0),
    Figure("allocs-relay", "allocations per second while relaying", "allocations",
           "per_second_relaying", "", value_target=0),
    *_growth(),
    Figure("fair-alone", "round trip p99, 200 sessions alone", "fairness", "p99_alone_us", "us",
           watched=True),
    Figure("fair-beside", "round trip p99, 200 sessions beside a flooding one", "fairness",
           "p99_beside_us", "us", watched=True),
    Figure("fair-ratio", "p99 beside a flooding session / p99 alone", "fairness", "p99_ratio", "x",
           value_target=10, compared=False),
    Figure("fair-flood", "throughput of the flooding session", "fairness", "flood_rate", "GB/s",
           higher_is_better=True),
    Figure("binary", "size of the program", "binary", "bytes", "KiB", 1 / 1024),
]
