"""What `make bench-rank` tells of predictions: metrics, paired differences, ratios, and the table."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ranking.comparison.rows import Array
from ranker.data.records import Split, Summary
from ranker.evaluation.bootstrap import Bootstrap, interval
from ranker.evaluation.metrics import auc, summary
from ranker.evaluation.predictions import Truth

OURS, FUXI, BOOSTING = "attention", "fuxictr_dcnv2_pretrained", "lightgbm"
WITHOUT_VECTORS = ("lightgbm_plain", "lightgbm_counts", "lightgbm_lists")
METRICS = ("auc", "gauc", "ne", "calibration")

Parts = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Judge:
    """The test rows of a data set, on which every model is judged alike."""

    truth: Truth
    resamples: int

    @classmethod
    def of(cls, prepared: Path, summary: Summary, resamples: int) -> "Judge":
        return cls(Truth.of(Split.of(prepared, "test", summary)), resamples)

    def _of(self, task: str) -> tuple[Array, Array]:
        rows = self.truth.rows(task)
        return self.truth.labels(task)[rows], self.truth.users[rows]

    def metrics(self, task: str, p: Array) -> dict[str, Any]:
        y, users = self._of(task)
        found = summary(y, p, users)
        return {name: found[name] for name in ("rows", "positives", *METRICS)}

    def differences(self, task: str, ours: Array, others: Mapping[str, Array]) -> dict[str, dict[str, Any]]:
        """AUC of ours less that of each other, with its paired 95 % interval over users."""
        y, users = self._of(task)
        bootstrap, found = Bootstrap(users, self.resamples), {}
        samples, point = bootstrap.aucs(y, ours, users), auc(y, ours)
        for name, p in others.items():
            other = auc(y, p)
            between = interval(samples - bootstrap.aucs(y, p, users))
            found[name] = {"difference": None if None in (point, other) else point - other, "interval": between}
        return found


def best_boosting(parts: Parts, task: str) -> str | None:
    """The features without our vectors with which LightGBM is best on validation."""
    known = [name for name in WITHOUT_VECTORS if name in parts and task in parts[name]["tasks"]]
    return min(known, key=lambda name: parts[name]["valid_logloss"][task], default=None)


def speed_ratio(parts: Parts) -> float | None:
    """Examples a second of processor time, ours over FuxiCTR's with the same vectors, at one batch size."""
    if not {OURS, FUXI} <= set(parts):
        return None
    ours, fuxi = (parts[name]["speed"] for name in (OURS, FUXI))
    if ours["batch"] != fuxi["batch"]:
        raise ValueError(f"batches of {ours['batch']} and {fuxi['batch']}: expected equal ones")
    return ours["examples_per_processor_second"] / fuxi["examples_per_processor_second"]


def end_to_end_ratio(parts: Parts, key: str = "seconds") -> float | None:
    """FuxiCTR's seconds from raw impressions to test AUC over ours, vectors given to both, all tasks together."""
    return parts[FUXI][key] / parts[OURS][key] if {OURS, FUXI} <= set(parts) else None


def worst(ratios: Mapping[str, float | None]) -> float | None:
    """Of the data sets that have one."""
    return min((ratio for ratio in ratios.values() if ratio is not None), default=None)


def auc_tree(found: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    """{model: {task: AUC}} of one data set, the best boosting without our vectors as `lightgbm`."""
    tree: dict[str, dict[str, float | None]] = {
        name: {task: numbers["auc"] for task, numbers in part["tasks"].items()}
        for name, part in found["models"].items()
    }
    if boosting := {task: tree[name][task] for task, name in found["lightgbm"].items() if name is not None}:
        tree[BOOSTING] = boosting
    return tree


def table(name: str, found: Mapping[str, Any]) -> str:
    """Markdown, a line for each model, and one for each difference."""
    tasks = sorted({task for part in found["models"].values() for task in part["tasks"]})
    heads = [f"{task.upper()} {metric}" for task in tasks for metric in ("AUC", "gAUC", "NE", "calib.")]
    heads = [name, *heads, "examples/s: clock, processor", "seconds: clock, processor", "peak GiB"]
    lines = [_line(heads), "|---" * len(heads) + "|"]
    lines += [_line([f"`{model}`", *_cells(part, tasks)]) for model, part in found["models"].items()]
    lines.append("")
    for task, others in found["differences"].items():
        lines += [f"{task.upper()} AUC, `attention` - `{other}`: {_told(one)}" for other, one in others.items()]
    return "\n".join(lines)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(part: Mapping[str, Any], tasks: list[str]) -> list[str]:
    numbers = [part["tasks"].get(task, {}).get(metric) for task in tasks for metric in METRICS]
    rates = [part["speed"][f"examples_per_{key}second"] for key in ("", "processor_")]
    costs = [f"{part['seconds']:.0f}, {part['processor_seconds']:.0f}", f"{part['peak_bytes'] / (1 << 30):.2f}"]
    return [*(_number(one) for one in numbers), ", ".join(f"{one:,.0f}" for one in rates), *costs]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _told(one: Mapping[str, Any]) -> str:
    if one["difference"] is None or one["interval"] is None:
        return "not defined"
    return f"{one['difference']:+.4f} [{one['interval'][0]:+.4f}, {one['interval'][1]:+.4f}]"


def probabilities(path: Path) -> Array:
    return np.load(path)
