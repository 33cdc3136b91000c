"""The same metrics while predictions stream by, in constant memory: what training watches."""

import numpy as np

from ranker.evaluation.metrics import Floats, Ints, cross_entropy, normalised_entropy

BINS = 1 << 15
LOGIT_RANGE = 20.0  # beyond plus or minus this, scores are not told apart


class StreamingMetrics:
    """AUC from a histogram of logits (pairs within a bin of 0.0012 count half), log loss and calibration exactly."""

    def __init__(self) -> None:
        self._counts = np.zeros((2, BINS), np.int64)
        self._loss = self._squared_loss = self._predicted = 0.0

    def add(self, y: Ints, logits: Floats) -> None:
        """Counts labels (N,) of 0 and 1 and logits (N,)."""
        logits = logits.astype(np.float64)
        place = (logits + LOGIT_RANGE) / (2 * LOGIT_RANGE) * BINS
        bins = np.clip(place, 0, BINS - 1).astype(np.int64)
        for label in (0, 1):
            self._counts[label] += np.bincount(bins[y == label], minlength=BINS)
        p = 1 / (1 + np.exp(-logits))
        losses = cross_entropy(y, p)
        self._loss += float(losses.sum())
        self._squared_loss += float(np.square(losses).sum())
        self._predicted += float(p.sum())

    @property
    def rows(self) -> int:
        return int(self._counts.sum())

    def report(self) -> dict[str, float | None]:
        """AUC, log loss and its standard error, normalised entropy and calibration; None where rows define none."""
        negatives, positives = self._counts
        pairs = int(positives.sum()) * int(negatives.sum())
        below = np.cumsum(negatives) - negatives
        logloss = self._loss / self.rows if self.rows else None
        rate = float(positives.sum() / self.rows) if self.rows else 0.0
        return {
            "auc": float(positives @ (below + negatives / 2) / pairs) if pairs else None,
            "logloss": logloss,
            "logloss_error": None if logloss is None else self._standard_error(logloss),
            "ne": None if logloss is None else normalised_entropy(logloss, rate),
            "calibration": float(self._predicted / positives.sum()) if positives.sum() else None,
        }

    def _standard_error(self, logloss: float) -> float:
        variance = max(self._squared_loss / self.rows - logloss**2, 0.0)
        return float(np.sqrt(variance / self.rows))
