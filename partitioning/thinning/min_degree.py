"""Minimum degree: entities with too few training edges leave, and their edges with them, until nothing changes.

Every pass reads the edges that are left once, one bucket after the other; degrees and what is alive stay in memory.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import DataError
from artifacts.graph import SPLITS
from partitioning.config.sections import GraphConfig
from partitioning.edges.edge_hash import originals
from partitioning.edges.key import Keys
from partitioning.edges.positions import Places
from partitioning.edges.spill import EdgeSpill
from partitioning.entities.entity_map import EntityMap
from partitioning.entities.id_files import keep_entities
from partitioning.events.relations import NamedRelation

PASSES = 100  # real graphs settle in 5 to 20

Alive = list[NDArray[np.bool_]]  # of each partition, all types one after the other


class Core:
    """What is left of the edges of a spill while entities leave."""

    def __init__(
        self, spill: EdgeSpill, config: GraphConfig, relations: list[NamedRelation], entities: dict[str, EntityMap]
    ) -> None:
        self._spill, self._entities = spill, entities
        self._places = Places(relations, entities.values())
        inverses = originals(relations)
        self._counted = np.array([relation.name not in inverses for relation in relations])
        self._least = [np.zeros(size, np.int32) for size in self._places.sizes]
        for name, entity in config.entities.items():
            for least, stretch in zip(self._least, self._places.of_type(name), strict=True):
                least[stretch] = entity.min_degree or 0
        self.alive: Alive = [np.ones(size, np.bool_) for size in self._places.sizes]
        self.removed = 0

    def settle(self) -> None:
        """Removes entities and training edges until all that is left has its degree, then held-out edges.

        Raises DataError when that takes more than PASSES passes.
        """
        degrees = [np.zeros(size, np.int64) for size in self._places.sizes]
        self._pass(0, lambda i, j, keys: self._count(degrees, i, j, keys, 1))
        for _ in range(PASSES):
            fallen = [a & (d < least) for a, d, least in zip(self.alive, degrees, self._least, strict=True)]
            if not any(part.any() for part in fallen):
                break
            self.alive = [a & ~f for a, f in zip(self.alive, fallen, strict=True)]
            self._pass(0, lambda i, j, keys: self._leave(degrees, i, j, keys))
        else:
            raise DataError(
                f"graph.entities: min_degree has not settled after {PASSES} passes over the edges, so the graph is "
                "made of long chains; lower it"
            )
        for split in range(1, len(SPLITS)):
            self._pass(split, self._living)

    def _pass(self, split: int, visit: Callable[[int, int, Keys], NDArray[np.bool_] | None]) -> None:
        """Shows every bucket (i, j, keys (N,)) to `visit`, which says which edges (N,) stay; None for all."""
        for bucket in range(self._spill.grid.buckets):
            keys, units = self._spill.keys(split, bucket), self._spill.units(split, bucket)
            stay = visit(*divmod(bucket, self._spill.grid.rhs_partitions), keys)
            if stay is not None:
                self.removed += len(keys) - int(np.count_nonzero(stay))
                keys, units = keys[stay], units[stay] if self._spill.weighted else units
            self._spill.put(split, bucket, keys, units if self._spill.weighted else None)

    def _count(self, degrees: list[NDArray[np.int64]], i: int, j: int, keys: Keys, step: int) -> None:
        layout = self._spill.grid.layout
        relation = layout.relation(keys)
        counts = self._counted[relation]
        for side, part, offsets in (("lhs", i, layout.lhs(keys)), ("rhs", j, layout.rhs(keys))):
            at = self._places.of(side, part, relation[counts], offsets[counts])
            degrees[part] += step * np.bincount(at, minlength=len(degrees[part]))

    def _living(self, i: int, j: int, keys: Keys) -> NDArray[np.bool_]:
        layout = self._spill.grid.layout
        relation = layout.relation(keys)
        lhs = self.alive[i][self._places.of("lhs", i, relation, layout.lhs(keys))]
        return lhs & self.alive[j][self._places.of("rhs", j, relation, layout.rhs(keys))]

    def _leave(self, degrees: list[NDArray[np.int64]], i: int, j: int, keys: Keys) -> NDArray[np.bool_]:
        stay = self._living(i, j, keys)
        self._count(degrees, i, j, keys[~stay], -1)
        return stay

    def close_ranks(self, directory: Path) -> dict[str, EntityMap]:
        """Takes new ids that left out of the map, its files in `directory` and the keys; returns the smaller maps.

        Ids of an earlier graph keep their places without an edge.
        """
        smaller = {}
        for name, map in self._entities.items():
            stretches = self._places.of_type(name)[: len(map.counts)]
            for part, stretch in enumerate(stretches):
                self.alive[part][stretch.start : stretch.start + map.known[part]] = True
            keep = [self.alive[part][stretch] for part, stretch in enumerate(stretches)]
            counts = tuple(int(np.count_nonzero(part)) for part in keep)
            smaller[name] = replace(map, counts=counts)
            if counts != map.counts:
                keep_entities(directory, name, keep)
        self._renumber()
        return smaller

    def _renumber(self) -> None:
        """Replaces offsets in all keys by the number of entities of the type that stay before them."""
        before = [np.cumsum(alive, dtype=np.int64) - alive for alive in self.alive]
        for name in self._entities:
            for part, stretch in enumerate(self._places.of_type(name)):
                if stretch.stop > stretch.start:
                    before[part][stretch] -= before[part][stretch.start]
        layout = self._spill.grid.layout
        for split in range(len(SPLITS)):
            for bucket in range(self._spill.grid.buckets):
                keys, units = self._spill.keys(split, bucket), self._spill.units(split, bucket)
                i, j = divmod(bucket, self._spill.grid.rhs_partitions)
                relation = layout.relation(keys)
                lhs = before[i][self._places.of("lhs", i, relation, layout.lhs(keys))]
                rhs = before[j][self._places.of("rhs", j, relation, layout.rhs(keys))]
                keys = layout.pack(relation, lhs, rhs)
                self._spill.put(split, bucket, keys, units if self._spill.weighted else None)
