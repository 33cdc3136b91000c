"""Checks of a graph's data: what was measured while it was built, held against the bounds of the config."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from artifacts.errors import DataError
from artifacts.formats.graph import load_graph
from partitioning import CheckConfig
from pipeline.workspace.context import Context
from pipeline.workspace.workspace import Run

_WIDTH = 60  # of a check's label in the table


@dataclass(frozen=True)
class Verdict:
    """What came of a check. `outcome`: ok, warn, fail, or skipped where there is nothing to measure or compare."""

    check: str
    value: float | None
    expected: str
    outcome: str
    note: str = ""


def verdicts(context: Context, run: Run) -> list[Verdict]:
    """The verdicts on the graph of a run, in the order of the config."""
    record = run.record("partition") or {}
    before = next((one for one in context.workspace.runs() if one.id == record["parent"]), None)
    return [_verdict(check, *_measured(context, check, run, before)) for check in context.config.checks]


def require_checks(context: Context, run: Run) -> None:
    """Raises DataError with a line for each check that fails."""
    if lines := lines_of(verdicts(context, run), "fail"):
        raise DataError(*lines)


def lines_of(found: list[Verdict], outcome: str) -> list[str]:
    """A line for each verdict of an outcome."""
    return [
        f"checks[{index}]: {verdict.check} is {_told(verdict.value)}; expected {verdict.expected}"
        for index, verdict in enumerate(found)
        if verdict.outcome == outcome
    ]


def as_metrics(found: list[Verdict]) -> dict[str, Any]:
    """Verdicts as the stage's metrics."""
    return {"checks": [asdict(verdict) for verdict in found]}


def table(found: list[Verdict]) -> str:
    """Verdicts as an aligned table for a person."""
    rows = [("check", "value", "expected", "outcome")]
    rows += [(_short(one.check), _told(one.value), one.expected, f"{one.outcome} {one.note}".rstrip()) for one in found]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        f"  {name:<{widths[0]}}  {value:>{widths[1]}}  {expected:<{widths[2]}}  {outcome}"
        for name, value, expected, outcome in rows
    )


def _verdict(check: CheckConfig, value: float | None, note: str) -> Verdict:
    if value is None and note:
        return Verdict(check.label, None, check.bounds, "skipped", f"({note})")
    good = value is not None and check.holds(value)
    return Verdict(check.label, value, check.bounds, "ok" if good else check.level)


def _measured(context: Context, check: CheckConfig, run: Run, before: Run | None) -> tuple[float | None, str]:
    """The value of a check, and why there is none to judge; no value without a reason is a failure of its own."""
    metrics = run.metrics()["partition"]
    if check.kind == "without_edges":
        entities = metrics["entities_by_type"][check.type]
        return (metrics["cold"][check.type] + metrics["absent"][check.type]) / max(entities, 1), ""
    if check.kind in ("null_rate", "duplicate_rate", "sql"):
        found = check.label in metrics["measured"]
        return metrics["measured"].get(check.label), "" if found else "no new rows were read"
    if before is None or (earlier := before.metrics().get("partition")) is None:
        return None, "no run was published before"
    if check.kind == "rows":
        return _rows(context, check, metrics, earlier)
    if check.kind == "map_overlap":
        entities, known = metrics["entities_by_type"][check.type], metrics["known"][check.type]
        occurring = entities - metrics["absent"][check.type]
        return 1 - (entities - known) / occurring if occurring else 0.0, ""
    names = set(_names(run)) - set(_names(before)) - set(context.config.graph.declared_names)
    return float(len(names)), ""


def _rows(
    context: Context, check: CheckConfig, now: dict[str, Any], earlier: dict[str, Any]
) -> tuple[float | None, str]:
    """Rows as a multiple of those before. Of an append-only source a run reads new files alone: rows of one of them."""
    source = check.source or ""
    each = [metrics["rows_read"].get(source, 0) for metrics in (earlier, now)]
    if context.config.graph.sources[source].append_only:
        files = [metrics.get("files_read", {}).get(source, 0) for metrics in (earlier, now)]
        if not files[1]:
            return None, "no new file was read"
        if not files[0]:
            return None, "the last published run read no file of it"
        each = [rows / count for rows, count in zip(each, files, strict=True)]
    return (each[1] / each[0], "") if each[0] else (None, "the last published run read no rows of it")


def _names(run: Run) -> Iterator[str]:
    return (relation.name for relation in load_graph(run.directory("partition")).relations)


def _short(text: str) -> str:
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."


def _told(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
