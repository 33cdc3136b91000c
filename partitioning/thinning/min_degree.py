"""Minimum degree: entities with too few training edges leave, and their edges with them, until nothing changes.

Every pass reads the edges that are left once, one bucket after the other; degrees and what is alive stay in memory.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import DataError
from artifacts.formats.graph import SPLITS, Bucket, Side
from partitioning.config.sections import GraphConfig
from partitioning.edges.edge_hash import inverses
from partitioning.edges.key import Indices, Keys
from partitioning.edges.positions import Positions
from partitioning.edges.spill import EdgeSpill
from partitioning.entities.entity_map import EntityMap
from partitioning.entities.id_files import keep_ids
from partitioning.events.relations import NamedRelation

PASSES = 100  # real graphs settle in 5 to 20

Alive = list[NDArray[np.bool_]]  # of each partition, all types one after the other


class MinDegree:
    """What is left of the edges of a spill while entities leave."""

    def __init__(
        self, spill: EdgeSpill, config: GraphConfig, relations: list[NamedRelation], entities: dict[str, EntityMap]
    ) -> None:
        self._spill, self._layout, self._entities = spill, spill.grid.layout, entities
        self._positions = Positions(relations, entities.values())
        turned = inverses(relations)
        self._counted = np.array([relation.name not in turned for relation in relations])
        self._least = [np.zeros(size, np.int32) for size in self._positions.sizes]
        for name, entity in config.entities.items():
            for least, stretch in zip(self._least, self._positions.of_type(name), strict=True):
                least[stretch] = entity.min_degree or 0
        self._alive: Alive = [np.ones(size, np.bool_) for size in self._positions.sizes]
        self._removed = 0

    def remove_below(self) -> int:
        """Removes entities and training edges until all that is left has its degree, then held-out edges.

        Returns the number of edges removed. Raises DataError when it takes more than PASSES passes.
        """
        degrees = [np.zeros(size, np.int64) for size in self._positions.sizes]
        self._pass(0, lambda bucket, keys: self._count(degrees, bucket, keys, 1))
        for _ in range(PASSES):
            fallen = [a & (d < least) for a, d, least in zip(self._alive, degrees, self._least, strict=True)]
            if not any(part.any() for part in fallen):
                break
            self._alive = [a & ~f for a, f in zip(self._alive, fallen, strict=True)]
            self._pass(0, lambda bucket, keys: self._subtract_fallen(degrees, bucket, keys))
        else:
            raise DataError(
                f"graph.entities: min_degree has not settled after {PASSES} passes over the edges, so the graph is "
                "made of long chains; lower it"
            )
        for split in range(1, len(SPLITS)):
            self._pass(split, self._living)
        return self._removed

    def _pass(self, split: int, visit: Callable[[Bucket, Keys], NDArray[np.bool_] | None]) -> None:
        """Shows every bucket and its keys (N,) to `visit`, which says which edges (N,) stay; None for all."""
        for bucket in self._spill.grid:
            edges = self._spill.take_edges(split, bucket)
            stay = visit(bucket, edges.keys)
            if stay is not None:
                self._removed += len(stay) - int(np.count_nonzero(stay))
                edges = edges.where(stay)
            self._spill.put(split, bucket, edges)

    def _count(self, degrees: list[NDArray[np.int64]], bucket: Bucket, keys: Keys, step: int) -> None:
        keys = keys[self._counted[self._layout.relation(keys)]]
        for side in Side:
            part = side.pick(*bucket)
            at = self._positions_of(side, bucket, keys)
            degrees[part] += step * np.bincount(at, minlength=len(degrees[part]))

    def _living(self, bucket: Bucket, keys: Keys) -> NDArray[np.bool_]:
        lhs, rhs = (self._alive[side.pick(*bucket)][self._positions_of(side, bucket, keys)] for side in Side)
        return lhs & rhs

    def _subtract_fallen(self, degrees: list[NDArray[np.int64]], bucket: Bucket, keys: Keys) -> NDArray[np.bool_]:
        stay = self._living(bucket, keys)
        self._count(degrees, bucket, keys[~stay], -1)
        return stay

    def _positions_of(self, side: Side, bucket: Bucket, keys: Keys) -> Indices:
        """Positions (N,) of the entities on a side of edges (N,)."""
        offsets = self._layout.offsets(side, keys)
        return self._positions.of(side, side.pick(*bucket), self._layout.relation(keys), offsets)

    def renumber(self, directory: Path) -> dict[str, EntityMap]:
        """Takes new ids that left out of the map, its files in `directory` and the keys; returns the smaller maps.

        Ids of the previous graph keep their offsets without an edge.
        """
        smaller = {}
        for name, map in self._entities.items():
            stretches = self._positions.of_type(name)[: len(map.counts)]
            for part, stretch in enumerate(stretches):
                self._alive[part][stretch.start : stretch.start + map.previous[part]] = True
            keep = [self._alive[part][stretch] for part, stretch in enumerate(stretches)]
            counts = tuple(int(np.count_nonzero(part)) for part in keep)
            smaller[name] = replace(map, counts=counts)
            if counts != map.counts:
                keep_ids(directory, name, keep)
        self._renumber_keys()
        return smaller

    def _renumber_keys(self) -> None:
        """Replaces offsets in all keys by the number of entities of the type that stay before them."""
        before = [np.cumsum(alive, dtype=np.int64) - alive for alive in self._alive]
        for name in self._entities:
            for part, stretch in enumerate(self._positions.of_type(name)):
                if stretch.stop > stretch.start:
                    before[part][stretch] -= before[part][stretch.start]
        for split in range(len(SPLITS)):
            for bucket in self._spill.grid:
                edges = self._spill.take_edges(split, bucket)
                lhs, rhs = (before[side.pick(*bucket)][self._positions_of(side, bucket, edges.keys)] for side in Side)
                keys = self._layout.pack(self._layout.relation(edges.keys), lhs, rhs)
                self._spill.put(split, bucket, edges._replace(keys=keys))
