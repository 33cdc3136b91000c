"""How often an entity occurs in training, by relation and side: what vectors of one length cannot say."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from artifacts.formats.bucket_file import BucketFile
from artifacts.formats.graph import EntityType, Graph, Side, bucket_path

MOST = 32  # columns; a type in more relations has its degree on each side only
CHUNK = 1 << 20  # edges in hand at once


def degree_names(graph: Graph, kind: EntityType) -> tuple[str, ...]:
    """The columns of a type: `<relation>:<side>` in the graph's order, or the sides where there would be too many."""
    names = [f"{r.name}:{side}" for r in graph.relations for side in Side if r.type(side) == kind.name]
    if len(names) <= MOST:
        return tuple(names)
    return tuple(side.value for side in Side if any(r.type(side) == kind.name for r in graph.relations))


def training_degrees(graph_dir: Path, graph: Graph, kind: EntityType, partition: int) -> NDArray[np.int32]:
    """Training edges (N, K) of the entities of a partition, columns as `degree_names` says.

    Reads every bucket of the partition's row and column once; in memory is what it returns.
    """
    names = degree_names(graph, kind)
    degrees = np.zeros((kind.counts[partition], len(names)), np.int32)
    for rows, at in _ends(graph_dir, graph, kind, partition):
        np.add.at(degrees.reshape(-1), rows * len(names) + at, np.int32(1))
    return degrees


def have_edges(graph_dir: Path, graph: Graph, kind: EntityType, partition: int) -> NDArray[np.bool_]:
    """Which entities of a partition have a training edge, (N,). Reads what `training_degrees` does."""
    found = np.zeros(kind.counts[partition], bool)
    for rows, _ in _ends(graph_dir, graph, kind, partition):
        found[rows] = True
    return found


def _ends(
    graph_dir: Path, graph: Graph, kind: EntityType, partition: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yields the ends of training edges in a partition: offsets, and the columns that count them, (E,) each."""
    for side in Side:
        columns = _columns(graph, kind, side, degree_names(graph, kind))
        if (columns < 0).all():
            continue
        for bucket in (bucket for bucket in graph.buckets() if side.pick(*bucket) == partition):
            with BucketFile(bucket_path(graph_dir, "train", bucket)) as file:
                for start in range(0, len(file), CHUNK):
                    at = columns[file.column("rel", start, start + CHUNK)]
                    rows = file.column(side, start, start + CHUNK)
                    yield rows[at >= 0], at[at >= 0]


def _columns(graph: Graph, kind: EntityType, side: Side, names: tuple[str, ...]) -> NDArray[np.int64]:
    """Where a side of each relation is counted (R,), -1 where it is of another type."""
    by_relation = not set(names) <= {side.value for side in Side}
    found = [
        names.index(f"{relation.name}:{side}" if by_relation else side) if relation.type(side) == kind.name else -1
        for relation in graph.relations
    ]
    return np.array(found)
