"""How the training went: loss, validation, speed, waiting and memory beside the plan."""

from collections import defaultdict
from itertools import pairwise
from typing import Any

import numpy as np

from pipeline.report import charts, shown
from pipeline.report.charts import Series
from pipeline.report.facts import Facts
from pipeline.report.parts import Panel, Section, Table

MOST_POINTS = 120  # of a curve; buckets beyond are averaged
MIB = 1 << 20


def training(facts: Facts) -> Section:
    metrics = facts.metrics("train")
    if metrics is None:
        return Section("training", "Training", missing="The run holds no trained model.")
    log = facts.log("train")
    panels = [*_curves(log), _validation(facts), _summary(metrics, _expected(log))]
    made_in, missing = facts.records["train"]["run"], ""
    if not _buckets(log):
        missing = f"The log of run {made_in}, which trained this model, is gone or says nothing of it: no curves."
    return Section("training", "Training", panels, _lead(metrics), missing)


def _lead(metrics: dict[str, Any]) -> str:
    resumed = f", {metrics['resumed_epochs']} of them before it was resumed" if metrics["resumed_epochs"] else ""
    early = " It stopped early." if metrics["stopped_early"] else ""
    best = f" The model is that of epoch {metrics['best_epoch']}." if metrics["best_epoch"] else ""
    return f"{metrics['epochs']} epochs{resumed}; {metrics['edges_per_second']:,.0f} edges a second.{early}{best}"


def _expected(log: list[dict[str, Any]]) -> dict[str, Any]:
    """The plan of the latest attempt."""
    starts = [line for line in log if line["message"] == "stage started" and line.get("stage") == "train"]
    return dict(starts[-1].get("expected") or {}) if starts else {}


def _buckets(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What each bucket told, once: one that was trained again after a kill by its last line."""
    last = {
        (line["pass_index"], *line["bucket"]): line
        for line in log
        if line["message"] == "bucket" and {"pass_index", "bucket", "edges", "trained"} <= line.keys()
    }
    return [line for line in sorted(last.values(), key=lambda line: line["trained"]) if line["edges"]]


def _curves(log: list[dict[str, Any]]) -> list[Panel]:
    buckets = _buckets(log)
    if not buckets:
        return []
    points = [_mean(group) for group in _groups(buckets)]
    x = [point["trained"] for point in points]
    columns = ("edges trained", "loss", "learning rate", "edges/s", "waited for files, s", "memory, MiB")
    keys = ("trained", "loss", "lr", "rate", "waited", "memory")
    table = Table(columns, [tuple(point[key] for key in keys) for point in points])
    plan = _expected(log).get("memory_bytes")
    mark = ("plan", plan / MIB) if plan else None
    memory = [Series("memory", [point["memory"] for point in points], x)]
    note = f"The dashed line is the plan, {shown.size(plan)}." if plan else "The log of this training has no plan."
    return [
        Panel("Loss", table, charts.lines([Series("loss", [p["loss"] for p in points], x)], "edges trained", "loss")),
        Panel(
            "Speed", table, charts.lines([Series("speed", [p["rate"] for p in points], x)], "edges trained", "edges/s")
        ),
        Panel("Waiting for files, by pass", *_waiting(buckets)),
        Panel("Memory beside the plan", table, charts.lines(memory, "edges trained", "MiB", mark=mark), note),
    ]


def _groups(buckets: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    ends = np.linspace(0, len(buckets), min(len(buckets), MOST_POINTS) + 1).astype(int)
    return [buckets[begin:end] for begin, end in pairwise(ends)]


def _mean(group: list[dict[str, Any]]) -> dict[str, Any]:
    edges, seconds = sum(one["edges"] for one in group), sum(one["seconds"] for one in group)
    return {
        "trained": group[-1]["trained"],
        "loss": sum(one["loss"] * one["edges"] for one in group) / edges,
        "lr": group[-1].get("lr"),
        "rate": edges / seconds if seconds else None,
        "waited": sum(one["waited"] for one in group),
        "memory": max(one.get("memory_bytes", 0) for one in group) / MIB,
    }


def _waiting(buckets: list[dict[str, Any]]) -> tuple[Table, Any]:
    waited: dict[int, float] = defaultdict(float)
    trained: dict[int, float] = defaultdict(float)
    for one in buckets:
        waited[one["pass_index"] + 1] += one["waited"]
        trained[one["pass_index"] + 1] += one["seconds"]
    table = Table(("pass", "waited, s", "trained, s"), [(p, waited[p], trained[p]) for p in waited])
    series = [Series("waited", list(waited.values()), list(waited))]
    return table, charts.lines(series, "pass over the edges", "seconds")


def _validation(facts: Facts) -> Panel:
    metrics = facts.records["train"]["metrics"]
    found = metrics["validation_mrr"] or metrics.get("validation_retrieval") or []
    if not found:
        return Panel(
            "Validation", note="Not validated: `model.validate_every` is not set, or the valid split is empty."
        )
    what = "MRR" if metrics["validation_mrr"] else "recall@20"
    series = [Series(what, [score for _, score in found], [epoch for epoch, _ in found])]
    chart = charts.lines(series, "epoch", what)
    return Panel("Validation", Table(("epoch", what), found), chart, f"{what} of edges of the valid split.")


def _summary(metrics: dict[str, Any], expected: dict[str, Any]) -> Panel:
    def planned(key: str) -> str:
        return shown.size(expected[key]) if key in expected else "not in the log"

    seconds = shown.duration(expected["seconds"]) if "seconds" in expected else "not in the log"
    rows = [
        ("time", shown.duration(metrics["seconds"]), seconds),
        ("memory", shown.size(metrics["peak_rss_bytes"]), planned("memory_bytes")),
        ("disk", "–", planned("disk_bytes")),
        ("waited for files", shown.duration(metrics["swap_seconds"]), "–"),
        ("edges a second", f"{metrics['edges_per_second']:,.0f}", "–"),
        ("loss of the last epoch", shown.number(metrics["loss"]), "–"),
    ]
    return Panel("Measured beside planned", Table(("what", "measured", "planned"), rows))
