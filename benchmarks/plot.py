"""Bar charts as SVG, by hand: readable on light and on dark pages, the same bytes for the same numbers."""

from collections.abc import Sequence
from math import floor, log10
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT = 760, 150, 90
BAR, GAP, HEAD, FOOT = 16, 6, 34, 10
OURS, PEER, LIMIT, INK, FAINT = "#0f766e", "#94a3b8", "#d97706", "#64748b", "#64748b33"
STYLE = f"text{{font:12px system-ui,sans-serif;fill:{INK}}} .t{{font-weight:600;font-size:13px}} .o{{font-weight:600}}"


def number(value: float) -> str:
    """Three digits or so."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def chart(panels: Sequence[tuple[str, str, Sequence[tuple[str, float, str]]]]) -> str:
    """One panel a job: its title, its unit, and (name, cost, colour) for each subject, on a logarithmic scale."""
    parts: list[str] = []
    top = 0
    for title, unit, bars in panels:
        parts += panel(title, unit, bars, top)
        top += HEAD + len(bars) * (BAR + GAP) + FOOT
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" role="img"><style>{STYLE}</style>'
    return "\n".join([head, *parts, "</svg>"]) + "\n"


def panel(title: str, unit: str, bars: Sequence[tuple[str, float, str]], top: int) -> list[str]:
    """The bars of one job, beginning at `top`."""
    least = floor(log10(min(cost for _, cost, _ in bars)) - 0.2)
    most = log10(max(cost for _, cost, _ in bars))
    scale = (WIDTH - LEFT - RIGHT) / max(most - least, 1)
    bottom = top + HEAD + len(bars) * (BAR + GAP)
    parts = [f'<text class="t" x="0" y="{top + 16}">{escape(title)} ({escape(unit)})</text>']
    for power in range(least, floor(most) + 1):
        x = LEFT + (power - least) * scale
        parts.append(f'<path d="M{x:.1f} {top + HEAD - 8}V{bottom}" stroke="{FAINT}"/>')
    for place, (name, cost, colour) in enumerate(bars):
        y = top + HEAD + place * (BAR + GAP)
        width = max((log10(cost) - least) * scale, 1)
        kind = ' class="o"' if colour == OURS else ""
        parts.append(f'<text{kind} x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2" fill="{colour}"/>')
        parts.append(f'<text{kind} x="{LEFT + width + 6:.1f}" y="{y + 12}">{number(cost)}</text>')
    return parts


def growth(title: str, lines: Sequence[tuple[str, Sequence[tuple[int, float]], str]]) -> str:
    """Cost against the number of rows, both on logarithmic scales; one (name, points, colour) a subject."""
    height, bottom, top = 300, 260, 40
    xs = sorted({rows for _, points, _ in lines for rows, _ in points})
    costs = [cost for _, points, _ in lines for _, cost in points]
    least, most = floor(log10(min(costs))), log10(max(costs)) + 0.1
    across = (WIDTH - 60 - 160) / max(log10(xs[-1]) - log10(xs[0]), 1)
    up = (bottom - top) / max(most - least, 1)
    parts = [f'<text class="t" x="0" y="16">{escape(title)}</text>']
    for power in range(least, floor(most) + 1):
        y = bottom - (power - least) * up
        parts.append(f'<path d="M60 {y:.1f}H{WIDTH - 160}" stroke="{FAINT}"/>')
        parts.append(f'<text x="52" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g}</text>')
    parts += [
        f'<text x="{60 + (log10(x) - log10(xs[0])) * across:.1f}" y="{bottom + 20}" text-anchor="middle">{x:,}</text>'
        for x in xs
    ]
    labels: list[float] = []
    for name, points, colour in sorted(lines, key=lambda line: -line[1][-1][1]):
        places = [
            (60 + (log10(rows) - log10(xs[0])) * across, bottom - (log10(cost) - least) * up) for rows, cost in points
        ]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        parts.append(f'<path d="M{path}" stroke="{colour}" stroke-width="2" fill="none"/>')
        x, y = places[-1]
        y = max(y, labels[-1] + 14) if labels else y
        labels.append(y)
        kind = ' class="o"' if colour == OURS else ""
        parts.append(f'<text{kind} x="{x + 8:.1f}" y="{y + 4:.1f}">{escape(name)}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"><style>{STYLE}</style>'
    return "\n".join([head, *parts, "</svg>"]) + "\n"
