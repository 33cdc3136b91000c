"""The kinds of charts that a page has. Colours that depend on light and dark are given in the browser (`page.js`)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bokeh.models import (
    BasicTicker,
    BoxZoomTool,
    ColumnDataSource,
    FactorRange,
    HoverTool,
    LinearAxis,
    NumeralTickFormatter,
    PanTool,
    Range1d,
    ResetTool,
    Span,
    WheelZoomTool,
    Whisker,
)
from bokeh.plotting import figure

from pipeline.report import shown

# Of middling lightness, to be seen on white and on near black; shapes differ, too.
COLORS = ("#3b82c4", "#e07b1a", "#2a9d6f", "#c4529b", "#8a6fd1", "#b8941f", "#4fb0c6", "#d1495b", "#7c8a99", "#7a9a3a")
MARKERS = ("circle", "square", "triangle", "diamond", "inverted_triangle", "hex", "star", "plus", "cross", "asterisk")
SHAPES = "●■▲◆▼⬢★✚✖✱"  # the markers in a legend
DASHES = ("solid", "dashed", "dotted", "dotdash", "dashdot")
MOST_BARS = 30  # names on an axis; the table has all
ROW = 26  # pixels
SHORTENED = 20_000  # from here on an axis says 20k

Values = Sequence[float | None]


@dataclass(frozen=True)
class Series:
    """Values under a name: `y` of every `x`, or of every name on an axis. `bounds`: lower and upper ends."""

    name: str
    y: Values
    x: Values = ()
    bounds: tuple[Values, Values] | None = None
    ideal: bool = False  # what values are held against


def _figure(height: int, **options: Any) -> Any:
    found = figure(
        height=height,
        sizing_mode="stretch_width",
        min_width=240,
        tools="",
        toolbar_location=None,
        output_backend="svg",
        **options,
    )
    found.min_border_right = 16
    found.xaxis.axis_label_text_font_style = found.yaxis.axis_label_text_font_style = "normal"
    found.background_fill_color = found.border_fill_color = found.outline_line_color = None
    return found


def _legend(plot: Any, names: Sequence[str]) -> None:
    """Leaves to the page what each series is called and looks like: it has buttons that show and hide them."""
    plot.tags = [
        [shown.name(name, 32), COLORS[index % len(COLORS)], SHAPES[index % len(SHAPES)]]
        for index, name in enumerate(names)
    ]


def lines(
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    *,
    x_log: bool = False,
    y_log: bool = False,
    mark: tuple[str, float] | None = None,
) -> Any:
    """Curves. `mark`: a level to compare with, and what it is."""
    kinds = {"x_axis_type": "log" if x_log else "linear", "y_axis_type": "log" if y_log else "linear"}
    plot = _figure(280, x_axis_label=x_label, y_axis_label=y_label, **kinds)
    for index, one in enumerate(series):
        pairs = [(x, y) for x, y in zip(one.x, one.y, strict=True) if x is not None and y is not None]
        source = ColumnDataSource(
            {"x": [x for x, _ in pairs], "y": [y for _, y in pairs], "of": [shown.name(one.name)] * len(pairs)}
        )
        color = COLORS[index % len(COLORS)]
        line = plot.line("x", "y", source=source, color=color, line_width=2, name=str(index))
        line.glyph.line_dash = "dashed" if one.ideal else DASHES[index // len(COLORS) % len(DASHES)]
        if len(pairs) <= 60:
            marker = MARKERS[index % len(MARKERS)]
            plot.scatter("x", "y", source=source, color=color, size=6, marker=marker, name=str(index))
    if mark is not None:
        plot.add_layout(
            Span(location=mark[1], dimension="width", line_dash="dashed", line_color=COLORS[7], line_width=2)
        )
        highest = max(mark[1], _most(y for one in series for y in one.y))
        plot.y_range = Range1d(0, highest * 1.08)
    plot.add_tools(HoverTool(tooltips=[("", "@of"), (x_label, "@x{0,0.[000]}"), (y_label, "@y{0,0.[0000]}")]))
    _axes(plot, _most(x for one in series for x in one.x), _most(y for one in series for y in one.y))
    if not x_log and all(isinstance(x, int) for one in series for x in one.x):
        plot.xaxis.ticker = BasicTicker(min_interval=1, desired_num_ticks=5)
    _legend(plot, [one.name for one in series])
    return plot


def _most(values: Iterable[float | None]) -> float:
    return max((value for value in values if value is not None), default=0)


def _axes(plot: Any, most_x: float, most_y: float = 0) -> None:
    """Few numbers on an axis, and short ones. `most_x`, `most_y`: the largest values."""
    for axis, largest in ((plot.xaxis[0], most_x), (plot.yaxis[0], most_y)):
        if isinstance(axis, LinearAxis):
            short = NumeralTickFormatter(format="0.[00]a" if largest >= SHORTENED else "0,0.[0000]")
            axis.formatter, axis.ticker.desired_num_ticks = short, 5


def dots(
    labels: Sequence[str],
    series: Sequence[Series],
    x_label: str,
    *,
    log: bool = False,
    zero: float | None = None,
) -> Any:
    """A row for each name, a dot for each series, with its interval. `zero`: the value that means no difference."""
    rows = shown.names(labels[:MOST_BARS])
    apart = len(series) > 1 and any(one.bounds for one in series)  # intervals would cover each other
    shift = [0.28 - 0.56 * i / (len(series) - 1) if apart else 0.0 for i in range(len(series))]
    axis = "log" if log else "linear"
    height = 90 + ROW * max(len(rows), 2) * (2 if apart and len(series) > 3 else 1)
    plot = _figure(height, y_range=FactorRange(factors=rows[::-1]), x_axis_label=x_label, x_axis_type=axis)
    for index, one in enumerate(series):
        kept = [i for i in range(len(rows)) if one.y[i] is not None and not (log and one.y[i] == 0)]
        data: dict[str, list[Any]] = {
            "row": [(rows[i], shift[index]) for i in kept],
            "x": [one.y[i] for i in kept],
            "label": [rows[i] for i in kept],
            "of": [shown.name(one.name)] * len(kept),
        }
        if one.bounds is not None:
            low, high = one.bounds
            data |= {"low": [low[i] for i in kept], "high": [high[i] for i in kept]}
        source, color = ColumnDataSource(data), COLORS[index % len(COLORS)]
        plot.scatter("x", "row", source=source, color=color, size=9, marker=MARKERS[index], name=str(index))
        if one.bounds is not None:
            whisker = Whisker(base="row", lower="low", upper="high", source=source, dimension="width", line_color=color)
            whisker.name = str(index)
            whisker.upper_head.size = whisker.lower_head.size = 7
            whisker.upper_head.line_color = whisker.lower_head.line_color = color
            plot.add_layout(whisker)
    if zero is not None:
        plot.add_layout(Span(location=zero, dimension="height", line_dash="dashed", line_color=COLORS[8]))
    _spread(plot, series, rows, zero, log)
    plot.add_tools(HoverTool(tooltips=[("", "@label"), ("", "@of"), (x_label, "@x{0,0.[0000]}")]))
    _axes(plot, _most(x for one in series for x in one.y))
    plot.ygrid.grid_line_alpha = 0.4
    _legend(plot, [one.name for one in series])
    return plot


def _spread(plot: Any, series: Sequence[Series], rows: Sequence[str], zero: float | None, log: bool) -> None:
    """Widens the x axis to the intervals, which bokeh leaves out when it looks for the range."""
    ends = [value for one in series for part in (one.y, *(one.bounds or ())) for value in part[: len(rows)]]
    found = [value for value in [*ends, zero] if value is not None]
    if log or not found:
        return
    low, high = min(found), max(found)
    margin = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    plot.x_range = Range1d(low - margin if any(one.bounds for one in series) else min(0.0, low), high + margin)


def bars(labels: Sequence[str], values: Values, x_label: str) -> Any:
    """A bar for each name."""
    rows = shown.names(labels[:MOST_BARS])
    plot = _figure(70 + ROW * max(len(rows), 2), y_range=FactorRange(factors=rows[::-1]), x_axis_label=x_label)
    source = ColumnDataSource({"row": rows, "x": [value or 0 for value in values[: len(rows)]]})
    plot.hbar(y="row", right="x", source=source, height=0.7, color=COLORS[0])
    plot.x_range.start = 0
    plot.add_tools(HoverTool(tooltips=[("", "@row"), (x_label, "@x{0,0.[0000]}")]))
    _axes(plot, _most(values))
    plot.ygrid.grid_line_color = None
    return plot


def points(groups: Mapping[str, Mapping[str, Sequence[Any]]]) -> Any:
    """A map: `x`, `y` and `id` of each group, in its colour and shape; it can be zoomed."""
    plot = _figure(460, match_aspect=True)
    plot.output_backend, plot.name = "canvas", "map"
    plot.axis.visible = False
    for index, (kind, data) in enumerate(groups.items()):
        source = ColumnDataSource({**data, "of": [shown.name(kind)] * len(data["id"])})
        color, marker = COLORS[index % len(COLORS)], MARKERS[index % len(MARKERS)]
        style = {"size": 7, "fill_alpha": 0.45, "line_alpha": 0.8, "color": color, "marker": marker}
        plot.scatter("x", "y", source=source, name=str(index), **style)
    plot.add_tools(HoverTool(tooltips=[("@of", "@id")]), PanTool(), BoxZoomTool(match_aspect=True), ResetTool())
    plot.add_tools(WheelZoomTool(modifiers="ctrl"))
    plot.toolbar.logo = None
    _legend(plot, list(groups))
    return plot
