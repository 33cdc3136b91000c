"""What a graph with a ledger has counted for good, read in the numbers of the graph that follows it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifacts.bucket_file import BucketFile
from artifacts.graph import SPLITS, Bucket, Side, bucket_path, load_graph
from partitioning.edges.key import Columns, Indices, KeyLayout
from partitioning.events.relations import NamedRelation
from partitioning.ledger.ledger import ledger_path

END_BITS = 40  # of an offset, below the relation, in the list of which entity occurs in which relation


class Settled:
    """The graph in `graph_dir`, whose relations are among those of the new one, in the same order.

    Attributes:
        window: first and last training event, epoch seconds
        edges: (relations,) training edges
    """

    def __init__(self, graph_dir: Path, relations: list[NamedRelation]) -> None:
        graph, at = load_graph(graph_dir), {relation.name: index for index, relation in enumerate(relations)}
        self._directory = graph_dir
        self._relation = np.array([at[relation.name] for relation in graph.relations], np.int64)
        self._layout = KeyLayout.of(
            len(graph.relations),
            *(max(max(entity_type.counts) for entity_type in graph.types_on(side)) for side in Side),
        )
        self.window = graph.window
        self.edges = np.zeros(len(relations), np.int64)
        self.edges[self._relation] = [relation.edges["train"] for relation in graph.relations]

    def training(self, i: int, j: int) -> Columns:
        """The training edges (N,) of a bucket, in the order of its file."""
        with BucketFile(bucket_path(self._directory, "train", Bucket(i, j))) as file:
            lhs, rhs, relation = file.mapped()
        return Columns(lhs, rhs, relation if self._same_relations() else self._relation[relation])

    def in_order(self, layout: KeyLayout) -> bool:
        """Whether the order of the files is that of keys of a layout.

        It is not when a new name has moved the numbers of relations, or a partition has grown out of its bits.
        """
        return self._layout == layout and self._same_relations()

    def _same_relations(self) -> bool:
        return bool((self._relation == np.arange(len(self._relation))).all())

    def units(self, i: int, j: int) -> Indices:
        """Weights (N,) of the same edges, in units."""
        return self._array(units_name(i, j), np.empty(0, np.int64))

    def held_out(self) -> Iterator[tuple[int, int, int, Indices]]:
        """Split, i, j and events (5, N) of valid and test: relation, lhs, rhs, moment, units."""
        for path in sorted(ledger_path(self._directory).glob("held_*.npy")):
            _, split, i, j = path.stem.split("_")
            events = np.load(path)
            events[0] = self._relation[events[0]]
            yield SPLITS.index(split), int(i), int(j), events

    def degrees(self, type: str, part: int) -> NDArray[np.int32]:
        """Training degrees (N,) of the entities of a partition."""
        return self._array(degrees_name(type, part), np.empty(0, np.int32))

    def ends(self, side: str, part: int) -> Indices:
        """Sorted (relation << END_BITS) | offset (N,) of the entities that occur on a side in training."""
        ends = self._array(ends_name(side, part), np.empty(0, np.int64))
        if self._relation[-1] == len(self._relation) - 1:  # no relation is new
            return ends
        return (self._relation[ends >> END_BITS] << END_BITS) | (ends & ((1 << END_BITS) - 1))

    def _array(self, name: str, missing: NDArray[Any]) -> NDArray[Any]:
        path = ledger_path(self._directory) / name
        return np.load(path, mmap_mode="r") if path.exists() else missing


def units_name(i: int, j: int) -> str:
    return f"units_{i}_{j}.npy"


def held_name(split: int, i: int, j: int) -> str:
    return f"held_{SPLITS[split]}_{i}_{j}.npy"


def degrees_name(type: str, part: int) -> str:
    return f"degrees_{type}_{part}.npy"


def ends_name(side: str, part: int) -> str:
    return f"ends_{side}_{part}.npy"
