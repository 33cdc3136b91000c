"""What a training of any size would take on machines like this one: counted as the plan of a real one is, over a graph
of that size that is only described; speeds are measured here, on tables and a bucket of random edges."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np

from artifacts.errors import ResourceError
from artifacts.formats.bucket_file import COLUMNS
from artifacts.formats.graph import Bucket, EntityType, Graph, Relation, Side, bucket_path, edge_path
from artifacts.machine.resources import GIB, cpu_count
from pbg_transra.config import ExportConfig, MachinesConfig, ModelConfig
from pbg_transra.export.size import size_of
from pbg_transra.planning.calibration import EDGES, TABLE_BYTES, Speed, measure
from pbg_transra.planning.duration import pass_seconds, pass_traffic, start_seconds
from pbg_transra.planning.memory import disk_of, needs_of
from pbg_transra.reports import ScalePlan
from pbg_transra.training.edge_files import EdgeFiles
from pbg_transra.training.shared_schedule import locked_sides, require_shareable

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
    whole: Collection[str] = (),
) -> ScalePlan:
    """`relations` say how many training edges each has, some of them at least one; `machines`: MOST_MACHINES at most;
    `memory`: bytes that a machine has for it; `whole`: types of one partition. Takes the fewest partitions, a power of
    two, with which training fits. Raises ResourceError where it does not fit with MOST_PARTITIONS, DataError for what
    several machines cannot share out, and what `measure` does.

    On several machines the time of a pass is shared out, as far as the edges of types of one partition, which lie in
    one row or column of buckets, let it be; waiting for each other, and for the file system that they share, is not in
    it.
    """
    if machines > 1:
        config = config.model_copy(update={"machines": MachinesConfig(ranks=machines)})
    workers = config.workers or cpu_count()
    partitions = 1 if machines == 1 else 1 << (AHEAD * machines - 1).bit_length()
    while True:
        graph = described(relations, entities, partitions, whole)
        if machines > 1:
            require_shareable(graph, config.dimension, machines)
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
    more = grid(graph) / grid(walked)
    edges = spread(walked, config, round(graph.edges("train") / more))
    one_pass = pass_seconds(walked, edges, config, workers, speed, 0) * more
    vectors = graph.entities * 4 * config.dimension
    return ScalePlan(
        partitions=partitions,
        memory=needs.memory,
        shared_memory=needs.shared_memory,
        disk=disk_of(graph, config, one_pass * share_of_one(graph, machines), begun=False),
        seconds=start_seconds(config) + config.passes * one_pass * share_of_one(graph, machines),
        traffic=int(pass_traffic(walked, edges, config, 0) * more) if partitions > 1 else 0,
        export_seconds=vectors / speed.swapped + size / speed.synced,
        export_disk=size,
    )


def described(
    relations: Sequence[Relation], entities: Mapping[str, int], partitions: int, whole: Collection[str] = ()
) -> Graph:
    """A graph whose entities are spread evenly over partitions, those of `whole` types in one."""
    split = {name: 1 if name in whole else partitions for name in entities}
    types = tuple(
        EntityType(name, tuple(count // parts + (part < count % parts) for part in range(parts)))
        for (name, count), parts in zip(entities.items(), split.values(), strict=True)
    )
    return Graph(types, tuple(relations), {}, (None, None))


def largest_bucket(graph: Graph) -> int:
    """Edges of the first, where each relation's are spread evenly over the buckets that they can lie in."""
    return math.ceil(sum(relation.edges["train"] / prod(parts_of(graph, relation)) for relation in graph.relations))


def parts_of(graph: Graph, relation: Relation) -> tuple[int, int]:
    """Partitions of a relation's heads and tails."""
    lhs, rhs = (graph.entity_type(relation.type(side)).partitions for side in Side)
    return lhs, rhs


def spread(graph: Graph, config: ModelConfig, edges: int) -> EdgeFiles:
    """So many edges, those of each relation evenly over the buckets that they can lie in; nothing is there to be
    read."""
    shares = np.zeros([graph.partitions_on(side) for side in Side])
    for relation in graph.relations:
        lhs, rhs = parts_of(graph, relation)
        shares[:lhs, :rhs] += relation.edges["train"] / (lhs * rhs)
    counts = np.diff(np.rint(np.cumsum(shares) / shares.sum() * edges).astype(int), prepend=0)
    return EdgeFiles(Path(), config.edge_chunks, dict(zip(graph.buckets(), counts.tolist(), strict=True)))


def grid(graph: Graph) -> int:
    """Buckets of a graph."""
    return graph.partitions_on(Side.LHS) * graph.partitions_on(Side.RHS)


def share_of_one(graph: Graph, machines: int) -> float:
    """The share of a pass that the busiest of so many machines trains: its part, and no less than all edges in the
    first partition of a side, where those of whole types lie, since one machine at a time holds that."""
    if machines == 1:
        return 1.0
    first = [
        sum(relation.edges["train"] / side.pick(*parts_of(graph, relation)) for relation in graph.relations)
        for side in locked_sides(graph)
    ]
    return max(1 / machines, *(edges / graph.edges("train") for edges in first))


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
