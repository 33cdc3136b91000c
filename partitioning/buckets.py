"""Bucket files: the edges of each (split, lhs partition, rhs partition), shuffled, as PBG reads them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np

from artifacts.graph import SPLITS, edge_path
from partitioning.edges import EdgeSpill
from partitioning.engine import translated
from partitioning.key import Keys, shuffle_
from partitioning.statistics import Counts


def write_buckets(
    spill: EdgeSpill, directory: Path, seed: int, threads: int, counts: Counts, progress: Callable[[float], None]
) -> None:
    """Writes every bucket of every split, also empty ones, and counts their edges into `counts`."""
    for split in SPLITS:
        edge_path(directory, split).mkdir(parents=True)
    cells = [(split, bucket) for split in range(len(SPLITS)) for bucket in range(spill.grid.buckets)]

    def work(cell: tuple[int, int]) -> None:
        split, bucket = cell
        keys = spill.keys(split, bucket)
        shuffle_(keys, seed)
        i, j = divmod(bucket, spill.grid.rhs_partitions)
        write_bucket(edge_path(directory, SPLITS[split]) / f"edges_{i}_{j}.h5", spill, keys)
        counts.add(split, i, j, keys)

    with translated(), ThreadPoolExecutor(threads) as pool:
        for done, _ in enumerate(pool.map(work, cells), 1):
            progress(done / len(cells))


def write_bucket(path: Path, spill: EdgeSpill, keys: Keys) -> None:
    """Writes a bucket file of format_version 1: contiguous int64 datasets, the same bytes for the same edges."""
    layout = spill.grid.layout
    with h5py.File(path, "w") as file:
        file.attrs["format_version"] = 1
        for name, unpack in (("lhs", layout.lhs), ("rhs", layout.rhs), ("rel", layout.relation)):
            dataset = file.create_dataset(name, shape=keys.shape, dtype=np.int64, track_times=False)
            dataset[...] = unpack(keys)
