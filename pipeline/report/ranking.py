"""The ranker's arms: quality with intervals, calibration, gains by segment, and what the lists were attended to."""

from typing import Any

from pipeline.report import charts, shown
from pipeline.report.charts import Series
from pipeline.report.facts import Facts
from pipeline.report.parts import Panel, Section, Table
from pipeline.stages.told.odd_numbers import odd_ranking

TASKS = {"ctr": "CTR: is it clicked", "cvr": "CVR: is a click converted"}


def ranking(facts: Facts) -> Section:
    metrics = facts.metrics("rank")
    if metrics is None:
        why = (
            "This config has no ranker."
            if not facts.config.get("ranker")
            else "`transra rank` has not run for this run."
        )
        return Section("ranker", "Ranker", missing=why)
    tasks = [task for task in TASKS if any(task in arm for arm in metrics["arms"].values())]
    panels = [
        panel for task in tasks for panel in (_auc(metrics, task), _calibration(metrics, task), _gains(metrics, task))
    ]
    panels += [_matches(metrics), *_attention(metrics), _scorer(facts)]
    rows = ", ".join(f"{split} {found['rows']:,}" for split, found in metrics["rows"].items())
    lead = f"Impressions: {rows}. Intervals are of 95 %, drawn by user."
    return Section("ranker", "Ranker", panels, lead, odd=list(odd_ranking(metrics)))


def _auc(metrics: dict[str, Any], task: str) -> Panel:
    arms = {name: arm[task] for name, arm in metrics["arms"].items() if task in arm}
    rows = [
        (
            name,
            found["auc"],
            shown.interval(found["intervals"]["auc"]),
            found["gauc"],
            found["logloss"],
            found["ne"],
            found["calibration"],
            sum(metrics["arms"][name]["parameters"].values()),
        )
        for name, found in arms.items()
    ]
    columns = (
        "arm",
        "AUC",
        "95 % interval",
        "grouped AUC",
        "logloss",
        "normalised entropy",
        "calibration",
        "parameters",
    )
    chart = charts.dots(list(arms), [_bounded("AUC", arms, "auc")], "AUC")
    return Panel(f"{TASKS[task]}? AUC of the arms", Table(columns, rows), chart)


def _bounded(name: str, arms: dict[str, Any], metric: str) -> Series:
    found = [arm["intervals"][metric] or (None, None) for arm in arms.values()]
    values = [arm[metric] for arm in arms.values()]
    drawn = [value if low is not None else None for value, (low, _) in zip(values, found, strict=True)]
    return Series(name, drawn, bounds=([low for low, _ in found], [high for _, high in found]))


def _calibration(metrics: dict[str, Any], task: str) -> Panel:
    """Predicted beside observed rates by decile, of the first seed."""
    curves, rows = [], []
    for name, arm in metrics["arms"].items():
        if task not in arm:
            continue
        seed = next(iter(arm[task]["seeds"].values()))
        deciles = seed.get("calibration_deciles") or []
        curves.append(Series(name, [one["observed"] for one in deciles], [one["predicted"] for one in deciles]))
        rows += [(name, i, one["predicted"], one["observed"], one["rows"]) for i, one in enumerate(deciles, 1)]
    title = f"{TASKS[task]}? Calibration"
    ends = [value for curve in curves for part in (curve.x, curve.y) for value in part if value is not None]
    if not ends:
        return Panel(title, note="Too few rows to compare predicted and observed rates.")
    curves.append(Series("perfect", [0.0, max(ends)], [0.0, max(ends)], ideal=True))
    table = Table(("arm", "tenth of the rows", "predicted", "observed", "rows"), rows)
    chart = charts.lines(curves, "predicted", "observed")
    return Panel(title, table, chart, "Test rows in tenths by their prediction, of the first seed.")


