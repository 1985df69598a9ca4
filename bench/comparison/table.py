"""Results as Markdown tables.

A row compares its columns over the rounds that all of them have in common, and says how many
these are.
"""

from .results import AGAIN, REFERENCE


def number(value):
    """Three significant digits, without an exponent."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.6f}"


def _spread(found, form=number, single=" (one run)"):
    if not found:
        return "-"
    if found.rounds == 1:
        return form(found.median) + single
    return f"{form(found.median)} ({form(found.lowest)} to {form(found.highest)})"


def _two_digits(value):
    return f"{value:.2f}"


def _range(found):
    """Lowest to highest: of a headline the best round alone would say too much."""
    if not found:
        return "not measured"
    if found.rounds == 1:
        return f"{found.median:.2f} (one run)"
    low, high = f"{found.lowest:.2f}", f"{found.highest:.2f}"
    return low if low == high else f"{low} to {high}"


def _title(figure):
    return f"{figure.title} [{figure.unit}]" if figure.unit else figure.title


def _row(cells):
    return "| " + " | ".join(cells) + " |"


def markdown(head, rows):
    """A table in Markdown."""
    return "\n".join([_row(head), _row(["---"] * len(head)), *map(_row, rows)])


def targets(results, figures, subject="socku"):
    """The targets, the figures of socku and the twin, and the noise of their ratio."""
    rows = []
    for figure in figures:
        if not figure.in_targets:
            continue
        rounds = results.common_rounds(figure, (subject, REFERENCE, AGAIN))
        verdict = results.verdict(figure, subject, rounds)
        if not verdict and not rounds:
            continue
        reached = "-"
        if verdict:
            reached = (f"{verdict.reached} of {verdict.rounds}" if verdict.rounds
                       else "not measured")
        rows.append([
            _title(figure), verdict.words if verdict else "-",
            _spread(results.summary(figure, subject, rounds)),
            _spread(results.summary(figure, REFERENCE, rounds)),
            _spread(results.ratio(figure, subject, rounds), _two_digits),
            _spread(results.ratio(figure, AGAIN, rounds), _two_digits), reached])
    return markdown(["figure", "target", subject, REFERENCE, f"{subject} / {REFERENCE}",
                     f"noise: {AGAIN} / {REFERENCE}", "rounds that reach it"], rows)


def headline(results, figures, subject="socku"):
    """The few figures that say most: ranges over the rounds."""
    rows = []
    for figure in figures:
        if not figure.headline:
            continue
        rounds = results.common_rounds(figure, (subject, REFERENCE, AGAIN))
        rows.append([figure.title, _range(results.ratio(figure, subject, rounds)),
                     _range(results.ratio(figure, AGAIN, rounds))])
    return markdown(["ratio to the tokio version, lowest to highest round", subject,
                     "noise: the tokio version beside itself"], rows)


def ratios(results, figures, proxies):
    """Every proxy's ratio to the twin."""
    names = [name for name in proxies if name != REFERENCE]
    rows = []
    for figure in figures:
        if not figure.compared:
            continue
        rounds = results.common_rounds(figure, proxies)
        found = [results.ratio(figure, name, rounds) for name in names]
        if any(found):
            rows.append([figure.title, str(len(rounds)),
                         *(_spread(entry, _two_digits, single="") for entry in found)])
    return markdown([f"ratio to {REFERENCE}", "rounds", *names], rows)


def medians(results, figures, proxies):
    """Every proxy's median."""
    rows = []
    for figure in figures:
        rounds = results.common_rounds(figure, proxies)
        found = [results.summary(figure, name, rounds) for name in proxies]
        if any(found):
            rows.append([_title(figure), str(len(rounds)),
                         *(number(entry.median) if entry else "-" for entry in found)])
    return markdown(["median", "rounds", *proxies], rows)
