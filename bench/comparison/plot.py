"""Bar charts as SVG, written by hand.

A chart is narrow, and its letters are large for its width, so that it can be read on a phone. Each
bar has its name at its left and its figure at its right, in columns of their own: no label depends
on the length of a bar. The chart draws its own card, so it is readable on any page, and follows
the reader's colour scheme where that is known.
"""

import textwrap
from html import escape
from typing import NamedTuple

from .results import Spread

WIDTH = 420
MARGIN = 12
NAME_WIDTH = 106
FIGURE_WIDTH = 124
# The widest common sans-serif fonts (Verdana, DejaVu Sans) take about that share of the size.
LETTER_WIDTH = 0.6
SMALL, NORMAL, LARGE = 12, 13, 15
BAR = 12
ROW = 19
HEADING = 26
GROUP_GAP = 10
# Bars end here, where the next tick would be; longer ones get an arrow.
LIMIT_MAX = 2.0
TICK = 0.5

STYLE = f"""\
.card {{ fill: #ffffff; stroke: #d0d7de; }}
text {{ fill: #1f2328; font-family: system-ui, -apple-system, 'Segoe UI', sans-serif;
       font-size: {SMALL}px; }}
.title {{ font-size: {LARGE}px; font-weight: 600; }}
.heading {{ font-size: {NORMAL}px; font-weight: 600; }}
.own {{ fill: #0969da; }}
.socks {{ fill: #8c959f; }}
.other {{ fill: #ffffff; stroke: #8c959f; stroke-width: 1.5; }}
.axis {{ stroke: #8c959f; stroke-width: 1; }}
.grid {{ stroke: #d8dee4; stroke-width: 1; }}
.one {{ stroke: #1f2328; stroke-width: 1.5; stroke-dasharray: 5 3; }}
.whisker {{ stroke: #1f2328; stroke-width: 1.2; }}
.target {{ stroke: #cf222e; stroke-width: 2.5; }}
@media (prefers-color-scheme: dark) {{
  .card {{ fill: #161b22; stroke: #30363d; }}
  text {{ fill: #e6edf3; }}
  .own {{ fill: #58a6ff; }}
  .socks {{ fill: #6e7681; }}
  .other {{ fill: #161b22; stroke: #6e7681; }}
  .grid {{ stroke: #30363d; }}
  .one, .whisker {{ stroke: #e6edf3; }}
  .target {{ stroke: #ff7b72; }}
}}"""


class Bar(NamedTuple):
    """One ratio. `kind` is own, socks or other, and chooses the colour."""

    name: str
    kind: str
    ratio: Spread


class Group(NamedTuple):
    """Bars below one heading, with the ratio to reach if there is one."""

    heading: str
    target: float | None
    bars: list


def ratio_chart(title, notes, groups):
    """Horizontal bars of ratios to the twin with whiskers from the lowest to the highest; None
    when there is nothing to draw."""
    groups = [group for group in groups if group.bars]
    if not groups:
        return None
    chart = _Chart(groups)
    head, y = _head(title, notes, groups)
    top = y
    body = []
    for group in groups:
        body += chart.group(group, y)
        y += HEADING + len(group.bars) * ROW + GROUP_GAP
    total = y + SMALL + MARGIN
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total}" '
        f'width="{WIDTH}" height="{total}" role="img" aria-label="{escape(title)}">',
        f"<style>\n{STYLE}\n</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{total - 1}" rx="6"/>',
        *head, *chart.grid(top + HEADING - 4, y - GROUP_GAP + 4), *body, "</svg>", ""])


def _text(x, y, text, style="", anchor="start"):
    style = f'class="{style}" ' if style else ""
    return f'<text {style}x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _line(style, x1, y1, x2, y2):
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _wrapped(text, size):
    return textwrap.wrap(text, int((WIDTH - 2 * MARGIN) / (size * LETTER_WIDTH)))


def _head(title, notes, groups):
    """Title, notes and the legend of the target line, and where they end."""
    parts, y = [], MARGIN + 4
    for line in _wrapped(title, LARGE):
        y += LARGE + 3
        parts.append(_text(MARGIN, y - 6, line, "title"))
    for note in notes:
        for line in _wrapped(note, SMALL):
            y += SMALL + 3
            parts.append(_text(MARGIN, y - 3, line))
    if any(group.target is not None for group in groups):
        y += SMALL + 5
        parts.append(_line("target", MARGIN + 3, y - 14, MARGIN + 3, y - 1))
        parts.append(_text(MARGIN + 12, y - 3, "target"))
    return parts, y + 6


class _Chart:
    """Places bars by one scale."""

    def __init__(self, groups):
        highest = max(bar.ratio.highest for group in groups for bar in group.bars)
        self.limit = min(max(1.25, highest), LIMIT_MAX)
        self.left = MARGIN + NAME_WIDTH
        self.right = WIDTH - MARGIN - FIGURE_WIDTH

    def x(self, ratio):
        return self.left + min(ratio, self.limit) / self.limit * (self.right - self.left)

    def grid(self, top, bottom):
        for at in range(int(self.limit / TICK) + 1):
            x = self.x(at * TICK)
            style = "axis" if at == 0 else "one" if at * TICK == 1 else "grid"
            yield _line(style, x, top, x, bottom)
            yield _text(x, bottom + SMALL + 2, f"{at * TICK:g}", anchor="middle")

    def group(self, group, y):
        # A strip of the card's colour below the heading, which the grid would cross otherwise.
        yield (f'<rect class="card" style="stroke: none" x="{MARGIN}" y="{y}" '
               f'width="{WIDTH - 2 * MARGIN}" height="{HEADING - 4}"/>')
        yield _text(MARGIN, y + HEADING - 9, group.heading, "heading")
        y += HEADING
        for at, bar in enumerate(group.bars):
            yield from self.bar(bar, y + at * ROW)
        if group.target is not None:
            x = self.x(group.target)
            yield _line("target", x, y - 2, x, y + len(group.bars) * ROW - 4)

    def bar(self, bar, y):
        middle, low, high, rounds = bar.ratio
        centre = y + BAR / 2
        yield _text(self.left - 6, y + BAR - 2, bar.name, anchor="end")
        yield (f'<rect class="{bar.kind}" x="{self.left}" y="{y}" '
               f'width="{self.x(middle) - self.left:.1f}" height="{BAR}"/>')
        if middle > self.limit:
            tip = self.right + 5
            yield (f'<path class="{bar.kind}" d="M{self.right} {y}L{tip} {centre}'
                   f'L{self.right} {y + BAR}z"/>')
        elif rounds > 1:
            yield _line("whisker", self.x(low), centre, self.x(high), centre)
            # An end beyond the scale is not drawn as if it were at the scale's end.
            for end in (end for end in (low, high) if end <= self.limit):
                yield _line("whisker", self.x(end), centre - 3, self.x(end), centre + 3)
        yield _text(WIDTH - MARGIN, y + BAR - 2, _figure(bar.ratio), anchor="end")


def _figure(ratio):
    low, high = _short(ratio.lowest), _short(ratio.highest)
    return _short(ratio.median) if low == high else f"{_short(ratio.median)} ({low}-{high})"


def _short(value):
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f}"
