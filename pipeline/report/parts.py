"""What a page is made of: sections of panels, a panel a chart and the table of its numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from pipeline.report import shown

if TYPE_CHECKING:
    from bokeh.models import Plot

SHORT = 30  # letters of a cell that stay on one line: a run has 29
MOST_ROWS = 1000  # of a table: a graph may have a hundred thousand relations


@dataclass(frozen=True)
class Table:
    """Rows under columns; the first column names the row."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]

    def html(self, caption: str) -> str:
        head = "".join(
            f'<th scope="col"{_numeric(self.rows[0][index]) if self.rows else ""}>{escape(column)}</th>'
            for index, column in enumerate(self.columns)
        )
        body = "".join(self._row(row) for row in self.rows[:MOST_ROWS])
        left = len(self.rows) - MOST_ROWS
        more = f"<p>{left:,} more rows are in the run's files.</p>" if left > 0 else ""
        return (
            f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
            f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{more}"
        )

    @staticmethod
    def _row(row: Sequence[Any]) -> str:
        first, *rest = row
        cells = "".join(f"<td{_numeric(value)}>{shown.html(value)}</td>" for value in rest)
        return f'<tr><th scope="row"{_numeric(str(first))}>{shown.html(first)}</th>{cells}</tr>'


def _numeric(value: Any) -> str:
    if value is None or isinstance(value, int | float):
        return ' class="number"'
    return ' class="short"' if len(value) <= SHORT else ""


@dataclass(frozen=True)
class Panel:
    """A chart beside its numbers; without a chart, a table that is open, and without both a remark."""

    title: str
    table: Table | None = None
    chart: "Plot | None" = None
    note: str = ""
    below: str = ""  # HTML that belongs to the chart, such as its buttons

    def html(self, id: str) -> str:
        title, note = escape(self.title), f'<p class="note">{shown.words(self.note)}</p>' if self.note else ""
        table = self.table.html(self.title) if self.table else ""
        if self.chart is None:
            return f'<div class="panel"><h3>{title}</h3>{note}{table}</div>'
        numbers = f"<details><summary>Numbers: {title}</summary>{table}</details>" if table else ""
        place = f'id="{id}" style="min-height:{self.chart.height}px" role="img"'
        return (
            f'<figure class="panel" aria-labelledby="{id}-title"><figcaption><h3 id="{id}-title">{title}</h3>{note}'
            f'</figcaption><div class="chart" {place} aria-label="Chart: {title}; its numbers follow"></div>'
            f"{_legend(id, self.chart)}{self.below}{numbers}</figure>"
        )


def _legend(id: str, chart: "Plot") -> str:
    """Buttons that show and hide what a chart has more than one of."""
    if len(chart.tags) < 2:
        return ""
    buttons = (
        f'<li><button type="button" aria-pressed="true" data-of="{id}" data-series="{index}"><span aria-hidden="true" '
        f'style="color:{color}">{shape}</span> <bdi>{escape(name)}</bdi></button></li>'
        for index, (name, color, shape) in enumerate(chart.tags)
    )
    return f'<ul class="legend" aria-label="Shown in the chart">{"".join(buttons)}</ul>'


@dataclass(frozen=True)
class Section:
    """A part of the page. `missing` says why there is nothing to show, in place of empty charts."""

    id: str
    title: str
    panels: list[Panel] = field(default_factory=list)
    lead: str = ""
    missing: str = ""
    odd: Sequence[str] = ()  # what a person should hear of the numbers before they are read
    more: str = ""  # HTML after the panels

    @property
    def charts(self) -> dict[str, "Plot"]:
        """Its charts by the id of the element that each is drawn in."""
        return {self._id(index): panel.chart for index, panel in enumerate(self.panels) if panel.chart is not None}

    def _id(self, index: int) -> str:
        return f"{self.id}-{index}"

    def html(self) -> str:
        lead = f"<p>{shown.words(self.lead)}</p>" if self.lead else ""
        missing = f'<p class="missing">{shown.words(self.missing)}</p>' if self.missing else ""
        odd = "".join(f'<p class="odd"><strong>Warning</strong> {shown.words(line)}</p>' for line in self.odd)
        panels = "".join(panel.html(self._id(index)) for index, panel in enumerate(self.panels))
        return (
            f'<section id="{self.id}" aria-labelledby="{self.id}-heading"><h2 id="{self.id}-heading">'
            f'{escape(self.title)}</h2>{odd}{lead}{missing}<div class="panels">{panels}</div>{self.more}</section>'
        )
