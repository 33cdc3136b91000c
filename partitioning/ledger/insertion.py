"""New training edges join those of a bucket that are settled: where they are few, only what they are compared with is
made a key."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from partitioning.edges.key import Columns, Indices, KeyLayout, Keys, scramble_
from partitioning.edges.query import Grid
from partitioning.ledger.settled import Settled

_CHUNK = 1 << 16  # edges that are in hand at once: temporaries stay in the cache
_PROBE = 3  # how many times as long a key takes that is looked up by itself


@dataclass(frozen=True)
class SettledEdges:
    """The settled training edges of a bucket, in the order of their scrambled keys.

    Attributes:
        columns: left-hand and right-hand offsets and relations (N,), mapped files where they are not in memory
        units: weights (N,) in units; None in a graph without weights
    """

    columns: Columns
    units: Indices | None
    layout: KeyLayout
    seed: int

    @property
    def size(self) -> int:
        return len(self.columns.lhs)

    def keys(self, at: Indices | slice) -> Keys:
        """Scrambled keys (M,) of the edges at (M,)."""
        lhs, rhs, relation = (column[at] for column in self.columns)
        keys = self.layout.pack(relation, lhs, rhs)
        scramble_(keys, self.seed)
        return keys

    @cached_property
    def all_keys(self) -> Keys:
        """Scrambled keys (N,) of all edges; they stay in memory."""
        keys = np.empty(self.size, np.uint64)
        for start in range(0, self.size, _CHUNK):
            rows = slice(start, start + _CHUNK)
            keys[rows] = self.keys(rows)
        return keys

    def places(self, asked: Keys) -> Indices:
        """Number of keys (M,) below each of the sorted, scrambled keys asked for (M,)."""
        steps = self.size.bit_length()
        if len(asked) * steps * _PROBE > self.size:
            return np.searchsorted(self.all_keys, asked)
        low, high = np.zeros(len(asked), np.int64), np.full(len(asked), self.size)
        for _ in range(steps):  # all of them at once
            middle = np.minimum((low + high) // 2, self.size - 1)
            below = (self.keys(middle) < asked) & (low < high)
            low, high = np.where(below, middle + 1, low), np.where(below, high, np.maximum(middle, low))
        return low

    def contains(self, asked: Keys) -> NDArray[np.bool_]:
        """Whether each of the sorted, scrambled keys (M,) is there."""
        return self.contains_at(self.places(asked), asked)

    def contains_at(self, places: Indices, asked: Keys) -> NDArray[np.bool_]:
        """The same, given what `places` says."""
        if not self.size:
            return np.zeros(len(asked), np.bool_)
        return self.keys(np.minimum(places, self.size - 1)) == asked


class Insertion(NamedTuple):
    """More edges for settled ones: `at` (M,) says before which of them each goes."""

    settled: SettledEdges
    at: Indices

    def chunks(self, more: Columns) -> Iterator[Columns]:
        """All edges, some at a time, given the columns (M,) of the new ones."""
        size = self.settled.size
        for start in range(0, max(size, 1), _CHUNK):
            stop = start + _CHUNK if start + _CHUNK < size else size + 1
            first, last = np.searchsorted(self.at, [start, stop])
            at = self.at[first:last] - start
            yield Columns(
                *(
                    np.insert(column[start:stop], at, added[first:last])
                    for column, added in zip(self.settled.columns, more, strict=True)
                )
            )


def settled_edges(settled: Settled, grid: Grid, bucket: int, seed: int, weighted: bool) -> SettledEdges:
    """The settled training edges of a bucket."""
    i, j = divmod(bucket, grid.rhs_partitions)
    edges = SettledEdges(settled.training(i, j), settled.units(i, j) if weighted else None, grid.layout, seed)
    if settled.in_order(grid.layout):
        return edges
    order = np.argsort(edges.all_keys)
    columns = Columns(*(column[order] for column in edges.columns))
    return replace(edges, columns=columns, units=None if edges.units is None else edges.units[order])


def insert_edges(
    settled: SettledEdges, more: Keys, more_units: Indices | None, is_summed: NDArray[np.bool_] | None
) -> tuple[Insertion, Keys, Indices | None]:
    """Where sorted, scrambled keys (M,) go, those of them that are new edges, and the weights of all edges.

    Where `is_summed` (M,), more of an edge is no new edge, but adds to its weight. Without weights nothing is summed.
    """
    at = settled.places(more)
    if settled.units is None or more_units is None or is_summed is None:
        return Insertion(settled, at), more, None
    repeated, units = is_summed & settled.contains_at(at, more), settled.units.copy()
    units[at[repeated]] += more_units[repeated]
    at, more, more_units = at[~repeated], more[~repeated], more_units[~repeated]
    return Insertion(settled, at), more, np.insert(units, at, more_units)
