"""Bucket files: the edges of each (split, lhs partition, rhs partition), shuffled, as PBG reads them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from artifacts.graph import SPLITS, edge_path
from partitioning.edges import EdgeSpill
from partitioning.engine import translated
from partitioning.key import Indices, KeyLayout, Keys, scramble_, shuffle_, unscramble_
from partitioning.statistics import Counts
from partitioning.weights import UNIT


def write_buckets(
    spill: EdgeSpill,
    directory: Path,
    seed: int,
    threads: int,
    summed: NDArray[np.bool_],
    counts: Counts,
    progress: Callable[[float], None],
) -> None:
    """Writes every bucket of every split, also empty ones, and counts their edges into `counts`.

    `summed` (relations,) says which relations have one edge for all events between the same entities.
    """
    for split in SPLITS:
        edge_path(directory, split).mkdir(parents=True)

    def work(bucket: int) -> None:
        i, j = divmod(bucket, spill.grid.rhs_partitions)
        earlier = np.empty(0, np.uint64)
        for code, split in enumerate(SPLITS):
            path = edge_path(directory, split) / f"edges_{i}_{j}.h5"
            keys, weights = spill.keys(code, bucket), None
            if spill.weighted:
                keys, units, earlier = sum_repeats(
                    keys, spill.units(code, bucket), earlier, spill.grid.layout, summed, seed
                )
                weights = (units / UNIT).astype(np.float32)
            else:
                shuffle_(keys, seed)
            write_bucket(path, spill.grid.layout, keys, weights)
            counts.add(code, i, j, keys)

    with translated(), ThreadPoolExecutor(threads) as pool:
        for done, _ in enumerate(pool.map(work, range(spill.grid.buckets)), 1):
            progress(done / spill.grid.buckets)


def sum_repeats(
    keys: Keys, units: Indices, earlier: Keys, layout: KeyLayout, summed: NDArray[np.bool_], seed: int
) -> tuple[Keys, Indices, Keys]:
    """Shuffled keys (M,) and weights (M,) of the edges of events (N,), M <= N; and `earlier` with them added.

    Repeats in a summed relation become one edge, and none at all when the edge is in `earlier`, which holds the
    scrambled keys of the splits before: what training has seen is not asked again.
    """
    is_summed = summed[layout.relation(keys)]
    keys = keys.copy()
    scramble_(keys, seed)
    order = np.argsort(keys)
    keys, units, is_summed = keys[order], units[order], is_summed[order]
    first = np.append(True, keys[1:] != keys[:-1])[: len(keys)] | ~is_summed
    starts = np.flatnonzero(first)
    if len(starts):
        keys, units, is_summed = keys[starts], np.add.reduceat(units, starts), is_summed[starts]
    new = ~(is_summed & _contains(earlier, keys))
    keys, units = keys[new], units[new]
    earlier = np.sort(np.concatenate([earlier, keys[is_summed[new]]]))
    unscramble_(keys, seed)
    return keys, units, earlier


def _contains(values: Keys, keys: Keys) -> NDArray[np.bool_]:
    """Whether each of the sorted keys (N,) is in the sorted values."""
    at = np.searchsorted(values, keys)
    return np.append(values, np.uint64(0))[at] == keys if len(values) else np.zeros(len(keys), np.bool_)


def write_bucket(path: Path, layout: KeyLayout, keys: Keys, weights: NDArray[np.float32] | None) -> None:
    """Writes a bucket file of format_version 1: contiguous datasets, the same bytes for the same edges."""
    with h5py.File(path, "w") as file:
        file.attrs["format_version"] = 1
        for name, unpack in (("lhs", layout.lhs), ("rhs", layout.rhs), ("rel", layout.relation)):
            dataset = file.create_dataset(name, shape=keys.shape, dtype=np.int64, track_times=False)
            dataset[...] = unpack(keys)
        if weights is not None:
            file.create_dataset("weight", data=weights, track_times=False)
