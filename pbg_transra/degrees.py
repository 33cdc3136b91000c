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
    return tuple(names) if len(names) <= MOST else SIDES


def training_degrees(graph_dir: Path, graph: Graph, kind: EntityType, partition: int) -> NDArray[np.int32]:
    """Training edges (N, K) of the entities of a partition, columns as `degree_names` says.

    Reads every bucket of the partition's row and column once; in memory is what it returns.
    """
    names = degree_names(graph, kind)
    degrees = np.zeros((kind.counts[partition], len(names)), np.int32)
    directory = edge_path(graph_dir, "train")
    for side, others in (("lhs", graph.side_partitions("rhs")), ("rhs", graph.side_partitions("lhs"))):
        column = np.array([_column(names, r.name, side, getattr(r, side) == kind.name) for r in graph.relations])
        if (column < 0).all():
            continue
        for other in range(others):
            i, j = (partition, other) if side == "lhs" else (other, partition)
            with h5py.File(directory / f"edges_{i}_{j}.h5", "r") as file:
                for start in range(0, len(file["rel"]), CHUNK):
                    at = column[file["rel"][start : start + CHUNK]]
                    rows = file[side][start : start + CHUNK]
                    np.add.at(degrees.reshape(-1), (rows * len(names) + at)[at >= 0], np.int32(1))
    return degrees


def _column(names: tuple[str, ...], relation: str, side: str, is_mine: bool) -> int:
    """Where a side of a relation is counted; -1 where it is of another type."""
    if not is_mine:
        return -1
    return names.index(side if names == SIDES else f"{relation}:{side}")
