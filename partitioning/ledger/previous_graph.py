"""The history that a graph with a ledger is: training edges from its buckets, the rest from the ledger's arrays."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from artifacts.formats.bucket_file import BucketFile, EdgeColumns
from artifacts.formats.graph import SPLITS, Bucket, Side, bucket_path, load_graph
from partitioning.edges.grid import Grid
from partitioning.edges.key import Indices, KeyLayout
from partitioning.edges.stream import Window
from partitioning.events.relations import NamedRelation
from partitioning.ledger.arrays import LedgerArrays, degrees_name, ends_name, held_out_name, units_name
from partitioning.ledger.continuation import Continuation
from partitioning.ledger.history import END_BITS, HeldOut, History, NoHistory
from partitioning.ledger.insertion import CountedEdges
from partitioning.ledger.ledger import ledger_path


def history_of(continuation: Continuation, relations: list[NamedRelation]) -> History:
    """What was counted before a build."""
    counted = continuation.counted_graph
    return PreviousGraph(counted, relations) if counted else NoHistory(len(relations))


class PreviousGraph:
    """The graph in `directory`, whose relations are among those of the new one, in the same order."""

    def __init__(self, directory: Path, relations: list[NamedRelation]) -> None:
        graph, at = load_graph(directory), {relation.name: index for index, relation in enumerate(relations)}
        self._directory, self._arrays = directory, LedgerArrays(ledger_path(directory))
        self._buckets = list(graph.buckets())
        self._relation = np.array([at[relation.name] for relation in graph.relations], np.int64)
        self._layout = KeyLayout.of(
            len(graph.relations),
            *(max(max(entity_type.counts) for entity_type in graph.types_on(side)) for side in Side),
        )
        self.window = Window(*graph.window)
        self.edges = np.zeros(len(relations), np.int64)
        self.edges[self._relation] = [relation.edges["train"] for relation in graph.relations]

    def training_edges(self, grid: Grid, bucket: Bucket, seed: int, weighted: bool) -> CountedEdges:
        """See `History`; sorted anew when the order of the file is not that of the new graph's keys.

        It is not when a new name has moved the numbers of relations, or a partition has grown out of its bits.
        """
        with BucketFile(bucket_path(self._directory, "train", bucket)) as file:
            lhs, rhs, relation = file.mapped()
        columns = EdgeColumns(lhs, rhs, relation if self._same_relations() else self._relation[relation])
        units = self._arrays.load(units_name(bucket), np.int64) if weighted else None
        edges = CountedEdges(columns, units, grid.layout, seed)
        if self._layout == grid.layout and self._same_relations():
            return edges
        order = np.argsort(edges.all_keys)
        columns = EdgeColumns(*(column[order] for column in edges.columns))
        return replace(edges, columns=columns, units=None if edges.units is None else edges.units[order])

    def _same_relations(self) -> bool:
        return bool((self._relation == np.arange(len(self._relation))).all())

    def held_out(self) -> Iterator[HeldOut]:
        for split in range(1, len(SPLITS)):
            for bucket in self._buckets:
                events = self._arrays.load(held_out_name(split, bucket), np.int64)
                if len(events):
                    relation, lhs, rhs, moments, units = events
                    yield HeldOut(split, bucket, EdgeColumns(lhs, rhs, self._relation[relation]), moments, units)

    def degrees(self, type: str, part: int) -> NDArray[np.int32]:
        return self._arrays.load(degrees_name(type, part), np.int32)

    def ends(self, side: Side, part: int) -> Indices:
        ends = self._arrays.load(ends_name(side, part), np.int64)
        if self._relation[-1] == len(self._relation) - 1:  # no relation is new
            return ends
        return (self._relation[ends >> END_BITS] << END_BITS) | (ends & ((1 << END_BITS) - 1))
