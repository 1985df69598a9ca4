"""Results as Markdown tables."""

from .results import REFERENCE


def number(value):
    """Three significant digits, without an exponent."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.6f}"


def _row(cells):
    return "| " + " | ".join(cells) + " |"


def _table(head, rows):
    return "\n".join([_row(head), _row(["---"] * len(head)), *map(_row, rows)])


def targets(results, figures, subject="socku"):
    """What is to be reached, and what was."""
    rows = []
    for figure in figures:
        verdict = results.verdict(figure, subject)
        if not verdict:
            continue
        words, reached = verdict
        found = (results.ratio(figure, subject) if figure.ratio_target is not None
                 else results.summary(figure, subject))
        shown = "not measured"
        if found:
            sign = " x" if figure.ratio_target is not None else f" {figure.unit}".rstrip()
            shown = f"{number(found[0])}{sign} ({number(found[1])} to {number(found[2])})"
        rows.append([figure.title, words, shown,
                     {True: "reached", False: "**missed**", None: "-"}[reached]])
    return _table(["figure", "to reach", f"{subject}, median (lowest to highest)", ""], rows)


def ratios(results, figures, proxies):
    """Every proxy's ratio to the twin."""
    names = [name for name in proxies if name != REFERENCE]
    rows = []
    for figure in figures:
        if not figure.compared:
            continue
        cells = []
        for name in names:
            found = results.ratio(figure, name)
            cells.append(f"{found[0]:.2f} ({found[1]:.2f}-{found[2]:.2f})" if found else "-")
        if any(cell != "-" for cell in cells):
            rows.append([figure.title, *cells])
    return _table([f"ratio to {REFERENCE}", *names], rows)


def medians(results, figures, proxies):
    """Every proxy's median."""
    rows = []
    for figure in figures:
        found = [results.summary(figure, name) for name in proxies]
        if any(found):
            title = f"{figure.title} [{figure.unit}]" if figure.unit else figure.title
            rows.append([title, *(number(entry[0]) if entry else "-" for entry in found)])
    return _table(["median", *proxies], rows)
