"""Confidence intervals by resampling users: impressions of one user are no independent draws."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ranker.evaluation.metrics import Floats, Ints, Ranking, cross_entropy, entropy, user_aucs

LEVEL = 0.95
METRICS = ("auc", "gauc", "logloss", "ne", "calibration")

Samples = dict[str, NDArray[np.float64]]


class Bootstrap:
    """Draws of users with replacement; every arm and task is judged on the same draws, so that arms can be paired."""

    def __init__(self, users: Ints, resamples: int, seed: int = 0) -> None:
        self.names = np.unique(users)
        self.resamples, self._seed = resamples, seed

    def draws(self) -> Iterator[NDArray[np.float64]]:
        """How often each user of `names` was drawn, (U,), once per resample."""
        rng, count = np.random.default_rng(self._seed), len(self.names)
        for _ in range(self.resamples):
            yield np.bincount(rng.integers(0, count, count), minlength=count).astype(np.float64)

    def metrics(self, y: Ints, p: Floats, users: Ints) -> Samples:
        """Every metric in every resample, (R,) each; NaN where a resample does not define it. Inputs are (N,)."""
        totals = _UserTotals(y, p, np.searchsorted(self.names, users), len(self.names))
        found = [totals.metrics(drawn) for drawn in self.draws()]
        return {name: np.array([one[name] for one in found]) for name in METRICS}

    def aucs(self, y: Ints, p: Floats, users: Ints) -> NDArray[np.float64]:
        """The AUC alone, (R,)."""
        ranking, codes = Ranking(y, p), np.searchsorted(self.names, users)
        return np.array([_number(ranking.auc(drawn[codes])) for drawn in self.draws()])


class _UserTotals:
    """What the metrics need of each user, (U,), so that a resample is a few inner products and one AUC."""

    def __init__(self, y: Ints, p: Floats, codes: Ints, users: int) -> None:
        self._ranking, self._codes = Ranking(y, p), codes
        self._rows = np.bincount(codes, minlength=users)
        self._positives = np.bincount(codes, y, minlength=users)
        self._predicted = np.bincount(codes, p, minlength=users)
        self._loss = np.bincount(codes, cross_entropy(y, p), minlength=users)
        members, aucs, sizes = user_aucs(y, p, codes)
        self._members, self._sizes, self._wins = members, sizes, aucs * sizes

    def metrics(self, drawn: NDArray[np.float64]) -> dict[str, float]:
        rows, positives = drawn @ self._rows, drawn @ self._positives
        loss, rate = _ratio(drawn @ self._loss, rows), _ratio(positives, rows)
        weights = drawn[self._members]
        return {
            "auc": _number(self._ranking.auc(drawn[self._codes])),
            "gauc": _ratio(weights @ self._wins, weights @ self._sizes),
            "logloss": loss,
            "ne": _ratio(loss, entropy(rate)),
            "calibration": _ratio(drawn @ self._predicted, positives),
        }


def interval(samples: NDArray[np.float64]) -> list[float] | None:
    """The central 95 % of resamples; None where too few are defined."""
    defined = samples[np.isfinite(samples)]
    if len(defined) < len(samples) / 2:
        return None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return [float(low), float(high)]


def _ratio(above: Any, below: Any) -> float:
    return float(above / below) if below else float("nan")


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
