"""Edges of the graph in global rows: row = entities in the partitions before + offset in its own.

A global row names an entity whatever bucket its edge lies in, so everything after this module knows no partitions.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from artifacts.errors import DataError
from artifacts.graph import Graph, edge_path

BLOCK_EDGES = 1 << 20

Rows = NDArray[np.int64]


class Edges(NamedTuple):
    """E edges: relation indices, head rows and tail rows, each (E,)."""

    relation: Rows
    head: Rows
    tail: Rows

    def take(self, index: Rows) -> "Edges":
        return Edges(self.relation[index], self.head[index], self.tail[index])


def edge_blocks(graph_dir: Path, graph: Graph, split: str) -> Iterator[Edges]:
    """Yields the edges of a split, bucket by bucket. Raises DataError for buckets of another graph."""
    for i in range(graph.side_partitions("lhs")):
        for j in range(graph.side_partitions("rhs")):
            path = edge_path(graph_dir, split) / f"edges_{i}_{j}.h5"
            try:
                with h5py.File(path, "r") as file:
                    yield from _bucket_blocks(path, file, graph, (i, j))
            except (OSError, KeyError) as error:
                raise DataError(f"{path}: expected a bucket with lhs, rhs and rel ({error})") from error


def load_edges(graph_dir: Path, graph: Graph, split: str) -> Edges:
    """Returns all edges of a split: 24 bytes each. Raises DataError when there are none."""
    blocks = list(edge_blocks(graph_dir, graph, split))
    if not blocks:
        raise DataError(f"{edge_path(graph_dir, split)}: the {split} split has no edge; expected some to evaluate on")
    return Edges(*(np.concatenate(columns) for columns in zip(*map(tuple, blocks), strict=True)))


def _bucket_blocks(path: Path, file: h5py.File, graph: Graph, bucket: tuple[int, int]) -> Iterator[Edges]:
    heads = _Side(graph, "lhs", bucket[0])
    tails = _Side(graph, "rhs", bucket[1])
    for start in range(0, len(file["rel"]), BLOCK_EDGES):
        part = slice(start, start + BLOCK_EDGES)
        relation, lhs, rhs = (file[name][part].astype(np.int64, copy=False) for name in ("rel", "lhs", "rhs"))
        if relation.min() < 0 or relation.max() >= len(graph.relations):
            raise DataError(f"{path}: an edge of relation {relation.max()}; the graph has {len(graph.relations)}")
        yield Edges(relation, heads.rows(path, relation, lhs), tails.rows(path, relation, rhs))


class _Side:
    """For every relation: where the partition of its type on one side starts, and how many entities it has, (R,)."""

    def __init__(self, graph: Graph, side: str, partition: int) -> None:
        self.side = side
        counts = [graph.entity_type(getattr(relation, side)).counts for relation in graph.relations]
        # a type that is not split has partition 0 only, whatever the bucket
        parts = [partition if len(of_type) > 1 else 0 for of_type in counts]
        self.starts = np.array([sum(c[:part]) for c, part in zip(counts, parts, strict=True)], np.int64)
        self.counts = np.array([c[part] for c, part in zip(counts, parts, strict=True)], np.int64)

    def rows(self, path: Path, relation: Rows, offsets: Rows) -> Rows:
        bad = (offsets < 0) | (offsets >= self.counts[relation])
        if bad.any():
            worst = int(bad.argmax())
            count = self.counts[relation[worst]]
            raise DataError(f"{path}: {self.side} offset {offsets[worst]} in a partition of {count} entities")
        return np.asarray(self.starts[relation] + offsets)
