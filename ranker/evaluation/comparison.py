"""From predictions on the test split to the tree of metrics: per arm and task, with intervals, and arm against arm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ranker.evaluation.bootstrap import METRICS, Bootstrap, Samples, interval
from ranker.evaluation.metrics import summary
from ranker.evaluation.predictions import Logits, Truth

COMPARED = ("auc", "gauc", "logloss", "ne")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """One arm on one task: its part of the tree, and its resamples (means over seeds) for comparisons."""

    tree: dict[str, Any]
    samples: Samples
    segment_aucs: dict[str, Floats]


class Judge:
    """Judges all arms on the same rows and the same draws of users."""

    def __init__(self, truth: Truth, segments: Sequence[str], resamples: int) -> None:
        self.truth, self.segments = truth, segments
        self.bootstrap = Bootstrap(truth.users, resamples)

    def task(self, task: str, logits: Mapping[int, Logits]) -> Judged:
        """Judges the predictions of an arm's seeds. Every number is the mean over seeds."""
        rows = self.truth.rows(task)
        y, users = self.truth.labels(task)[rows], self.truth.users[rows]
        probabilities = {seed: sigmoid(found[task][rows]) for seed, found in logits.items()}
        points = {seed: summary(y, p, users) for seed, p in probabilities.items()}
        samples = [self.bootstrap.metrics(y, p, users) for p in probabilities.values()]
        mean = {name: np.mean([sample[name] for sample in samples], axis=0) for name in METRICS}
        segments, aucs = self._segments(task, probabilities)
        tree: dict[str, Any] = {name: _mean([point[name] for point in points.values()]) for name in METRICS}
        tree["intervals"] = {name: interval(mean[name]) for name in METRICS}
        tree["seeds"] = {str(seed): point for seed, point in points.items()}
        tree["segments"] = segments
        return Judged(tree, mean, aucs)

    def _segments(self, task: str, probabilities: Mapping[int, Floats]) -> tuple[dict[str, Any], dict[str, Floats]]:
        rows = self.truth.rows(task)
        trees, aucs = {}, {}
        for index, name in enumerate(self.segments):
            inside = self.truth.segments[rows, index]
            y, users = self.truth.labels(task)[rows][inside], self.truth.users[rows][inside]
            points = [summary(y, p[inside], users) for p in probabilities.values()]
            aucs[name] = np.mean([self.bootstrap.aucs(y, p[inside], users) for p in probabilities.values()], axis=0)
            trees[name] = {
                "rows": points[0]["rows"],
                "positives": points[0]["positives"],
                **{metric: _mean([point[metric] for point in points]) for metric in METRICS},
                "auc_interval": interval(aucs[name]),
            }
        return trees, aucs


def compare(judged: Mapping[str, Judged]) -> list[dict[str, Any]]:
    """Every arm against every earlier one on one task: the difference (later minus earlier) and its paired interval."""
    found = []
    for earlier, later in combinations(judged, 2):
        one, other = judged[later], judged[earlier]
        pair = {"arm": later, "baseline": earlier}
        for metric in COMPARED:
            difference = _difference(one.tree[metric], other.tree[metric])
            between = interval(one.samples[metric] - other.samples[metric])
            found.append({**pair, "segment": "all", "metric": metric, "difference": difference, "interval": between})
        for segment, samples in one.segment_aucs.items():
            difference = _difference(*(side.tree["segments"][segment]["auc"] for side in (one, other)))
            between = interval(samples - other.segment_aucs[segment])
            found.append({**pair, "segment": segment, "metric": "auc", "difference": difference, "interval": between})
    return found


def sigmoid(logits: NDArray[np.float32]) -> Floats:
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if len(defined) == len(values) else None


def _difference(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other
