"""New training edges join those of a bucket that are settled: a merge, not a sort."""

import numpy as np
from numpy.typing import NDArray

from partitioning.edge_query import Grid
from partitioning.key import Indices, Keys, scramble_
from partitioning.ordered import contains, is_sorted, merged
from partitioning.settled import Settled


def settled_edges(settled: Settled, grid: Grid, bucket: int, seed: int, weighted: bool) -> tuple[Keys, Indices | None]:
    """Scrambled, sorted keys (N,) and weights (N,) in units of the settled training edges of a bucket."""
    i, j = divmod(bucket, grid.rhs_partitions)
    keys, units = settled.training(i, j, grid.layout), settled.units(i, j) if weighted else None
    scramble_(keys, seed)
    if not is_sorted(keys):  # new names moved the numbers of relations, or a partition has grown out of its bits
        order = np.argsort(keys)
        keys, units = keys[order], None if units is None else units[order]
    return keys, units


def merge_edges(
    keys: Keys, units: Indices | None, more: Keys, more_units: Indices | None, is_summed: NDArray[np.bool_] | None
) -> tuple[Keys, Indices | None, Keys]:
    """Sorted keys and weights of edges (N,) and more of them (M,); also the keys of those that are new edges.

    Where `is_summed` (M,), more of an edge is no new edge, but adds to its weight. Without weights nothing is summed.
    """
    if units is None or more_units is None or is_summed is None:
        return merged(keys, more), None, more
    repeated, at, units = is_summed & contains(keys, more), np.searchsorted(keys, more), units.copy()
    units[at[repeated]] += more_units[repeated]
    at, more, more_units = at[~repeated], more[~repeated], more_units[~repeated]
    return np.insert(keys, at, more), np.insert(units, at, more_units), more
