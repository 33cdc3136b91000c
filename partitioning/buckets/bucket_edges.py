"""The edges of a bucket, split by split: repeats are summed, and none is in two splits."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from artifacts.formats.bucket_file import EdgeColumns
from artifacts.formats.graph import SPLITS, Bucket
from artifacts.ordered import contains
from partitioning.edges.key import Indices, Keys, scramble_, unscramble_
from partitioning.edges.spill import EdgeSpill, SpilledEdges
from partitioning.events.weights import INVALID, MOST_UNITS
from partitioning.ledger.history import History, NoHistory
from partitioning.ledger.insertion import Insertion, insert_edges


class WrongWeight(Exception):
    """An edge of the relation at this index has a weight that is not positive, or a sum beyond MOST_UNITS."""

    def __init__(self, relation: int) -> None:
        super().__init__(relation)
        self.relation = relation


class BucketEdges(NamedTuple):
    """The edges of a split in a bucket, shuffled.

    Attributes:
        keys: those that are new (N,)
        units: weights (M,) in units of all edges, None in a graph without weights
        seen: number of edges left out, which an earlier split has
        insertion: where the new ones go among those that were counted before
    """

    keys: Keys
    units: Indices | None
    seen: int
    insertion: Insertion

    @property
    def size(self) -> int:
        """Number of edges M, also counted ones."""
        return len(self.keys) + self.insertion.counted.size

    def require_positive(self) -> None:
        """Raises WrongWeight for the edge of the smallest weight if that is not positive."""
        if self.units is not None and len(self.units) and self.units.min() <= 0:
            relations = np.concatenate([columns.rel for columns in self.chunks()])
            raise WrongWeight(int(relations[np.argmin(self.units)]))

    def chunks(self) -> Iterator[EdgeColumns]:
        """All edges, some at a time."""
        return self.insertion.chunks(self.keys)


def take_bucket(
    spill: EdgeSpill, history: History, bucket: Bucket, summed: NDArray[np.bool_], seed: int
) -> Iterator[BucketEdges]:
    """The edges of each split, those of the history too; they are taken from the spill.

    Edges that an earlier split has are left out: edges seen in training are never used for evaluation. `summed`
    (relations,) says which relations have one edge for all events between the same entities.
    """
    earlier: list[Callable[[Keys], NDArray[np.bool_]]] = []
    nothing = NoHistory(len(summed))
    for split in range(len(SPLITS)):
        (keys, units), is_summed = _sorted_edges(spill, spill.take_edges(split, bucket), summed, seed)
        seen = np.zeros(len(keys), np.bool_)
        for has in earlier:
            seen |= has(keys)
        if seen.any():
            keys, units = keys[~seen], None if units is None else units[~seen]
        counted = (nothing if split else history).training_edges(spill.grid, bucket, seed, spill.weighted)
        insertion, keys, units = insert_edges(counted, keys, units, is_summed)
        if any(spill.holds(later, bucket) for later in range(split + 1, len(SPLITS))):
            earlier += [counted.contains, partial(contains, keys.copy())]
        unscramble_(keys, seed)
        yield BucketEdges(keys, units, int(np.count_nonzero(seen)), insertion)


def _sorted_edges(
    spill: EdgeSpill, edges: SpilledEdges, summed: NDArray[np.bool_], seed: int
) -> tuple[SpilledEdges, NDArray[np.bool_] | None]:
    """Edges (M,) by scrambled key, which the keys (N,) become in place; with weights, whether they are summed (M,)."""
    keys, units = edges
    is_summed = None if units is None else summed[spill.grid.layout.relation(keys)]
    scramble_(keys, seed)
    if units is None or is_summed is None:
        keys.sort()
        return edges, None
    keys, units, is_summed = sum_repeats(keys, units, is_summed)
    return SpilledEdges(keys, units), is_summed


def sum_repeats(keys: Keys, units: Indices, is_summed: NDArray[np.bool_]) -> tuple[Keys, Indices, NDArray[np.bool_]]:
    """Sorted keys (M,), weights (M,) and whether they are summed (M,), of the edges of events (N,), M <= N.

    Repeats become one edge where `is_summed` (N,). A sum beyond MOST_UNITS is INVALID.
    """
    order = np.argsort(keys)
    keys, units, is_summed = keys[order], units[order], is_summed[order]
    first = np.append(True, keys[1:] != keys[:-1])[: len(keys)] | ~is_summed
    starts = np.flatnonzero(first)
    return keys[starts], _sums(units, starts), is_summed[starts]


def _sums(units: Indices, starts: Indices) -> Indices:
    """Sums (M,) of weights (N,), each from one of `starts` (M,) to the next."""
    if not len(starts):
        return units
    sums = np.add.reduceat(units, starts)
    if int(units.max()) * len(units) > MOST_UNITS:  # only then can one of them not fit
        sums[np.add.reduceat(units.astype(np.float64), starts) > MOST_UNITS] = INVALID
    return sums
