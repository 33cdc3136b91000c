"""The log in time: what it spans, where valid and test start, and what the graph may have seen."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import ConfigError, DataError
from artifacts.moment import YEAR_1990, YEAR_2200, iso
from ranker.data.log.impression_log import ImpressionLog
from ranker.data.log.times import UNITS


@dataclass(frozen=True)
class Windows:
    """First and last impression and the starts of valid and test, epoch seconds."""

    first: int
    last: int
    valid_from: int
    test_from: int

    @classmethod
    def of(cls, log: ImpressionLog) -> "Windows":
        first, last, earliest = 1 << 62, -(1 << 62), ""
        for block in log.blocks([log.config.time_column]):
            times = log.times(block)
            if len(times) and times.min() < first:
                first, earliest = int(times.min()), block.row(times == times.min())
            last = max(last, int(times.max(initial=last)))
        if first > last and log.left_out:
            raise DataError(f"ranker.where: {log.left_out:,} of {log.rows:,} rows left out, and no impression is left")
        if first > last:
            raise DataError(f"{log.parts[0].name}: no impressions at all (ranker.impressions)")
        if first < YEAR_1990 <= last:
            raise DataError(
                f"{earliest}: {log.config.time_column} is {iso(first)}, but the latest {iso(last)}; "
                "expected no default for a missing time, and one unit (ranker.time_unit)"
            )
        unit = log.config.time_unit
        for coarser, factor in ((name, UNITS[unit] // UNITS[name]) for name in UNITS if UNITS[name] < UNITS[unit]):
            if last < YEAR_1990 <= first * factor and last * factor < YEAR_2200:
                raise ConfigError(
                    f"ranker.time_unit: in {unit}, all impressions lie before {iso(last + 1)}; expected '{coarser}'"
                )
        return cls(first, last, *log.config.split.starts(first, last))

    def check(self, graph_ends: Mapping[str, int | None]) -> None:
        """Takes the last event that each export's graph was trained on, None where its events have no time.

        Raises ConfigError for graphs that have seen training labels, DataError for training in the future.
        """
        lines = [
            f"ranker.impressions: the graph of {name} was trained on events until {iso(end)}, the ranker would train "
            f"from {iso(self.first)}: it has seen the labels; end its window earlier (graph.split.time), or "
            "leave out impressions until then (ranker.where)"
            for name, end in graph_ends.items()
            if end is not None and end >= self.first
        ]
        if lines:
            raise ConfigError(*lines)
        newest = min(self.last, self.valid_from - 1)
        if newest > time.time():
            raise DataError(
                f"ranker.impressions: training impressions of {_told(newest)} lie in the future (ranker.time_unit)"
            )

    def split(self, times: NDArray[np.int64]) -> NDArray[np.int64]:
        """The split of each impression, (N,): its place in SPLITS."""
        return np.searchsorted([self.valid_from, self.test_from], times, side="right")

    @property
    def span(self) -> str:
        return f"{iso(self.first)} to {iso(self.last)}"

    def report(self) -> dict[str, str]:
        moments = (self.first, self.valid_from, self.test_from, self.last)
        return dict(zip(("first", "valid_from", "test_from", "last"), map(iso, moments), strict=True))


def _told(seconds: int) -> str:
    try:
        return iso(seconds)
    except (ValueError, OverflowError, OSError):
        return f"epoch second {seconds}"
