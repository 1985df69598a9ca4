"""All results of a comparison, and what follows from them: medians, ratios, spreads."""

from statistics import median
from typing import NamedTuple

# The twin, which ratios refer to, and the same program a second time: its ratio to the first
# differs from 1 by noise alone.
REFERENCE = "tokio"
AGAIN = "tokio-again"


class Spread(NamedTuple):
    """A figure over its rounds."""

    median: float
    lowest: float
    highest: float
    rounds: int


def spread(values):
    """The spread of these values; None when there are none."""
    values = list(values)
    return Spread(median(values), min(values), max(values), len(values)) if values else None


class Verdict(NamedTuple):
    """A target in words, and in how many of how many rounds it was reached."""

    words: str
    reached: int
    rounds: int


class Results:
    """Raw results by round, scenario and proxy; failures are kept beside them."""

    def __init__(self, raw=None):
        self.raw = raw or {}  # scenario -> proxy -> {round: result}
        self.failures = []

    def add(self, scenario, proxy, round_, result):
        self.raw.setdefault(scenario, {}).setdefault(proxy, {})[str(round_)] = result

    def fail(self, scenario, proxy, round_, error):
        self.failures.append(f"{proxy}, {scenario}, round {round_}: {error}")

    def values(self, figure, proxy):
        """round -> value."""
        name = figure.value
        if proxy == "floor":
            if not figure.floor_value and figure.value == "cpu_per_unit":
                return {}
            name = figure.floor_value or name
        rounds = self.raw.get(figure.scenario, {}).get(proxy, {})
        return {round_: result[name] * figure.scale
                for round_, result in rounds.items() if name in result}

    def common_rounds(self, figure, proxies):
        """The rounds in which each of these proxies has a value. A proxy without any value is
        not part of the comparison, so it takes no round from the others."""
        measured = [set(values) for values in (self.values(figure, name) for name in proxies)
                    if values]
        return set.intersection(*measured) if measured else set()

    def summary(self, figure, proxy, rounds):
        """The spread of a proxy's values over these rounds, or None."""
        return spread(value for round_, value in self.values(figure, proxy).items()
                      if round_ in rounds)

    def ratios(self, figure, proxy, rounds):
        """Ratios to the twin, each taken within one of these rounds."""
        reference = self.values(figure, REFERENCE)
        return [value / reference[round_]
                for round_, value in self.values(figure, proxy).items()
                if round_ in rounds and reference.get(round_)]

    def ratio(self, figure, proxy, rounds):
        """The spread of these ratios, or None."""
        return spread(self.ratios(figure, proxy, rounds))

    def verdict(self, figure, proxy, rounds):
        """How a figure with a target did in these rounds; None for a figure without one."""
        if figure.ratio_target is not None:
            target, found = figure.ratio_target, self.ratios(figure, proxy, rounds)
            words = f"<= {target:.2f} x"
        elif figure.value_target is not None:
            values = self.values(figure, proxy)
            target = figure.value_target
            found = [value for round_, value in values.items() if round_ in rounds]
            words = f"<= {target:g} {figure.unit}".rstrip()
        else:
            return None
        return Verdict(words, sum(value <= target for value in found), len(found))
