"""How often an entity occurs in training, by relation and side: what vectors of one length cannot say."""

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from artifacts.graph import EntityType, Graph, edge_path

MOST = 32  # columns; a type in more relations has its degree on each side only
SIDES = ("lhs", "rhs")
CHUNK = 1 << 20  # edges in hand at once


def degree_names(graph: Graph, kind: EntityType) -> tuple[str, ...]:
    """The columns of a type: `<relation>:<side>` in the graph's order, or the sides where there would be too many."""
    names = [f"{r.name}:{side}" for r in graph.relations for side in SIDES if getattr(r, side) == kind.name]
    if len(names) <= MOST:
        return tuple(names)
    return tuple(side for side in SIDES if any(getattr(r, side) == kind.name for r in graph.relations))


def training_degrees(graph_dir: Path, graph: Graph, kind: EntityType, partition: int) -> NDArray[np.int32]:
    """Training edges (N, K) of the entities of a partition, columns as `degree_names` says.

    Reads every bucket of the partition's row and column once; in memory is what it returns.
    """
    names = degree_names(graph, kind)
    degrees = np.zeros((kind.counts[partition], len(names)), np.int32)
    directory = edge_path(graph_dir, "train")
    for side, others in (("lhs", graph.side_partitions("rhs")), ("rhs", graph.side_partitions("lhs"))):
        columns = _columns(graph, kind, side, names)
        if (columns < 0).all():
            continue
        for other in range(others):
            i, j = (partition, other) if side == "lhs" else (other, partition)
            with h5py.File(directory / f"edges_{i}_{j}.h5", "r") as file:
                for start in range(0, len(file["rel"]), CHUNK):
                    at = columns[file["rel"][start : start + CHUNK]]
                    rows = file[side][start : start + CHUNK]
                    np.add.at(degrees.reshape(-1), (rows * len(names) + at)[at >= 0], np.int32(1))
    return degrees


def _columns(graph: Graph, kind: EntityType, side: str, names: tuple[str, ...]) -> NDArray[np.int64]:
    """Where a side of each relation is counted (R,), -1 where it is of another type."""
    by_relation = not set(names) <= set(SIDES)
    found = [
        names.index(f"{relation.name}:{side}" if by_relation else side) if getattr(relation, side) == kind.name else -1
        for relation in graph.relations
    ]
    return np.array(found)
