"""What is counted while buckets are written: edges, degrees, and which entities occur in which relations."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from artifacts.graph import SPLITS, Bucket, Side
from artifacts.ordered import contains, merged, unique
from partitioning.edges.key import Indices, Keys
from partitioning.edges.positions import Positions
from partitioning.edges.spill import EdgeSpill
from partitioning.entities.entity_map import EntityMap
from partitioning.events.relations import NamedRelation
from partitioning.ledger.arrays import KeepsArrays, degrees_name, ends_name
from partitioning.ledger.history import END_BITS, History


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
        self, spill: EdgeSpill, history: History, relations: list[NamedRelation], entities: dict[str, EntityMap]
    ) -> None:
        self._grid, self._directory, self._history = spill.grid, spill.directory, history
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
        ends = unique((relation << END_BITS) | offsets)
        with self._lock, self._ends_path(side, part, split > 0).open("ab") as file:
            ends.tofile(file)

    def close(self, arrays: KeepsArrays, threads: int) -> None:
        """Counts distinct entities; saves in `arrays` what a later graph continues from."""
        parts = range(len(self.degrees))
        with ThreadPoolExecutor(threads) as pool:
            for side in Side:
                ends = pool.map(lambda part, side=side: self._close_ends(side, part, arrays), parts)
                self.distinct[side] = np.sum(list(ends), axis=0)
        for type, part, degrees in self._by_type():
            arrays.save(degrees_name(type, part), degrees)

    def _close_ends(self, side: Side, part: int, arrays: KeepsArrays) -> Indices:
        """Distinct entities (relations,) on a side of a partition."""
        training, held = (self._spilled_ends(side, part, held) for held in (False, True))
        counted = self._history.ends(side, part)
        training = merged(counted, training[~contains(counted, training)]) if len(counted) else training
        arrays.save(ends_name(side, part), training)
        borders = np.arange(self._relations + 1) << END_BITS
        return np.diff(np.searchsorted(training, borders) + np.searchsorted(held[~contains(training, held)], borders))

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

    def _spilled_ends(self, side: Side, part: int, held: bool) -> Indices:
        path = self._ends_path(side, part, held)
        return unique(np.fromfile(path, np.int64)) if path.exists() else np.empty(0, np.int64)

    def _ends_path(self, side: Side, part: int, held: bool) -> Path:
        return self._directory / f"ends-{side}-{part}{'-held' * held}"
