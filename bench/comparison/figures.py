"""The scenarios, the figures that come out of them, and the targets of socku."""

from dataclasses import dataclass

from .measure import SHORT, SHORT_SOCKS5
from .proxies import PIPELINED, SOCKS5


@dataclass(frozen=True)
class Scenario:
    """One run of the load generator."""

    name: str
    mode: str
    options: tuple = ()
    quick: bool = False  # part of --quick
    timed: bool = True  # takes the options of the measured window
    protocol: str | None = None  # for the proxies that speak this one, instead of their usual one


SCENARIOS = [
    Scenario("bulk-1-down", "bulk", ("--sessions", "1", "--direction", "down"), quick=True),
    Scenario("bulk-1-up", "bulk", ("--sessions", "1", "--direction", "up"), quick=True),
    Scenario("bulk-16-down", "bulk", ("--sessions", "16", "--direction", "down"), quick=True),
    Scenario("bulk-16-up", "bulk", ("--sessions", "16", "--direction", "up"), quick=True),
    # In a whole round a minute away from "short": connections in TIME_WAIT of both count towards
    # the same limit.
    Scenario("short-socks5", "short", SHORT_SOCKS5, quick=True, timed=False, protocol=SOCKS5),
    Scenario("short-socks5-pipelined", "short", SHORT_SOCKS5, quick=True, timed=False,
             protocol=PIPELINED),
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
    headline: bool = False  # is in the table of headlines
    peers: bool = False  # is in the picture of socku and its peers, which the README shows

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


# The forms of SOCKS5, as the words of titles and the names of results.
SOCKS5_FORMS = (("", "waiting", SOCKS5), (", pipelined", "pipelined", PIPELINED))


def _short_socks5():
    for words, form, protocol in SOCKS5_FORMS:
        name = f"short-{protocol}"
        yield Figure(f"cpu-{name}", f"CPU per short session by SOCKS5{words}", name,
                     "cpu_per_unit", "us", 1e6, watched=True, plot=True,
                     headline=form == "waiting")
        yield Figure(f"rate-{name}", f"short sessions by SOCKS5{words}, per second", name, "rate",
                     "/s", higher_is_better=True)


def _calls_socks5():
    for words, form, protocol in SOCKS5_FORMS:
        session = f"per short session by SOCKS5{words}"
        yield Figure(f"calls-{protocol}", f"system calls {session}, waits not counted",
                     "calls-socks5", f"{form}_calls", "", watched=True,
                     headline=form == "waiting")
        yield Figure(f"more-calls-{protocol}", f"system calls {session}, beyond those of SOCKS4",
                     "calls-socks5", f"{form}_more_calls", "", value_target=2, compared=False)
        yield Figure(f"waits-{protocol}", f"waits (epoll_wait) {session}", "calls-socks5",
                     f"{form}_waits", "", watched=True)


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
ONCE = ("idle", "idle-socks5", "idle-ipv6", "calls", "calls-socks5", "allocations", "growth",
        "fairness", "binary")
# Those that --quick leaves out.
ONCE_SLOW = ("idle-socks5", "idle-ipv6", "growth", "fairness")
# The repetitions of those that vary; the others are counted, and once is enough.
REPETITIONS = {"calls": 3, "calls-socks5": 3, "fairness": 3}

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
    *_short_socks5(),
    *_ping(1, None),
    *_ping(100, 0.95),
    *_ping(1000, None),
    Figure("idle-memory", "memory per idle session (Pss)", "idle", "pss_per_session", "B",
           value_target=512, plot=True, headline=True, peers=True),
    Figure("idle-memory-socks5", "memory per idle session by SOCKS5 (Pss)", "idle-socks5",
           "pss_per_session", "B", value_target=512),
    Figure("idle-memory-ipv6", "memory per idle session by SOCKS5 over IPv6 (Pss)", "idle-ipv6",
           "pss_per_session", "B", value_target=512),
    Figure("idle-calls", "system calls while all sessions idle, waits not counted", "idle",
           "idle_calls", "", value_target=0),
    Figure("idle-waits", "returns from waits while all sessions idle", "idle", "idle_waits", "",
           watched=True),
    Figure("calls", "system calls per short session, waits not counted", "calls",
           "calls_per_session", "", value_target=20, headline=True),
    Figure("waits", "waits (epoll_wait) per short session", "calls", "waits_per_session", "",
           watched=True, headline=True),
    *_calls_socks5(),
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
    Figure("binary", "size of the program", "binary", "bytes", "KiB", 1 / 1024,
           watched=True),
]
