"""What the graph looks like, what was left out of it and why, and what its checks found."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifacts.embeddings import Embeddings
from artifacts.formats.graph import SPLITS
from pipeline.report import charts
from pipeline.report.charts import Series
from pipeline.report.facts import Facts
from pipeline.report.parts import Panel, Section, Table

MOST_TYPES = 10  # curves in one chart
MOST_DEGREES = 1 << 20  # entities of a type that are counted; of more, every n-th


def graph(facts: Facts) -> Section:
    if "partition" not in facts.records:
        return Section("graph", "Graph", missing="The run holds no graph.")
    panels = [_edges(facts), _degrees(facts), _entities(facts), _consent(facts), _left_out(facts), _checks(facts)]
    first, last = facts.graph.window
    window = "" if first is None or last is None else f" Training events from {_day(first)} to {_day(last)} (UTC)."
    counts = ", ".join(f"{facts.graph.edges(split):,} {split}" for split in SPLITS)
    return Section("graph", "Graph", panels, lead=f"Edges: {counts}.{window}")


def _day(seconds: int) -> str:
    return str(np.datetime64(seconds, "s")).replace("T", " ")


def _edges(facts: Facts) -> Panel:
    relations = sorted(facts.statistics["relations"], key=lambda one: -sum(one["edges"].values()))
    domains = {relation.name: (relation.lhs, relation.rhs, relation.domain) for relation in facts.graph.relations}
    rows = [
        (
            one["name"],
            *domains[one["name"]],
            *(one["edges"][split] for split in SPLITS),
            one["distinct_lhs"],
            one["distinct_rhs"],
        )
        for one in relations
    ]
    columns = ("relation", "heads", "tails", "domain", *SPLITS, "distinct heads", "distinct tails")
    series = [Series(split, [one["edges"][split] for one in relations]) for split in SPLITS]
    note = _largest(len(relations))
    chart = charts.dots([one["name"] for one in relations], series, "edges", log=True)
    return Panel("Edges by relation", Table(columns, rows), chart, note)


def _largest(count: int) -> str:
    return f"The chart has the {charts.MOST_BARS} largest of {count:,}." if count > charts.MOST_BARS else ""


def _degrees(facts: Facts) -> Panel:
    title = "Degrees: the share of entities with at least so many training edges"
    quantiles = {name: found["degree"] for name, found in facts.statistics["entities"].items()}
    rows = [(name, *(found[key] for key in ("p50", "p90", "p99", "max"))) for name, found in quantiles.items()]
    table, export = Table(("type", "median", "90 %", "99 %", "largest"), rows), facts.embeddings
    curves = [] if export is None else [found for name in export.types if (found := _survival(export, name))]
    if not curves:
        why = "The curves need the degrees of an export (`export.degrees`), and the run has none."
        return Panel(title, table, note=why)
    curves.sort(key=lambda one: -len(one.x))
    note = f"The chart has {MOST_TYPES} of {len(curves)} types." if len(curves) > MOST_TYPES else ""
    chart = charts.lines(curves[:MOST_TYPES], "training edges", "share of entities", x_log=True, y_log=True)
    return Panel(title, table, chart, note)


def _survival(export: Embeddings, name: str) -> Series | None:
    """The share of a type's entities with at least x edges, at some fifty values of x; None without degrees."""
    degrees = export.degrees(name)
    if degrees is None or not len(degrees):
        return None
    total = degree_sums(degrees, max(1, len(degrees) // MOST_DEGREES))
    largest = int(total.max())
    if not largest:
        return None
    x = np.unique(np.geomspace(1, largest, 50).round().astype(np.int64))
    share = 1 - np.searchsorted(np.sort(total), x, side="left") / len(total)
    return Series(name, [float(one) for one in share], [int(one) for one in x])


def degree_sums(degrees: NDArray[Any], step: int = 1) -> NDArray[np.int64]:
    """Training edges of every `step`-th entity, all relations and both sides together, (N / step,)."""
    return np.asarray(degrees[::step].sum(axis=1, dtype=np.int64))


def _entities(facts: Facts) -> Panel:
    metrics = facts.records["partition"]["metrics"]
    rows = [
        (
            name,
            found["count"],
            metrics["known"].get(name),
            found["cold"],
            found["absent"],
            len(found["partitions"]),
            found["imbalance"],
        )
        for name, found in facts.statistics["entities"].items()
    ]
    columns = ("type", "entities", "known before", "cold", "absent", "partitions", "imbalance")
    note = (
        "Cold: only in held-out edges. Absent: known from the graph before, without an edge now. "
        "Imbalance: of the partition farthest from the mean."
    )
    return Panel("Entities by type", Table(columns, rows), note=note)


def _consent(facts: Facts) -> Panel:
    title, dropped = "Rows without consent", facts.records["partition"]["metrics"]["without_consent"]
    if not dropped:
        return Panel(title, note="No relation of this graph needs consent, or everybody had agreed.")
    rules = facts.graph.consent
    edges = {relation.name: sum(relation.edges.values()) for relation in facts.graph.relations}
    ordered = sorted(dropped.items(), key=lambda one: -one[1])
    rows = [(name, count, edges.get(name), rules.get(name)) for name, count in ordered]
    table = Table(("relation", "rows left out", "edges kept", "who agreed"), rows)
    chart = charts.bars([name for name, _ in ordered], [count for _, count in ordered], "rows")
    return Panel(title, table, chart, "Left out before anything else was made of them.")


REASONS = {
    "seen_before": "held-out edges that training, or an earlier split, has already",
    "after_until": "events after the end of test",
}


def _left_out(facts: Facts) -> Panel:
    metrics = facts.records["partition"]["metrics"]
    rows: list[tuple[Any, ...]] = [("rows read", source, count) for source, count in metrics["rows_read"].items()]
    rows += [("without consent", name, count) for name, count in metrics["without_consent"].items()]
    for name, of_name in metrics["removed"].items():
        parts = of_name.items() if isinstance(of_name, dict) else [("", of_name)]
        rows += [("removed by `without`", f"{name} {part}".strip(), count) for part, count in parts]
    rows += [("ids to forget, found", name, count) for name, count in metrics["forgotten"].items()]
    rows += [("edges left out", REASONS.get(why, why), count) for why, count in metrics["edges_left_out"].items()]
    rows.append(("edges kept", "all splits", metrics["edges"]))
    return Panel("What was read, and what was left out and why", Table(("what", "of", "count"), rows))


def _checks(facts: Facts) -> Panel:
    metrics = facts.metrics("checks")
    if metrics is None:
        return Panel("Checks of the data", note="The config has no checks, or they have not run.")
    rows = [
        (one["check"], one["outcome"], one["value"], _words(one["expected"]), one["note"]) for one in metrics["checks"]
    ]
    return Panel("Checks of the data", Table(("check", "outcome", "value", "expected", "note"), rows))


def _words(value: Any) -> str:
    return value if isinstance(value, str) else str(value)
