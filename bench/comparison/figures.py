"""What is run, which figures come out of it, and what socku is to reach."""

from dataclasses import dataclass, field

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
    """One number of a result, and what socku is to reach."""

    key: str
    title: str
    scenario: str
    value: str
    unit: str
    scale: float = 1.0
    ratio_target: float | None = None  # at most this ratio to the twin
    value_target: float | None = None  # at most this value
    higher_is_better: bool = False
    floor_value: str | None = None  # what the run without proxy gives instead
    compared: bool = True  # has a place among the ratios
    plot: str | None = field(default=None)  # label in the plots


def _bulk(streams, target):
    for way in ("down", "up"):
        name = f"bulk-{streams}-{way}"
        plural = "s" if streams > 1 else ""
        yield Figure(
            f"cpu-{name}", f"CPU per GB, {streams} stream{plural} {way}", name,
            "cpu_per_unit", "s/GB", ratio_target=target, floor_value="load_cpu_per_unit",
            plot=f"CPU per GB, {streams} stream{plural} {way}",
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
        f"cpu-{name}", f"CPU per round trip, {sessions} session{plural}", name,
        "cpu_per_unit", "us", 1e6, ratio_target=target, floor_value="load_cpu_per_unit",
        plot=f"CPU per round trip, {sessions} session{plural}",
    )
    yield Figure(f"p50-{name}", f"round trip p50, {sessions} session{plural}", name, "p50_us", "us")
    yield Figure(f"p99-{name}", f"round trip p99, {sessions} session{plural}", name, "p99_us", "us")


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

FIGURES = [
    *_bulk(1, 0.50),
    *_bulk(16, 0.22),
    *_bulk(64, None),
    *(Figure(f"cpu-copied-{streams}", f"CPU per GB, {streams} down, sent with send(2)",
             f"copied-{streams}-down", "cpu_per_unit", "s/GB", floor_value="load_cpu_per_unit")
      for streams in (1, 16)),
    Figure("cpu-short", "CPU per short session", "short", "cpu_per_unit", "us", 1e6,
           ratio_target=0.88, floor_value="load_cpu_per_unit", plot="CPU per short session"),
    Figure("rate-short", "short sessions per second", "short", "rate", "/s",
           higher_is_better=True),
    *_ping(1, None),
    *_ping(100, 0.95),
    *_ping(1000, None),
    Figure("idle-memory", "memory per idle session (Pss)", "idle", "pss_per_session", "B",
           value_target=512, plot="memory per idle session"),
    Figure("idle-calls", "system calls while all sessions idle", "idle", "idle_calls", "",
           value_target=0),
    Figure("calls", "system calls per short session, waits not counted", "calls",
           "calls_per_session", "", value_target=20),
    Figure("waits", "waits per short session", "calls", "waits_per_session", ""),
    Figure("allocs-session", "allocations per short session, warm", "allocations",
           "per_session", "", value_target=0),
    Figure("allocs-relay", "allocations per second while relaying", "allocations",
           "per_second_relaying", "", value_target=0),
    *_growth(),
    Figure("fair-alone", "round trip p99, 200 sessions", "fairness", "p99_alone_us", "us"),
    Figure("fair-beside", "round trip p99, 200 sessions beside a flooding one", "fairness",
           "p99_beside_us", "us"),
    Figure("fair-ratio", "the second as multiple of the first", "fairness", "p99_ratio", "x",
           value_target=10, compared=False),
    Figure("fair-flood", "throughput of the flooding session", "fairness", "flood_rate", "GB/s",
           higher_is_better=True),
    Figure("binary", "size of the program", "binary", "bytes", "KiB", 1 / 1024),
]
