"""The spill: keys of edges on disk, one file for each split and bucket, until the buckets are written."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from artifacts.formats.graph import SPLITS, Bucket
from partitioning.edges.grid import Grid
from partitioning.edges.key import Indices, Keys


class SpilledEdges(NamedTuple):
    """Keys (N,) of edges and their weights (N,) in units, None in a graph without weights."""

    keys: Keys
    units: Indices | None

    def where(self, stay: NDArray[np.bool_]) -> "SpilledEdges":
        """Those of the edges (N,) that stay (N,)."""
        return SpilledEdges(self.keys[stay], None if self.units is None else self.units[stay])


@dataclass(frozen=True)
class EdgeSpill:
    """Unordered keys of every (split, bucket) on disk. Methods called `take_...` remove the file that they read, unless
    the spill `stays`, as where a task may be run again.

    `split` is a position in SPLITS; `weighted` says whether weights are kept, too.
    """

    directory: Path
    grid: Grid
    weighted: bool
    stays: bool = False

    def take_edges(self, split: int, bucket: Bucket) -> SpilledEdges:
        """The edges of a bucket."""
        cell = self._cell(split, bucket)
        units = self._taken("units", cell, np.int64) if self.weighted else None
        return SpilledEdges(self._taken("keys", cell, np.uint64), units)

    def take_moments(self, split: int, bucket: Bucket) -> Indices:
        """What decided the split (N,) of held-out events, epoch seconds or NO_MOMENT, in the order of their keys."""
        return self._taken("moments", self._cell(split, bucket), np.int64)

    def holds(self, split: int, bucket: Bucket) -> bool:
        """Whether a bucket has edges that were not taken yet."""
        return self._path("keys", self._cell(split, bucket)).exists()

    def largest_bucket(self) -> int:
        """Edges of the largest (split, bucket) that was not taken yet."""
        sizes = (path.stat().st_size for path in self.directory.glob("keys-*"))
        return max(sizes, default=0) // np.dtype(np.uint64).itemsize

    def put(self, split: int, bucket: Bucket, edges: SpilledEdges) -> None:
        """Writes the edges of a bucket whose files were taken."""
        for name, column in (("keys", edges.keys), ("units", edges.units)):
            if column is not None and len(column):
                column.tofile(self._path(name, self._cell(split, bucket)))

    def append(self, split: Indices, bucket: Indices, columns: Mapping[str, NDArray[Any]]) -> None:
        """Adds columns (N,) (keys, units, moments) of events in splits (N,) and buckets (N,), by number."""
        count = len(SPLITS) * len(self.grid)
        cells = split * len(self.grid) + bucket
        order = np.argsort(cells.astype(np.min_scalar_type(count)), kind="stable")
        ends = np.cumsum(np.bincount(cells, minlength=count))
        for name, column in columns.items():
            for cell, rows in enumerate(np.split(column[order], ends[:-1])):
                if len(rows) and (name != "moments" or cell >= len(self.grid)):  # training never moves
                    with self._path(name, cell).open("ab") as file:
                        rows.tofile(file)

    def _cell(self, split: int, bucket: Bucket) -> int:
        return split * len(self.grid) + self.grid.number(bucket)

    def _path(self, name: str, cell: int) -> Path:
        return self.directory / f"{name}-{cell}"

    def _taken(self, name: str, cell: int, dtype: type[Any]) -> NDArray[Any]:
        """The content of a file; empty if there is none."""
        path = self._path(name, cell)
        if not path.exists():
            return np.empty(0, dtype)
        content = np.fromfile(path, dtype)
        if not self.stays:
            path.unlink()
        return content
