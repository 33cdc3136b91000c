"""How fast this machine trains a graph: for half a second, or as long as a shorter training would take, the workers do
what they would do in it.

They train edges of a bucket of middle size on tables of its size, through the same backend. Only their rates are
zero, so that nothing can diverge.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from artifacts.formats.graph import Bucket, EntityType, Graph, Side
from pbg_transra.backends.backend import Capacity, Rates, Segment, opened
from pbg_transra.backends.choice import CPU, make_backend
from pbg_transra.backends.edges import Edges
from pbg_transra.config import ModelConfig
from pbg_transra.planning.step_rate import step_rate
from pbg_transra.start.initial import random_initial
from pbg_transra.training.checkpoint_files import CheckpointFiles
from pbg_transra.training.edge_files import EdgeFiles
from pbg_transra.training.residency import Residency, needed, slots_by_type

EDGES = 1_000_000
TABLE_BYTES = 64 << 20  # of a type's partition: more than the processor's caches, so all rows are as far away


@dataclass(frozen=True)
class Speed:
    """Edges/s of all workers together; seconds to read and shuffle an edge; bytes/s of vectors that are saved (to the
    page cache) and loaded again, and that are saved and synced to the disk."""

    edges: float
    seconds_per_edge_read: float
    swapped: float
    synced: float


def measure(
    graph: Graph, edges: EdgeFiles, config: ModelConfig, workers: int, directory: Path, device: torch.device = CPU
) -> Speed:
    """Needs a moment, and some megabytes in `directory`. Raises TransraError when a worker dies."""
    by_size = sorted((count, bucket) for bucket, count in edges.counts.items() if count)
    count, bucket = by_size[len(by_size) // 2]
    read, few = 0.0, replace(edges, chunks=1, counts={bucket: min(-(-count // edges.chunks), EDGES)})
    graph = small(graph, TABLE_BYTES // (4 * config.dimension))
    capacity = Capacity(slots_by_type(graph, overlap=False), 1, few.largest())
    with (
        scratch_directory(directory) as scratch,
        opened(make_backend(graph, config, workers, device), capacity) as backend,
    ):
        files = CheckpointFiles(scratch, {})
        residency = Residency(graph, capacity.slots, backend, files, random_initial(graph, config), config.lr)
        residency.bring(needed(graph, bucket))
        heads, tails = (residency.on(bucket, side) for side in Side)

        def put(into: Edges) -> None:
            nonlocal read
            read = seconds(lambda: few.load(bucket, 0, config.seed, into))
            fold_(into, graph, bucket)

        swapped, synced = disk_speed(files, *max(map(backend.read, (*heads, *tails)), key=lambda rows: rows[0].nbytes))
        backend.put_edges(0, few.largest(), put)
        segment = Segment(heads, tails, 0, 0, few.largest(), config.seed, Rates(0.0, 0.0))
        all_edges = config.epochs * sum(edges.counts.values())
        return Speed(step_rate(backend, segment, all_edges), read / few.largest(), swapped, synced)


@contextmanager
def scratch_directory(directory: Path) -> Iterator[Path]:
    """A directory for a while, locked, so that nobody takes it for one that a killed command has left behind."""
    with TemporaryDirectory(prefix=".calibration-", dir=directory) as name:
        handle = os.open(name, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield Path(name)
        finally:
            os.close(handle)


def small(graph: Graph, rows: int) -> Graph:
    """The graph with at most so many entities in a partition."""
    types = (EntityType(t.name, tuple(min(count, rows) for count in t.counts)) for t in graph.entity_types)
    return replace(graph, entity_types=tuple(types))


def fold_(edges: Edges, graph: Graph, bucket: Bucket) -> None:
    """Takes the rows of heads and tails modulo the size of their partition, in place."""
    for side in Side:
        part = side.pick(*bucket)
        limits = torch.tensor([kind.counts[kind.partition_in(part)] for kind in graph.types_on(side)])
        side.pick(edges.heads, edges.tails).remainder_(limits[edges.relations])


def disk_speed(files: CheckpointFiles, vectors: Tensor, sums: Tensor) -> tuple[float, float]:
    """Bytes/s of vectors that are swapped, and that are synced."""
    path = files.directory / "embeddings_probe_0.v1.h5"
    save = seconds(lambda: files.save("probe", 0, vectors, sums, 0.0))
    load = seconds(lambda: files.load("probe", 0, torch.empty_like(vectors), torch.empty_like(sums)))
    with path.open("rb") as file:
        sync = seconds(lambda: os.fsync(file.fileno()))
    return vectors.nbytes / (save + load), vectors.nbytes / (save + sync)


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
