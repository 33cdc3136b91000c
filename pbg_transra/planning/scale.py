"""What a training of any size would take on machines like this one: counted as the plan of a real one is, over a graph
of that size that is only described; speeds are measured here, on tables and a bucket of random edges."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np

from artifacts.errors import ResourceError
from artifacts.formats.bucket_file import COLUMNS
from artifacts.formats.graph import Bucket, EntityType, Graph, Relation, Side, bucket_path, edge_path
from artifacts.machine.resources import GIB, cpu_count
from pbg_transra.config import ExportConfig, ModelConfig
from pbg_transra.export.size import size_of
from pbg_transra.planning.calibration import EDGES, TABLE_BYTES, Speed, measure
from pbg_transra.planning.duration import pass_seconds, pass_traffic, start_seconds
from pbg_transra.planning.memory import needs_of
from pbg_transra.reports import ScalePlan
from pbg_transra.training.edge_files import EdgeFiles

MOST_PARTITIONS = 4096
AHEAD = 4  # partitions for each rank, so that each can hold one bucket and load another
MOST_MACHINES = MOST_PARTITIONS // AHEAD
WALKED = 256  # partitions of the grid that is walked bucket by bucket; a larger one takes the time of its buckets


def plan_scale(
    relations: Sequence[Relation],
    entities: Mapping[str, int],
    config: ModelConfig,
    export: ExportConfig,
    machines: int,
    memory: int,
    scratch: Path,
) -> ScalePlan:
    """`relations` say how many training edges each has, some of them at least one; `machines`: MOST_MACHINES at most;
    `memory`: bytes that a machine has for it. Takes the fewest partitions, a power of two, with which training fits.
    Raises ResourceError where it does not fit with MOST_PARTITIONS, and what `measure` does.

    On several machines the time of a pass is shared out; waiting for each other, and for the file system that they
    share, is not in it.
    """
    workers = config.workers or cpu_count()
    partitions = 1 if machines == 1 else 1 << (AHEAD * machines - 1).bit_length()
    while True:
        graph = described(relations, entities, partitions)
        largest = EdgeFiles(Path(), config.edge_chunks, {Bucket(0, 0): largest_bucket(graph)})
        needs = needs_of(graph, largest, config, workers)
        if needs.memory <= memory:
            break
        if partitions >= MOST_PARTITIONS:
            raise ResourceError(
                f"plan: with {partitions:,} partitions, which is the most, "
                f"training takes {needs.memory / GIB:,.1f} GiB of memory, and {memory / GIB:,.1f} GiB are for it; "
                "lower model.dimension, or take larger machines"
            )
        partitions *= 2
    speed = measured(graph, config, workers, scratch)
    size = size_of(graph, config, export)
    walked = replace(graph, entity_types=tuple(EntityType(t.name, t.counts[:WALKED]) for t in graph.entity_types))
    more = (partitions / min(partitions, WALKED)) ** 2
    edges = spread(walked, config, round(graph.edges("train") / more))
    one_pass = pass_seconds(walked, edges, config, workers, speed, 0) * more
    vectors = graph.entities * 4 * config.dimension
    return ScalePlan(
        partitions=partitions,
        memory=needs.memory,
        shared_memory=needs.shared_memory,
        disk=needs.disk,
        seconds=start_seconds(config) + config.passes * one_pass / machines,
        traffic=int(pass_traffic(walked, edges, config, 0) * more) if partitions > 1 else 0,
        export_seconds=vectors / speed.swapped + size / speed.synced,
        export_disk=size,
    )


def described(relations: Sequence[Relation], entities: Mapping[str, int], partitions: int) -> Graph:
    """A graph whose entities are spread evenly over partitions."""
    types = tuple(
        EntityType(name, tuple(count // partitions + (part < count % partitions) for part in range(partitions)))
        for name, count in entities.items()
    )
    return Graph(types, tuple(relations), {}, (None, None))


def largest_bucket(graph: Graph) -> int:
    """Edges of it, where they are spread evenly."""
    return -(-graph.edges("train") // (graph.partitions_on(Side.LHS) * graph.partitions_on(Side.RHS)))


def spread(graph: Graph, config: ModelConfig, edges: int) -> EdgeFiles:
    """So many edges, evenly over its buckets; nothing is there to be read."""
    buckets = list(graph.buckets())
    each, more = divmod(edges, len(buckets))
    return EdgeFiles(
        Path(), config.edge_chunks, {bucket: each + (number < more) for number, bucket in enumerate(buckets)}
    )


def measured(graph: Graph, config: ModelConfig, workers: int, scratch: Path) -> Speed:
    """Of a bucket of random edges, whose relations are as frequent as in the graph, on tables that no cache holds."""
    with TemporaryDirectory(prefix=".calibration-", dir=scratch) as name:
        directory, bucket = Path(name), Bucket(0, 0)
        count = min(EDGES, largest_bucket(graph))
        write_bucket(directory, graph, count, TABLE_BYTES // (4 * config.dimension))
        edges = EdgeFiles(directory, 1, {bucket: count})
        return measure(graph, edges, config.model_copy(update={"edge_chunks": 1}), workers, directory)


def write_bucket(directory: Path, graph: Graph, count: int, rows: int) -> None:
    """Bucket (0, 0), of ends that are drawn evenly among so many rows."""
    generator, frequencies = np.random.default_rng(0), np.array([r.edges["train"] for r in graph.relations], float)
    relations = generator.choice(len(frequencies), count, p=frequencies / frequencies.sum()).astype(np.uint32)
    limits = {side: np.array([min(rows, kind.counts[0]) for kind in graph.types_on(side)])[relations] for side in Side}
    ends = [(generator.random(count) * limits[side]).astype(np.uint32) for side in Side]
    edge_path(directory, "train").mkdir(parents=True)
    with h5py.File(bucket_path(directory, "train", Bucket(0, 0)), "w") as file:
        for name, column in zip(COLUMNS, (*ends, relations), strict=True):
            file[name] = column
