"""Bucket files: the edges of each (split, lhs partition, rhs partition), shuffled, as PBG reads them."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from artifacts.bucket_file import COLUMNS, FORMAT_VERSION, WEIGHT
from artifacts.graph import SPLITS, Bucket, bucket_path, edge_path
from artifacts.ordered import contains
from artifacts.publish import sync
from partitioning.buckets.counts import Counts
from partitioning.edges.key import Columns, Indices, KeyLayout, Keys, scramble_, unscramble_
from partitioning.edges.spill import EdgeSpill
from partitioning.events.weights import UNIT
from partitioning.ledger.insertion import Insertion, insert_edges, settled_edges
from partitioning.ledger.settled import units_name
from partitioning.sources.engine import translated

_CHUNK = 1 << 17  # edges that are unpacked at once: what a whole bucket takes would cost more to allocate than to fill


class BucketEdges(NamedTuple):
    """The edges of a split in a bucket, shuffled.

    Attributes:
        keys: those that are not settled (N,)
        units: weights (M,) in units of all edges, None in a graph without weights
        seen: number of edges left out, which an earlier split has
        insertion: where they go among those that are settled, of training after a graph with a ledger
    """

    keys: Keys
    units: Indices | None
    seen: int
    insertion: Insertion | None

    @property
    def size(self) -> int:
        """Number of edges, also settled ones."""
        return len(self.keys) + (self.insertion.settled.size if self.insertion else 0)

    def chunks(self, layout: KeyLayout) -> Iterator[Columns]:
        """All edges, some at a time."""
        if self.insertion:
            yield from self.insertion.chunks(layout.columns(self.keys))
        else:
            for start in range(0, len(self.keys), _CHUNK):
                yield layout.columns(self.keys[start : start + _CHUNK])


def write_buckets(
    spill: EdgeSpill,
    directory: Path,
    seed: int,
    threads: int,
    summed: NDArray[np.bool_],
    counts: Counts,
    ledger: Path | None,
    progress: Callable[[float], None],
) -> None:
    """Writes every bucket of every split, also empty ones, and counts their edges into `counts`.

    `summed` (relations,) says which relations have one edge for all events between the same entities. Exact weights of
    training go to the directory `ledger`, if any.
    """
    for split in SPLITS:
        edge_path(directory, split).mkdir(parents=True)

    def work(bucket: int) -> int:
        i, j = divmod(bucket, spill.grid.rhs_partitions)
        left_out = 0
        for code, edges in enumerate(fresh_edges(spill, bucket, summed, seed)):
            path = bucket_path(directory, SPLITS[code], Bucket(i, j))
            write_bucket(path, spill.grid.layout, edges)
            synced.append(disk.submit(sync, path))  # while the next ones are made
            if ledger and edges.units is not None and len(edges.units) and code == 0:
                np.save(ledger / units_name(i, j), edges.units)
            counts.add(code, i, j, edges.keys, edges.size)
            left_out += edges.seen
        return left_out

    synced: list[Future[None]] = []
    with translated(), ThreadPoolExecutor(threads) as pool, ThreadPoolExecutor(1) as disk:
        for done, seen in enumerate(pool.map(work, range(spill.grid.buckets)), 1):
            spill.left_out["seen_before"] += seen
            progress(done / spill.grid.buckets)
        for file in synced:
            file.result()


def fresh_edges(spill: EdgeSpill, bucket: int, summed: NDArray[np.bool_], seed: int) -> Iterator[BucketEdges]:
    """The edges of each split, settled ones too; their files are removed.

    Those that an earlier split has are left out: what training has seen is not asked again.
    """
    layout = spill.grid.layout
    earlier: list[Callable[[Keys], NDArray[np.bool_]]] = []
    for split in range(len(SPLITS)):
        keys, units, is_summed = spill.keys(split, bucket), None, None
        if spill.weighted:
            is_summed = summed[layout.relation(keys)]
            scramble_(keys, seed)
            keys, units, is_summed = sum_repeats(keys, spill.units(split, bucket), is_summed)
        else:
            scramble_(keys, seed)
            keys.sort()
        seen = np.zeros(len(keys), np.bool_)
        for has in earlier:
            seen |= has(keys)
        if seen.any():
            keys, units = keys[~seen], None if units is None else units[~seen]
        insertion = None
        if split == 0 and spill.settled is not None:
            before = settled_edges(spill.settled, spill.grid, bucket, seed, spill.weighted)
            insertion, keys, units = insert_edges(before, keys, units, is_summed)
            earlier.append(before.contains)
        if any(spill.holds(later, bucket) for later in range(split + 1, len(SPLITS))):
            earlier.append(partial(contains, keys.copy()))
        unscramble_(keys, seed)
        yield BucketEdges(keys, units, int(np.count_nonzero(seen)), insertion)


def sum_repeats(keys: Keys, units: Indices, is_summed: NDArray[np.bool_]) -> tuple[Keys, Indices, NDArray[np.bool_]]:
    """Sorted keys (M,), weights (M,) and whether they are summed (M,), of the edges of events (N,), M <= N.

    Repeats become one edge where `is_summed` (N,).
    """
    order = np.argsort(keys)
    keys, units, is_summed = keys[order], units[order], is_summed[order]
    first = np.append(True, keys[1:] != keys[:-1])[: len(keys)] | ~is_summed
    starts = np.flatnonzero(first)
    return keys[starts], np.add.reduceat(units, starts) if len(starts) else units, is_summed[starts]


def write_bucket(path: Path, layout: KeyLayout, edges: BucketEdges) -> None:
    """Writes a bucket file of format_version 1: contiguous datasets, the same bytes for the same edges."""
    with h5py.File(path, "w") as file:
        file.attrs["format_version"] = FORMAT_VERSION
        datasets = [
            file.create_dataset(name, shape=(edges.size,), dtype=np.int64, track_times=False) for name in COLUMNS
        ]
        start = 0
        for columns in edges.chunks(layout):
            stop = start + len(columns.lhs)
            for dataset, column in zip(datasets, columns, strict=True):
                dataset[start:stop] = column
            start = stop
        if edges.units is not None:
            file.create_dataset(WEIGHT, data=(edges.units / UNIT).astype(np.float32), track_times=False)
