"""How fast this machine trains a graph: for half a second the workers do what they would do in its training.

They step side by side on edges of a bucket of middle size and on tables of its size. Only their rates are zero, so that
nothing can diverge.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from artifacts.graph import Bucket, EntityType, Graph, Side
from pbg_transra.config import ModelConfig
from pbg_transra.pbg.embedder import make_embedder
from pbg_transra.planning.step_rate import step_rate
from pbg_transra.training.checkpoint_files import CheckpointFiles
from pbg_transra.training.edge_files import EdgeFiles
from pbg_transra.training.learning_rates import Rates
from pbg_transra.training.residency import Residency, needed, slots_of
from pbg_transra.training.tables import EdgeBuffer, Table
from pbg_transra.training.train import make_processor
from pbg_transra.training.training import shared_memory
from pbg_transra.training.workers import Bench, Task

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


def measure(graph: Graph, edges: EdgeFiles, config: ModelConfig, workers: int, directory: Path) -> Speed:
    """Needs a moment, and some megabytes in `directory`. Raises TransraError when a worker dies."""
    by_size = sorted((count, bucket) for bucket, count in edges.counts.items() if count)
    count, bucket = by_size[len(by_size) // 2]
    few = replace(edges, chunks=1, counts={bucket: min(-(-count // edges.chunks), EDGES)})
    graph = small(graph, TABLE_BYTES // (4 * config.dimension))
    with shared_memory(config), TemporaryDirectory(prefix=".calibration-", dir=directory) as scratch:
        tables = {
            kind.name: Table.allocate(kind, config.dimension, slots_of(graph, kind.name, overlap=False))
            for kind in graph.entity_types
        }
        buffer = EdgeBuffer.allocate(few.largest(), any(relation.weighted for relation in graph.relations))
        files = CheckpointFiles(Path(scratch), {})
        residency = Residency(tables, files, config)
        residency.bring(needed(graph, bucket))
        swapped, synced = disk_speed(files, max(tables.values(), key=lambda table: table.vectors.nbytes))
        read = seconds(lambda: few.load(bucket, 0, config.seed, buffer)) / few.largest()
        fold_(buffer, graph, bucket)
        bench = make_bench(graph, config, workers, tables, buffer)
        task = Task(residency.places(graph, bucket), 0, 0, few.largest(), config.seed, Rates(0.0, 0.0))
        return Speed(step_rate(bench, task, workers), read, swapped, synced)


def make_bench(graph: Graph, config: ModelConfig, workers: int, tables: dict[str, Table], buffer: EdgeBuffer) -> Bench:
    model = make_embedder(graph, config)
    processor = make_processor(model, config, workers)
    model.share_memory()
    return Bench(model, processor, tables, [buffer])


def small(graph: Graph, rows: int) -> Graph:
    """The graph with at most so many entities in a partition."""
    types = (EntityType(t.name, tuple(min(count, rows) for count in t.counts)) for t in graph.entity_types)
    return replace(graph, entity_types=tuple(types))


def fold_(buffer: EdgeBuffer, graph: Graph, bucket: Bucket) -> None:
    """Takes the rows of heads and tails modulo the size of their partition."""
    for side in Side:
        part = side.pick(*bucket)
        limits = torch.tensor([kind.counts[kind.partition_in(part)] for kind in graph.types_on(side)])
        buffer.columns[side.pick(0, 1)].remainder_(limits[buffer.columns[2]])


def disk_speed(files: CheckpointFiles, table: Table) -> tuple[float, float]:
    """Bytes/s of vectors that are swapped, and that are synced."""
    vectors, sums = table.vectors[0], table.sums[0]
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
