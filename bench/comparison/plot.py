"""Bar charts as SVG, written by hand. Each chart draws its own card, so it is readable on any
page, and follows the reader's colour scheme where that is known."""

from html import escape

WIDTH = 860
LABEL_WIDTH = 230
RIGHT_MARGIN = 110
BAR = 13
GAP = 3
GROUP_GAP = 14
TOP = 78
BOTTOM = 40

COLOURS = ["#0072b2", "#56b4e9", "#8a8a8a", "#e69f00", "#009e73", "#cc79a7", "#d55e00",
           "#a6761d", "#7570b3"]

STYLE = """\
.card { fill: #ffffff; stroke: #d0d7de; }
text { fill: #1f2328; font-family: system-ui, -apple-system, 'Segoe UI', sans-serif;
       font-size: 12px; }
.title { font-size: 15px; font-weight: 600; }
.small { font-size: 11px; }
.axis { stroke: #8c959f; stroke-width: 1; }
.grid { stroke: #d8dee4; stroke-width: 1; }
.one { stroke: #1f2328; stroke-width: 1.5; stroke-dasharray: 5 3; }
.whisker { stroke: #1f2328; stroke-width: 1.2; }
.target { stroke: #cf222e; stroke-width: 2.5; }
@media (prefers-color-scheme: dark) {
  .card { fill: #161b22; stroke: #30363d; }
  text { fill: #e6edf3; }
  .grid { stroke: #30363d; }
  .one, .whisker { stroke: #e6edf3; }
  .target { stroke: #ff7b72; }
}"""


def ratio_chart(results, figures, proxies, title, subtitle):
    """Horizontal bars of ratios to the twin with whiskers from the lowest to the highest."""
    groups = []
    for figure in figures:
        bars = [(name, results.ratio(figure, name)) for name in proxies]
        bars = [(name, found) for name, found in bars if found]
        if bars:
            groups.append((figure, bars))
    if not groups:
        return None
    highest = max(found[2] for _, bars in groups for _, found in bars)
    limit = min(max(1.25, highest * 1.05), 3.0)
    plot_width = WIDTH - LABEL_WIDTH - RIGHT_MARGIN
    scale = plot_width / limit
    colours = dict(zip(proxies, COLOURS))

    def x(ratio):
        return LABEL_WIDTH + min(ratio, limit) * scale

    body, y = [], TOP
    for figure, bars in groups:
        height = len(bars) * (BAR + GAP) - GAP
        body.append(f'<text x="{LABEL_WIDTH - 10}" y="{y + height / 2 + 4:.1f}" '
                    f'text-anchor="end">{escape(figure.plot)}</text>')
        for at, (name, found) in enumerate(bars):
            body.append(_bar(x, y + at * (BAR + GAP), found, colours[name], limit))
        if figure.ratio_target is not None:
            at = x(figure.ratio_target)
            body.append(f'<line class="target" x1="{at:.1f}" x2="{at:.1f}" '
                        f'y1="{y - 4}" y2="{y + height + 4}"/>')
        y += height + GROUP_GAP
    bottom = y - GROUP_GAP + 6
    total = bottom + BOTTOM
    step = 0.25 if limit <= 2 else 0.5
    grid = []
    for tick in (step * at for at in range(int(limit / step) + 1)):
        style = "axis" if tick == 0 else "one" if tick == 1 else "grid"
        grid.append(f'<line class="{style}" x1="{x(tick):.1f}" x2="{x(tick):.1f}" '
                    f'y1="{TOP - 8}" y2="{bottom}"/>'
                    f'<text class="small" x="{x(tick):.1f}" y="{bottom + 16}" '
                    f'text-anchor="middle">{tick:g}</text>')
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total}" '
        f'width="{WIDTH}" height="{total}" role="img" aria-label="{escape(title)}">',
        f"<style>\n{STYLE}\n</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{total - 1}" rx="6"/>',
        f'<text class="title" x="16" y="24">{escape(title)}</text>',
        f'<text class="small" x="16" y="42">{escape(subtitle)}</text>',
        _legend(proxies, colours, any(figure.ratio_target for figure, _ in groups)),
        *grid, *body, "</svg>", ""])


def _bar(x, y, found, colour, limit):
    middle, low, high = found
    centre = y + BAR / 2
    parts = [
        f'<rect x="{x(0):.1f}" y="{y}" width="{x(middle) - x(0):.1f}" height="{BAR}" '
        f'fill="{colour}"/>',
        f'<line class="whisker" x1="{x(low):.1f}" x2="{x(high):.1f}" '
        f'y1="{centre}" y2="{centre}"/>',
    ]
    for end in (low, high):
        parts.append(f'<line class="whisker" x1="{x(end):.1f}" x2="{x(end):.1f}" '
                     f'y1="{centre - 3}" y2="{centre + 3}"/>')
    cut = " &#8594;" if middle > limit else ""
    parts.append(f'<text class="small" x="{x(max(middle, high)) + 6:.1f}" '
                 f'y="{centre + 4}">{middle:.2f}{cut}</text>')
    return "".join(parts)


def _legend(proxies, colours, has_targets):
    parts, at = [], 16
    for name in proxies:
        parts.append(f'<rect x="{at}" y="52" width="10" height="10" fill="{colours[name]}"/>'
                     f'<text class="small" x="{at + 14}" y="61">{escape(name)}</text>')
        at += 26 + 7 * len(name)
    if has_targets:
        parts.append(f'<line class="target" x1="{at + 2}" x2="{at + 2}" y1="50" y2="64"/>'
                     f'<text class="small" x="{at + 9}" y="61">to reach</text>')
    return "".join(parts)
