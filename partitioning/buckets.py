"""Bucket files: the edges of each (split, lhs partition, rhs partition), shuffled, as PBG reads them."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from artifacts.graph import SPLITS, edge_path
from partitioning.edges import EdgeSpill
from partitioning.engine import translated
from partitioning.key import Indices, KeyLayout, Keys, scramble_, unscramble_
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

    def work(bucket: int) -> int:
        i, j = divmod(bucket, spill.grid.rhs_partitions)
        left_out = 0
        for code, (keys, units, seen) in enumerate(fresh_edges(spill, bucket, summed, seed)):
            weights = None if units is None else (units / UNIT).astype(np.float32)
            write_bucket(edge_path(directory, SPLITS[code]) / f"edges_{i}_{j}.h5", spill.grid.layout, keys, weights)
            counts.add(code, i, j, keys)
            left_out += seen
        return left_out

    with translated(), ThreadPoolExecutor(threads) as pool:
        for done, seen in enumerate(pool.map(work, range(spill.grid.buckets)), 1):
            spill.left_out["seen_before"] += seen
            progress(done / spill.grid.buckets)


def fresh_edges(
    spill: EdgeSpill, bucket: int, summed: NDArray[np.bool_], seed: int
) -> Iterator[tuple[Keys, Indices | None, int]]:
    """Of each split: shuffled keys (N,), weights (N,) in units, and the number of edges that an earlier split has.

    Those are left out: what training has seen is not asked again. Their files are removed.
    """
    earlier = np.empty(0, np.uint64)
    for split in range(len(SPLITS)):
        keys, units = spill.keys(split, bucket), None
        if spill.weighted:
            keys, units = sum_repeats(keys, spill.units(split, bucket), spill.grid.layout, summed, seed)
        else:
            scramble_(keys, seed)
            keys.sort()
        new = ~_contains(earlier, keys)
        if seen := len(keys) - int(np.count_nonzero(new)):
            keys, units = keys[new], None if units is None else units[new]
        if any(spill.holds(later, bucket) for later in range(split + 1, len(SPLITS))):
            earlier = np.sort(np.concatenate([earlier, keys])) if len(earlier) else keys.copy()
        unscramble_(keys, seed)
        yield keys, units, seen


def sum_repeats(
    keys: Keys, units: Indices, layout: KeyLayout, summed: NDArray[np.bool_], seed: int
) -> tuple[Keys, Indices]:
    """Scrambled, sorted keys (M,) and weights (M,) of the edges of events (N,), M <= N.

    Repeats in a summed relation become one edge.
    """
    is_summed = summed[layout.relation(keys)]
    keys = keys.copy()
    scramble_(keys, seed)
    order = np.argsort(keys)
    keys, units, is_summed = keys[order], units[order], is_summed[order]
    first = np.append(True, keys[1:] != keys[:-1])[: len(keys)] | ~is_summed
    starts = np.flatnonzero(first)
    return keys[starts], np.add.reduceat(units, starts) if len(starts) else units


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
