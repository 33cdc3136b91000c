"""AUC against the size of a gap as an SVG, a panel for each kind. Plain text: no library is needed for a few lines."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from benchmarks.ranking.gap.draws import KINDS

COLOURS = {"none": "#777777", "frozen_concat": "#d95f02", "attention": "#1b5e9f"}
WIDTH, HEIGHT, LEFT, TOP, GAP = 200, 150, 48, 48, 52  # of a panel, of the page's margins, and between panels
COLUMNS = 3


def plot(title: str, base: Mapping[str, float], lines: Sequence[Mapping[str, Any]]) -> str:
    """`base` has the AUC of each arm without a gap, `lines` those under gaps, as `Judge.lines` has them."""
    values = [*base.values(), *(line["auc"] for line in lines)]
    low, high = min(values), max(values)
    edge = 0.05 * (high - low) or 0.01
    panels = [
        _panel(kind, index, base, [line for line in lines if line["kind"] == kind], (low - edge, high + edge))
        for index, kind in enumerate(KINDS)
    ]
    rows = -(-len(panels) // COLUMNS)
    width, height = LEFT + COLUMNS * (WIDTH + GAP), TOP + rows * (HEIGHT + GAP)
    keys = "".join(
        _text(LEFT + 150 * index, 36, arm, fill=colour, weight="bold")
        for index, (arm, colour) in enumerate(COLOURS.items())
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">'
    ground = f'<rect width="{width}" height="{height}" fill="white"/>'
    return "\n".join([head, ground, _text(LEFT, 18, title, size=14), keys, *panels, "</svg>"]) + "\n"


def _panel(
    kind: str, index: int, base: Mapping[str, float], lines: Sequence[Mapping[str, Any]], bounds: tuple[float, float]
) -> str:
    left, top = LEFT + index % COLUMNS * (WIDTH + GAP), TOP + index // COLUMNS * (HEIGHT + GAP)
    sizes = (0, *KINDS[kind].sizes)

    def x(place: int) -> float:
        return left + WIDTH * place / (len(sizes) - 1)

    def y(value: float) -> float:
        return top + HEIGHT * (bounds[1] - value) / (bounds[1] - bounds[0])

    parts = [f'<rect x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#bbbbbb"/>']
    parts += [_text(left + 6, top + 14, kind, weight="bold")]
    parts += [_text(x(place), top + HEIGHT + 14, f"{size:g}", anchor="middle") for place, size in enumerate(sizes)]
    for share in (0.1, 0.5, 0.9):
        value = bounds[0] + share * (bounds[1] - bounds[0])
        parts.append(_text(left - 4, y(value) + 4, f"{value:.3f}", anchor="end"))
    for arm, colour in COLOURS.items():
        found = {line["size"]: line["auc"] for line in lines if line["arm"] == arm}
        points = [(x(place), y(found.get(size, base[arm]))) for place, size in enumerate(sizes)]
        way = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        parts.append(f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="{colour}"/>' for px, py in points if found]
    return "\n".join(parts)


def _text(
    x: float, y: float, text: str, size: int = 11, anchor: str = "start", fill: str = "#222222", weight: str = "normal"
) -> str:
    style = f'font-size="{size}" text-anchor="{anchor}" fill="{fill}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'
