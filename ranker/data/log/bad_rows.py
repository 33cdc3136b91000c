"""Rows of the log that cannot be read: how many were dropped, by what is wrong with them, and how many may be."""

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import DataError

Mask = NDArray[np.bool_]


class BadRows:
    """The bad rows of one pass over the log."""

    def __init__(self) -> None:
        self.rows = 0
        self.dropped = 0
        self.reasons: Counter[str] = Counter()
        self._first = ""

    def good(self, row: Callable[[Mask], str], rows: int, wrong: Mapping[str, Mask]) -> Mask:
        """Which of the `rows` of a block, (N,), are good; the others count under the first reason that holds.

        `row` names the first row of a mask.
        """
        bad = np.zeros(rows, np.bool_)
        for reason, mask in wrong.items():
            new = mask & ~bad
            bad |= mask
            self.reasons[reason] += int(new.sum())
        if not self._first and bad.any():
            reason = next(reason for reason, mask in wrong.items() if mask[np.argmax(bad)])
            self._first = f"{row(bad)}: {reason}"
        self.rows += rows
        self.dropped += int(bad.sum())
        return ~bad

    def require(self, most: float) -> None:
        """Raises DataError where more than the share `most` of the rows are bad."""
        if self.dropped > most * self.rows:
            raise DataError(
                f"{self._first}; {self.dropped:,} of {self.rows:,} rows are bad, expected at most {most:.2%} "
                "(ranker.max_bad_share)"
            )
