"""Edges of the graph in global rows: row = entities in the partitions before + offset in its own.

A global row names an entity whatever bucket its edge lies in, so everything after this module knows no partitions.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import DataError
from artifacts.formats.bucket_file import BucketFile
from artifacts.formats.graph import Bucket, Graph, Side, bucket_path, edge_path

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
    for bucket in graph.buckets():
        with BucketFile(bucket_path(graph_dir, split, bucket)) as file:
            yield from _bucket_blocks(file, graph, bucket)


def load_edges(graph_dir: Path, graph: Graph, split: str) -> Edges:
    """Returns all edges of a split: 24 bytes each. Raises DataError when there are none."""
    blocks = list(edge_blocks(graph_dir, graph, split))
    if not blocks:
        raise DataError(f"{edge_path(graph_dir, split)}: the {split} split has no edge; expected some to evaluate on")
    return Edges(*(np.concatenate(columns) for columns in zip(*map(tuple, blocks), strict=True)))


def _bucket_blocks(file: BucketFile, graph: Graph, bucket: Bucket) -> Iterator[Edges]:
    path, heads, tails = file.path, _Ends(graph, Side.LHS, bucket.lhs), _Ends(graph, Side.RHS, bucket.rhs)
    for start in range(0, len(file), BLOCK_EDGES):
        lhs, rhs, relation = file.columns(start, start + BLOCK_EDGES)
        if relation.min() < 0 or relation.max() >= len(graph.relations):
            raise DataError(f"{path}: an edge of relation {relation.max()}; the graph has {len(graph.relations)}")
        yield Edges(relation, heads.rows(path, relation, lhs), tails.rows(path, relation, rhs))


class _Ends:
    """For every relation: where the partition of its type on one side starts, and how many entities it has, (R,)."""

    def __init__(self, graph: Graph, side: Side, part: int) -> None:
        self.side = side
        types = graph.types_on(side)
        self.starts = np.array([sum(t.counts[: t.partition_in(part)]) for t in types], np.int64)
        self.counts = np.array([t.counts[t.partition_in(part)] for t in types], np.int64)

    def rows(self, path: Path, relation: Rows, offsets: Rows) -> Rows:
        bad = (offsets < 0) | (offsets >= self.counts[relation])
        if bad.any():
            worst = int(bad.argmax())
            count = self.counts[relation[worst]]
            raise DataError(f"{path}: {self.side} offset {offsets[worst]} in a partition of {count} entities")
        return np.asarray(self.starts[relation] + offsets)
