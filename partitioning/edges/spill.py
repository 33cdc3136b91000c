"""The spill: keys of edges on disk, one file for each split and bucket, until the buckets are written."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifacts.graph import SPLITS
from partitioning.edges.key import Indices, Keys
from partitioning.edges.query import Grid
from partitioning.events.relations import NamedRelation
from partitioning.ledger.settled import Settled


@dataclass
class EdgeSpill:
    """Unordered keys of every (split, bucket) on disk, and what was seen while they were written."""

    directory: Path
    grid: Grid
    events: Indices  # (relations,)
    weighted: bool
    left_out: Counter[str] = field(default_factory=Counter)  # edges, by reason
    settled: Settled | None = None  # the graph whose training edges and held-out events these add to
    wrong: NamedRelation | None = None  # one with a weight that is not a positive number
    # First and last training event, epoch seconds; of a random split, first and last event of all.
    window: tuple[int | None, int | None] = (None, None)

    def keys(self, split: int, bucket: int) -> Keys:
        """Keys (N,) of a bucket; their file is removed."""
        return _taken(self._path("keys", split * self.grid.buckets + bucket), np.uint64)

    def units(self, split: int, bucket: int) -> Indices:
        """Weights (N,) of the same edges, in units; their file is removed."""
        return _taken(self._path("units", split * self.grid.buckets + bucket), np.int64)

    def moments(self, split: int, bucket: int) -> Indices:
        """What decided the split (N,) of held-out events, epoch seconds or NO_MOMENT; their file is removed."""
        return _taken(self._path("moments", split * self.grid.buckets + bucket), np.int64)

    def holds(self, split: int, bucket: int) -> bool:
        """Whether a bucket has edges that were not taken yet."""
        return self._path("keys", split * self.grid.buckets + bucket).exists()

    def put(self, split: int, bucket: int, keys: Keys, units: Indices | None) -> None:
        """Writes keys (N,) and weights (N,) of a bucket whose files were taken."""
        for name, column in (("keys", keys), ("units", units)):
            if column is not None and len(column):
                column.tofile(self._path(name, split * self.grid.buckets + bucket))

    def append(self, cells: Indices, columns: Mapping[str, NDArray[Any]]) -> None:
        """Writes columns (N,) (keys, units, moments) to the files of their cells (N,): split * buckets + bucket."""
        count = len(SPLITS) * self.grid.buckets
        order = np.argsort(cells.astype(np.min_scalar_type(count)), kind="stable")
        ends = np.cumsum(np.bincount(cells, minlength=count))
        for name, column in columns.items():
            for cell, rows in enumerate(np.split(column[order], ends[:-1])):
                if len(rows) and (name != "moments" or cell >= self.grid.buckets):  # training never moves
                    with self._path(name, cell).open("ab") as file:
                        rows.tofile(file)

    def widen(self, low: int | None, high: int | None) -> None:
        """Makes the window hold training events from `low` to `high`, epoch seconds; None where there are none."""
        lows, highs = (
            [time for time in times if time is not None] for times in zip(self.window, (low, high), strict=True)
        )
        self.window = min(lows, default=None), max(highs, default=None)

    def _path(self, name: str, cell: int) -> Path:
        return self.directory / f"{name}-{cell}"


def _taken(path: Path, dtype: type[Any]) -> NDArray[Any]:
    """The content of a file, which is removed; empty if there is none."""
    if not path.exists():
        return np.empty(0, dtype)
    content = np.fromfile(path, dtype)
    path.unlink()
    return content
