"""What is counted while buckets are written: edges, degrees, and which entities occur in which relations."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from artifacts.graph import SPLITS, Bucket, Side
from partitioning.buckets.ends import open_ends
from partitioning.edges.key import Indices, Keys
from partitioning.edges.positions import Positions
from partitioning.edges.spill import EdgeSpill
from partitioning.entities.entity_map import EntityMap
from partitioning.events.relations import NamedRelation
from partitioning.ledger.arrays import KeepsArrays, degrees_name, ends_name
from partitioning.ledger.history import History


class Counts:
    """Counts that grow bucket by bucket, from several threads; they begin with those of a history.

    Attributes:
        edges: (relations, splits)
        bucket_sizes: (splits, buckets)
        degrees: for each partition, training degrees of all types, one type after the other
        held_out: for each partition, in the same order, whether an entity occurs in valid or test
        distinct: number of distinct entities (relations,) on each side over all splits, once closed
    """

    def __init__(
        self,
        spill: EdgeSpill,
        history: History,
        relations: list[NamedRelation],
        entities: dict[str, EntityMap],
        memory: int,
    ) -> None:
        """`memory`: bytes that flags of ends may take."""
        self._grid = spill.grid
        self._ends = open_ends(spill.directory, spill.grid, history, relations, entities, memory)
        self._lock = threading.Lock()
        self._positions = Positions(relations, entities.values())
        self._entities, self._relations = entities, len(relations)
        self.edges = np.zeros((len(relations), len(SPLITS)), np.int64)
        self.bucket_sizes = np.zeros((len(SPLITS), len(spill.grid)), np.int64)
        self.degrees = [np.zeros(size, np.int32) for size in self._positions.sizes]
        self.held_out = [np.zeros(size, np.bool_) for size in self._positions.sizes]
        self.distinct: dict[Side, Indices] = {}
        self.edges[:, 0] = history.edges
        for type, part, degrees in self._by_type():
            counted = history.degrees(type, part)
            degrees[: len(counted)] = counted

    def add(self, split: int, bucket: Bucket, keys: Keys, size: int) -> None:
        """Counts the edges of a bucket of `size` edges, given as keys (N,) without those of the history."""
        layout = self._grid.layout
        relation = layout.relation(keys)
        edges = np.bincount(relation, minlength=self._relations)
        with self._lock:
            self.edges[:, split] += edges
            self.bucket_sizes[split, self._grid.number(bucket)] = size
        for side in Side:
            self._add_side(side, split, side.pick(*bucket), relation, layout.offsets(side, keys))

    def _add_side(self, side: Side, split: int, part: int, relation: Indices, offsets: Indices) -> None:
        at = self._positions.of(side, part, relation, offsets)
        if split == 0:
            with self._lock:
                np.add.at(self.degrees[part], at, np.int32(1))  # of its own dtype, else it takes 40 times as long
        else:
            self.held_out[part][at] = True  # safe without the lock: every thread writes the same value
        self._ends.add(side, part, split > 0, relation, offsets)

    def close(self, arrays: KeepsArrays, threads: int) -> None:
        """Counts distinct entities; saves in `arrays` what a later graph continues from."""

        def close(side: Side, part: int) -> Indices:
            if arrays.keeps:
                arrays.save(ends_name(side, part), self._ends.training(side, part))
            return self._ends.distinct(side, part)

        with ThreadPoolExecutor(threads) as pool:
            for side in Side:
                parts = range(self._grid.partitions(side))
                self.distinct[side] = np.sum(list(pool.map(partial(close, side), parts)), axis=0)
        for type, part, degrees in self._by_type():
            arrays.save(degrees_name(type, part), degrees)

    def of_type(self, type: str) -> tuple[list[NDArray[np.int32]], list[NDArray[np.bool_]]]:
        """Training degrees of a type's entities and whether they occur in valid or test, partition by partition."""
        slices = self._positions.of_type(type)
        return (
            [degrees[part] for degrees, part in zip(self.degrees, slices, strict=True)],
            [held_out[part] for held_out, part in zip(self.held_out, slices, strict=True)],
        )

    def _by_type(self) -> list[tuple[str, int, NDArray[np.int32]]]:
        """Type, partition and degrees (N,), a view, of every partition that has entities."""
        return [(type, part, d) for type in self._entities for part, d in enumerate(self.of_type(type)[0]) if len(d)]
