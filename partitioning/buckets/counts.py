"""What is counted while buckets are written: edges, degrees, and which entities occur in which relations."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from artifacts.formats.graph import SPLITS, Bucket, Side
from partitioning.buckets.ends import open_ends
from partitioning.edges.grid import Grid
from partitioning.edges.key import Indices, Keys
from partitioning.edges.positions import Positions
from partitioning.entities.entity_map import EntityMap
from partitioning.events.relations import NamedRelation
from partitioning.ledger.arrays import KeepsArrays, degrees_name, ends_name
from partitioning.ledger.history import History

FLAGS_SHARE = 8  # of graph.memory_limit, which flags of the ends that occur may take


@dataclass(frozen=True)
class TypeCounts:
    """The entities of a type, or of some of its partitions: how many (largest degree + 1,) have each training degree,
    and of those without one, how many are held out (`cold`) and how many are not (`absent`)."""

    degrees: Indices
    cold: int
    absent: int

    def __add__(self, other: "TypeCounts") -> "TypeCounts":
        size = max(len(self.degrees), len(other.degrees))
        degrees = sum(np.pad(one.degrees, (0, size - len(one.degrees))) for one in (self, other))
        return TypeCounts(np.asarray(degrees), self.cold + other.cold, self.absent + other.absent)


@dataclass(frozen=True)
class GraphCounts:
    """What a whole graph is, in numbers.

    Attributes:
        edges: (relations, splits)
        bucket_sizes: (splits, buckets)
        distinct: number of distinct entities (relations,) on each side over all splits
        types: its entities, by type
    """

    edges: Indices
    bucket_sizes: Indices
    distinct: dict[Side, Indices]
    types: dict[str, TypeCounts]


class Counts:
    """Counts that grow bucket by bucket, from several threads; they begin with those of a history.

    Attributes:
        edges: (relations, splits)
        bucket_sizes: (splits, buckets)
        degrees: for each partition, training degrees of all types, one type after the other
        held_out: for each partition, in the same order, whether an entity occurs in valid or test
    """

    def __init__(
        self,
        directory: Path,
        grid: Grid,
        history: History,
        relations: list[NamedRelation],
        entities: dict[str, EntityMap],
        memory: int,
        holds_out: bool,
    ) -> None:
        """`memory`: bytes that flags of ends may take; beyond that, ends lie in files in the directory. `holds_out`:
        whether any edge may be none of training."""
        self._grid = grid
        self._ends = open_ends(directory, grid, history, relations, entities, memory, holds_out)
        self._lock = threading.Lock()
        self._positions = Positions(relations, entities.values())
        self._entities, self._relations = entities, len(relations)
        self.edges = np.zeros((len(relations), len(SPLITS)), np.int64)
        self.bucket_sizes = np.zeros((len(SPLITS), len(grid)), np.int64)
        self.degrees = [np.zeros(size, np.int32) for size in self._positions.sizes]
        self.held_out = [np.zeros(size, np.bool_) for size in self._positions.sizes]
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
            self.add_side(side, split, side.pick(*bucket), relation, layout.offsets(side, keys))

    def add_side(self, side: Side, split: int, part: int, relation: Indices, offsets: Indices) -> None:
        """Counts the entities at offsets (N,) of a partition on a side of edges with relation indices (N,)."""
        at = self._positions.of(side, part, relation, offsets)
        if split == 0:
            with self._lock:
                np.add.at(self.degrees[part], at, np.int32(1))  # of its own dtype, else it takes 40 times as long
        else:
            self.held_out[part][at] = True  # safe without the lock: every thread writes the same value
        self._ends.add(side, part, split > 0, relation, offsets)

    def close(self, arrays: KeepsArrays, threads: int) -> GraphCounts:
        """Counts distinct entities; saves in `arrays` what a later graph continues from."""

        def close(side: Side, part: int) -> Indices:
            if arrays.keeps:
                arrays.save(ends_name(side, part), self._ends.training(side, part))
            return self.distinct(side, part)

        distinct = {}
        with ThreadPoolExecutor(threads) as pool:
            for side in Side:
                parts = range(self._grid.partitions(side))
                distinct[side] = np.sum(list(pool.map(partial(close, side), parts)), axis=0)
        for type, part, degrees in self._by_type():
            arrays.save(degrees_name(type, part), degrees)
        parts = range(len(self.degrees))
        types = {type: self.type_counts(type, parts) for type in self._entities}
        return GraphCounts(self.edges, self.bucket_sizes, distinct, types)

    def distinct(self, side: Side, part: int) -> Indices:
        """How many entities (relations,) of a partition occur on a side, over all splits."""
        return self._ends.distinct(side, part)

    def type_counts(self, type: str, parts: Sequence[int]) -> TypeCounts:
        """The entities of a type in some partitions."""
        slices = self._positions.of_type(type)
        degrees = [self.degrees[part][slices[part]] for part in parts]
        held_out = [self.held_out[part][slices[part]] for part in parts]
        untrained = [(part == 0, held) for part, held in zip(degrees, held_out, strict=True)]
        largest = max((int(part.max()) for part in degrees if len(part)), default=0)
        return TypeCounts(
            degrees=np.sum([np.bincount(part, minlength=largest + 1) for part in degrees], axis=0),
            cold=int(sum(np.count_nonzero(zero & held) for zero, held in untrained)),
            absent=int(sum(np.count_nonzero(zero & ~held) for zero, held in untrained)),  # from the previous graph
        )

    def _by_type(self) -> list[tuple[str, int, NDArray[np.int32]]]:
        """Type, partition and degrees (N,), a view, of every partition that has entities."""
        return [
            (type, part, self.degrees[part][stretch])
            for type in self._entities
            for part, stretch in enumerate(self._positions.of_type(type))
            if stretch.stop > stretch.start
        ]
