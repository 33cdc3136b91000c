"""New training edges go among those of a bucket that were counted before: where they are few, only what they are
compared with is made a key."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from artifacts.formats.bucket_file import EdgeColumns
from partitioning.edges.key import Indices, KeyLayout, Keys, scramble_
from partitioning.events.weights import INVALID, MOST_UNITS

_CHUNK = 1 << 16  # edges that are in hand at once: temporaries stay in the cache
_ALONE = 1 << 17  # of new edges that go among none: what a whole bucket takes would cost more to allocate than to fill
_PROBE = 3  # how many times as long a key takes that is looked up by itself


@dataclass(frozen=True)
class CountedEdges:
    """Training edges of a bucket that were counted before, in the order of their scrambled keys.

    Attributes:
        columns: left-hand and right-hand offsets and relations (N,), mapped files, in their types, where they are not
            in memory
        units: weights (N,) in units; None in a graph without weights
    """

    columns: EdgeColumns
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

    def ranks(self, asked: Keys) -> Indices:
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
        return self.contains_at(self.ranks(asked), asked)

    def contains_at(self, ranks: Indices, asked: Keys) -> NDArray[np.bool_]:
        """The same, given their `ranks`."""
        if not self.size:
            return np.zeros(len(asked), np.bool_)
        return self.keys(np.minimum(ranks, self.size - 1)) == asked


class Insertion(NamedTuple):
    """New edges for counted ones: `at` (M,) says before which of them each goes."""

    counted: CountedEdges
    at: Indices

    def chunks(self, more: Keys) -> Iterator[EdgeColumns]:
        """All edges, some at a time, given the keys (M,) of the new ones, which are not scrambled."""
        return self._inserted(more) if self.counted.size else self._alone(more)

    def _alone(self, more: Keys) -> Iterator[EdgeColumns]:
        for start in range(0, len(more), _ALONE):
            yield self.counted.layout.columns(more[start : start + _ALONE])

    def _inserted(self, more: Keys) -> Iterator[EdgeColumns]:
        size, new = self.counted.size, self.counted.layout.columns(more)
        for start in range(0, size, _CHUNK):
            stop = start + _CHUNK if start + _CHUNK < size else size + 1
            first, last = np.searchsorted(self.at, [start, stop])
            at = self.at[first:last] - start
            yield EdgeColumns(
                *(
                    # int64 first: the counted ones may have a narrower type than the new ones need
                    np.insert(column[start:stop].astype(np.int64, copy=False), at, added[first:last])
                    for column, added in zip(self.counted.columns, new, strict=True)
                )
            )


def insert_edges(
    counted: CountedEdges, more: Keys, more_units: Indices | None, is_summed: NDArray[np.bool_] | None
) -> tuple[Insertion, Keys, Indices | None]:
    """Where sorted, scrambled keys (M,) go, those of them that are new edges, and the weights of all edges.

    Where `is_summed` (M,), more of an edge is no new edge, but adds to its weight; a sum beyond MOST_UNITS is INVALID.
    Without weights nothing is summed.
    """
    if not counted.size:
        return Insertion(counted, np.empty(0, np.int64)), more, more_units
    at = counted.ranks(more)
    if counted.units is None or more_units is None or is_summed is None:
        return Insertion(counted, at), more, None
    repeated, units = is_summed & counted.contains_at(at, more), counted.units.copy()
    summed = units[at[repeated]] + more_units[repeated]
    units[at[repeated]] = np.where((summed > MOST_UNITS) | (summed <= 0), INVALID, summed)
    at, more, more_units = at[~repeated], more[~repeated], more_units[~repeated]
    return Insertion(counted, at), more, np.insert(units, at, more_units)
