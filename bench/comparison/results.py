"""All results of a comparison, and what follows from them: medians, ratios, spreads."""

from statistics import median

REFERENCE = "tokio"


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

    def summary(self, figure, proxy):
        """(median, lowest, highest), or None."""
        return _summary(self.values(figure, proxy).values())

    def ratio(self, figure, proxy):
        """The same of the ratio to the twin, taken round by round."""
        reference = self.values(figure, REFERENCE)
        own = self.values(figure, proxy)
        return _summary([own[round_] / reference[round_]
                         for round_ in own if reference.get(round_)])

    def verdict(self, figure, proxy):
        """(target in words, reached) for a figure that has a target; reached is None when it
        was not measured."""
        if figure.ratio_target is not None:
            found, target = self.ratio(figure, proxy), figure.ratio_target
            words = f"<= {target:.2f} x"
        elif figure.value_target is not None:
            found, target = self.summary(figure, proxy), figure.value_target
            words = f"<= {target:g} {figure.unit}".rstrip()
        else:
            return None
        return words, None if found is None else found[0] <= target


def _summary(values):
    values = list(values)
    return (median(values), min(values), max(values)) if values else None
