"""The split by time: one rule, as SQL for the events that are read and in numpy for those that a ledger has kept."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from artifacts.moment import epoch_seconds
from partitioning.config.sections import TimeSplit

# The moment of events whose split no date decides.
NO_MOMENT = -1


@dataclass(frozen=True)
class SplitByTime:
    """Events from `valid_from` on are valid, from `test_from` on test, both in epoch seconds; earlier ones are train.

    Codes are positions in `artifacts.formats.graph.SPLITS`.
    """

    valid_from: int
    test_from: int

    @classmethod
    def of(cls, config: TimeSplit) -> "SplitByTime":
        return cls(epoch_seconds(config.valid_from), epoch_seconds(config.test_from))

    def sql(self, time: str) -> str:
        """SQL of the code, given that of the epoch seconds."""
        return f"CASE WHEN {time} >= {self.test_from} THEN 2 WHEN {time} >= {self.valid_from} THEN 1 ELSE 0 END"

    def codes(self, moments: NDArray[np.int64]) -> NDArray[np.int64]:
        """Codes (N,) of epoch seconds (N,)."""
        return np.where(moments >= self.test_from, 2, np.where(moments >= self.valid_from, 1, 0))
