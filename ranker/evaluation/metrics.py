"""What a prediction is worth, exactly: from all labels y (N,) of 0 and 1 and all probabilities p (N,)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]
EPSILON = 1e-7  # log loss takes no probability nearer to 0 or 1
DECILES = 10


class Ranking:
    """A sorted view of predictions, from which the AUC of any reweighting of the rows costs one pass."""

    def __init__(self, y: Ints, p: Floats) -> None:
        self._order = np.argsort(p, kind="stable")
        scores = p[self._order]
        self._positive = y[self._order].astype(np.float64)
        self._starts = np.flatnonzero(np.append(True, scores[1:] != scores[:-1])) if len(p) else np.empty(0, np.int64)

    def auc(self, weights: Floats | None = None) -> float | None:
        """Chance that a positive is ranked above a negative, ties counting half; None when a class is missing."""
        if not len(self._order):
            return None
        w = np.ones(len(self._order)) if weights is None else weights[self._order].astype(np.float64)
        positives = np.add.reduceat(w * self._positive, self._starts)
        negatives = np.add.reduceat(w * (1 - self._positive), self._starts)
        pairs = positives.sum() * negatives.sum()
        below = np.cumsum(negatives) - negatives
        return float(positives @ (below + negatives / 2) / pairs) if pairs else None


def auc(y: Ints, p: Floats) -> float | None:
    return Ranking(y, p).auc()


def user_aucs(y: Ints, p: Floats, users: Ints) -> tuple[Ints, Floats, Ints]:
    """The users who have both classes, the AUC of each, and its number of rows, (G,) all."""
    order = np.lexsort((p, users))
    y, p, users = y[order], p[order], users[order]
    fresh = np.append(True, (users[1:] != users[:-1])) if len(users) else np.empty(0, bool)
    group = np.cumsum(fresh) - 1
    tied = np.cumsum(fresh | np.append(True, p[1:] != p[:-1])[: len(p)]) - 1
    rank = (np.bincount(tied, np.arange(len(y)))[tied] / np.bincount(tied)[tied]) if len(y) else np.empty(0)
    size = np.bincount(group)
    starts = np.cumsum(size) - size
    positives = np.bincount(group, y)
    wins = np.bincount(group, y * (rank - starts[group])) - positives * (positives - 1) / 2
    pairs = positives * (size - positives)
    both = pairs > 0
    return users[fresh][both], wins[both] / pairs[both], size[both]


def gauc(y: Ints, p: Floats, users: Ints) -> float | None:
    """The mean of the users' AUCs, weighted by their rows (arXiv 1706.06978); None when no user has both classes."""
    _, aucs, sizes = user_aucs(y, p, users)
    return float(np.average(aucs, weights=sizes)) if len(aucs) else None


def cross_entropy(y: Ints, p: Floats) -> Floats:
    """The log loss of each row, nats (N,)."""
    p = np.clip(p.astype(np.float64), EPSILON, 1 - EPSILON)
    return -np.where(y == 1, np.log(p), np.log1p(-p))


def entropy(rate: float) -> float:
    """The log loss of always predicting the base rate."""
    return 0.0 if rate in (0.0, 1.0) else float(-rate * np.log(rate) - (1 - rate) * np.log1p(-rate))


def normalised_entropy(logloss: float, rate: float) -> float | None:
    """Log loss over that of the base rate (He et al. 2014): below 1 is better than knowing only the rate."""
    return logloss / entropy(rate) if entropy(rate) else None


def calibration(y: Ints, p: Floats) -> float | None:
    """Predicted positives over observed ones; 1 is right on average."""
    return float(p.sum() / y.sum()) if y.sum() else None


def calibration_deciles(y: Ints, p: Floats) -> list[dict[str, float]]:
    """Mean prediction and rate in each tenth of the rows, from the lowest predictions to the highest."""
    parts = np.array_split(np.argsort(p, kind="stable"), DECILES)
    return [
        {"predicted": float(p[part].mean()), "observed": float(y[part].mean()), "rows": len(part)}
        for part in parts
        if len(part)
    ]


def summary(y: Ints, p: Floats, users: Ints) -> dict[str, Any]:
    """All of the above. A metric that the rows do not define (one class only) is None."""
    rate = float(y.mean()) if len(y) else 0.0
    logloss = float(cross_entropy(y, p).mean()) if len(y) else None
    return {
        "rows": len(y),
        "positives": int(y.sum()),
        "auc": auc(y, p),
        "gauc": gauc(y, p, users),
        "logloss": logloss,
        "ne": None if logloss is None else normalised_entropy(logloss, rate),
        "calibration": calibration(y, p),
        "calibration_deciles": calibration_deciles(y, p),
    }
