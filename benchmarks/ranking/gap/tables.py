"""What gaps cost: AUC by kind, size and arm, and its paired difference to the same arm without a gap."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.ranking.gap.cells import ARMS, NO_GAP, Cell, Experiment
from benchmarks.ranking.gap.draws import KINDS, Array, Gap
from ranker.evaluation.bootstrap import Bootstrap, interval
from ranker.evaluation.metrics import auc

RESAMPLES = 100

Results = dict[str, list[dict[str, Any]]]


class Judge:
    """AUC of a task's test rows, means over seeds; the samples of one bootstrap over users are shared by all cells."""

    def __init__(self, experiment: Experiment, task: str, seeds: Sequence[int]) -> None:
        rows = experiment.truth.rows(task)
        self._experiment, self._task, self._seeds = experiment, task, seeds
        self._y, self._users = experiment.truth.labels(task)[rows], experiment.truth.users[rows]
        self._bootstrap = Bootstrap(self._users, RESAMPLES)
        self._base = {arm: self._samples(arm, NO_GAP) for arm in ARMS}
        self.base = {arm: self._auc(arm, NO_GAP) for arm in ARMS}

    def lines(self) -> list[dict[str, Any]]:
        """One for each kind, size and arm that reads vectors."""
        return [
            self._line(kind, size, arm)
            for kind, one in KINDS.items()
            for size in one.sizes
            for arm in ARMS
            if arm != "none"
        ]

    def _line(self, kind: str, size: float, arm: str) -> dict[str, Any]:
        gap = Gap(kind, size)
        found, none = self._auc(arm, gap), self.base["none"]
        gained = self.base[arm] - none
        change = interval(self._samples(arm, gap) - self._base[arm])
        kept = (found - none) / gained if gained else None
        told = {"auc": found, "change": found - self.base[arm], "interval": change, "kept": kept}
        return {"kind": kind, "size": size, "arm": arm, **told}

    def _predicted(self, arm: str, gap: Gap) -> list[Array]:
        return [self._experiment.probabilities(Cell(arm, gap, seed))[self._task] for seed in self._seeds]

    def _samples(self, arm: str, gap: Gap) -> Array:
        """(R,)."""
        found = [self._bootstrap.aucs(self._y, p, self._users) for p in self._predicted(arm, gap)]
        return np.asarray(np.mean(found, axis=0))

    def _auc(self, arm: str, gap: Gap) -> float:
        return float(np.mean([auc(self._y, p) or np.nan for p in self._predicted(arm, gap)]))


def table(task: str, base: dict[str, float], lines: list[dict[str, Any]]) -> str:
    """Markdown: a line for each kind and size, two columns for each arm."""
    arms = [arm for arm in ARMS if arm != "none"]
    heads = [f"{task.upper()} AUC under a gap", *(f"`{arm}`, and what it lost" for arm in arms)]
    told = ["none: " + f"`none` {base['none']:.4f}", *(f"{base[arm]:.4f}" for arm in arms)]
    rows = [heads, ["---"] * len(heads), told]
    for kind, one in KINDS.items():
        for size in one.sizes:
            found = {line["arm"]: line for line in lines if (line["kind"], line["size"]) == (kind, size)}
            rows.append([f"{kind} {size:g}", *(_told(found[arm]) for arm in arms)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _told(line: dict[str, Any]) -> str:
    between = line["interval"]
    around = "" if between is None else f" [{between[0]:+.4f}, {between[1]:+.4f}]"
    return f"{line['auc']:.4f} ({line['change']:+.4f}{around})"
