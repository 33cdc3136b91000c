"""Bucket files: the edges of each (split, lhs partition, rhs partition), shuffled, as PBG reads them."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifacts.expressions.engine import translated
from artifacts.files.hdf5 import new_file
from artifacts.files.publish import sync
from artifacts.formats.bucket_file import COLUMNS, FORMAT_VERSION, WEIGHT
from artifacts.formats.graph import SPLITS, Bucket, bucket_path, edge_path
from partitioning.buckets.bucket_edges import BucketEdges, take_bucket
from partitioning.buckets.counts import Counts
from partitioning.edges.spill import EdgeSpill
from partitioning.events.weights import UNIT
from partitioning.ledger.arrays import KeepsArrays, units_name
from partitioning.ledger.history import History


def write_buckets(
    spill: EdgeSpill,
    history: History,
    directory: Path,
    seed: int,
    threads: int,
    summed: NDArray[np.bool_],
    counts: Counts,
    arrays: KeepsArrays,
    progress: Callable[[float], None],
) -> int:
    """Writes every bucket of every split, also empty ones, and counts their edges into `counts`.

    `summed` (relations,) says which relations have one edge for all events between the same entities. Exact weights of
    training go to `arrays`. Returns the number of edges that were left out since an earlier split has them.

    Raises WrongWeight.
    """
    make_edge_paths(directory)

    def write(bucket: Bucket) -> int:
        seen = 0
        for code, edges in enumerate(write_splits(spill, history, directory, seed, summed, bucket)):
            path = bucket_path(directory, SPLITS[code], bucket)
            synced.append(disk.submit(sync, path))  # while the next ones are made
            if edges.units is not None and len(edges.units) and code == 0:
                arrays.save(units_name(bucket), edges.units)
            counts.add(code, bucket, edges.keys, edges.size)
            seen += edges.seen
        return seen

    synced: list[Future[None]] = []
    left_out = 0
    with translated(), ThreadPoolExecutor(threads) as pool, ThreadPoolExecutor(1) as disk:
        for done, seen in enumerate(pool.map(write, spill.grid), 1):
            left_out += seen
            progress(done / len(spill.grid))
        for file in synced:
            file.result()
    return left_out


def make_edge_paths(directory: Path) -> None:
    """Makes the directories of the bucket files of all splits."""
    for split in SPLITS:
        edge_path(directory, split).mkdir(parents=True)


def write_splits(
    spill: EdgeSpill, history: History, directory: Path, seed: int, summed: NDArray[np.bool_], bucket: Bucket
) -> Iterator[BucketEdges]:
    """Writes the file of a bucket for one split after the other, and gives its edges. Raises WrongWeight."""
    types = spill.grid.layout.column_types(len(summed))
    for code, edges in enumerate(take_bucket(spill, history, bucket, summed, seed)):
        edges.require_positive()
        write_bucket(bucket_path(directory, SPLITS[code], bucket), edges, types)
        yield edges


def write_bucket(path: Path, edges: BucketEdges, types: Sequence[np.dtype[Any]]) -> None:
    """Writes a bucket file of format_version 1: contiguous datasets, the same bytes for the same edges.

    `types` are those of lhs, rhs and rel. numpy converts, a chunk at a time: HDF5 takes several times as long.
    """
    with new_file(path) as file:
        file.attrs["format_version"] = FORMAT_VERSION
        datasets = [
            file.create_dataset(name, shape=(edges.size,), dtype=type, track_times=False)
            for name, type in zip(COLUMNS, types, strict=True)
        ]
        start = 0
        for columns in edges.chunks():
            stop = start + len(columns.lhs)
            for dataset, column, type in zip(datasets, columns, types, strict=True):
                dataset[start:stop] = column.astype(type, copy=False)
            start = stop
        if edges.units is not None:
            file.create_dataset(WEIGHT, data=(edges.units / UNIT).astype(np.float32), track_times=False)
