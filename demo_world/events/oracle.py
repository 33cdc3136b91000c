"""How well the true probabilities rank the labels: the bound for any model."""

from dataclasses import dataclass

import numpy as np

from demo_world.sampling import Bools, Floats, Longs

BINS = 1 << 16
LOWEST = -30.0  # natural logarithm of the smallest probability told apart


@dataclass(frozen=True)
class ScoreHistogram:
    """Counts of positives and negatives by log probability, which add up over blocks.

    A bin is 0.05 % wide in probability, so the AUC is exact but for pairs that differ by less (they count half).
    """

    positives: Longs  # (BINS,)
    negatives: Longs  # (BINS,)

    @classmethod
    def empty(cls) -> "ScoreHistogram":
        return cls(np.zeros(BINS, dtype=np.int64), np.zeros(BINS, dtype=np.int64))

    @classmethod
    def of(cls, probability: Floats, label: Bools) -> "ScoreHistogram":
        """From probabilities and labels, both (N,)."""
        place = np.log(probability, dtype=np.float64) / LOWEST * BINS
        bins = np.clip(BINS - 1 - place, 0, BINS - 1).astype(np.int64)
        return cls(np.bincount(bins[label], minlength=BINS), np.bincount(bins[~label], minlength=BINS))

    def __add__(self, other: "ScoreHistogram") -> "ScoreHistogram":
        return ScoreHistogram(self.positives + other.positives, self.negatives + other.negatives)

    def auc(self) -> float | None:
        """Area under the ROC curve; None when a class is empty."""
        pairs = int(self.positives.sum()) * int(self.negatives.sum())
        below = np.cumsum(self.negatives) - self.negatives
        wins = float(np.dot(self.positives, below + self.negatives / 2))
        return wins / pairs if pairs else None


@dataclass(frozen=True)
class Oracle:
    ctr: ScoreHistogram  # clicks among impressions, by P(click)
    cvr: ScoreHistogram  # conversions among clicks, by P(conversion | click)
    ctcvr: ScoreHistogram  # conversions among impressions, by the product

    @classmethod
    def empty(cls) -> "Oracle":
        return cls(ScoreHistogram.empty(), ScoreHistogram.empty(), ScoreHistogram.empty())

    @classmethod
    def of(cls, p_click: Floats, p_conversion: Floats, click: Bools, conversion: Bools) -> "Oracle":
        return cls(
            ctr=ScoreHistogram.of(p_click, click),
            cvr=ScoreHistogram.of(p_conversion[click], conversion[click]),
            ctcvr=ScoreHistogram.of(p_click * p_conversion, conversion),
        )

    def __add__(self, other: "Oracle") -> "Oracle":
        return Oracle(self.ctr + other.ctr, self.cvr + other.cvr, self.ctcvr + other.ctcvr)

    def report(self) -> dict[str, float | None]:
        return {"ctr_auc": self.ctr.auc(), "cvr_auc": self.cvr.auc(), "ctcvr_auc": self.ctcvr.auc()}
