"""The outcome of a comparison: tables, pictures, and their places in the documents."""

from . import plot, table
from .figures import FIGURES
from .results import AGAIN, REFERENCE

BEGIN, END = "<!-- begin: written by bench/compare -->", "<!-- end: written by bench/compare -->"
OWN = ("socku", "socku-copy")
SCALE = ("ratio to the tokio version (1), less is better; median, and the lowest and highest round "
         "in brackets.")
SOCKU_COPY = "socku-copy: --splice off."


def tables(results, names, provenance):
    """The tables, as they go to standard output."""
    parts = [table.markdown(["measured", ""], provenance)]
    for subject in OWN:
        if subject in names:
            parts += [f"### Targets: {subject}, median (lowest to highest)",
                      table.targets(results, FIGURES, subject)]
    parts += ["### Medians", table.medians(results, FIGURES, names),
              "### Ratios to the twin: median (lowest to highest)",
              table.ratios(results, FIGURES, names)]
    if results.failures:
        parts += ["Without a figure:", "\n".join(f"- {line}" for line in results.failures)]
    return "\n\n".join(parts)


def document(results, names, provenance):
    """The part of docs/performance.md that is written: the headlines, then the tables."""
    return "\n\n".join(["### In short", table.headline(results, FIGURES), "### Measured",
                        tables(results, names, provenance)])


def put_between_markers(document, text):
    """The document with this text in place of whatever bench/compare wrote there before."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the two marker lines are missing")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def _kind(proxy):
    if proxy.name in OWN:
        return "own"
    return "other" if proxy.protocol == "plain" or proxy.name == AGAIN else "socks"


def _groups(results, figures, proxies):
    """A group of bars for each figure, over the rounds that all of them have in common."""
    for figure in figures:
        names = [REFERENCE, *(proxy.name for proxy in proxies)]
        rounds = results.common_rounds(figure, names)
        bars = [(proxy, results.ratio(figure, proxy.name, rounds)) for proxy in proxies]
        yield plot.Group(figure.title, figure.ratio_target,
                         [plot.Bar(proxy.name, _kind(proxy), found)
                          for proxy, found in bars if found])


def pictures(results, proxies):
    """Pairs of file name and SVG: socku beside the twin, and socku beside its peers."""
    own = [proxy for proxy in proxies if proxy.name in (*OWN, AGAIN)]
    peers = [proxy for proxy in proxies if proxy.package or proxy.name in OWN]
    again = f"{AGAIN}: the tokio version a second time, so its distance from 1 is noise."
    yield "bench-socku.svg", plot.ratio_chart(
        "socku beside the tokio version",
        [f"CPU and memory: {SCALE}", SOCKU_COPY,
         *([again] if any(proxy.name == AGAIN for proxy in own) else [])],
        list(_groups(results, [figure for figure in FIGURES if figure.plot], own)))
    yield "bench-peers.svg", plot.ratio_chart(
        "socku beside other proxies",
        [f"CPU and memory: {SCALE}",
         f"{SOCKU_COPY} Hollow bars: plain relays, which speak no SOCKS."],
        list(_groups(results, [figure for figure in FIGURES if figure.peers], peers)))