def _gains(metrics: dict[str, Any], task: str) -> Panel:
    """What the arms gain over the first one, by segment."""
    first, title = next(iter(metrics["arms"])), f"{TASKS[task]}? Gain in AUC by segment"
    found = [
        one
        for one in metrics["comparisons"].get(task, [])
        if one["baseline"] == first and one["metric"] == "auc" and one["difference"] is not None
    ]
    if not found:
        return Panel(title, note="There is one arm only, or no segment has enough rows.")
    labels = list(dict.fromkeys(one["segment"] for one in found))
    arms = list(dict.fromkeys(one["arm"] for one in found))[: len(charts.MARKERS)]
    at = {(one["arm"], one["segment"]): one for one in found if one["interval"]}

    def part(arm: str, index: int) -> list[float | None]:
        return [at[arm, label]["interval"][index] if (arm, label) in at else None for label in labels]

    series = [
        Series(
            arm,
            [at[arm, label]["difference"] if (arm, label) in at else None for label in labels],
            bounds=(part(arm, 0), part(arm, 1)),
        )
        for arm in arms
    ]
    rows = [(one["segment"], one["arm"], one["difference"], shown.interval(one["interval"])) for one in found]
    chart = charts.dots(labels, series, f"AUC above that of {shown.name(first, 20)}", zero=0.0)
    return Panel(
        title, Table(("segment", "arm", "difference", "95 % interval"), rows), chart, f"Against the arm {first}."
    )


def _matches(metrics: dict[str, Any]) -> Panel:
    rows = [
        (slot, export, found["traffic"], found["ids"], found["distinct"], found["rows_without_id"])
        for export, slots in metrics["match_rates"].items()
        for slot, found in slots.items()
    ]
    columns = ("slot", "export", "share of traffic", "share of ids", "distinct ids", "rows without an id")
    return Panel("How much of the log the exports know", Table(columns, rows))


def _attention(metrics: dict[str, Any]) -> list[Panel]:
    """What the arms with attention look at: the tokens of their context, and the places of their lists."""
    found = {name: arm["attention"] for name, arm in metrics["arms"].items() if arm.get("attention")}
    if not found:
        note = "No arm has attention, or its training is of a version that did not record the weights."
        return [Panel("Attention weights", note=note)]
    slots = list(dict.fromkeys(slot for one in found.values() for slot in one["context"]))
    arms = list(found)[: len(charts.MARKERS)]
    series = [Series(arm, [found[arm]["context"].get(slot) for slot in slots]) for arm in arms]
    rows = [(slot, *(found[arm]["context"].get(slot) for arm in arms)) for slot in slots]
    note = "Mean weight of each slot in the attention of the row's context, over heads and the first test rows."
    table, chart = Table(("slot", *arms), rows), charts.dots(slots, series, "mean weight")
    return [Panel("Attention weights by slot", table, chart, note), *_list_attention(found)]


def _list_attention(found: dict[str, Any]) -> list[Panel]:
    lists = [(f"{slot}, {arm}", one) for arm, of_arm in found.items() for slot, one in of_arm["lists"].items()]
    if not lists:
        return []
    series = [Series(name, one["places"], list(range(1, len(one["places"]) + 1))) for name, one in lists]
    rows: list[tuple[Any, ...]] = [
        (name, place, weight) for name, one in lists for place, weight in enumerate(one["places"], 1)
    ]
    rows += [(name, "none of them", one["empty"]) for name, one in lists]
    note = "Mean weight of each place of a list, in the log's order, over rows with something in it."
    chart = charts.lines(series, "place in the list", "mean weight")
    return [Panel("Attention weights in lists", Table(("list, arm", "place", "weight"), rows), chart, note)]


def _scorer(facts: Facts) -> Panel:
    metrics, title = facts.metrics("fit"), "Published scorer"
    if metrics is None:
        return Panel(title, note="None: the config has no `ranker.fit`, or it has not run.")
    rows = [
        ("arm", metrics["arm"]),
        ("impressions", metrics["rows"]["rows"]),
        ("from", metrics["first"]),
        ("to", metrics["last"]),
        *((f"predicted over observed, {task}", value) for task, value in metrics["calibration"].items()),
    ]
    return Panel(title, Table(("what", "value"), rows))
