"""How the run differs from those published before it."""

from typing import Any

from pipeline.report import charts, shown
from pipeline.report.charts import Series
from pipeline.report.facts import Facts
from pipeline.report.parts import Panel, Section, Table

MOST_TYPES = 8
MOST_LINES = 30  # of the workspace's record


def drift(facts: Facts) -> Section:
    stability = (facts.metrics("export") or {}).get("stability")
    panels, missing = [], ""
    if stability is None:
        missing = "There was no published run to compare the vectors with."
    elif "not_compared" in stability:
        missing = f"Not compared with {stability['previous']}: {stability['not_compared']}"
    else:
        panels.append(_stability(stability))
    if len(facts.nights) > 1:
        panels += _nights(facts)
    if facts.publications:
        panels.append(_publications(facts))
    return Section("drift", "Drift", panels, missing=missing)


def _stability(stability: dict[str, Any]) -> Panel:
    types = stability["types"]
    rows = [
        (
            name,
            *(one.get(key) for key in ("entities", "known_before", "overlap", "by_chance", "cosine", "cosine_aligned")),
        )
        for name, one in types.items()
    ]
    columns = ("type", "entities drawn", "known before", "neighbours kept", "by chance", "cosine", "cosine, aligned")
    series = [
        Series("neighbours kept", [one.get("overlap") for one in types.values()]),
        Series("by chance", [one.get("by_chance") for one in types.values()]),
    ]
    k = stability["neighbors"]
    note = f"Of the {k} nearest neighbours of the same type, the share that run {stability['previous']} has, too."
    title = f"Neighbours kept since {stability['previous']}"
    return Panel(title, Table(columns, rows), charts.dots(list(types), series, "share of neighbours"), note)


def _nights(facts: Facts) -> list[Panel]:
    nights, kinds = [(run.id, run.metrics()) for run in facts.nights], [kind.name for kind in facts.graph.entity_types]
    x = list(range(1, len(nights) + 1))

    def overlap(metrics: dict[str, Any], kind: str) -> float | None:
        found = ((metrics["export"].get("stability") or {}).get("types") or {}).get(kind) or {}
        value: float | None = found.get("overlap")
        return value

    kept = [Series(kind, [overlap(metrics, kind) for _, metrics in nights], x) for kind in kinds[:MOST_TYPES]]
    quality = [Series("MRR", [(metrics.get("evaluate") or {}).get("mrr") for _, metrics in nights], x)]
    rows = [
        (
            id,
            number,
            metrics["partition"]["edges_by_split"]["train"],
            metrics["partition"]["entities"],
            (metrics.get("evaluate") or {}).get("mrr"),
            *(overlap(metrics, kind) for kind in kinds[:MOST_TYPES]),
        )
        for number, (id, metrics) in zip(x, nights, strict=True)
    ]
    table = Table(("run", "number", "training edges", "entities", "MRR", *kinds[:MOST_TYPES]), rows)
    panels = []
    for title, series, label in (("Neighbours kept, run by run", kept, "share"), ("MRR, run by run", quality, "MRR")):
        drawn = [one for one in series if any(value is not None for value in one.y)]
        note = "Runs with an export that are kept, oldest first; rejected ones, too."
        if drawn:
            panels.append(Panel(title, table, charts.lines(drawn, "run", label), note))
    return panels


def _publications(facts: Facts) -> Panel:
    lines = facts.publications[-MOST_LINES:][::-1]
    rows = [
        (shown.moment(line["time"]), line["action"], line["run"], line.get("user"), line.get("reason"))
        for line in lines
    ]
    return Panel("What was published and rejected", Table(("time", "action", "run", "by", "reason"), rows))
